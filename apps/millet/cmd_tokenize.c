/* millet tokenize: text to token ids and back. SPDX-License-Identifier: Apache-2.0 */
#include "verbs.h"

#include "millet/corpus.h"

#include <stdlib.h>
#include <string.h>

static struct {
    bool ids, special, bos, decode;
} arguments;

static const struct cli_option rows[] = {
    {.name = "ids", .kind = CLI_FLAG, .target = &arguments.ids, .help = "print the ids alone, on one line"},
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &arguments.special,
     .help = "recognise special tokens that are written in the text; with --decode: write them"},
    {.name = "bos",
     .kind = CLI_FLAG,
     .target = &arguments.bos,
     .help = "add BOS (and EOS) where the model asks for it"},
    {.name = "decode",
     .letter = 'd',
     .kind = CLI_FLAG,
     .target = &arguments.decode,
     .help = "the other way: read ids from the standard input, write their text"},
    {0},
};

static json_t *token_json(const millet_tokenizer *tokenizer, int32_t id)
{
    size_t length;
    const char *text = millet_tokenizer_token(tokenizer, id, &length);
    json_t *string = json_stringn(text, length);
    if (!string) string = json_null(); /* not UTF-8 */
    return json_pack("{s:i,s:o}", "id", (int)id, "text", string);
}

static int print_ids(const millet_tokenizer *tokenizer, const int32_t *ids, size_t count)
{
    if (cli_json) {
        json_t *array = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(array, token_json(tokenizer, ids[i]));
        return cli_print_json(array);
    }
    for (size_t i = 0; i < count; i++) {
        if (arguments.ids) {
            printf(i ? " %d" : "%d", ids[i]);
        } else {
            size_t length;
            const char *text = millet_tokenizer_token(tokenizer, ids[i], &length);
            printf("%7d  ", ids[i]);
            fwrite(text, 1, length, stdout);
            putchar('\n');
        }
    }
    if (arguments.ids) putchar('\n');
    return CLI_OK;
}

static int tokenize(const millet_tokenizer *tokenizer, const char *text, size_t length)
{
    unsigned flags =
        (arguments.special ? MILLET_TOKENIZE_SPECIAL : 0u) | (arguments.bos ? MILLET_TOKENIZE_BOS : 0u);
    millet_error err;
    size_t capacity = length + 16, count = 0; /* seldom more tokens than bytes; else once more */
    int32_t *ids = NULL;
    for (;;) {
        free(ids);
        ids = malloc(capacity * sizeof *ids);
        if (!ids) return cli_fail_text("out of memory");
        if (millet_tokenizer_encode(tokenizer, text, length, flags, ids, capacity, &count, &err) !=
            MILLET_OK) {
            free(ids);
            return cli_fail(&err);
        }
        if (count <= capacity) break;
        capacity = count;
    }
    int status = print_ids(tokenizer, ids, count);
    free(ids);
    return status;
}

static int detokenize(const millet_tokenizer *tokenizer, const char *text, size_t length)
{
    millet_tokenizer_info info;
    millet_tokenizer_get_info(tokenizer, &info);
    int32_t *ids;
    size_t count;
    char *line = malloc(length + 1);
    if (!line) return cli_fail_text("out of memory");
    memcpy(line, text, length);
    line[length] = 0;
    bool parsed = cli_parse_ids(line, info.n_tokens, &ids, &count);
    free(line);
    if (!parsed) return CLI_USAGE;

    millet_error err;
    size_t needed = 0;
    char *out = NULL;
    millet_status status =
        millet_tokenizer_decode(tokenizer, ids, count, arguments.special, NULL, 0, &needed, &err);
    if (status == MILLET_OK) {
        out = malloc(needed + 1);
        if (!out) {
            free(ids);
            return cli_fail_text("out of memory");
        }
        status =
            millet_tokenizer_decode(tokenizer, ids, count, arguments.special, out, needed, &needed, &err);
    }
    if (status == MILLET_OK) fwrite(out, 1, needed, stdout);
    free(out);
    free(ids);
    return status == MILLET_OK ? CLI_OK : cli_fail(&err);
}

static int run(int n_operands, char **operands)
{
    (void)n_operands;
    millet_tokenizer *tokenizer;
    millet_error err;
    if (millet_tokenizer_open(operands[0], cli_model.tokenizer, NULL, &tokenizer, &err) != MILLET_OK)
        return cli_fail(&err);
    char *text;
    size_t length;
    int status = CLI_FAILED;
    if (cli_read_text(NULL, &text, &length)) {
        status = arguments.decode ? detokenize(tokenizer, text, length) : tokenize(tokenizer, text, length);
        free(text);
    }
    millet_tokenizer_close(&tokenizer);
    return status;
}

static const struct cli_option *const groups[] = {rows, cli_model_rows, cli_json_rows, NULL};

const struct cli_verb cli_verb_tokenize = {
    .name = "tokenize",
    .summary = "turn text into token ids, or ids into text",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Reads text from the standard input, exactly as it is (a newline at the end counts), and prints its "
        "tokens: one a line with id and stored text, or with --ids the ids alone on one line. MODEL may be a "
        "file that "
        "holds a tokenizer alone: a GGUF file without tensors, or a tokenizer.json.",
    .examples = "printf 'Hello world' | millet tokenize model.gguf --ids\tthe ids of two words\n"
                "echo 1,15043,3186 | millet tokenize model.gguf --decode\tand back",
    .options = groups,
    .run = run,
};
