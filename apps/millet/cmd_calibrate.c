/* millet calibrate: what a model's matrices are given on a text. SPDX-License-Identifier: Apache-2.0 */
#include "millet/lab.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *text, *output;
    int32_t ctx, batch, max_tokens, memory;
    bool diagonal, legacy, special;
} arguments;

enum { TOKENS_A_CHANNEL = 10 };

static const struct cli_option rows[] = {
    {.name = "text",
     .letter = 'f',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.text,
     .help = "the text; without it the standard input"},
    {.name = "output",
     .letter = 'o',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.output,
     .help = "the importance file to write"},
    {.name = "diagonal",
     .kind = CLI_FLAG,
     .target = &arguments.diagonal,
     .help = "sums of squares alone, as other tools have them: a small file, and no error feedback"},
    {.name = "memory",
     .argument = "MiB",
     .kind = CLI_INT,
     .target = &arguments.memory,
     .max = 1 << 24,
     .help = "memory for sums of products of channels; the widest inputs go without (default 4096)"},
    {.name = "legacy",
     .kind = CLI_FLAG,
     .target = &arguments.legacy,
     .help = "write the form of the file that tools before 2025 read; with --diagonal"},
    {.name = "ctx",
     .letter = 'c',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.ctx,
     .max = 1 << 24,
     .help = "tokens of a window; 0: 512, or the trained context if that is less"},
    {.name = "max-tokens",
     .letter = 'n',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.max_tokens,
     .max = 2147483647,
     .help = "use only the first N tokens of the text"},
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &arguments.special,
     .help = "recognise special tokens that are written in the text"},
    {.name = "batch",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.batch,
     .max = 65536,
     .help = "tokens computed together; 0: 512"},
    {0},
};

static void print_result(const char *path, const millet_calibration *c)
{
    printf("%s: %lld tokens of %s, perplexity %.4f\n", arguments.output, (long long)c->perplexity.n_tokens,
           path, c->perplexity.perplexity.value);
    printf("  %llu matrices", (unsigned long long)c->n_matrices);
    if (c->n_grams)
        printf(", %llu inputs with all pairs of channels (%.1f MB)", (unsigned long long)c->n_grams,
               (double)c->gram_bytes / 1e6);
    putchar('\n');
    if (c->n_grams_left_out)
        printf("  %llu inputs are too wide for pairs in this memory; --memory MiB gives more\n",
               (unsigned long long)c->n_grams_left_out);
    if (c->n_unseen)
        printf("  %llu experts were never chosen; they will be rounded as without calibration: a longer text "
               "helps\n",
               (unsigned long long)c->n_unseen);
}

static int calibrate(const char *path, const millet_model *model, const char *text, size_t length)
{
    millet_calibrate_options options = millet_calibrate_options_default();
    options.reading.n_ctx = arguments.ctx;
    options.reading.max_tokens = arguments.max_tokens;
    options.reading.n_batch = arguments.batch;
    options.reading.n_threads = cli_threads;
    options.reading.special = arguments.special;
    options.grams = !arguments.diagonal;
    options.gram_bytes = (uint64_t)arguments.memory << 20;
    options.legacy = arguments.legacy;
    options.dataset = arguments.text ? arguments.text : "-";
    options.reading.progress = cli_progress_callback;
    static char label[] = "calibrating";
    options.reading.context = label;
    millet_calibration result;
    millet_error err;
    millet_status status = millet_calibrate(model, text, length, arguments.output, &options, &result, &err);
    cli_progress_end();
    if (status != MILLET_OK) return cli_fail(&err);
    if (result.perplexity.n_tokens < TOKENS_A_CHANNEL * result.widest)
        fprintf(stderr,
                "%lld tokens are few for inputs of %lld channels: a text of %lld or more says what matters\n",
                (long long)result.perplexity.n_tokens, (long long)result.widest,
                (long long)(TOKENS_A_CHANNEL * result.widest));
    if (cli_json)
        return cli_print_json(json_pack(
            "{s:s,s:I,s:I,s:f,s:I,s:I,s:I,s:I,s:I}", "output", arguments.output, "tokens",
            (json_int_t)result.perplexity.n_tokens, "windows", (json_int_t)result.perplexity.n_windows,
            "perplexity", result.perplexity.perplexity.value, "matrices", (json_int_t)result.n_matrices,
            "unseen_experts", (json_int_t)result.n_unseen, "grams", (json_int_t)result.n_grams,
            "grams_left_out", (json_int_t)result.n_grams_left_out, "gram_bytes",
            (json_int_t)result.gram_bytes));
    print_result(path, &result);
    return CLI_OK;
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    if (!arguments.output) return cli_usage("the importance file has no name: -o FILE");
    if (arguments.legacy && !arguments.diagonal)
        return cli_usage("the old form has no pairs of channels: --legacy --diagonal");
    int status = CLI_FAILED;
    char *text = NULL;
    size_t length = 0;
    millet_model *model = cli_open_model(operands[0]);
    if (model && cli_read_text(arguments.text, &text, &length)) {
        cli_catch_interrupt();
        status = calibrate(operands[0], model, text, length);
    }
    free(text);
    millet_model_close(&model);
    return status;
}

static const struct cli_option *const groups[] = {rows, cli_threads_rows, cli_model_rows, cli_json_rows,
                                                  NULL};

const struct cli_verb cli_verb_calibrate = {
    .name = "calibrate",
    .summary = "measure what a model's matrices are given, for compact to round by",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Reads a text with the model, which should be the unrounded one and the text like what it will be "
        "used "
        "for, and writes an importance file (imatrix): for each matrix the mean squares of its input's "
        "channels, and sums of products of all pairs of channels. compact --importance rounds with it "
        "so that what is lost shows least in the outputs.",
    .examples = "millet calibrate model.gguf -f text.txt -o model.imatrix.gguf\tthe model on the text\n"
                "millet compact model.gguf -o small.gguf --type Q4_K_M --importance "
                "model.imatrix.gguf\trounded with it",
    .options = groups,
    .run = run,
};
