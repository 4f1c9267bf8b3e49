/* Importance of a checkpoint's tensors: see rounding.h. SPDX-License-Identifier: Apache-2.0 */
#include "compact/rounding.h"

#include <string.h>

/* Rows that have the same input: an expert's, or all. */
static uint64_t slice_rows(const struct mlt_tensor *tensor)
{
    return tensor->ne[2] > 1 ? (uint64_t)tensor->ne[1] : tensor->rows;
}

static millet_status check(const struct mlt_calibrated *c, const struct mlt_checkpoint *checkpoint,
                           millet_error *err)
{
    size_t known = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        const struct mlt_importance_entry *entry = mlt_imatrix_find(c->imatrix, tensor->name.data);
        if (!entry) continue;
        known++;
        int64_t wanted = tensor->ne[0] * (int64_t)(tensor->rows / slice_rows(tensor));
        if (entry->n != wanted)
            return mlt_fail_at(
                err, MILLET_BAD_ARGUMENT, c->path, tensor->name.data, MILLET_NO_OFFSET,
                "it has %lld numbers where the model needs %lld: it was measured on another model",
                (long long)entry->n, (long long)wanted);
    }
    if (known) return MILLET_OK;
    return mlt_fail_at(
        err, MILLET_BAD_ARGUMENT, c->path, NULL, MILLET_NO_OFFSET,
        "it knows none of the model's matrices (its first is %s): it was measured on another model",
        c->imatrix->entries[0].name);
}

millet_status mlt_calibrated_open(struct mlt_calibrated *c, const millet_allocator *allocator,
                                  const char *path, bool feedback, const struct mlt_checkpoint *checkpoint,
                                  millet_error *err)
{
    *c = (struct mlt_calibrated){.allocator = *allocator, .path = path, .feedback = feedback};
    if (!path) return MILLET_OK;
    MLT_TRY(mlt_imatrix_open(allocator, path, &c->imatrix, err));
    return check(c, checkpoint, err);
}

void mlt_calibrated_close(struct mlt_calibrated *c)
{
    if (!c->imatrix) return;
    for (int i = 0; i < MLT_KEPT_FACTORS; i++)
        if (c->factors[i].gram) mlt_feedback_close(&c->factors[i]);
    mlt_free(&c->allocator, c->importance);
    mlt_imatrix_close(&c->imatrix);
}

static millet_status find_factor(struct mlt_calibrated *c, const struct mlt_importance_entry *entry,
                                 struct mlt_thread_pool *pool, const struct mlt_feedback **out,
                                 millet_error *err)
{
    for (int i = 0; i < MLT_KEPT_FACTORS; i++)
        if (c->factors[i].gram == entry->gram) {
            *out = &c->factors[i];
            return MILLET_OK;
        }
    struct mlt_feedback *factor = &c->factors[c->next_factor];
    c->next_factor = (c->next_factor + 1) % MLT_KEPT_FACTORS;
    if (factor->gram) mlt_feedback_close(factor);
    millet_status status =
        mlt_feedback_open(factor, &c->allocator, entry->gram, entry->gram_count, entry->n, pool, err);
    if (status != MILLET_OK) {
        mlt_error_in_file(err, c->path);
        mlt_error_in_item(err, entry->name);
        return status;
    }
    *out = factor;
    return MILLET_OK;
}

/* The means, with a hundredth of a slice's own mean added: what the text did not use is not worth nothing. */
static void fill_importance(const struct mlt_importance_entry *entry, int64_t columns, float *out)
{
    for (int64_t first = 0; first < entry->n; first += columns) {
        double sum = 0;
        for (int64_t i = 0; i < columns; i++)
            sum += (double)entry->mean[first + i];
        float least =
            sum > 0 ? (float)(0.01 * sum / (double)columns) : 1; /* an expert that was never chosen */
        for (int64_t i = 0; i < columns; i++)
            out[first + i] = entry->mean[first + i] + least;
    }
}

millet_status mlt_calibrated_rounding(struct mlt_calibrated *c, const struct mlt_tensor *tensor,
                                      struct mlt_thread_pool *pool, struct mlt_rounding *rounding,
                                      millet_error *err)
{
    *rounding = (struct mlt_rounding){0};
    const struct mlt_importance_entry *entry =
        c->imatrix ? mlt_imatrix_find(c->imatrix, tensor->name.data) : NULL;
    if (!entry) return MILLET_OK;
    if (c->capacity < (size_t)entry->n) {
        mlt_free(&c->allocator, c->importance);
        c->capacity = 0;
        c->importance = mlt_alloc(&c->allocator, (size_t)entry->n, sizeof *c->importance, err);
        if (!c->importance) return MILLET_NO_MEMORY;
        c->capacity = (size_t)entry->n;
    }
    fill_importance(entry, tensor->ne[0], c->importance);
    rounding->importance = c->importance;
    rounding->slice_rows = slice_rows(tensor);
    if (c->feedback && entry->gram) MLT_TRY(find_factor(c, entry, pool, &rounding->feedback, err));
    return MILLET_OK;
}
