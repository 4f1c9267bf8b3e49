/* millet bench: how fast a model is, beside what the machine allows. SPDX-License-Identifier: Apache-2.0 */
#include "bench_text.h"
#include "speculation.h"
#include "verbs.h"

#include "millet/plan.h"

static struct {
    int32_t prompt, generate, depth, rounds;
    struct cli_list text;
    float temperature;
    const char *profile;
} arguments;

static const struct cli_option rows[] = {
    {.name = "prompt-tokens",
     .letter = 'p',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.prompt,
     .min = -1,
     .max = 1 << 20,
     .help = "length of the prompt; 0: 512; -1: do not time a prompt"},
    {.name = "generate-tokens",
     .letter = 'n',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.generate,
     .min = -1,
     .max = 1 << 20,
     .help = "tokens to generate; 0: 128; -1: do not time generation"},
    {.name = "depth",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.depth,
     .max = 1 << 20,
     .help = "tokens in the context before generation is timed"},
    {.name = "rounds",
     .letter = 'r',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.rounds,
     .max = 10000,
     .help = "rounds to take the median of; 0: 5"},
    {.name = "text",
     .argument = "FILE",
     .kind = CLI_LIST,
     .target = &arguments.text,
     .help =
         "time generation after this text with --draft or --lookup and without; may be given several times"},
    {.name = "temperature",
     .argument = "T",
     .kind = CLI_FLOAT,
     .target = &arguments.temperature,
     .max = 100,
     .help = "randomness after --text; 0 takes the most probable token always (default)"},
    {.name = "device-profile",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.profile,
     .help =
         "instead of a model, measure what weights of each type cost on this machine, and write it (JSON) "
         "for millet compact --profile"},
    {0},
};

static json_t *rate_json(const millet_rate *rate, double limit)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f}", "median", rate->median, "min", rate->min, "max", rate->max,
                     "limit", limit, "fraction_of_limit", limit > 0 ? rate->median / limit : 0.0);
}

static json_t *bench_json(const char *path, const millet_machine *machine, const millet_speed *speed)
{
    return json_pack(
        "{s:s,s:{s:s,s:i,s:f,s:f,s:f},s:i,s:i,s:i,s:i,s:f,s:f,s:o,s:o}", "model", path, "machine", "cpu",
        machine->cpu, "threads", machine->n_threads, "read_bytes_per_second", machine->read_bytes_per_second,
        "int8_operations_per_second", machine->int8_operations_per_second, "f32_operations_per_second",
        machine->f32_operations_per_second, "prompt_tokens", speed->prompt_tokens, "generate_tokens",
        speed->generate_tokens, "depth", speed->depth, "rounds", speed->rounds, "bytes_per_token",
        speed->bytes_per_token, "operations_per_prompt_token", speed->operations_per_prompt_token, "prompt",
        rate_json(&speed->prompt, speed->prompt_limit), "generate",
        rate_json(&speed->generate, speed->generate_limit));
}

static void print_rate(const char *what, int32_t tokens, const millet_rate *rate, double limit,
                       const char *of)
{
    char label[48];
    snprintf(label, sizeof label, "%s %d", what, tokens);
    printf("  %-16s %10.1f tokens/s  (%.1f to %.1f)  %5.1f%% of %s (%.1f)\n", label, rate->median, rate->min,
           rate->max, limit > 0 ? 100 * rate->median / limit : 0, of, limit);
}

static void print_bench(const char *path, const millet_machine *machine, const millet_speed *speed)
{
    printf("%s\n  %-16s %s, %d threads: reads %.1f GB/s, int8 %.0f Gop/s, f32 %.0f Gflop/s\n", path,
           "machine", machine->cpu, machine->n_threads, machine->read_bytes_per_second * 1e-9,
           machine->int8_operations_per_second * 1e-9, machine->f32_operations_per_second * 1e-9);
    printf("  %-16s %s read a token, %.3g Gop a prompt token\n", "model",
           cli_bytes((uint64_t)speed->bytes_per_token), speed->operations_per_prompt_token * 1e-9);
    if (speed->prompt_tokens)
        print_rate("prompt", speed->prompt_tokens, &speed->prompt, speed->prompt_limit,
                   "the arithmetic peak");
    if (speed->generate_tokens)
        print_rate("generation", speed->generate_tokens, &speed->generate, speed->generate_limit,
                   "the memory bandwidth");
}

static int run_profile(void)
{
    static char label[] = "measuring the machine";
    static millet_device_profile profile;
    millet_error err;
    cli_catch_interrupt();
    millet_status status =
        millet_device_profile_measure(cli_threads, cli_progress_callback, label, &profile, &err);
    cli_progress_end();
    if (status == MILLET_OK) status = millet_device_profile_write(&profile, arguments.profile, &err);
    if (status != MILLET_OK) return cli_fail(&err);
    if (!cli_json)
        printf("%s: %s, %d threads, %d types\n", arguments.profile, profile.cpu, profile.n_threads,
               profile.n_types);
    return CLI_OK;
}

static int run(int n_operands, char **operands)
{
    if (arguments.profile && n_operands == 0) return run_profile();
    if (arguments.profile)
        return cli_usage("--device-profile is of the machine alone; leave out %s", operands[0]);
    if (n_operands == 0) return cli_usage("MODEL is missing; the form is: millet bench MODEL [options]");
    millet_model *model = cli_open_model(operands[0]);
    if (!model) return CLI_FAILED;
    cli_catch_interrupt();
    if (arguments.text.count || cli_has_speculation()) {
        const struct bench_text text = {arguments.text.items, arguments.text.count, arguments.generate,
                                        arguments.rounds, arguments.temperature};
        int status = text.n_files ? bench_text_run(model, operands[0], &text)
                                  : cli_usage("--draft and --lookup need --text FILE");
        millet_model_close(&model);
        return status;
    }
    millet_speed_options options = millet_speed_options_default();
    options.session = cli_session_options();
    options.prompt_tokens = arguments.prompt;
    options.generate_tokens = arguments.generate;
    options.depth = arguments.depth;
    options.rounds = arguments.rounds;
    static char label[] = "timing";
    millet_machine machine;
    millet_speed speed;
    millet_error err;
    cli_progress("measuring the machine", 0);
    millet_status status = millet_machine_measure(options.session.n_threads, &machine, &err);
    if (status == MILLET_OK)
        status = millet_speed_measure(model, &options, &machine, cli_progress_callback, label, &speed, &err);
    cli_progress_end();
    int code = CLI_OK;
    if (status != MILLET_OK)
        code = cli_fail(&err);
    else if (cli_json)
        code = cli_print_json(bench_json(operands[0], &machine, &speed));
    else
        print_bench(operands[0], &machine, &speed);
    millet_model_close(&model);
    return code;
}

static const struct cli_option *const groups[] = {
    rows, cli_speculation_rows, cli_session_rows, cli_threads_rows, cli_model_rows, cli_json_rows, NULL};

const struct cli_verb cli_verb_bench = {
    .name = "bench",
    .summary = "time a model, beside what the machine allows",
    .operands = "MODEL | --device-profile FILE",
    .min_operands = 0,
    .max_operands = 1,
    .description =
        "Measures the machine's read bandwidth and arithmetic peak, then times a prompt computed together "
        "and "
        "generation token after token, on random tokens, in several rounds: the median, the extremes, and "
        "the "
        "part of the limit that it reaches. The limit of generation is the bandwidth divided by the bytes of "
        "weights and cache that a token reads; that of a prompt, the time of its matrix products at the "
        "peak.\n\n"
        "With --text the model continues that text with speculation and without, in alternation: what "
        "speculation gains depends on the text.\n\n"
        "With --device-profile no model is timed but products with weights of every type.",
    .examples = "millet bench model.gguf\tprompt 512, generation 128\n"
                "millet bench model.gguf -t 1 --depth 4000 -p -1\tone thread, generation deep in a context\n"
                "millet bench model.gguf --text story.txt --lookup\twhat guesses from earlier text gain\n"
                "millet bench --device-profile profile.json\tfor millet compact --profile on another machine",
    .options = groups,
    .run = run,
};
