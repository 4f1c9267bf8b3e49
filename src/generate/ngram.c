/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/ngram.h"

#include <string.h>

enum { MIN_BITS = 6, MAX_BITS = 20 };

static int bits_for(int32_t n_ctx)
{
    int bits = MIN_BITS;
    while (bits < MAX_BITS && (1 << bits) < n_ctx)
        bits++;
    return bits;
}

uint64_t mlt_ngram_bytes(int32_t n_ctx)
{
    return (uint64_t)MLT_NGRAM_MAX * sizeof(int32_t) << bits_for(n_ctx);
}

void mlt_ngram_init(struct mlt_ngram_index *index, void *memory, int32_t n_ctx)
{
    *index = (struct mlt_ngram_index){.slots = memory, .bits = bits_for(n_ctx)};
    mlt_ngram_reset(index);
}

void mlt_ngram_reset(struct mlt_ngram_index *index)
{
    memset(index->slots, 0, (size_t)MLT_NGRAM_MAX * sizeof *index->slots << index->bits);
    index->indexed = 1; /* nothing stands before the first token */
}

/*
 * A hash that grows by one token to the left; its upper bits choose the slot (Fibonacci hashing, with
 * 2^64 / golden ratio).
 */
static inline uint64_t mix(uint64_t hash, int32_t token)
{
    return (hash ^ (uint32_t)token) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline int32_t *slot_of(const struct mlt_ngram_index *index, int n, uint64_t hash)
{
    return index->slots + ((size_t)(n - 1) << index->bits) + (size_t)(hash >> (64 - index->bits));
}

void mlt_ngram_extend(struct mlt_ngram_index *index, const int32_t *tokens, int32_t length)
{
    for (; index->indexed < length; index->indexed++) {
        uint64_t hash = 0;
        for (int n = 1; n <= MLT_NGRAM_MAX && n <= index->indexed; n++) {
            hash = mix(hash, tokens[index->indexed - n]);
            *slot_of(index, n, hash) = index->indexed;
        }
    }
}

/* How many tokens before `a` and before `b` > a are the same. */
static int32_t common_length(const int32_t *tokens, int32_t a, int32_t b)
{
    int32_t n = 0;
    while (n < MLT_NGRAM_LONGEST && n < a && tokens[a - 1 - n] == tokens[b - 1 - n])
        n++;
    return n;
}

struct mlt_ngram_match mlt_ngram_find(const struct mlt_ngram_index *index, const int32_t *tokens,
                                      int32_t length)
{
    uint64_t hash = 0, hashes[MLT_NGRAM_MAX + 1];
    int longest = (int)MLT_MIN(length, MLT_NGRAM_MAX);
    for (int n = 1; n <= longest; n++)
        hashes[n] = hash = mix(hash, tokens[length - n]);
    for (int n = longest; n >= 1; n--) {
        int32_t follows = *slot_of(index, n, hashes[n]);
        if (follows <= 0 || follows >= length) continue;
        int32_t same = common_length(tokens, follows, length);
        if (same >= n) return (struct mlt_ngram_match){follows, same};
    }
    return (struct mlt_ngram_match){0, 0};
}
