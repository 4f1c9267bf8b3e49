/* millet logits: raw logits of given tokens, for comparing engines. SPDX-License-Identifier: Apache-2.0 */
#include "adapters.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *tokens, *output;
    bool one_by_one;
} arguments;

static const struct cli_option rows[] = {
    {.name = "tokens",
     .argument = "IDS",
     .kind = CLI_STRING,
     .target = &arguments.tokens,
     .help = "the tokens to compute, separated by commas; nothing is added to them"},
    {.name = "one-by-one",
     .kind = CLI_FLAG,
     .target = &arguments.one_by_one,
     .help = "compute them one at a time instead of together; the result is the same to the bit"},
    {.name = "output",
     .letter = 'o',
     .argument = "FILE",
     .kind = CLI_STRING,
     .target = &arguments.output,
     .help = "where to write little-endian 32-bit floats, a row of the vocabulary's size for each token"},
    {0},
};

/* Computes all rows and writes them to `file`. */
static millet_status write_rows(millet_session *session, const int32_t *ids, size_t count, int32_t n_vocab,
                                FILE *file, millet_error *err)
{
    size_t step = arguments.one_by_one ? 1 : count;
    millet_item *items = calloc(step, sizeof *items);
    millet_status status = items ? MILLET_OK : MILLET_NO_MEMORY;
    if (!items)
        *err = (millet_error){.status = status, .message = "out of memory", .offset = MILLET_NO_OFFSET};
    for (size_t at = 0; status == MILLET_OK && at < count; at += step) {
        for (size_t i = 0; i < step; i++)
            items[i] = (millet_item){.token = ids[at + i], .logits = true};
        status = millet_eval(session, items, (int32_t)step, err);
        for (size_t i = 0; status == MILLET_OK && i < step; i++)
            fwrite(millet_logits(session, (int32_t)i), sizeof(float), (size_t)n_vocab, file);
    }
    free(items);
    return status;
}

static int compute(const millet_model *model, const int32_t *ids, size_t count, int32_t n_vocab)
{
    millet_session_options options = cli_session_options();
    options.n_logits = arguments.one_by_one ? 1 : (int32_t)count;
    millet_session *session = NULL;
    millet_error err;
    int opened = cli_open_adapters(model, &options.adapters, &options.n_adapters);
    if (opened != CLI_OK) return opened;
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) return cli_fail(&err);

    /* Under a temporary name first, so that a half-written file is never taken for a whole one. */
    char *temporary = malloc(strlen(arguments.output) + 32);
    FILE *file = NULL;
    int status = CLI_FAILED;
    if (temporary) {
        sprintf(temporary, "%s.%ld.tmp", arguments.output, (long)getpid());
        file = fopen(temporary, "wb");
    }
    if (!file) {
        cli_fail_text("%s: cannot write: %s", arguments.output, strerror(errno));
    } else {
        millet_status computed = write_rows(session, ids, count, n_vocab, file, &err);
        bool written = fflush(file) == 0 && fsync(fileno(file)) == 0 && !ferror(file);
        written = fclose(file) == 0 && written;
        if (computed != MILLET_OK)
            cli_fail(&err);
        else if (!written || rename(temporary, arguments.output) != 0)
            cli_fail_text("%s: cannot write: %s", arguments.output, strerror(errno));
        else
            status = CLI_OK;
        if (status != CLI_OK) remove(temporary);
    }
    free(temporary);
    millet_session_close(&session);
    if (status == CLI_OK && cli_json)
        return cli_print_json(json_pack("{s:s,s:[i,i],s:s}", "file", arguments.output, "shape", (int)count,
                                        (int)n_vocab, "cpu", millet_cpu_tier()));
    return status;
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    if (!arguments.tokens) return cli_usage("--tokens is missing, for example --tokens 1,5,7");
    if (!arguments.output) return cli_usage("-o FILE is missing: where to write the logits");
    millet_model *model = cli_open_model(operands[0]);
    if (!model) return CLI_FAILED;
    millet_model_info info;
    millet_model_get_info(model, &info);
    int32_t *ids;
    size_t count;
    int status = CLI_USAGE;
    if (cli_parse_ids(arguments.tokens, info.n_vocab, &ids, &count)) {
        status = count ? compute(model, ids, count, info.n_vocab) : cli_usage("--tokens is empty");
        free(ids);
    }
    cli_close_adapters();
    millet_model_close(&model);
    return status;
}

static const struct cli_option *const groups[] = {
    rows, cli_adapter_rows, cli_session_rows, cli_threads_rows, cli_model_rows, cli_json_rows, NULL};

const struct cli_verb cli_verb_logits = {
    .name = "logits",
    .summary = "write the raw logits of given tokens to a file",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Feeds the tokens to the model, from an empty context, and writes the logits after each "
                   "of them, so that "
                   "anybody can compare engines.",
    .examples = "millet logits model.gguf --tokens 1,5,7 -o logits.f32\tthree rows",
    .options = groups,
    .run = run,
};
