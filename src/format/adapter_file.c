/* SPDX-License-Identifier: Apache-2.0 */
#include "format/adapter_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256 };

static bool is_text(struct mlt_string text, const char *expected)
{
    return text.length == strlen(expected) && memcmp(text.data, expected, text.length) == 0;
}

static millet_status wrong_key(const struct mlt_checkpoint *file, const char *key, millet_status status,
                               const char *what, struct mlt_string value, millet_error *err)
{
    return mlt_fail_at(err, status, file->path, key, MILLET_NO_OFFSET, "%s; it says \"%.60s\"", what,
                       value.data);
}

static millet_status check_keys(const struct mlt_checkpoint *file, const struct mlt_checkpoint *base,
                                struct mlt_adapter_file *out, millet_error *err)
{
    const struct mlt_string none = {"", 0};
    const float no_alpha = 0;
    struct mlt_string type, kind, architecture, wanted;
    MLT_TRY(mlt_meta_get_string(file, "general.type", &none, &type, err));
    if (!is_text(type, "adapter"))
        return wrong_key(file, "general.type", MILLET_BAD_FORMAT, "this is no adapter", type, err);
    MLT_TRY(mlt_meta_get_string(file, "adapter.type", NULL, &kind, err));
    if (!is_text(kind, "lora"))
        return wrong_key(file, "adapter.type", MILLET_UNSUPPORTED, "only adapters of type \"lora\" are known",
                         kind, err);
    if (mlt_checkpoint_meta(file, "adapter.alora.invocation_tokens"))
        return mlt_fail_at(err, MILLET_UNSUPPORTED, file->path, "adapter.alora.invocation_tokens",
                           MILLET_NO_OFFSET, "adapters that act from some token on only are not known");
    MLT_TRY(mlt_meta_get_string(file, "general.architecture", NULL, &architecture, err));
    MLT_TRY(mlt_meta_get_string(base, "general.architecture", NULL, &wanted, err));
    if (!is_text(architecture, wanted.data))
        return mlt_fail_at(err, MILLET_BAD_ARGUMENT, file->path, "general.architecture", MILLET_NO_OFFSET,
                           "the adapter was made for \"%.60s\", the model is \"%.60s\"", architecture.data,
                           wanted.data);
    MLT_TRY(mlt_meta_get_f32(file, "adapter.lora.alpha", &no_alpha, &out->alpha, err));
    if (isfinite(out->alpha)) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, "adapter.lora.alpha", MILLET_NO_OFFSET,
                       "it is not a finite number");
}

/* Whether the name ends so; then *stem is what comes before. */
static bool split_name(struct mlt_string name, const char *end, size_t *stem)
{
    size_t length = strlen(end);
    if (name.length <= length || memcmp(name.data + name.length - length, end, length) != 0) return false;
    *stem = name.length - length;
    return *stem < NAME_BYTES - length;
}

/* The tensor whose name is the first `stem` bytes of `name`, and `end`. */
static const struct mlt_tensor *relative(const struct mlt_checkpoint *checkpoint, struct mlt_string name,
                                         size_t stem, const char *end)
{
    char other[NAME_BYTES];
    snprintf(other, sizeof other, "%.*s%s", (int)stem, name.data, end);
    return mlt_checkpoint_tensor(checkpoint, other);
}

static millet_status refuse(const struct mlt_tensor *tensor, millet_status status, const char *what,
                            millet_error *err)
{
    return mlt_fail_at(err, status, tensor->file, tensor->name.data, tensor->offset, "%s", what);
}

static millet_status check_part(const struct mlt_tensor *tensor, int64_t rows, int64_t columns,
                                const struct mlt_tensor *target, millet_error *err)
{
    if (tensor->ne[0] != columns || tensor->ne[1] != rows || tensor->ne[2] != 1 || tensor->ne[3] != 1)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, tensor->file, tensor->name.data, tensor->offset,
                           "the dimensions are %lld x %lld x %lld x %lld; the model's matrix of %lld x %lld "
                           "and the rank ask for %lld x %lld",
                           (long long)tensor->ne[0], (long long)tensor->ne[1], (long long)tensor->ne[2],
                           (long long)tensor->ne[3], (long long)target->ne[0], (long long)target->ne[1],
                           (long long)columns, (long long)rows);
    if (!mlt_dtype_info(tensor->dtype)->is_float || !tensor->data)
        return refuse(tensor, MILLET_UNSUPPORTED, "a tensor of this dtype cannot be a weight", err);
    return MILLET_OK;
}

static millet_status check_pair(const struct mlt_adapter_pair *pair, millet_error *err)
{
    const struct mlt_tensor *w = pair->target;
    if (strcmp(w->name.data, "token_embd.weight") == 0)
        return refuse(pair->a, MILLET_UNSUPPORTED, "adapters of token embeddings are not known", err);
    if (w->n_dims != 2 || !mlt_dtype_info(w->dtype)->is_float)
        return refuse(pair->a, MILLET_UNSUPPORTED,
                      "the model's tensor is no matrix of weights: experts and vectors have no adapters here",
                      err);
    int64_t rank = mlt_adapter_rank(pair);
    MLT_TRY(check_part(pair->a, rank, w->ne[0], w, err));
    return check_part(pair->b, w->ne[1], rank, w, err);
}

millet_status mlt_adapter_file_read(const struct mlt_checkpoint *file, const struct mlt_checkpoint *base,
                                    struct mlt_arena *arena, struct mlt_adapter_file *out, millet_error *err)
{
    *out = (struct mlt_adapter_file){0};
    MLT_TRY(check_keys(file, base, out, err));
    out->pairs = mlt_arena_alloc(arena, file->n_tensors / 2 + 1, sizeof *out->pairs, err);
    if (!out->pairs) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct mlt_tensor *tensor = &file->tensors[i];
        size_t stem;
        if (strncmp(tensor->name.data, "train.", 6) == 0) continue;
        bool is_a = split_name(tensor->name, MLT_ADAPTER_A, &stem);
        if (!is_a && !split_name(tensor->name, MLT_ADAPTER_B, &stem))
            return refuse(tensor, MILLET_BAD_FORMAT,
                          "the name ends neither in " MLT_ADAPTER_A " nor in " MLT_ADAPTER_B, err);
        const struct mlt_tensor *other =
            relative(file, tensor->name, stem, is_a ? MLT_ADAPTER_B : MLT_ADAPTER_A);
        if (!other) return refuse(tensor, MILLET_BAD_FORMAT, "the other half of the pair is missing", err);
        if (!is_a) continue;
        struct mlt_adapter_pair *pair = &out->pairs[out->n_pairs++];
        *pair = (struct mlt_adapter_pair){relative(base, tensor->name, stem, ""), tensor, other};
        if (!pair->target) return refuse(tensor, MILLET_NOT_FOUND, "the model has no such matrix", err);
        MLT_TRY(check_pair(pair, err));
        out->bytes += tensor->bytes + other->bytes;
    }
    if (out->n_pairs) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, file->path, NULL, MILLET_NO_OFFSET,
                       "the adapter has no tensors");
}
