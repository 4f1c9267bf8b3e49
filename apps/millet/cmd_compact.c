/* millet compact: quantise a checkpoint. SPDX-License-Identifier: Apache-2.0 */
#include "adapters.h"
#include "plan_options.h"
#include "verbs.h"

#include <string.h>

static struct {
    const char *output, *type, *output_type, *embedding_type;
    struct cli_list keep;
    float split;
    const char *importance;
    bool uniform, allow_requantize, tensors, no_feedback;
} arguments;

static const struct cli_option rows[] = {
    {.name = "output",
     .letter = 'o',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.output,
     .help = "the GGUF file to write"},
    {.name = "type",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &arguments.type,
     .help =
         "what to make: Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, F16, ... (default Q8_0); \"list\" prints them all"},
    {.name = "output-type",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &arguments.output_type,
     .help = "type of the output matrix; else the rule of --type"},
    {.name = "embedding-type",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &arguments.embedding_type,
     .help = "type of the token embeddings; else the rule of --type"},
    {.name = "keep",
     .argument = "NAME",
     .kind = CLI_LIST,
     .target = &arguments.keep,
     .help = "copy these tensors as they are; * and ? stand for any text and any character; may be given "
             "several times"},
    {.name = "importance",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.importance,
     .help = "round for the inputs that this importance file (imatrix) describes: see millet calibrate"},
    {.name = "no-feedback",
     .kind = CLI_FLAG,
     .target = &arguments.no_feedback,
     .help =
         "with --importance: weight errors only, do not make up for them with later columns (much faster)"},
    {.name = "uniform",
     .kind = CLI_FLAG,
     .target = &arguments.uniform,
     .help = "give every matrix exactly --type"},
    {.name = "allow-requantize",
     .kind = CLI_FLAG,
     .target = &arguments.allow_requantize,
     .help = "quantise what is quantised already, although its first rounding stays"},
    {.name = "split",
     .argument = "GB",
     .kind = CLI_FLOAT,
     .target = &arguments.split,
     .max = 1e6,
     .help = "cut the output into files of at most so many gigabytes"},
    {.name = "tensors",
     .kind = CLI_FLAG,
     .target = &arguments.tensors,
     .help = "list what became of every tensor"},
    {0},
};

static const char *rounding_name(millet_rounding rounding)
{
    static const char *const names[] = {"by itself", "weighted", "with feedback"};
    return names[rounding];
}

static json_t *result_json(const char *input, const millet_quantized *result)
{
    json_t *tensors = json_array();
    for (uint64_t i = 0; i < result->n_tensors; i++) {
        const millet_quantized_tensor *t = &result->tensors[i];
        json_array_append_new(tensors,
                              json_pack("{s:s,s:s,s:s,s:b,s:I,s:I,s:I,s:f,s:s}", "name", t->name, "from",
                                        t->from, "to", t->to, "fallback", t->fallback, "elements",
                                        (json_int_t)t->elements, "bytes_before", (json_int_t)t->bytes_before,
                                        "bytes_after", (json_int_t)t->bytes_after, "error", t->error,
                                        "rounding", rounding_name(t->rounding)));
    }
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:f,s:o}", "input", input, "output", arguments.output,
                     "type", result->type, "bytes_before", (json_int_t)result->bytes_before, "bytes_after",
                     (json_int_t)result->bytes_after, "file_bytes", (json_int_t)result->file_bytes, "files",
                     (json_int_t)result->n_files, "fallbacks", (json_int_t)result->n_fallbacks, "error",
                     result->error, "tensors", tensors);
}

static void print_result(const millet_quantized *result, double seconds)
{
    if (arguments.tensors) {
        for (uint64_t i = 0; i < result->n_tensors; i++) {
            const millet_quantized_tensor *t = &result->tensors[i];
            printf("  %-40s %-6s %-7s %10s %10s", t->name, t->from, t->to, cli_bytes(t->bytes_before),
                   cli_bytes(t->bytes_after));
            if (t->error > 0) printf("  error %.4f", t->error);
            if (t->rounding != MILLET_ROUNDING_PLAIN) printf("  %s", rounding_name(t->rounding));
            puts(t->fallback ? "  (rows do not fit the type's blocks)" : "");
        }
    }
    printf("%s: %s, %s of weights became %s (%.1f%%), relative error %.5f, %.1f s\n", arguments.output,
           result->type, cli_bytes(result->bytes_before), cli_bytes(result->bytes_after),
           result->bytes_before ? 100.0 * (double)result->bytes_after / (double)result->bytes_before : 0.0,
           result->error, seconds);
    if (result->n_files > 1) printf("  in %llu files\n", (unsigned long long)result->n_files);
    if (result->n_fallbacks > 0 && !arguments.tensors)
        fprintf(stderr,
                "%llu tensors have rows that do not fit the type's blocks and got the next best type "
                "(--tensors)\n",
                (unsigned long long)result->n_fallbacks);
}

static int run(int n_operands, char **operands)
{
    if (arguments.type && strcmp(arguments.type, "list") == 0) {
        puts(millet_quantize_type_names());
        return CLI_OK;
    }
    if (n_operands < 1)
        return cli_usage("MODEL is missing; the form is: millet compact MODEL -o FILE [options]");
    if (!arguments.output && !cli_plan_is_dry())
        return cli_usage("-o FILE is missing: the GGUF file to write");
    if (cli_plan_asked() && (arguments.type || arguments.output_type || arguments.embedding_type ||
                             arguments.keep.count || arguments.uniform))
        return cli_usage("a plan has the type of every tensor; --type, --output-type, --embedding-type, "
                         "--keep and --uniform have no say beside it");
    millet_quantize_options options = millet_quantize_options_default();
    options.type = arguments.type;
    options.output_type = arguments.output_type;
    options.embedding_type = arguments.embedding_type;
    options.keep = arguments.keep.items;
    options.n_keep = arguments.keep.count;
    options.tokenizer_path = cli_model.tokenizer;
    options.split_bytes = (uint64_t)((double)arguments.split * 1e9);
    options.n_threads = cli_threads;
    options.uniform = arguments.uniform;
    options.importance = arguments.importance;
    options.no_feedback = arguments.no_feedback;
    options.allow_requantize = arguments.allow_requantize;
    options.progress = cli_progress_callback;
    static char label[] = "compacting";
    options.context = label;
    int code = cli_adapters_to_merge(&options.merge, &options.n_merge);
    if (code != CLI_OK) {
        cli_close_adapters();
        return code;
    }
    bool done;
    cli_catch_interrupt();
    code = cli_plan_prepare(operands[0], arguments.output, &options, &done);
    if (code != CLI_OK || done) {
        cli_plan_close();
        cli_close_adapters();
        return code;
    }
    millet_quantized *result = NULL;
    millet_error err;
    double began = cli_seconds();
    millet_status status = millet_quantize(operands[0], arguments.output, &options, &result, &err);
    cli_progress_end();
    if (status == MILLET_CANCELLED) {
        code = cli_fail_text("interrupted; nothing was written to %s", arguments.output);
    } else if (status != MILLET_OK) {
        code = cli_fail(&err);
    } else {
        if (cli_json)
            code = cli_print_json(result_json(operands[0], result));
        else
            print_result(result, cli_seconds() - began);
        if (code == CLI_OK) code = cli_plan_report(operands[0], arguments.output, &options, result);
    }
    millet_quantized_free(&result);
    cli_plan_close();
    cli_close_adapters();
    return code;
}

static const struct cli_option *const groups[] = {
    rows, cli_plan_rows, cli_adapter_rows, cli_threads_rows, cli_model_rows, cli_json_rows, NULL};

const struct cli_verb cli_verb_compact = {
    .name = "compact",
    .summary = "make a model smaller: quantise its weights",
    .operands = "MODEL",
    .min_operands = 0,
    .max_operands = 1,
    .description =
        "Reads a checkpoint (GGUF, llama2.c, safetensors) tensor by tensor and writes a GGUF file with its "
        "matrices in the type asked for. Memory does not grow with the model. The output appears under its "
        "name "
        "when it is complete; a run that is stopped leaves what was there before.\n\n"
        "Names that end in _S, _M, _L are mixes that give more bits to the tensors that need them.\n\n"
        "--lora makes adapters part of the weights, before these are given their type.\n\n"
        "--dry-run shows what each tensor would get, --write-plan writes that to a file, which can be edited "
        "and applied with --plan.\n\n"
        "--budget makes the plan: with the text of --calibrate it is measured what rounding each matrix to "
        "each "
        "type does to the model's predictions, and the types are chosen that lose least and fit.",
    .examples =
        "millet compact model/ -o small.gguf --type Q4_K_M\ta Hugging Face folder to about 4.8 bits a "
        "weight\n"
        "millet compact model.gguf -o small.gguf --type Q4_0 --keep 'token_embd*'\tembeddings as they are\n"
        "millet compact model.gguf --type Q4_K_M --dry-run --write-plan plan.json\ta plan to edit\n"
        "millet compact model.gguf -o small.gguf --plan plan.json\tand to apply\n"
        "millet compact model/ -o small.gguf --budget file=900MB --calibrate text.txt\tthe best of that "
        "size\n"
        "millet compact model.gguf --lora tuned.gguf -o merged.gguf --type F16\ta model with its adapter in "
        "it",
    .options = groups,
    .run = run,
};
