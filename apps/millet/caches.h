/* What the verbs share that turn sources into token caches. SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLET_CLI_CACHES_H
#define MILLET_CLI_CACHES_H

#include "cli.h"
#include "millet/corpus.h"

/* How sources are read, as the rows below fill it. */
struct cli_source_options {
    const char *separator, *chat_template;
    uint64_t max_line;
    bool special, rebuild;
};

extern struct cli_source_options cli_source;
extern const struct cli_option cli_source_rows[];

/* --chat-template list: prints the names and returns true. */
bool cli_list_chat_templates(void);

/* FOLDER/NAME.tokens, or SOURCE.tokens beside the source where `folder` is NULL; with `number` > 1
 * NAME.NUMBER.tokens, for sources that share a name. Released with free; NULL: no memory. */
char *cli_cache_path(const char *source, const char *folder, size_t number);

/* Makes a cache, or finds it current, with a progress line. Returns CLI_OK, or CLI_FAILED after a message. */
int cli_build_cache(const millet_tokenizer *tokenizer, const char *source, const char *cache, int32_t threads,
                    millet_cache_info *info);

/* A line about a cache, and on stderr what was left out of its source. */
void cli_print_cache(FILE *out, const char *cache, const millet_cache_info *info);

#endif
