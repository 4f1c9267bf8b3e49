/*
 * A vocabulary that has been learned, and the files that it is written to.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_LEARNED_VOCABULARY_H
#define MLT_LEARNED_VOCABULARY_H

#include "corpus/bpe_train.h"
#include "corpus/piece_set.h"
#include "format/checkpoint.h"
#include "millet/corpus.h"

struct mlt_learned {
    struct mlt_arena arena; /* of everything below */
    millet_tokenizer_kind kind;
    int32_t n_tokens;
    struct mlt_string *tokens; /* [n_tokens] */
    int32_t *types;            /* [n_tokens] */
    float *scores;             /* [n_tokens]; unigram */
    struct mlt_string *merges; /* [n_merges] "left right"; BPE */
    int32_t n_merges;
    int32_t bos, eos, pad, unknown; /* -1: none */
    bool add_bos, add_prefix_space, collapse_spaces;
    const char *pre;         /* BPE: its name, or NULL where there is a pattern */
    const char *pattern;     /* BPE */
    const uint8_t *charsmap; /* unigram: or NULL */
    size_t charsmap_bytes;
    const char *name, *chat_template; /* or NULL */
};

/* What is common to both kinds. `specials` come first (after the unknown token in unigram), then the 256
 * bytes, then what was learned. */
struct mlt_learned_specials {
    const char *const *texts;
    size_t count;
    const char *bos, *eos, *pad; /* or NULL */
};

/* Each fills *out, which starts as zeros with an arena; what it points to lies there. Errors: BAD_ARGUMENT (a
 * special token that is empty, twice there, or the text of another token; bos, eos or pad that is none of
 * them), NO_MEMORY. */
millet_status mlt_learned_from_bpe(struct mlt_learned *out, const struct mlt_learned_specials *specials,
                                   const struct mlt_bpe_merge *merges, int32_t n_merges, millet_error *err);
millet_status mlt_learned_from_pieces(struct mlt_learned *out, const struct mlt_learned_specials *specials,
                                      const struct mlt_piece_set *set, millet_error *err);

/* A GGUF file without tensors. */
millet_status mlt_learned_write_gguf(const millet_allocator *allocator, const struct mlt_learned *learned,
                                     const char *path, millet_error *err);
/*
 * Hugging Face's tokenizer.json; where the file has that name, tokenizer_config.json beside it too, which
 * says what bos, eos and pad are. Errors: UNSUPPORTED (a pre-tokeniser with steps that the format does not
 * have).
 */
millet_status mlt_learned_write_json(const millet_allocator *allocator, const struct mlt_learned *learned,
                                     const char *path, millet_error *err);

#endif
