/* What run and chat share. SPDX-License-Identifier: Apache-2.0 */
#include "generation.h"

#include "millet/grammar.h"
#include "millet/schema.h"

#include <stdlib.h>
#include <time.h>

static struct {
    int32_t max_tokens, top_k, penalty_last;
    float temperature, top_p, min_p, typical_p, repeat_penalty, frequency_penalty, presence_penalty;
    uint64_t seed;
    struct cli_list stop;
    const char *grammar, *schema;
    bool ignore_end;
} arguments = {
    /* The library's defaults, shown in the help; a number below the range means: not given. */
    .max_tokens = 0,          .top_k = -1,          .penalty_last = -1,
    .temperature = -1,        .top_p = -1,          .min_p = -1,
    .typical_p = -1,          .repeat_penalty = -1, .frequency_penalty = -100,
    .presence_penalty = -100, .seed = UINT64_MAX,
};

static millet_grammar *grammar; /* NULL: none */

const struct cli_option cli_generation_rows[] = {
    {.name = "n-predict",
     .letter = 'n',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.max_tokens,
     .max = 1 << 24,
     .help = "tokens to generate at most; 0: until the model ends or the context is full"},
    {.name = "temperature",
     .argument = "T",
     .kind = CLI_FLOAT,
     .target = &arguments.temperature,
     .max = 100,
     .help = "randomness; 0 takes the most probable token always (default 0.8)"},
    {.name = "top-k",
     .argument = "K",
     .kind = CLI_INT,
     .target = &arguments.top_k,
     .max = 1 << 24,
     .help = "choose among the K most probable tokens; 0: all (default 40)"},
    {.name = "top-p",
     .argument = "P",
     .kind = CLI_FLOAT,
     .target = &arguments.top_p,
     .min = 1e-6,
     .max = 1,
     .help = "choose among the most probable tokens that reach P together (default 0.95)"},
    {.name = "min-p",
     .argument = "P",
     .kind = CLI_FLOAT,
     .target = &arguments.min_p,
     .max = 1,
     .help = "leave out tokens below P times the largest probability (default 0.05)"},
    {.name = "typical-p",
     .argument = "P",
     .kind = CLI_FLOAT,
     .target = &arguments.typical_p,
     .min = 1e-6,
     .max = 1,
     .help = "locally typical sampling; 1: off (default)"},
    {.name = "repeat-penalty",
     .argument = "R",
     .kind = CLI_FLOAT,
     .target = &arguments.repeat_penalty,
     .min = 0.01,
     .max = 100,
     .help = "make recent tokens less likely; 1: off (default)"},
    {.name = "frequency-penalty",
     .argument = "F",
     .kind = CLI_FLOAT,
     .target = &arguments.frequency_penalty,
     .min = -10,
     .max = 10,
     .help = "subtracted for each recent occurrence; 0: off (default)"},
    {.name = "presence-penalty",
     .argument = "F",
     .kind = CLI_FLOAT,
     .target = &arguments.presence_penalty,
     .min = -10,
     .max = 10,
     .help = "subtracted once for recent tokens; 0: off (default)"},
    {.name = "penalty-last",
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.penalty_last,
     .max = 65536,
     .help = "how many recent tokens the penalties look at (default 64)"},
    {.name = "seed",
     .argument = "N",
     .kind = CLI_U64,
     .target = &arguments.seed,
     .help = "the same seed gives the same text on every machine; else it differs each time"},
    {.name = "stop",
     .argument = "TEXT",
     .kind = CLI_LIST,
     .target = &arguments.stop,
     .help = "end before this text; may be given several times"},
    {.name = "grammar",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.grammar,
     .help = "generate only what this grammar allows (GBNF)"},
    {.name = "json-schema",
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.schema,
     .help = "generate only JSON that this schema allows"},
    {.name = "ignore-end",
     .kind = CLI_FLAG,
     .target = &arguments.ignore_end,
     .help = "go on after end-of-text tokens"},
    {0},
};

millet_generate_options cli_generate_options(void)
{
    millet_generate_options options = millet_generate_options_default();
    millet_sampler_options *sampler = &options.sampler;
    options.max_tokens = arguments.max_tokens;
    options.stop = arguments.stop.items;
    options.n_stop = arguments.stop.count;
    options.ignore_end = arguments.ignore_end;
    options.grammar = grammar;
    if (arguments.temperature >= 0) sampler->temperature = arguments.temperature;
    if (arguments.top_k >= 0) sampler->top_k = arguments.top_k;
    if (arguments.top_p >= 0) sampler->top_p = arguments.top_p;
    if (arguments.min_p >= 0) sampler->min_p = arguments.min_p;
    if (arguments.typical_p >= 0) sampler->typical_p = arguments.typical_p;
    if (arguments.repeat_penalty >= 0) sampler->repeat_penalty = arguments.repeat_penalty;
    if (arguments.frequency_penalty >= -10) sampler->frequency_penalty = arguments.frequency_penalty;
    if (arguments.presence_penalty >= -10) sampler->presence_penalty = arguments.presence_penalty;
    if (arguments.penalty_last >= 0) sampler->penalty_last = arguments.penalty_last;
    sampler->seed = arguments.seed;
    if (arguments.seed == UINT64_MAX) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        sampler->seed = (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    }
    return options;
}

/* What is wrong with a file that was read for the library. */
static int fail_in_file(millet_error *err, const char *file)
{
    if (!err->file[0]) snprintf(err->file, sizeof err->file, "%s", file);
    return cli_fail(err);
}

/* The schema's text, released, becomes the grammar's. */
static int convert_schema(char **text, size_t *length)
{
    char *schema = *text, *out = NULL;
    size_t n, again;
    millet_error err;
    millet_status status = millet_schema_to_grammar(schema, *length, NULL, 0, &n, &err);
    if (status == MILLET_OK) out = malloc(n + 1);
    if (out) status = millet_schema_to_grammar(schema, *length, out, n, &again, &err);
    free(schema);
    *text = out;
    *length = n;
    if (status != MILLET_OK) return fail_in_file(&err, arguments.schema);
    return out ? CLI_OK : cli_fail_text("out of memory");
}

int cli_open_grammar(const millet_model *model)
{
    const char *file = arguments.schema ? arguments.schema : arguments.grammar;
    if (!file) return CLI_OK;
    if (arguments.schema && arguments.grammar)
        return cli_usage("--grammar and --json-schema exclude each other");
    char *text;
    size_t length;
    if (!cli_read_text(file, &text, &length)) return CLI_FAILED;
    millet_error err;
    int code = arguments.schema ? convert_schema(&text, &length) : CLI_OK;
    if (code == CLI_OK && millet_grammar_open(model, text, length, NULL, &grammar, &err) != MILLET_OK)
        code = fail_in_file(&err, file);
    free(text);
    return code;
}

void cli_close_grammar(void)
{
    millet_grammar_close(&grammar);
}

bool cli_print_piece(void *context, const millet_piece *piece)
{
    (void)context;
    fwrite(piece->text, 1, piece->length, stdout);
    fflush(stdout);
    return !cli_interrupted;
}

void cli_print_speed(const millet_generation *result)
{
    fflush(stdout); /* what was generated ends before this begins */
    fprintf(stderr, "prompt: %d tokens, %.1f tokens/s; generated: %d tokens, %.1f tokens/s",
            result->prompt_tokens,
            result->prompt_seconds > 0 ? result->prompt_tokens / result->prompt_seconds : 0.0,
            result->generated_tokens,
            result->generate_seconds > 0 ? result->generated_tokens / result->generate_seconds : 0.0);
    if (result->drafted_tokens)
        fprintf(stderr, "; of %d guesses %d were right", result->drafted_tokens, result->accepted_tokens);
    fputc('\n', stderr);
}
