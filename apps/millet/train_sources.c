/* Sources and their weights to caches. SPDX-License-Identifier: Apache-2.0 */
#include "train_sources.h"

#include "caches.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = sizeof((struct cli_list *)NULL)->items / sizeof(char *) };

static struct {
    millet_train_data parts[MOST];
    const char *evaluation[MOST];
    char *names[MOST];             /* of --data, without the weight; owned */
    char *caches[2 * MOST];        /* owned */
    const char *sources[2 * MOST]; /* what they are made of */
    size_t n_names, n_caches;
} files;

void cli_release_sources(void)
{
    for (size_t i = 0; i < files.n_names; i++)
        free(files.names[i]);
    for (size_t i = 0; i < files.n_caches; i++)
        free(files.caches[i]);
    files.n_names = files.n_caches = 0;
}

static int take_part(const char *argument)
{
    size_t index = files.n_names;
    const char *text;
    char *name = cli_split_value(argument, &text), *end;
    if (!name) return cli_fail_text("out of memory");
    files.names[files.n_names++] = name;
    files.parts[index] = (millet_train_data){0};
    if (!text) return CLI_OK;
    double weight = strtod(text, &end), loss = 1;
    bool good = end > text && weight > 0 && isfinite(weight);
    if (*end == '@') {
        char *number = end + 1;
        loss = strtod(number, &end);
        good = good && end > number && loss > 0 && loss < 1e6;
    }
    if (!good || *end)
        return cli_usage(
            "--data %s: behind = stands a weight, a number above 0, and behind it there may be @ and "
            "what the file counts in the loss",
            argument);
    files.parts[index].weight = weight;
    files.parts[index].loss_weight = (float)loss;
    return CLI_OK;
}

static int take_parts(const struct cli_list *data)
{
    size_t weighted = 0;
    for (size_t i = 0; i < data->count; i++) {
        int code = take_part(data->items[i]);
        if (code != CLI_OK) return code;
        weighted += files.parts[i].weight > 0;
    }
    if (weighted && weighted < data->count)
        return cli_usage("--data FILE=WEIGHT: either each file has a weight or none");
    return CLI_OK;
}

static bool is_cache(const char *name)
{
    static const char tail[] = ".tokens";
    size_t length = strlen(name), n = sizeof tail - 1;
    return length > n && strcmp(name + length - n, tail) == 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The cache of a source, made where it is not there. */
static int prepare(const char *source, const char *folder, const millet_tokenizer *tokenizer, int32_t threads,
                   const char **cache)
{
    size_t number = 1, at = files.n_caches;
    millet_cache_info info;
    for (size_t i = 0; i < at; i++) {
        if (strcmp(files.sources[i], source) == 0) {
            *cache = files.caches[i];
            return CLI_OK;
        }
        number += strcmp(last_part(files.sources[i]), last_part(source)) == 0;
    }
    char *path = is_cache(source) ? strdup(source) : cli_cache_path(source, folder, number);
    if (!path) return cli_fail_text("out of memory");
    files.sources[at] = source;
    files.caches[files.n_caches++] = path;
    *cache = path;
    if (is_cache(source) || cli_quiet) return CLI_OK; /* one process makes it for all */
    int code = cli_build_cache(tokenizer, source, path, threads, &info);
    if (code == CLI_OK) cli_print_cache(stderr, path, &info);
    return code;
}

int cli_prepare_sources(const struct cli_list *data, const struct cli_list *evaluation, const char *folder,
                        const millet_tokenizer *tokenizer, millet_train_options *options)
{
    int code = take_parts(data);
    for (size_t i = 0; code == CLI_OK && i < data->count; i++)
        code = prepare(files.names[i], folder, tokenizer, options->n_threads, &files.parts[i].cache);
    for (size_t i = 0; code == CLI_OK && i < evaluation->count; i++)
        code = prepare(evaluation->items[i], folder, tokenizer, options->n_threads, &files.evaluation[i]);
    options->data = files.parts;
    options->n_data = data->count;
    options->evaluation_data = files.evaluation;
    options->n_evaluation_data = evaluation->count;
    return code;
}
