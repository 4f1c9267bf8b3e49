/*
 * Cutting text into words before byte-level BPE, with the models' own regular expressions.
 *
 * A pre-tokeniser is a list of stages. Each stage looks at the pieces that the stage before left, one at a
 * time and without their surroundings, and cuts them: every match becomes a piece, and so does what lies
 * between matches. (The "Split, isolated" of Hugging Face's tokenizer.json.)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_PRETOKENIZER_H
#define MLT_PRETOKENIZER_H

#include "base/memory.h"

/* What a GGUF file with this `tokenizer.ggml.pre` means where it does not say so itself. */
struct mlt_pretokenizer_traits {
    bool ignore_merges;  /* a word that is a token is taken as it is */
    bool add_bos;        /* BOS comes first unless the file says otherwise */
    bool always_bos;     /* ... even where the file says that it does not */
    bool no_default_bos; /* there is no BOS where the file names none */
    bool raw_text;       /* tokens are plain UTF-8 with U+2581 for the space, not byte-mapped */
};

/* Whether the name is known; then fills traits. NULL or "" mean "default". */
bool mlt_pretokenizer_traits(const char *name, struct mlt_pretokenizer_traits *traits);

struct mlt_pretokenizer;

/*
 * Compiles the stages of `name`, or where `pattern` is not NULL one stage with that regular expression (PCRE2
 * syntax, Unicode properties on). Errors: UNSUPPORTED (unknown name; a pattern that does not compile, with
 * the place and the reason), NO_MEMORY.
 */
millet_status mlt_pretokenizer_open(const millet_allocator *allocator, const char *name, const char *pattern,
                                    struct mlt_pretokenizer **out, millet_error *err);
void mlt_pretokenizer_close(struct mlt_pretokenizer **pretokenizer);

/* What one thread needs to use a pre-tokeniser; lives no longer than that. */
struct mlt_pretokenizer_scratch;

millet_status mlt_pretokenizer_scratch_open(const struct mlt_pretokenizer *pretokenizer,
                                            const millet_allocator *allocator,
                                            struct mlt_pretokenizer_scratch **out, millet_error *err);
void mlt_pretokenizer_scratch_close(struct mlt_pretokenizer_scratch **scratch);

typedef millet_status mlt_word_function(void *context, const char *word, size_t length, millet_error *err);

/*
 * Calls `word` for each piece of text[0..length), which is valid UTF-8, in order; stops at the first failure
 * and returns it. The pieces are never empty and make up the whole text. Errors: UNSUPPORTED where a pattern
 * would take unreasonably long on this text.
 */
millet_status mlt_pretokenizer_split(const struct mlt_pretokenizer *pretokenizer,
                                     struct mlt_pretokenizer_scratch *scratch, const char *text,
                                     size_t length, mlt_word_function *word, void *context,
                                     millet_error *err);

/* pretokenizer_table.c: the stages of the known names. */
enum { MLT_MAX_STAGES = 8 };

enum mlt_stage_kind {
    MLT_STAGE_NONE,
    MLT_STAGE_PATTERN, /* a regular expression */
    MLT_STAGE_TRIPLES, /* a regular expression whose matches are runs of digits: cut into threes from their
                          end */
};

struct mlt_stage_source {
    enum mlt_stage_kind kind;
    const char *pattern;
};

struct mlt_pretokenizer_source {
    const char *name;
    const struct mlt_stage_source *stages; /* up to MLT_MAX_STAGES, ended by MLT_STAGE_NONE if fewer */
    struct mlt_pretokenizer_traits traits;
};

extern const struct mlt_pretokenizer_source mlt_pretokenizer_sources[];
extern const size_t mlt_pretokenizer_source_count;

#endif
