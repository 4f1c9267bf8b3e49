/*
 * What is known from elsewhere about the completions of records: JSONL, a line a record,
 *     {"prompt": TEXT, "probabilities": {TOKEN: p, ...}}
 * where TOKEN is the text of one token, the first of the completion. A prompt is found again by its tokens,
 * control tokens being recognised, so lines may come in any order and be fewer than the records.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_GIVEN_LABELS_H
#define MLT_GIVEN_LABELS_H

#include "corpus/token_cache.h"
#include "format/checkpoint.h"

/* The label of one prompt: ids and p of the shared arrays, from `first` on. */
struct mlt_given_label {
    uint64_t key; /* of the prompt's tokens */
    uint64_t first;
    uint32_t count;
};

struct mlt_given_labels {
    millet_allocator allocator;
    struct mlt_given_label *labels; /* [n_labels], keys rising */
    int32_t *ids;                   /* [n_values] */
    float *p;                       /* [n_values]; those of a label sum to 1 */
    size_t n_labels, n_values, label_capacity, id_capacity, p_capacity;
};

/*
 * Reads the file with the tokenizer of `checkpoint`. Errors: those of reading a source; BAD_FORMAT naming the
 * line (members that are missing, text that is not one token, probabilities that are not between 0 and 1 or
 * have no sum; two lines of a prompt that differ). On failure too, the caller calls close.
 */
millet_status mlt_given_labels_open(const millet_allocator *allocator, const char *path,
                                    const struct mlt_checkpoint *checkpoint, struct mlt_given_labels *out,
                                    millet_error *err);
void mlt_given_labels_close(struct mlt_given_labels *labels);

/* The label for the completion whose first token is predicted at token `number` of the cache: NULL where that
 * is not the end of a document's prefix, or nothing is known of it. */
const struct mlt_given_label *mlt_given_labels_find(const struct mlt_given_labels *labels,
                                                    const millet_cache *cache, uint64_t number);

/* p[width] = (1 - weight) p + weight q, q the label's distribution softened by the temperature: its
 * probabilities to the power of 1 / temperature, normalised. */
void mlt_given_labels_mix(const struct mlt_given_labels *labels, const struct mlt_given_label *label,
                          float weight, float temperature, float *p, int64_t width);

#endif
