/* millet prune: cut out of a model what does least. SPDX-License-Identifier: Apache-2.0 */
#include "caches.h"
#include "millet/prune.h"
#include "train_sources.h"
#include "verbs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static millet_prune_options options; /* filled by the rows below */

static struct {
    const char *output, *storage, *folder;
    struct cli_list data, evaluation;
    bool dry_run;
} arguments;

enum { MOST = 1 << 24 };

static const struct cli_option rows[] = {
    {.name = "data",
     .letter = 'f',
     .argument = "FILE[=WEIGHT]",
     .kind = CLI_LIST,
     .target = &arguments.data,
     .help = "measure importance on this text or JSONL (also .gz), or on a cache of millet corpus; several "
             "times for a mixture, with weights as in millet train"},
    {.name = "eval-data",
     .argument = "FILE",
     .kind = CLI_LIST,
     .target = &arguments.evaluation,
     .help = "measure the loss before and after on this file instead of on --data"},
    {.name = "cache-dir",
     .argument = "DIR",
     .kind = CLI_STRING,
     .target = &arguments.folder,
     .help = "where NAME.tokens are kept, the tokens of each file; without, beside the output"},
    {.name = "output",
     .letter = 'o',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.output,
     .help = "the GGUF file to write"},
    {.name = "layers",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.layers,
     .min = 1,
     .max = MOST,
     .help = "keep N layers"},
    {.name = "heads",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.heads,
     .min = 1,
     .max = MOST,
     .help = "keep N query heads in each layer, as many of every key head"},
    {.name = "kv-heads",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.kv_heads,
     .min = 1,
     .max = MOST,
     .help = "keep N key heads in each layer, with their query heads"},
    {.name = "feed-forward",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.feed_forward,
     .min = 1,
     .max = MOST,
     .help = "keep N channels of each feed-forward"},
    {.name = "width",
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.width,
     .min = 1,
     .max = MOST,
     .help = "keep N channels of the residual stream"},
    {.name = "parameters",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.parameters,
     .help = "keep at most N parameters: what is not given above is chosen, step by step what costs the "
             "least loss "
             "for each parameter"},
    {.name = "vocabulary-min-count",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.vocabulary_min_count,
     .help = "drop tokens that occur less than N times in --data, but for those that other texts and tokens "
             "need"},
    {.name = "storage",
     .argument = "TYPE",
     .kind = CLI_STRING,
     .target = &arguments.storage,
     .choices = "f32|f16|bf16",
     .help = "type of the matrices; without, as they are, and F16 where they were quantised"},
    {.name = "dry-run",
     .kind = CLI_FLAG,
     .target = &arguments.dry_run,
     .help = "measure and say what would stay, and write nothing"},
    {.name = "rows",
     .letter = 'b',
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.rows,
     .min = 1,
     .max = 65536,
     .help = "sequences that are computed together (default 8)"},
    {.name = "length",
     .letter = 'c',
     .argument = "N",
     .kind = CLI_INT,
     .target = &options.length,
     .min = 2,
     .max = MOST,
     .help = "positions of a sequence (default 256, or the trained context if that is less)"},
    {.name = "positions",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.max_positions,
     .help = "measure on N positions at most (default 65536); 0: on all there are"},
    {.name = "seed",
     .argument = "N",
     .kind = CLI_U64,
     .target = &options.seed,
     .help = "of the choice of sequences (default 1)"},
    {.name = "random",
     .argument = "SEED",
     .kind = CLI_U64,
     .target = &options.random,
     .help = "choose what stays by chance, to compare with"},
    {0},
};

/* ---- The result ---- */

static json_t *shape_json(const millet_prune_shape *s)
{
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:I,s:I,s:I}", "layers", (int)s->layers, "heads",
                     (int)s->heads, "kv_heads", (int)s->kv_heads, "head_size", (int)s->head_size,
                     "feed_forward", (int)s->feed_forward, "width", (int)s->width, "vocabulary",
                     (int)s->vocabulary, "parameters", (json_int_t)s->parameters, "bytes",
                     (json_int_t)s->bytes, "cache_bytes_per_position", (json_int_t)s->cache_bytes);
}

static json_t *parts_json(const millet_prune_part *parts, int64_t n)
{
    json_t *importance = json_array(), *kept = json_array();
    for (int64_t i = 0; i < n; i++) {
        json_array_append_new(importance, json_real(parts[i].importance));
        if (parts[i].kept) json_array_append_new(kept, json_integer((json_int_t)i));
    }
    return json_pack("{s:o,s:o}", "importance", importance, "kept", kept);
}

static json_t *layer_json(const millet_pruning *p, int64_t layer)
{
    const millet_prune_shape *s = &p->before;
    json_t *object = json_pack("{s:i,s:f,s:b}", "layer", (int)layer, "influence", p->layers[layer].importance,
                               "kept", (int)p->layers[layer].kept);
    json_object_set_new(object, "kv_heads", parts_json(p->groups + layer * s->kv_heads, s->kv_heads));
    json_object_set_new(object, "heads", parts_json(p->heads + layer * s->heads, s->heads));
    json_object_set_new(object, "feed_forward",
                        parts_json(p->feed_forward + layer * s->feed_forward, s->feed_forward));
    return object;
}

static json_t *loss_json(double loss)
{
    return isfinite(loss) ? json_real(loss) : json_null();
}

static json_t *result_json(const char *input, const millet_pruning *p)
{
    json_t *layers = json_array();
    for (int32_t i = 0; i < p->before.layers; i++)
        json_array_append_new(layers, layer_json(p, i));
    json_t *object =
        json_pack("{s:s,s:o,s:o,s:I,s:o,s:o,s:o,s:o}", "input", input, "before", shape_json(&p->before),
                  "after", shape_json(&p->after), "positions", (json_int_t)p->n_positions, "loss_before",
                  loss_json(p->loss_before), "loss_after", loss_json(p->loss_after), "layers", layers,
                  "width", parts_json(p->width, p->before.width));
    if (object && p->file_bytes) {
        json_object_set_new(object, "output", json_string(arguments.output));
        json_object_set_new(object, "file_bytes", json_integer((json_int_t)p->file_bytes));
    }
    if (object && options.vocabulary_min_count)
        json_object_set_new(object, "tokens_used", json_integer(p->tokens_used));
    return object;
}

static void print_heads(const millet_prune_part *parts, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        printf(" %.3g%s", parts[i].importance, parts[i].kept ? "" : "-");
}

/* How much of the importance stays, in percent. */
static double share_kept(const millet_prune_part *parts, int64_t n)
{
    double all = 0, kept = 0;
    for (int64_t i = 0; i < n; i++) {
        all += parts[i].importance;
        if (parts[i].kept) kept += parts[i].importance;
    }
    return all > 0 ? 100 * kept / all : 100;
}

static void print_table(const millet_pruning *p)
{
    const millet_prune_shape *s = &p->before;
    printf("importance, measured on %llu positions; - is cut out\n", (unsigned long long)p->n_positions);
    for (int64_t i = 0; i < s->layers; i++) {
        printf("  layer %3d%s influence %.4f", (int)i, p->layers[i].kept ? " " : "-",
               p->layers[i].importance);
        if (!p->layers[i].kept) {
            putchar('\n');
            continue;
        }
        if (s->kv_heads < s->heads) {
            printf("  key heads");
            print_heads(p->groups + i * s->kv_heads, s->kv_heads);
        }
        printf("  heads");
        print_heads(p->heads + i * s->heads, s->heads);
        printf("  feed-forward %.1f%% kept\n",
               share_kept(p->feed_forward + i * s->feed_forward, s->feed_forward));
    }
    printf("  width %.1f%% kept\n", share_kept(p->width, s->width));
}

static void print_shape(const char *name, const millet_prune_shape *s)
{
    printf("  %-7s %d layers, %d heads over %d of %d, feed-forward %d, width %d, %d tokens: %.3f million "
           "parameters, "
           "%s of weights, %s of cache a position\n",
           name, s->layers, s->heads, s->kv_heads, s->head_size, s->feed_forward, s->width, s->vocabulary,
           (double)s->parameters / 1e6, cli_bytes(s->bytes), cli_bytes(s->cache_bytes));
}

static int print_result(const char *input, const millet_pruning *p)
{
    if (cli_json) return cli_print_json(result_json(input, p));
    print_table(p);
    print_shape("before", &p->before);
    print_shape("after", &p->after);
    if (options.vocabulary_min_count)
        printf("  %d tokens occur often enough, %d more are needed\n", p->tokens_used,
               p->after.vocabulary - p->tokens_used);
    if (isfinite(p->loss_after))
        printf("  loss %.4f became %.4f: train the result to heal it (millet train)\n", p->loss_before,
               p->loss_after);
    else
        printf("  no loss: every text has tokens that were dropped\n");
    if (p->file_bytes) printf("%s: %s\n", arguments.output, cli_bytes(p->file_bytes));
    return CLI_OK;
}

/* ---- The verb ---- */

static char *folder_of_caches(void)
{
    const char *slash = arguments.output ? strrchr(arguments.output, '/') : NULL;
    if (arguments.folder) return strdup(arguments.folder);
    if (!slash) return strdup(".");
    return strndup(arguments.output, slash == arguments.output ? 1 : (size_t)(slash - arguments.output));
}

static int prepare_data(const char *model)
{
    millet_tokenizer *tokenizer = NULL;
    millet_error err;
    if (millet_tokenizer_open(model, cli_model.tokenizer, NULL, &tokenizer, &err) != MILLET_OK)
        return cli_fail(&err);
    millet_train_options train = {.n_threads = cli_threads};
    char *folder = folder_of_caches();
    int code = folder ? cli_prepare_sources(&arguments.data, &arguments.evaluation, folder, tokenizer, &train)
                      : cli_fail_text("out of memory");
    options.data = train.data;
    options.n_data = train.n_data;
    options.evaluation_data = train.evaluation_data;
    options.n_evaluation_data = train.n_evaluation_data;
    free(folder);
    millet_tokenizer_close(&tokenizer);
    return code;
}

static int prune(const char *model)
{
    static char label[] = "measuring";
    int code = prepare_data(model);
    if (code != CLI_OK) return code;
    options.tokenizer_path = cli_model.tokenizer;
    options.n_threads = cli_threads;
    options.progress = cli_progress_callback;
    options.context = label;
    millet_pruning *result = NULL;
    millet_error err;
    millet_status status =
        millet_prune(model, arguments.dry_run ? NULL : arguments.output, &options, &result, &err);
    cli_progress_end();
    if (status == MILLET_CANCELLED) return cli_fail_text("interrupted; nothing was written");
    if (status != MILLET_OK) return cli_fail(&err);
    code = print_result(model, result);
    millet_pruning_free(&result);
    return code;
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    if (cli_list_chat_templates()) return CLI_OK;
    if (!arguments.data.count) return cli_usage("--data FILE is missing: what to measure importance on");
    if (!arguments.output && !arguments.dry_run)
        return cli_usage("-o FILE is missing: the GGUF file to write; or --dry-run");
    if (arguments.storage && !strcmp(arguments.storage, "f32")) options.storage = MILLET_PRUNE_F32;
    if (arguments.storage && !strcmp(arguments.storage, "f16")) options.storage = MILLET_PRUNE_F16;
    if (arguments.storage && !strcmp(arguments.storage, "bf16")) options.storage = MILLET_PRUNE_BF16;
    cli_catch_interrupt();
    int code = prune(operands[0]);
    cli_release_sources();
    return code;
}

static void set_defaults(void)
{
    options = millet_prune_options_default();
}

static const struct cli_option *const groups[] = {rows,           cli_source_rows, cli_threads_rows,
                                                  cli_model_rows, cli_json_rows,   NULL};

const struct cli_verb cli_verb_prune = {
    .name = "prune",
    .summary = "make a model smaller: cut out the layers, heads, channels and tokens that do least",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Runs the model over calibration data, measures how much each of its parts does, and writes a "
        "smaller "
        "model of those that do most: layers by their influence on the residual stream, key heads with their "
        "query "
        "heads by what they add to it, channels of the feed-forward and of the residual stream by their "
        "magnitude, "
        "tokens by how often they occur. What stays is an ordinary GGUF file. The numbers say how many stay; "
        "what is "
        "not given stays whole.\n\n"
        "A pruned model has lost something: train it on (millet train), best with the old one as its "
        "teacher, and "
        "quantise it afterwards (millet compact). Matrices keep their type, and become F16 where they were "
        "quantised.\n\n"
        "Data are those of millet train: texts, records, caches of tokens; take what the model is for.",
    .examples =
        "millet prune m.gguf -f chats.jsonl -o small.gguf --layers 6 --kv-heads 2 --feed-forward 512\tby "
        "importance\n"
        "millet prune m.gguf -f chats.jsonl -o small.gguf --parameters 5000000\tthe shape that costs least\n"
        "millet prune m.gguf -f chats.jsonl --dry-run --width 192 --vocabulary-min-count 1\tsay what would "
        "stay, and the loss",
    .options = groups,
    .prepare = set_defaults,
    .run = run,
};
