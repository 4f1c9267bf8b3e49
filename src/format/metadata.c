/* Metadata values: their types, and access to them by type. SPDX-License-Identifier: Apache-2.0 */
#include "format/checkpoint.h"

#include <float.h>
#include <math.h>
#include <string.h>

size_t mlt_meta_type_size(enum mlt_meta_type type)
{
    switch (type) {
    case MLT_META_U8:
    case MLT_META_I8:
    case MLT_META_BOOL: return 1;
    case MLT_META_U16:
    case MLT_META_I16: return 2;
    case MLT_META_U32:
    case MLT_META_I32:
    case MLT_META_F32: return 4;
    case MLT_META_U64:
    case MLT_META_I64:
    case MLT_META_F64: return 8;
    case MLT_META_STRING: return sizeof(struct mlt_string);
    case MLT_META_ARRAY: break;
    }
    return 0;
}

const char *mlt_meta_type_name(enum mlt_meta_type type)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return (unsigned)type < MLT_COUNT(names) ? names[type] : "unknown";
}

static millet_status fail_missing(const struct mlt_checkpoint *checkpoint, const char *key, millet_error *err)
{
    return mlt_fail_at(err, MILLET_NOT_FOUND, checkpoint->path, key, MILLET_NO_OFFSET,
                       "the file lacks this metadata key, which is required");
}

static millet_status fail_type(const struct mlt_checkpoint *checkpoint, const struct mlt_meta *meta,
                               const char *wanted, millet_error *err)
{
    bool array = meta->type == MLT_META_ARRAY;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, checkpoint->path, meta->key.data, MILLET_NO_OFFSET,
                       "a value of type %s%s was found where %s is needed", array ? "array of " : "",
                       mlt_meta_type_name(meta->element), wanted);
}

/* A number's value, as whichever of the three its type is stored in. */
enum number_kind { NOT_A_NUMBER, UNSIGNED, SIGNED, REAL };

static enum number_kind number_kind(enum mlt_meta_type type)
{
    switch (type) {
    case MLT_META_U8:
    case MLT_META_U16:
    case MLT_META_U32:
    case MLT_META_U64: return UNSIGNED;
    case MLT_META_I8:
    case MLT_META_I16:
    case MLT_META_I32:
    case MLT_META_I64: return SIGNED;
    case MLT_META_F32:
    case MLT_META_F64: return REAL;
    case MLT_META_BOOL:
    case MLT_META_STRING:
    case MLT_META_ARRAY: break;
    }
    return NOT_A_NUMBER;
}

millet_status mlt_meta_get_u32(const struct mlt_checkpoint *checkpoint, const char *key,
                               const uint32_t *fallback, uint32_t *out, millet_error *err)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    if (!meta) {
        if (!fallback) return fail_missing(checkpoint, key, err);
        *out = *fallback;
        return MILLET_OK;
    }
    bool fits = false;
    switch (number_kind(meta->type)) {
    case UNSIGNED:
        fits = meta->value.u <= UINT32_MAX;
        if (fits) *out = (uint32_t)meta->value.u;
        break;
    case SIGNED:
        fits = meta->value.i >= 0 && meta->value.i <= (int64_t)UINT32_MAX;
        if (fits) *out = (uint32_t)meta->value.i;
        break;
    case REAL:
        fits = meta->value.f >= 0 && meta->value.f <= UINT32_MAX && floor(meta->value.f) == meta->value.f;
        if (fits) *out = (uint32_t)meta->value.f;
        break;
    case NOT_A_NUMBER: return fail_type(checkpoint, meta, "a number of 32 bits without sign", err);
    }
    if (fits) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, checkpoint->path, key, MILLET_NO_OFFSET,
                       "the %s value does not fit into a number of 32 bits without sign",
                       mlt_meta_type_name(meta->type));
}

millet_status mlt_meta_get_f32(const struct mlt_checkpoint *checkpoint, const char *key,
                               const float *fallback, float *out, millet_error *err)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    if (!meta) {
        if (!fallback) return fail_missing(checkpoint, key, err);
        *out = *fallback;
        return MILLET_OK;
    }
    /* Integers must survive the way to float and back; 2^24 bounds those that always do. */
    const int64_t exact = 1 << 24;
    switch (number_kind(meta->type)) {
    case UNSIGNED:
        if (meta->value.u > (uint64_t)exact) break;
        *out = (float)meta->value.u;
        return MILLET_OK;
    case SIGNED:
        if (meta->value.i > exact || meta->value.i < -exact) break;
        *out = (float)meta->value.i;
        return MILLET_OK;
    case REAL: /* an F64 is rounded: 1e-5 is not exact in either type */
        if (isfinite(meta->value.f) && fabs(meta->value.f) > FLT_MAX) break;
        *out = (float)meta->value.f;
        return MILLET_OK;
    case NOT_A_NUMBER: return fail_type(checkpoint, meta, "a number", err);
    }
    return mlt_fail_at(err, MILLET_BAD_FORMAT, checkpoint->path, key, MILLET_NO_OFFSET,
                       "the %s value does not fit into a float", mlt_meta_type_name(meta->type));
}

millet_status mlt_meta_get_bool(const struct mlt_checkpoint *checkpoint, const char *key,
                                const bool *fallback, bool *out, millet_error *err)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    if (!meta) {
        if (!fallback) return fail_missing(checkpoint, key, err);
        *out = *fallback;
        return MILLET_OK;
    }
    enum number_kind kind = number_kind(meta->type);
    if (meta->type == MLT_META_BOOL || (kind == UNSIGNED && meta->value.u <= 1))
        *out = meta->value.u != 0;
    else if (kind == SIGNED && (meta->value.i == 0 || meta->value.i == 1))
        *out = meta->value.i != 0;
    else
        return fail_type(checkpoint, meta, "true or false", err);
    return MILLET_OK;
}

millet_status mlt_meta_get_string(const struct mlt_checkpoint *checkpoint, const char *key,
                                  const struct mlt_string *fallback, struct mlt_string *out,
                                  millet_error *err)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    if (!meta) {
        if (!fallback) return fail_missing(checkpoint, key, err);
        *out = *fallback;
        return MILLET_OK;
    }
    if (meta->type != MLT_META_STRING) return fail_type(checkpoint, meta, "a string", err);
    *out = meta->value.string;
    return MILLET_OK;
}

static struct mlt_meta scalar(const char *key, enum mlt_meta_type type)
{
    return (struct mlt_meta){.key = {key, strlen(key)}, .type = type, .element = type, .count = 1};
}

millet_status mlt_checkpoint_set_u32(struct mlt_checkpoint *checkpoint, const char *key, uint32_t value,
                                     millet_error *err)
{
    struct mlt_meta meta = scalar(key, MLT_META_U32);
    meta.value.u = value;
    return mlt_checkpoint_add_meta(checkpoint, &meta, err);
}

millet_status mlt_checkpoint_set_f32(struct mlt_checkpoint *checkpoint, const char *key, float value,
                                     millet_error *err)
{
    struct mlt_meta meta = scalar(key, MLT_META_F32);
    meta.value.f = (double)value;
    return mlt_checkpoint_add_meta(checkpoint, &meta, err);
}

millet_status mlt_checkpoint_set_bool(struct mlt_checkpoint *checkpoint, const char *key, bool value,
                                      millet_error *err)
{
    struct mlt_meta meta = scalar(key, MLT_META_BOOL);
    meta.value.u = value;
    return mlt_checkpoint_add_meta(checkpoint, &meta, err);
}

millet_status mlt_checkpoint_set_string(struct mlt_checkpoint *checkpoint, const char *key, const char *value,
                                        size_t length, millet_error *err)
{
    struct mlt_meta meta = scalar(key, MLT_META_STRING);
    meta.value.string = (struct mlt_string){value, length};
    return mlt_checkpoint_add_meta(checkpoint, &meta, err);
}
