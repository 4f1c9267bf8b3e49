/*
 * Words of texts and how often each occurs: all that the trainers of tokenizers look at.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_WORD_COUNTS_H
#define MLT_WORD_COUNTS_H

#include "base/thread_pool.h"
#include "corpus/record_reader.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/trie.h"

struct mlt_word {
    uint64_t at; /* in the bytes */
    uint64_t count;
    uint32_t length, hash;
};

/* Words found by content. Zero-initialise but for `allocator`. */
struct mlt_word_counts {
    const millet_allocator *allocator;
    char *bytes;
    size_t n_bytes, byte_capacity;
    struct mlt_word *words;
    size_t n_words, word_capacity;
    uint32_t *slots; /* index + 1; 0: empty */
    size_t n_slots;  /* a power of two */
};

/* Longer words are counted in parts: no token reaches so far. */
enum { MLT_MAX_WORD = 1024 };

millet_status mlt_word_counts_add(struct mlt_word_counts *counts, const char *word, size_t length,
                                  uint64_t times, millet_error *err);
/* Orders the words: the most frequent first, equal ones by their bytes. Nothing may be added afterwards. */
void mlt_word_counts_sort(struct mlt_word_counts *counts);
void mlt_word_counts_release(struct mlt_word_counts *counts);

static inline const char *mlt_word_text(const struct mlt_word_counts *counts, const struct mlt_word *word)
{
    return counts->bytes + word->at;
}

/* How texts become words. */
struct mlt_word_rules {
    const struct mlt_pretokenizer *pretokenizer;
    const struct mlt_tokenizer *normalizer; /* its normalisation comes first; NULL: none */
    const struct mlt_trie *special;         /* texts of these are cut out before everything */
};

struct mlt_reading {
    const millet_allocator *allocator;
    const millet_source_options *options;
    struct mlt_thread_pool *pool;
    uint64_t max_bytes; /* 0: all */
    millet_progress_callback *progress;
    void *context;
    double progress_share; /* of the whole work that reading is */
    uint64_t text_bytes, n_words, n_skipped[MILLET_SKIP_REASONS];
};

/*
 * Counts the words of all sources; the result does not depend on the number of threads. Errors: those of
 * reading, UNSUPPORTED (a pattern that takes too long), CANCELLED, NO_MEMORY.
 */
millet_status mlt_count_words(struct mlt_reading *reading, const char *const *sources, size_t n_sources,
                              const struct mlt_word_rules *rules, struct mlt_word_counts *out,
                              millet_error *err);

#endif
