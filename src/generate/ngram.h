/*
 * Where in a sequence of tokens the last few of them have stood before: an index of n-grams that costs the
 * same for every token, however long the text is.
 *
 * One table for each n from 1 to MLT_NGRAM_MAX has, by the hash of n tokens, the position after their latest
 * occurrence; the newer of two n-grams with one slot stays. What is found is compared with the tokens
 * themselves, so that neither a collision nor an entry from before the sequence was cut can do harm.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_NGRAM_H
#define MLT_NGRAM_H

#include "base/base.h"

enum {
    MLT_NGRAM_MAX = 4,
    MLT_NGRAM_LONGEST = 16, /* tokens that a match is measured to */
};

struct mlt_ngram_index {
    int32_t *slots; /* [MLT_NGRAM_MAX][1 << bits]; 0: empty */
    int bits;
    int32_t indexed; /* n-grams that end before this position are in the tables */
};

/* Bytes of the tables for sequences of at most `n_ctx` tokens: 16 to 32 for a token, 1 KiB to 16 MiB. */
uint64_t mlt_ngram_bytes(int32_t n_ctx);
/* `memory` of mlt_ngram_bytes(n_ctx) bytes stays the caller's. */
void mlt_ngram_init(struct mlt_ngram_index *index, void *memory, int32_t n_ctx);

/* Empties the index: another sequence. */
void mlt_ngram_reset(struct mlt_ngram_index *index);
/* Adds what tokens[0 .. length) has new. The tokens up to the last call's length must be the same. */
void mlt_ngram_extend(struct mlt_ngram_index *index, const int32_t *tokens, int32_t length);

/* The last `length` tokens stand before position `follows` too; length 0: nothing was found. */
struct mlt_ngram_match {
    int32_t follows, length; /* length at most MLT_NGRAM_LONGEST */
};

/* Looks for the last tokens of tokens[0 .. length), the longest n first. */
struct mlt_ngram_match mlt_ngram_find(const struct mlt_ngram_index *index, const int32_t *tokens,
                                      int32_t length);

/*
 * Token `ahead` (0: the next) of the text that goes on as it did after the match. Where that text reaches the
 * end of the sequence it begins again, as what repeats does. proposed[0 .. ahead) are the tokens before it.
 */
static inline int32_t mlt_ngram_next(struct mlt_ngram_match match, const int32_t *tokens, int32_t length,
                                     const int32_t *proposed, int32_t ahead)
{
    int32_t at = match.follows + ahead;
    return at < length ? tokens[at] : proposed[at - length];
}

#endif
