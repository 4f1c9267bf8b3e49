/* Applying a plan to a checkpoint. SPDX-License-Identifier: Apache-2.0 */
#include "compact/plan_types.h"

static millet_status wrong(const millet_plan_tensor *entry, millet_error *err, millet_status status,
                           const char *what)
{
    return mlt_fail_at(err, status, NULL, entry->name, MILLET_NO_OFFSET, "%s", what);
}

static bool is_shape(const millet_plan_tensor *entry, const struct mlt_tensor *tensor)
{
    if (entry->shape[0] == 0) return true;
    for (int k = 0; k < MLT_MAX_DIMS; k++)
        if (MLT_MAX(entry->shape[k], 1) != tensor->ne[k]) return false;
    return true;
}

static millet_status take_entry(const millet_plan_tensor *entry, const struct mlt_tensor *tensor,
                                mlt_dtype *out, millet_error *err)
{
    mlt_dtype dtype;
    if (!mlt_dtype_by_name(entry->type, &dtype))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, entry->name, MILLET_NO_OFFSET,
                           "\"%s\" is no type; a plan names types of tensors: Q4_K, not Q4_K_M", entry->type);
    if (!is_shape(entry, tensor))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, entry->name, MILLET_NO_OFFSET,
                           "the plan is for a matrix of %lld x %lld and the model's is %lld x %lld: it was "
                           "made for another model",
                           (long long)MLT_MAX(entry->shape[1], 1), (long long)entry->shape[0],
                           (long long)tensor->rows, (long long)tensor->ne[0]);
    *out = dtype;
    if (dtype == tensor->dtype) return MILLET_OK;
    if (!mlt_quantize_applies(tensor))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, entry->name, MILLET_NO_OFFSET,
                           "the plan wants %s; but it is no matrix to quantise and stays as it is, in %s",
                           mlt_dtype_info(dtype)->name, mlt_dtype_info(tensor->dtype)->name);
    if (!mlt_dtype_info(dtype)->is_float)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, entry->name, MILLET_NO_OFFSET,
                           "%s is no type of weights", mlt_dtype_info(dtype)->name);
    if (tensor->ne[0] % mlt_dtype_info(dtype)->block_length != 0)
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, entry->name, MILLET_NO_OFFSET,
                           "%s does not fit: its blocks are of %d elements and the rows of %lld; %s fits",
                           mlt_dtype_info(dtype)->name, mlt_dtype_info(dtype)->block_length,
                           (long long)tensor->ne[0],
                           mlt_dtype_info(mlt_quantize_fit(dtype, tensor->ne[0]))->name);
    return MILLET_OK;
}

static millet_status take_all(const millet_plan *plan, const struct mlt_checkpoint *checkpoint, bool *named,
                              mlt_dtype *dtypes, millet_error *err)
{
    for (uint64_t i = 0; i < plan->n_tensors; i++) {
        const millet_plan_tensor *entry = &plan->tensors[i];
        const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, entry->name);
        if (!tensor)
            return wrong(entry, err, MILLET_NOT_FOUND, "the plan names it, and the model has no such tensor");
        size_t at = (size_t)(tensor - checkpoint->tensors);
        if (named[at]) return wrong(entry, err, MILLET_BAD_ARGUMENT, "the plan names it twice");
        named[at] = true;
        MLT_TRY(take_entry(entry, tensor, &dtypes[at], err));
    }
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        if (named[i]) continue;
        if (mlt_quantize_applies(tensor))
            return mlt_fail_at(err, MILLET_BAD_ARGUMENT, NULL, tensor->name.data, MILLET_NO_OFFSET,
                               "the plan leaves it out; every matrix needs a type, be it its own, %s",
                               mlt_dtype_info(tensor->dtype)->name);
        dtypes[i] = tensor->dtype;
    }
    return MILLET_OK;
}

millet_status mlt_plan_types(const millet_plan *plan, const struct mlt_checkpoint *checkpoint,
                             const millet_allocator *allocator, mlt_dtype *dtypes, millet_error *err)
{
    bool *named = mlt_alloc_zero(allocator, checkpoint->n_tensors, sizeof *named, err);
    if (!named) return MILLET_NO_MEMORY;
    millet_status status = take_all(plan, checkpoint, named, dtypes, err);
    mlt_free(allocator, named);
    return status;
}

const struct mlt_quantize_type *mlt_plan_main_type(const struct mlt_checkpoint *checkpoint,
                                                   const mlt_dtype *dtypes)
{
    uint64_t elements[MLT_DTYPE_LIMIT] = {0};
    const struct mlt_quantize_type *best = mlt_quantize_type_of(MLT_F32);
    uint64_t most = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        elements[dtypes[i]] += checkpoint->tensors[i].rows * (uint64_t)checkpoint->tensors[i].ne[0];
    for (int dtype = 0; dtype < MLT_DTYPE_LIMIT; dtype++) {
        const struct mlt_quantize_type *type = mlt_quantize_type_of((mlt_dtype)dtype);
        if (!type || elements[dtype] <= most) continue;
        best = type;
        most = elements[dtype];
    }
    return best;
}
