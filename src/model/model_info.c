/* What a model is: the queries of the public API. SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A metadata string, or "" where the key is absent or holds something else. */
static const char *text_of(const struct mlt_checkpoint *checkpoint, const char *key)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    return meta && meta->type == MLT_META_STRING ? meta->value.string.data : "";
}

static const char *tokenizer_name(const millet_model *model)
{
    static const struct {
        const char *gguf, *name;
    } names[] = {{"llama", "SPM"}, {"gpt2", "BPE"}, {"t5", "unigram"}, {"bert", "WordPiece"}};
    if (!model->tokenizer) return "";
    const char *kind = text_of(model->checkpoint, "tokenizer.ggml.model");
    for (size_t i = 0; i < MLT_COUNT(names); i++) {
        if (!strcmp(kind, names[i].gguf)) return names[i].name;
    }
    return kind;
}

void millet_model_get_info(const millet_model *model, millet_model_info *info)
{
    const struct mlt_checkpoint *checkpoint = model->checkpoint;
    const struct mlt_config *c = &model->config;
    *info = (millet_model_info){.path = checkpoint->path,
                                .format = checkpoint->format,
                                .architecture = c->architecture,
                                .name = text_of(checkpoint, "general.name"),
                                .tokenizer = tokenizer_name(model),
                                .chat_template = model->chat_template,
                                .n_layers = c->n_layers,
                                .n_embd = c->n_embd,
                                .n_heads = c->n_heads,
                                .n_kv_heads = c->n_kv_heads,
                                .head_size = c->head_size,
                                .n_ff = c->n_ff,
                                .n_vocab = c->n_vocab,
                                .n_experts = c->n_experts,
                                .n_experts_used = c->n_experts_used,
                                .n_ctx_train = c->n_ctx_train};
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        info->parameters += (uint64_t)tensor->ne[0] * tensor->rows;
        info->weight_bytes += tensor->bytes;
    }
    for (size_t i = 0; i < checkpoint->n_maps; i++)
        info->file_bytes += checkpoint->maps[i].size;
}

uint64_t millet_model_metadata_count(const millet_model *model)
{
    return model->checkpoint->n_metas;
}

/* Elements of an array that are written out. */
enum { SHOWN_ELEMENTS = 8 };

/* Text that is cut at the end of its buffer but knows its full length, as snprintf's. */
struct cut_text {
    char *data;
    uint64_t size, length;
};

static void append(struct cut_text *text, const char *bytes, size_t n)
{
    if (text->length < text->size) {
        uint64_t room = text->size - 1 - text->length;
        memcpy(text->data + text->length, bytes, (size_t)MLT_MIN((uint64_t)n, room));
    }
    text->length += n;
}

/*
 * The shortest decimal that gives the same number back: 1e-05, not 9.99999975e-06. With a decimal point
 * whatever the program's locale.
 */
static int write_float(char *out, size_t size, double value, bool single)
{
    int n = 0;
    for (int digits = 1; digits <= 17; digits++) {
        n = snprintf(out, size, "%.*g", digits, value);
        double back = strtod(out, NULL);
        if (single ? (float)back == (float)value : back == value) break;
        if (single && digits == 9) break; /* NaN */
    }
    char *comma = strchr(out, ',');
    if (comma) *comma = '.';
    return n;
}

static void append_number(struct cut_text *text, enum mlt_meta_type type, const void *element)
{
    char number[40];
    int n = 0;
#define NUMBER(type, format, cast) n = snprintf(number, sizeof number, format, (cast) * (const type *)element)
    switch (type) {
    case MLT_META_U8: NUMBER(uint8_t, "%u", unsigned); break;
    case MLT_META_I8: NUMBER(int8_t, "%d", int); break;
    case MLT_META_U16: NUMBER(uint16_t, "%u", unsigned); break;
    case MLT_META_I16: NUMBER(int16_t, "%d", int); break;
    case MLT_META_U32: NUMBER(uint32_t, "%" PRIu32, uint32_t); break;
    case MLT_META_I32: NUMBER(int32_t, "%" PRId32, int32_t); break;
    case MLT_META_U64: NUMBER(uint64_t, "%" PRIu64, uint64_t); break;
    case MLT_META_I64: NUMBER(int64_t, "%" PRId64, int64_t); break;
    case MLT_META_F32: n = write_float(number, sizeof number, (double)*(const float *)element, true); break;
    case MLT_META_F64: n = write_float(number, sizeof number, *(const double *)element, false); break;
    case MLT_META_BOOL:
        n = snprintf(number, sizeof number, *(const uint8_t *)element ? "true" : "false");
        break;
    default: break;
    }
#undef NUMBER
    if (n > 0) append(text, number, (size_t)n);
}

static void append_array(struct cut_text *text, const struct mlt_meta *meta)
{
    append(text, "[", 1);
    uint64_t shown = MLT_MIN(meta->count, (uint64_t)SHOWN_ELEMENTS);
    for (uint64_t i = 0; i < shown; i++) {
        if (i > 0) append(text, ", ", 2);
        if (meta->element == MLT_META_STRING) {
            const struct mlt_string *string = (const struct mlt_string *)meta->value.array + i;
            append(text, "\"", 1);
            append(text, string->data, string->length);
            append(text, "\"", 1);
        } else {
            append_number(text, meta->element,
                          (const uint8_t *)meta->value.array + i * mlt_meta_type_size(meta->element));
        }
    }
    if (shown < meta->count) append(text, ", ...", 5);
    append(text, "]", 1);
}

static void append_value(struct cut_text *text, const struct mlt_meta *meta)
{
    float single;
    switch (meta->type) {
    case MLT_META_ARRAY: append_array(text, meta); break;
    case MLT_META_STRING: append(text, meta->value.string.data, meta->value.string.length); break;
    case MLT_META_F32:
        single = (float)meta->value.f;
        append_number(text, MLT_META_F32, &single);
        break;
    case MLT_META_F64: append_number(text, MLT_META_F64, &meta->value.f); break;
    case MLT_META_I8:
    case MLT_META_I16:
    case MLT_META_I32:
    case MLT_META_I64: append_number(text, MLT_META_I64, &meta->value.i); break;
    case MLT_META_BOOL:
        if (meta->value.u)
            append(text, "true", 4);
        else
            append(text, "false", 5);
        break;
    default: append_number(text, MLT_META_U64, &meta->value.u); break;
    }
}

uint64_t millet_model_metadata(const millet_model *model, uint64_t index, millet_metadata *entry, char *value,
                               uint64_t size)
{
    const struct mlt_meta *meta = &model->checkpoint->metas[index];
    if (entry) {
        entry->key = meta->key.data;
        const char *name = mlt_meta_type_name(meta->element);
        if (meta->type == MLT_META_ARRAY)
            snprintf(entry->type, sizeof entry->type, "%s[%" PRIu64 "]", name, meta->count);
        else
            snprintf(entry->type, sizeof entry->type, "%s", name);
    }
    struct cut_text text = {value, value ? size : 0, 0};
    append_value(&text, meta);
    if (value && size) value[MLT_MIN(text.length, size - 1)] = 0;
    return text.length;
}

uint64_t millet_model_tensor_count(const millet_model *model)
{
    return model->checkpoint->n_tensors;
}

void millet_model_tensor(const millet_model *model, uint64_t index, millet_tensor_info *info)
{
    const struct mlt_tensor *tensor = &model->checkpoint->tensors[index];
    *info = (millet_tensor_info){.name = tensor->name.data,
                                 .dtype = mlt_dtype_info(tensor->dtype)->name,
                                 .n_dims = tensor->n_dims,
                                 .bytes = tensor->bytes,
                                 .offset = tensor->offset};
    for (int i = 0; i < MLT_MAX_DIMS; i++)
        info->dims[i] = tensor->ne[i];
}
