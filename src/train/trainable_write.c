/* A model in training, or its adapter, as a file. SPDX-License-Identifier: Apache-2.0 */
#include "format/gguf_write.h"
#include "train/low_rank.h"
#include "train/storage.h"
#include "train/trainable.h"

#include <string.h>

struct plan {
    const struct mlt_trainable *t;
    struct mlt_meta *metas;
    struct mlt_tensor *tensors;
    const float **values;            /* of each tensor; NULL: copied from the checkpoint, or asked for */
    const struct mlt_extras *extras; /* the last tensors */
    const struct mlt_tensor **sources;
    size_t n_metas, n_tensors;
};

static bool of_training(const struct mlt_string *name)
{
    return strncmp(name->data, "train.", 6) == 0;
}

static const struct mlt_parameter *parameter_of(const struct mlt_trainable *t,
                                                const struct mlt_tensor *tensor)
{
    for (size_t i = 0; i < t->n_parameters; i++)
        if (t->parameters[i].tensor == tensor) return &t->parameters[i];
    return NULL;
}

static void add_tensor(struct plan *p, const struct mlt_tensor *like, mlt_dtype dtype, const float *values)
{
    struct mlt_tensor *tensor = &p->tensors[p->n_tensors];
    *tensor = *like;
    tensor->dtype = dtype;
    p->values[p->n_tensors] = values;
    p->sources[p->n_tensors++] = like;
}

static void set_number(struct plan *p, const char *key, uint32_t value)
{
    size_t i = 0;
    while (i < p->n_metas && strcmp(p->metas[i].key.data, key) != 0)
        i++;
    if (i == p->n_metas) p->n_metas++;
    p->metas[i] = (struct mlt_meta){.key = {key, strlen(key)},
                                    .type = MLT_META_U32,
                                    .element = MLT_META_U32,
                                    .count = 1,
                                    .value.u = value};
}

static void add_text(struct plan *p, const char *key, const char *value)
{
    p->metas[p->n_metas++] = (struct mlt_meta){.key = {key, strlen(key)},
                                               .type = MLT_META_STRING,
                                               .element = MLT_META_STRING,
                                               .count = 1,
                                               .value.string = {value, strlen(value)}};
}

/* The file of an adapter has nothing of the model but what it is for. */
static void plan_adapter(struct plan *p, mlt_dtype dtype, const struct mlt_extras *extras)
{
    static const char alpha[] = "adapter.lora.alpha";
    const struct mlt_trainable *t = p->t;
    add_text(p, "general.type", "adapter");
    add_text(p, "general.architecture", t->config.architecture);
    add_text(p, "adapter.type", "lora");
    p->metas[p->n_metas++] = (struct mlt_meta){.key = {alpha, sizeof alpha - 1},
                                               .type = MLT_META_F32,
                                               .element = MLT_META_F32,
                                               .count = 1,
                                               .value.f = (double)t->low_rank->options.alpha};
    set_number(p, "general.file_type", mlt_storage_file_type(dtype));
    for (size_t i = 0; i < extras->n_metas; i++)
        p->metas[p->n_metas++] = extras->metas[i];
    for (size_t i = 0; i < t->n_parameters; i++)
        add_tensor(p, t->parameters[i].tensor, mlt_storage_choose(&t->parameters[i], dtype),
                   t->master + t->parameters[i].offset);
    for (size_t i = 0; i < extras->n_tensors; i++)
        add_tensor(p, &extras->tensors[i].tensor, MLT_F32, extras->tensors[i].values);
}

static millet_status plan_file(struct plan *p, mlt_dtype dtype, const struct mlt_extras *extras,
                               struct mlt_arena *arena, millet_error *err)
{
    const struct mlt_checkpoint *from = p->t->checkpoint;
    enum { ADDED = 5 }; /* an adapter's, which has none of the model's */
    size_t n_metas = from->n_metas + extras->n_metas + ADDED;
    size_t n = MLT_MAX(from->n_tensors, p->t->n_parameters) + extras->n_tensors;
    p->metas = mlt_arena_alloc(arena, n_metas, sizeof *p->metas, err);
    p->tensors = mlt_arena_alloc(arena, n, sizeof *p->tensors, err);
    p->values = mlt_arena_alloc(arena, n, sizeof *p->values, err);
    p->sources = mlt_arena_alloc(arena, n, sizeof *p->sources, err);
    if (!p->metas || !p->tensors || !p->values || !p->sources) return MILLET_NO_MEMORY;
    if (p->t->low_rank) {
        plan_adapter(p, dtype, extras);
        return MILLET_OK;
    }
    for (size_t i = 0; i < from->n_metas; i++)
        if (!of_training(&from->metas[i].key)) p->metas[p->n_metas++] = from->metas[i];
    set_number(p, "general.file_type", mlt_storage_file_type(dtype));
    if (mlt_dtype_info(dtype)->quantised) set_number(p, "general.quantization_version", 2);
    for (size_t i = 0; i < extras->n_metas; i++)
        p->metas[p->n_metas++] = extras->metas[i];
    for (size_t i = 0; i < from->n_tensors; i++) {
        const struct mlt_tensor *tensor = &from->tensors[i];
        const struct mlt_parameter *parameter = parameter_of(p->t, tensor);
        if (of_training(&tensor->name)) continue;
        if (parameter)
            add_tensor(p, tensor, mlt_storage_choose(parameter, dtype), p->t->master + parameter->offset);
        else
            add_tensor(p, tensor, tensor->dtype, NULL);
    }
    for (size_t i = 0; i < extras->n_tensors; i++)
        add_tensor(p, &extras->tensors[i].tensor, MLT_F32, extras->tensors[i].values);
    return MILLET_OK;
}

static millet_status write_tensor(const struct plan *p, size_t index, struct mlt_gguf_writer *writer,
                                  millet_error *err)
{
    const struct mlt_tensor *tensor = &p->tensors[index];
    int64_t columns = tensor->ne[0], rows = tensor->ne[1] * tensor->ne[2] * tensor->ne[3];
    const float *values = p->values[index];
    size_t first_extra = p->n_tensors - p->extras->n_tensors;
    if (!values && index >= first_extra)
        MLT_TRY(p->extras->read(p->extras->context, index - first_extra, &values, err));
    if (values && tensor->dtype == MLT_F32)
        return mlt_gguf_writer_write(writer, index, values, (uint64_t)(rows * columns) * sizeof(float), err);
    size_t bytes = mlt_dtype_row_bytes(tensor->dtype, columns);
    uint8_t *row = mlt_alloc(&p->t->allocator, bytes, 1, err);
    if (!row) return MILLET_NO_MEMORY;
    millet_status status = MILLET_OK;
    for (int64_t r = 0; status == MILLET_OK && r < rows; r++) {
        if (values)
            mlt_encode(tensor->dtype, values + r * columns, NULL, row, columns);
        else
            status = mlt_tensor_read(p->sources[index], (uint64_t)r, 1, row, err);
        if (status == MILLET_OK) status = mlt_gguf_writer_write(writer, index, row, bytes, err);
    }
    mlt_free(&p->t->allocator, row);
    return status;
}

millet_status mlt_trainable_write(const struct mlt_trainable *t, const char *path, mlt_dtype dtype,
                                  const struct mlt_extras *extras, millet_error *err)
{
    static const struct mlt_extras none;
    struct plan p = {.t = t, .extras = extras ? extras : &none};
    struct mlt_gguf_writer *writer = NULL;
    struct mlt_arena arena;
    mlt_arena_init(&arena, &t->allocator);
    millet_status status = plan_file(&p, dtype, p.extras, &arena, err);
    if (status == MILLET_OK) {
        struct mlt_gguf_contents contents = {
            .metas = p.metas, .n_metas = p.n_metas, .tensors = p.tensors, .n_tensors = p.n_tensors};
        status = mlt_gguf_writer_open(&t->allocator, path, &contents, &writer, err);
    }
    for (size_t i = 0; status == MILLET_OK && i < p.n_tensors; i++)
        status = write_tensor(&p, i, writer, err);
    if (status == MILLET_OK) status = mlt_gguf_writer_commit(&writer, err);
    mlt_gguf_writer_abort(&writer);
    mlt_arena_release(&arena);
    return status;
}
