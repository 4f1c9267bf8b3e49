/* millet corpus: sources to token caches, and what is in them. SPDX-License-Identifier: Apache-2.0 */
#include "skips.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const char *tokenizer, *folder, *separator, *chat_template;
    int32_t threads;
    uint64_t max_line, document;
    bool special, rebuild;
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
    {.name = "chat-template",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &arguments.chat_template,
     .help = "build: how dialogues are written; without: as the model's file says. list: all names"},
    {.name = "separator",
     .argument = "LINE",
     .kind = CLI_STRING,
     .target = &arguments.separator,
     .help = "build: a line that ends a document of a text; without: <|endoftext|>; empty: a file is one "
             "document"},
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &arguments.special,
     .help = "build: control tokens that are written in texts are those tokens"},
    {.name = "max-line",
     .argument = "BYTES",
     .kind = CLI_U64,
     .target = &arguments.max_line,
     .help = "build: longer lines of JSONL are left out; 0: 16777216"},
    {.name = "rebuild",
     .kind = CLI_FLAG,
     .target = &arguments.rebuild,
     .help = "build: also where the old cache is current"},
    {.name = "document",
     .letter = 'd',
     .argument = "N",
     .kind = CLI_U64,
     .target = &arguments.document,
     .help = "show: which document, from 0"},
    {.name = "threads",
     .letter = 't',
     .argument = "N",
     .kind = CLI_INT,
     .target = &arguments.threads,
     .max = 256,
     .help = "threads; 0: one for each CPU. The cache is the same with each number"},
    {0},
};

static json_t *info_json(const char *cache, const millet_cache_info *i)
{
    return json_pack("{s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:b,s:b,s:o}", "cache", cache, "reused",
                     (int)i->reused, "documents", (json_int_t)i->n_documents, "tokens",
                     (json_int_t)i->n_tokens, "trained_tokens", (json_int_t)i->n_trained, "text_bytes",
                     (json_int_t)i->text_bytes, "source_bytes", (json_int_t)i->source_bytes, "file_bytes",
                     (json_int_t)i->file_bytes, "vocabulary", (int)i->n_vocab, "token_bytes",
                     (int)i->token_bytes, "masked", (int)i->masked, "prefixes", (int)i->prefixes, "skipped",
                     cli_skips_json(i->n_skipped));
}

static void print_info(const char *cache, const millet_cache_info *i)
{
    printf("%s: %llu documents, %llu tokens (%.3f bytes a token)", cache, (unsigned long long)i->n_documents,
           (unsigned long long)i->n_tokens, i->n_tokens ? (double)i->text_bytes / (double)i->n_tokens : 0.0);
    if (i->masked) printf(", %llu trained on", (unsigned long long)i->n_trained);
    if (i->prefixes) printf(", with prefixes");
    printf(", %s%s\n", cli_bytes(i->file_bytes), i->reused ? ", as it was" : "");
    fflush(stdout);
    cli_print_skips(i->n_skipped);
}

static char *cache_path(const char *source)
{
    const char *slash = strrchr(source, '/');
    const char *name = arguments.folder && slash ? slash + 1 : source;
    size_t size = strlen(name) + (arguments.folder ? strlen(arguments.folder) : 0) + 16;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%s.tokens", arguments.folder ? arguments.folder : "",
                 arguments.folder ? "/" : "", name);
    return path;
}

static int build_one(const millet_tokenizer *tokenizer, const char *source, json_t *list)
{
    millet_cache_options options = millet_cache_options_default();
    options.source = (millet_source_options){.separator = arguments.separator,
                                             .chat_template = arguments.chat_template,
                                             .max_line_bytes = arguments.max_line,
                                             .special = arguments.special};
    options.n_threads = arguments.threads;
    options.rebuild = arguments.rebuild;
    options.progress = cli_progress_callback;
    static char label[] = "tokenising";
    options.context = label;
    char *path = cache_path(source);
    if (!path) return cli_fail_text("out of memory");
    millet_cache_info info;
    millet_error err;
    millet_status status = millet_cache_build(source, path, tokenizer, &options, &info, &err);
    cli_progress_end();
    int code = CLI_OK;
    if (status == MILLET_CANCELLED)
        code = cli_fail_text("interrupted; %s is as it was", path);
    else if (status != MILLET_OK)
        code = cli_fail(&err);
    else if (list)
        json_array_append_new(list, info_json(path, &info));
    else
        print_info(path, &info);
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
            print_info(caches[i], &info);
    }
    return list ? cli_print_json(list) : CLI_OK;
}

/* One token a line: its number, whether it is trained on, whether it is in the prefix, its text. */
static int show_tokens(const millet_cache *cache, const millet_tokenizer *tokenizer,
                       const millet_document *document)
{
    json_t *list = cli_json ? json_array() : NULL;
    for (uint64_t i = 0; i < document->count; i++) {
        bool trained;
        size_t length;
        int32_t id = millet_cache_token(cache, document->first + i, &trained);
        const char *text = millet_tokenizer_token(tokenizer, id, &length);
        if (!text) length = 0;
        if (list) {
            json_t *string = json_stringn(text ? text : "", length);
            json_array_append_new(list, json_pack("{s:i,s:o,s:b,s:b}", "id", (int)id, "text",
                                                  string ? string : json_null(), "trained", (int)trained,
                                                  "prefix", (int)(i < document->prefix)));
            continue;
        }
        printf("%7d %c%c ", id, trained ? '+' : '.', i < document->prefix ? '<' : ' ');
        fwrite(text ? text : "", 1, length, stdout);
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
    if (arguments.chat_template && strcmp(arguments.chat_template, "list") == 0) {
        puts(millet_chat_template_names());
        return CLI_OK;
    }
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

static const struct cli_option *const groups[] = {rows, cli_model_rows, cli_json_rows, NULL};

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
                   "those that are trained on, < those of a prefix that sees itself in both directions.",
    .examples = "millet corpus build books.txt.gz chats.jsonl -m model.gguf -o cache\ttwo caches\n"
                "millet corpus show cache/chats.jsonl.tokens -m model.gguf -d 3\twhich tokens are trained on",
    .options = groups,
    .run = run,
};
