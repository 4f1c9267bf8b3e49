/* Sources to token caches, for the command line. SPDX-License-Identifier: Apache-2.0 */
#include "caches.h"

#include "skips.h"

#include <stdlib.h>
#include <string.h>

struct cli_source_options cli_source;

const struct cli_option cli_source_rows[] = {
    {.name = "chat-template",
     .argument = "NAME",
     .kind = CLI_STRING,
     .target = &cli_source.chat_template,
     .help = "how dialogues are written; without: as the model's file says. list: all names"},
    {.name = "separator",
     .argument = "LINE",
     .kind = CLI_STRING,
     .target = &cli_source.separator,
     .help = "a line that ends a document of a text; without: <|endoftext|>; empty: a file is one document"},
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &cli_source.special,
     .help = "control tokens that are written in texts are those tokens"},
    {.name = "max-line",
     .argument = "BYTES",
     .kind = CLI_U64,
     .target = &cli_source.max_line,
     .help = "longer lines of JSONL are left out; 0: 16777216"},
    {.name = "rebuild",
     .kind = CLI_FLAG,
     .target = &cli_source.rebuild,
     .help = "tokenise also where the old cache is current"},
    {0},
};

bool cli_list_chat_templates(void)
{
    if (!cli_source.chat_template || strcmp(cli_source.chat_template, "list") != 0) return false;
    puts(millet_chat_template_names());
    return true;
}

char *cli_cache_path(const char *source, const char *folder, size_t number)
{
    const char *slash = strrchr(source, '/');
    const char *name = folder && slash ? slash + 1 : source;
    size_t size = strlen(name) + (folder ? strlen(folder) : 0) + 40;
    char *path = malloc(size), count[24] = "";
    if (number > 1) snprintf(count, sizeof count, ".%zu", number);
    if (path) snprintf(path, size, "%s%s%s%s.tokens", folder ? folder : "", folder ? "/" : "", name, count);
    return path;
}

int cli_build_cache(const millet_tokenizer *tokenizer, const char *source, const char *cache, int32_t threads,
                    millet_cache_info *info)
{
    static char label[] = "tokenising";
    millet_cache_options options = millet_cache_options_default();
    options.source = (millet_source_options){.separator = cli_source.separator,
                                             .chat_template = cli_source.chat_template,
                                             .max_line_bytes = cli_source.max_line,
                                             .special = cli_source.special};
    options.n_threads = threads;
    options.rebuild = cli_source.rebuild;
    options.progress = cli_progress_callback;
    options.context = label;
    millet_error err;
    millet_status status = millet_cache_build(source, cache, tokenizer, &options, info, &err);
    cli_progress_end();
    if (status == MILLET_CANCELLED) return cli_fail_text("interrupted; %s is as it was", cache);
    return status == MILLET_OK ? CLI_OK : cli_fail(&err);
}

void cli_print_cache(FILE *out, const char *cache, const millet_cache_info *i)
{
    fprintf(out, "%s: %llu documents, %llu tokens (%.3f bytes a token)", cache,
            (unsigned long long)i->n_documents, (unsigned long long)i->n_tokens,
            i->n_tokens ? (double)i->text_bytes / (double)i->n_tokens : 0.0);
    if (i->masked) fprintf(out, ", %llu trained on", (unsigned long long)i->n_trained);
    if (i->prefixes) fprintf(out, ", with prefixes");
    if (i->n_labels) fprintf(out, ", %llu labels", (unsigned long long)i->n_labels);
    fprintf(out, ", %s%s\n", cli_bytes(i->file_bytes), i->reused ? ", as it was" : "");
    fflush(out);
    cli_print_skips(i->n_skipped);
}
