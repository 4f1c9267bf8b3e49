/* Tokens hidden from the model while it learns. SPDX-License-Identifier: Apache-2.0 */
#include "train/token_mask.h"

#include "corpus/permutation.h"
#include "model/vocabulary.h"
#include "tokenizer/tokenizer.h"

#include <math.h>
#include <string.h>

static millet_status read_tokens(struct mlt_token_mask *mask, const struct mlt_tokenizer *tokenizer,
                                 const char *path, millet_error *err)
{
    static const char name[] = "<|mask|>";
    mask->n_tokens = mlt_tokenizer_size(tokenizer);
    mask->mask = mlt_tokenizer_find(tokenizer, name, sizeof name - 1);
    if (mask->mask < 0 || mlt_tokenizer_type(tokenizer, mask->mask) != MLT_TOKEN_CONTROL)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, path, "mask", MILLET_NO_OFFSET,
                           "the tokenizer has no control token %s to put in the place of others", name);
    mask->control = mlt_alloc(&mask->allocator, (size_t)mask->n_tokens, 1, err);
    if (!mask->control) return MILLET_NO_MEMORY;
    for (int32_t id = 0; id < mask->n_tokens; id++)
        mask->control[id] = mlt_tokenizer_type(tokenizer, id) == MLT_TOKEN_CONTROL;
    return MILLET_OK;
}

millet_status mlt_token_mask_open(const millet_allocator *allocator, const struct mlt_checkpoint *checkpoint,
                                  struct mlt_batch_source inner, double probability, bool predict,
                                  uint64_t seed, struct mlt_token_mask *out, millet_error *err)
{
    *out = (struct mlt_token_mask){.allocator = *allocator,
                                   .inner = inner,
                                   .probability = probability,
                                   .predict = predict,
                                   .seed = seed};
    struct mlt_tokenizer *tokenizer = NULL;
    int32_t bos, eos;
    bool add_bos, add_eos;
    MLT_TRY(mlt_vocabulary_open(allocator, checkpoint, &tokenizer, &bos, &eos, &add_bos, &add_eos, err));
    if (!tokenizer)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, checkpoint->path, "mask", MILLET_NO_OFFSET,
                           "the model has no tokenizer, and so no token to mask with");
    millet_status status = read_tokens(out, tokenizer, checkpoint->path, err);
    mlt_tokenizer_close(&tokenizer);
    return status;
}

void mlt_token_mask_close(struct mlt_token_mask *mask)
{
    if (mask->control) mlt_free(&mask->allocator, mask->control);
    memset(mask, 0, sizeof *mask);
}

static millet_status fill(void *context, uint64_t step, struct mlt_batch *batch, millet_error *err)
{
    const struct mlt_token_mask *mask = context;
    MLT_TRY(mask->inner.fill(mask->inner.context, step, batch, err));
    uint64_t key = mlt_mix64(mlt_mix64(mask->seed ^ UINT64_C(0x6D61736B)) + step); /* "mask" */
    uint64_t before = (uint64_t)batch->first_row * (uint64_t)batch->length; /* positions of other processes */
    int64_t count = batch->marks ? (int64_t)batch->rows * batch->length : 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t token = batch->tokens[i];
        if (!(batch->marks[i] & MILLET_MARK_PREFIX) || token >= mask->n_tokens || mask->control[token])
            continue;
        double chance = ldexp((double)(mlt_mix64(key + before + (uint64_t)i) >> 11), -53); /* [0, 1) */
        if (chance >= mask->probability) continue;
        batch->tokens[i] = mask->mask;
        if (!mask->predict || batch->targets[i] != MLT_NO_TARGET) continue;
        batch->targets[i] = token;
        batch->marks[i] |= MILLET_MARK_LABEL;
    }
    return MILLET_OK;
}

struct mlt_batch_source mlt_token_mask_source(struct mlt_token_mask *mask)
{
    return (struct mlt_batch_source){mask, fill};
}
