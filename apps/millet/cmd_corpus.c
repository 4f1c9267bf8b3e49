/* millet corpus: sources to token caches, and what is in them. SPDX-License-Identifier: Apache-2.0 */
#include "caches.h"
#include "skips.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *tokenizer, *folder;
    uint64_t document;
} arguments;

static const struct cli_option rows[] = {
    {.name = "model",
     .letter = 'm',
     .argument = "MODEL",
     .kind = CLI_STRING,
     .target = &arguments.tokenizer,
     .help = "the model, GGUF file without tensors or tokenizer.json whose tokens are wanted"},
    {.name = "output",
     .letter = 'o',
     .argument = "DIR",
     .kind = CLI_STRING,
     .target = &arguments.folder,
     .help = "build: where SOURCE.tokens is written; without: beside the source"},
    {.name = "document",
     .letter = 'd',
     .argument = "N",
     .kind = CLI_U64,
     .target = &arguments.document,
     .help = "show: which document, from 0"},
    {0},
};

static json_t *info_json(const char *cache, const millet_cache_info *i)
{
    return json_pack("{s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:b,s:b,s:o}", "cache", cache, "reused",
                     (int)i->reused, "documents", (json_int_t)i->n_documents, "tokens",
                     (json_int_t)i->n_tokens, "trained_tokens", (json_int_t)i->n_trained, "labels",
                     (json_int_t)i->n_labels, "text_bytes", (json_int_t)i->text_bytes, "source_bytes",
                     (json_int_t)i->source_bytes, "file_bytes", (json_int_t)i->file_bytes, "vocabulary",
                     (int)i->n_vocab, "token_bytes", (int)i->token_bytes, "masked", (int)i->masked,
                     "prefixes", (int)i->prefixes, "skipped", cli_skips_json(i->n_skipped));
}

static int build_one(const millet_tokenizer *tokenizer, const char *source, json_t *list)
{
    char *path = cli_cache_path(source, arguments.folder, 1);
    if (!path) return cli_fail_text("out of memory");
    millet_cache_info info;
    int code = cli_build_cache(tokenizer, source, path, cli_threads, &info);
    if (code == CLI_OK && list)
        json_array_append_new(list, info_json(path, &info));
    else if (code == CLI_OK)
        cli_print_cache(stdout, path, &info);
    free(path);
    return code;
}

static int build(int n_sources, char **sources)
{
    if (n_sources == 0)
        return cli_usage("SOURCE is missing; the form is: millet corpus build SOURCE... -m MODEL");
    if (!arguments.tokenizer) return cli_usage("-m MODEL is missing: whose tokens are wanted");
    millet_tokenizer *tokenizer;
    millet_error err;
    if (millet_tokenizer_open(arguments.tokenizer, cli_model.tokenizer, NULL, &tokenizer, &err) != MILLET_OK)
        return cli_fail(&err);
    cli_catch_interrupt();
    json_t *list = cli_json ? json_array() : NULL;
    int code = CLI_OK;
    for (int i = 0; i < n_sources && code == CLI_OK; i++)
        code = build_one(tokenizer, sources[i], list);
    millet_tokenizer_close(&tokenizer);
    if (code == CLI_OK && list) return cli_print_json(list);
    json_decref(list);
    return code;
}

static int inspect(int n_caches, char **caches)
{
    if (n_caches == 0) return cli_usage("CACHE is missing; the form is: millet corpus inspect CACHE...");
    json_t *list = cli_json ? json_array() : NULL;
    for (int i = 0; i < n_caches; i++) {
        millet_cache *cache;
        millet_cache_info info;
        millet_error err;
        if (millet_cache_open(caches[i], NULL, true, &cache, &err) != MILLET_OK) {
            json_decref(list);
            return cli_fail(&err);
        }
        millet_cache_get_info(cache, &info);
        millet_cache_close(&cache);
        if (list)
            json_array_append_new(list, info_json(caches[i], &info));
        else
            cli_print_cache(stdout, caches[i], &info);
    }
    return list ? cli_print_json(list) : CLI_OK;
}

/* The text of a token, as a JSON string or null. */
static json_t *token_json(const millet_tokenizer *tokenizer, int32_t id)
{
    size_t length;
    const char *text = millet_tokenizer_token(tokenizer, id, &length);
    json_t *string = text ? json_stringn(text, length) : NULL;
    return string ? string : json_null();
}

static void print_token(const millet_tokenizer *tokenizer, int32_t id)
{
    size_t length;
    const char *text = millet_tokenizer_token(tokenizer, id, &length);
    if (text) fwrite(text, 1, length, stdout);
}

/* One token a line: its number, whether it is trained on, whether it is in the prefix, its text, its label.
 */
static int show_tokens(const millet_cache *cache, const millet_tokenizer *tokenizer,
                       const millet_document *document)
{
    json_t *list = cli_json ? json_array() : NULL;
    for (uint64_t i = 0; i < document->count; i++) {
        bool trained;
        int32_t id = millet_cache_token(cache, document->first + i, &trained);
        int32_t label = millet_cache_label(cache, document->first + i);
        if (list) {
            json_t *line = json_pack("{s:i,s:o,s:b,s:b}", "id", (int)id, "text", token_json(tokenizer, id),
                                     "trained", (int)trained, "prefix", (int)(i < document->prefix));
            if (line && label >= 0) json_object_set_new(line, "label", token_json(tokenizer, label));
            json_array_append_new(list, line);
            continue;
        }
        printf("%7d %c%c ", id, trained ? '+' : '.', i < document->prefix ? '<' : ' ');
        print_token(tokenizer, id);
        if (label >= 0) {
            printf("  ");
            print_token(tokenizer, label);
        }
        putchar('\n');
    }
    return list ? cli_print_json(list) : CLI_OK;
}

static int show(const char *path)
{
    if (!arguments.tokenizer) return cli_usage("-m MODEL is missing: whose tokens they are");
    millet_tokenizer *tokenizer = NULL;
    millet_cache *cache = NULL;
    millet_document document;
    millet_error err;
    int code = CLI_OK;
    if (millet_tokenizer_open(arguments.tokenizer, cli_model.tokenizer, NULL, &tokenizer, &err) !=
            MILLET_OK ||
        millet_cache_open(path, NULL, false, &cache, &err) != MILLET_OK ||
        millet_cache_document(cache, arguments.document, &document, &err) != MILLET_OK) {
        code = cli_fail(&err);
    } else {
        millet_cache_info cache_info;
        millet_tokenizer_info tokenizer_info;
        millet_cache_get_info(cache, &cache_info);
        millet_tokenizer_get_info(tokenizer, &tokenizer_info);
        if (cache_info.tokenizer_checksum != tokenizer_info.checksum)
            code = cli_fail_text("%s was made with another tokenizer than that of %s", path,
                                 arguments.tokenizer);
        else
            code = show_tokens(cache, tokenizer, &document);
    }
    millet_cache_close(&cache);
    millet_tokenizer_close(&tokenizer);
    return code;
}

static int run(int n_operands, char **operands)
{
    static const char *const actions[] = {"build", "inspect", "show", NULL};
    const char *action = operands[0];
    if (cli_list_chat_templates()) return CLI_OK;
    if (strcmp(action, "build") == 0) return build(n_operands - 1, operands + 1);
    if (strcmp(action, "inspect") == 0) return inspect(n_operands - 1, operands + 1);
    if (strcmp(action, "show") == 0) {
        if (n_operands != 2) return cli_usage("the form is: millet corpus show CACHE -m MODEL --document N");
        return show(operands[1]);
    }
    const char *nearest = cli_nearest(action, actions);
    return cli_usage("\"%s\" is none of build, inspect, show; did you mean millet corpus %s?", action,
                     nearest ? nearest : "build");
}

static const struct cli_option *const groups[] = {rows,           cli_source_rows, cli_threads_rows,
                                                  cli_model_rows, cli_json_rows,   NULL};

const struct cli_verb cli_verb_corpus = {
    .name = "corpus",
    .summary = "turn texts and dialogues into cached tokens for training",
    .operands = "build|inspect|show FILE...",
    .min_operands = 1,
    .max_operands = 4096,
    .description = "build SOURCE... tokenises texts (.txt) and records (.jsonl: {\"text\"}, {\"prompt\", "
                   "\"completion\"}, {\"messages\"}), also "
                   "compressed (.gz), once into a file SOURCE.tokens that training maps. A cache that was "
                   "made of the same source with the same "
                   "tokenizer and options is left as it is. What cannot be used is left out and counted. A "
                   "run that is stopped leaves the old "
                   "cache.\n\n"
                   "inspect CACHE... shows what is in caches, after comparing their checksums. show CACHE "
                   "prints the tokens of a document: + marks "
                   "those that are trained on, < those of a prefix that sees itself in both directions; a "
                   "tagged token has its label behind it.",
    .examples = "millet corpus build books.txt.gz chats.jsonl -m model.gguf -o cache\ttwo caches\n"
                "millet corpus show cache/chats.jsonl.tokens -m model.gguf -d 3\twhich tokens are trained on",
    .options = groups,
    .run = run,
};
