/* millet run: prompt in, text out. SPDX-License-Identifier: Apache-2.0 */
#include "adapters.h"
#include "generation.h"
#include "speculation.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *prompt, *file;
    bool special, no_bos, echo, speed;
    int32_t n_best;
} arguments;

static const struct cli_option rows[] = {
    {.name = "prompt",
     .letter = 'p',
     .argument = "TEXT",
     .kind = CLI_STRING,
     .target = &arguments.prompt,
     .help = "the text to continue; without -p it is read from the standard input"},
    {.name = "echo",
     .kind = CLI_FLAG,
     .target = &arguments.echo,
     .help = "print the prompt before its continuation"},
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &arguments.special,
     .help = "recognise special tokens that are written in the prompt"},
    {.name = "no-bos",
     .kind = CLI_FLAG,
     .target = &arguments.no_bos,
     .help = "do not add BOS before the prompt"},
    {.name = "n-best",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.n_best,
     .max = 64,
     .help = "with --json: report the N most probable tokens at each step with their log-probabilities"},
    {.name = "speed", .kind = CLI_FLAG, .target = &arguments.speed, .help = "say on stderr how fast it was"},
    {0},
};

/* Collects pieces for --json. */
struct collector {
    json_t *tokens;
    char *text;
    size_t length, capacity;
    bool failed;
};

static bool collect_piece(void *context, const millet_piece *piece)
{
    struct collector *out = context;
    if (out->length + piece->length > out->capacity) {
        size_t capacity = 2 * (out->length + piece->length);
        char *larger = realloc(out->text, capacity);
        if (!larger) {
            out->failed = true;
            return false;
        }
        out->text = larger;
        out->capacity = capacity;
    }
    if (piece->length) memcpy(out->text + out->length, piece->text, piece->length);
    out->length += piece->length;
    if (piece->token < 0) return !cli_interrupted;
    json_t *best = json_array();
    for (int32_t i = 0; i < piece->n_best; i++)
        json_array_append_new(best, json_pack("{s:i,s:f}", "id", piece->best[i].token, "logprob",
                                              (double)piece->best[i].logprob));
    json_array_append_new(out->tokens, json_pack("{s:i,s:f,s:o}", "id", piece->token, "logprob",
                                                 (double)piece->logprob, "best", best));
    return !cli_interrupted;
}

static const char *finish_name(millet_finish finish)
{
    static const char *const names[] = {"end", "length", "stop", "interrupted"};
    return names[finish];
}

static int generate_json(millet_session *session, const char *prompt, size_t length,
                         const millet_generate_options *how)
{
    struct collector out = {.tokens = json_array()};
    millet_generation result;
    millet_error err;
    millet_status status = millet_generate(session, prompt, length, how, collect_piece, &out, &result, &err);
    int code = CLI_FAILED;
    if (status != MILLET_OK)
        cli_fail(&err);
    else if (out.failed)
        cli_fail_text("out of memory");
    else
        code = cli_print_json(
            json_pack("{s:o,s:o,s:s,s:I,s:i,s:i,s:i,s:i,s:f,s:f}", "text",
                      json_stringn(out.text ? out.text : "", out.length), "tokens", json_incref(out.tokens),
                      "finish", finish_name(result.finish), "seed", (json_int_t)how->sampler.seed,
                      "prompt_tokens", result.prompt_tokens, "generated_tokens", result.generated_tokens,
                      "drafted_tokens", result.drafted_tokens, "accepted_tokens", result.accepted_tokens,
                      "prompt_seconds", result.prompt_seconds, "generate_seconds", result.generate_seconds));
    json_decref(out.tokens);
    free(out.text);
    return code;
}

static int generate(const millet_model *model, const char *prompt, size_t length)
{
    millet_session_options options = cli_session_options();
    millet_session *session = NULL;
    millet_model *draft;
    millet_error err;
    int status = cli_open_adapters(model, &options.adapters, &options.n_adapters);
    if (status == CLI_OK) status = cli_open_grammar(model);
    if (status == CLI_OK) status = cli_open_speculation(&options, &draft);
    if (status != CLI_OK) return status;
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) {
        millet_model_close(&draft);
        return cli_fail(&err);
    }
    millet_generate_options how = cli_generate_options();
    how.special = arguments.special;
    how.no_bos = arguments.no_bos;
    how.n_best = arguments.n_best;
    cli_catch_interrupt();
    if (cli_json) {
        status = generate_json(session, prompt, length, &how);
    } else {
        millet_generation result;
        if (arguments.echo) fwrite(prompt, 1, length, stdout);
        millet_status generated =
            millet_generate(session, prompt, length, &how, cli_print_piece, NULL, &result, &err);
        putchar('\n');
        status = generated == MILLET_OK ? CLI_OK : cli_fail(&err);
        if (generated == MILLET_OK && arguments.speed) cli_print_speed(&result);
    }
    millet_session_close(&session);
    millet_model_close(&draft);
    return status;
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    millet_model *model = cli_open_model(operands[0]);
    if (!model) return CLI_FAILED;
    int status = CLI_FAILED;
    char *text = NULL;
    size_t length;
    if (arguments.prompt)
        status = generate(model, arguments.prompt, strlen(arguments.prompt));
    else if (cli_read_text(NULL, &text, &length))
        status = generate(model, text, length);
    free(text);
    cli_close_adapters();
    cli_close_grammar();
    millet_model_close(&model);
    return status;
}

static const struct cli_option *const groups[] = {rows,
                                                  cli_generation_rows,
                                                  cli_speculation_rows,
                                                  cli_adapter_rows,
                                                  cli_session_rows,
                                                  cli_threads_rows,
                                                  cli_model_rows,
                                                  cli_json_rows,
                                                  NULL};

const struct cli_verb cli_verb_run = {
    .name = "run",
    .summary = "continue a prompt",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Computes the prompt and prints the text that the model continues it with, as it is "
                   "generated. Ctrl-C "
                   "ends the text.",
    .examples =
        "millet run model.gguf -p 'Once upon a time' -n 64\ta story\n"
        "millet run model.gguf -p 'Once' -n 64 --temperature 0\tthe same story each time\n"
        "millet run model.gguf -p 'Once' -n 8 --n-best 5 --json\twith the five best tokens of each step\n"
        "millet run model.gguf -p 'Is it so?' --grammar yes_or_no.gbnf\tnothing but what the grammar allows\n"
        "millet run model.gguf --lora tuned.gguf=0.8 -p 'Once'\twith an adapter, a little weaker than it was "
        "trained\n"
        "millet run model.gguf --draft small.gguf --lookup --speed < prompt.txt\tthe same text, sooner",
    .options = groups,
    .run = run,
};
