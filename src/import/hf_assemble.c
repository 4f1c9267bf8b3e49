/* Tensors that are stored otherwise than GGUF wants them. SPDX-License-Identifier: Apache-2.0 */
#include "import/hf.h"

#include <inttypes.h>
#include <string.h>

/* What mlt_tensor.source points to: the recipe, with what follows from it. In the checkpoint's arena. */
struct assembly {
    struct mlt_hf_recipe recipe;
    mlt_dtype stored;
    size_t element;     /* bytes of a stored element */
    uint64_t length;    /* elements of a row of the finished tensor */
    uint64_t part_rows; /* rows that one part gives */
};

/* Where row (or element) `k` of a half-split head lies, for interleaved order; see mlt_hf_recipe.heads. */
static uint64_t stored_row(uint64_t k, uint64_t head_size)
{
    uint64_t head = k / head_size, at = k % head_size;
    return head * head_size + at % 2 * (head_size / 2) + at / 2;
}

static void convert(const struct assembly *assembly, const uint8_t *from, float *to, uint64_t count)
{
    mlt_decode(assembly->stored, from, to, (int64_t)count);
    if (assembly->recipe.add != 0)
        for (uint64_t i = 0; i < count; i++)
            to[i] += assembly->recipe.add;
}

/* Writes rows [row, row + rows) of a part; `out` takes elements of the finished type. */
static void copy_rows(const struct assembly *assembly, const uint8_t *part, uint64_t row, uint64_t rows,
                      void *out)
{
    const struct mlt_hf_recipe *recipe = &assembly->recipe;
    size_t element = assembly->element, bytes = (size_t)assembly->length * element;
    bool vector = assembly->part_rows == 1;
    uint64_t head_size =
        recipe->heads ? (vector ? assembly->length : assembly->part_rows) / recipe->heads : 0;
    for (uint64_t i = 0; i < rows; i++) {
        const uint8_t *from =
            part + (head_size && !vector ? stored_row(row + i, head_size) : row + i) * bytes;
        if (head_size && vector) {
            for (uint64_t k = 0; k < assembly->length; k++)
                convert(assembly, from + stored_row(k, head_size) * element, (float *)out + k, 1);
        } else if (recipe->as_float) {
            convert(assembly, from, (float *)out + i * assembly->length, assembly->length);
        } else {
            memcpy((uint8_t *)out + i * bytes, from, bytes);
        }
    }
}

/* The same for a part stored as [length][part_rows]: reads along the stored rows, which are the long way. */
static void copy_columns(const struct assembly *assembly, const uint8_t *part, uint64_t row, uint64_t rows,
                         uint8_t *out)
{
    size_t element = assembly->element;
    for (uint64_t at = 0; at < assembly->length; at++) {
        const uint8_t *from = part + (at * assembly->part_rows + row) * element;
        for (uint64_t i = 0; i < rows; i++)
            memcpy(out + (i * assembly->length + at) * element, from + i * element, element);
    }
}

static millet_status read_assembled(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                    millet_error *err)
{
    const struct assembly *assembly = tensor->source;
    (void)err; /* everything was checked when the tensor was added */
    uint8_t *to = out;
    while (rows > 0) {
        uint64_t first = row % assembly->part_rows, count = MLT_MIN(rows, assembly->part_rows - first);
        const uint8_t *part = assembly->recipe.parts[row / assembly->part_rows]->data;
        if (assembly->recipe.transpose)
            copy_columns(assembly, part, first, count, to);
        else
            copy_rows(assembly, part, first, count, to);
        to += count * tensor->row_bytes;
        row += count;
        rows -= count;
    }
    return MILLET_OK;
}

static millet_status bad_tensor(const struct mlt_safetensor *tensor, millet_status status, const char *what,
                                millet_error *err)
{
    return mlt_fail_at(err, status, tensor->file, tensor->name.data, tensor->offset, "%s", what);
}

static millet_status check_part(const struct mlt_safetensor *part, const struct mlt_safetensor *first,
                                millet_error *err)
{
    if (!part->usable)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, part->file, part->name.data, part->offset,
                           "its type is %.20s; weights of type F32, F16 and BF16 can be imported",
                           part->dtype_name);
    if (part->n_dims < 1 || part->n_dims > 2)
        return bad_tensor(part, MILLET_BAD_FORMAT, "a vector or a matrix is expected here", err);
    for (int i = 0; i < part->n_dims; i++)
        if (part->shape[i] < 1) return bad_tensor(part, MILLET_BAD_FORMAT, "a dimension is 0", err);
    bool same = part->dtype == first->dtype && part->n_dims == first->n_dims;
    for (int i = 0; i < part->n_dims && same; i++)
        same = part->shape[i] == first->shape[i];
    if (same) return MILLET_OK;
    return mlt_fail_at(err, MILLET_BAD_FORMAT, part->file, part->name.data, part->offset,
                       "its type or shape differs from that of %.80s, beside which it belongs",
                       first->name.data);
}

static millet_status check_recipe(const struct mlt_hf_recipe *recipe, millet_error *err)
{
    const struct mlt_safetensor *first = recipe->parts[0];
    for (size_t i = 0; i < recipe->n_parts; i++)
        MLT_TRY(check_part(recipe->parts[i], first, err));
    if (recipe->transpose && first->n_dims != 2)
        return bad_tensor(first, MILLET_BAD_FORMAT, "a matrix is expected here", err);
    if (recipe->heads && first->shape[0] % (2 * (int64_t)recipe->heads) != 0)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, first->file, first->name.data, first->offset,
                           "%" PRId64 " rows cannot be shared out to %u heads of even size", first->shape[0],
                           recipe->heads);
    return MILLET_OK;
}

millet_status mlt_hf_add_tensor(struct mlt_checkpoint *checkpoint, const char *name,
                                const struct mlt_hf_recipe *recipe, millet_error *err)
{
    MLT_TRY(check_recipe(recipe, err));
    const struct mlt_safetensor *first = recipe->parts[0];
    bool matrix = first->n_dims == 2;
    struct mlt_tensor tensor = {.name = {name, strlen(name)}, .file = first->file, .offset = first->offset};
    tensor.ne[tensor.n_dims++] = matrix && !recipe->transpose ? first->shape[1] : first->shape[0];
    if (matrix) tensor.ne[tensor.n_dims++] = recipe->transpose ? first->shape[1] : first->shape[0];
    if (recipe->stack) tensor.ne[tensor.n_dims++] = (int64_t)recipe->n_parts;
    tensor.dtype = recipe->as_float ? MLT_F32 : first->dtype;

    bool in_place = !recipe->transpose && !recipe->heads && recipe->n_parts == 1 &&
                    (!recipe->as_float || (first->dtype == MLT_F32 && recipe->add == 0));
    if (in_place) {
        tensor.data = first->data;
        return mlt_checkpoint_add_tensor(checkpoint, &tensor, err);
    }
    struct mlt_arena *arena = &checkpoint->arena;
    struct assembly *assembly = mlt_arena_alloc(arena, 1, sizeof *assembly, err);
    const struct mlt_safetensor **parts = mlt_arena_alloc(arena, recipe->n_parts, sizeof *parts, err);
    if (!assembly || !parts) return MILLET_NO_MEMORY;
    memcpy(parts, recipe->parts, recipe->n_parts * sizeof *parts);
    *assembly = (struct assembly){.recipe = *recipe,
                                  .stored = first->dtype,
                                  .element = mlt_dtype_row_bytes(first->dtype, 1),
                                  .length = (uint64_t)tensor.ne[0],
                                  .part_rows = matrix ? (uint64_t)tensor.ne[1] : 1};
    assembly->recipe.parts = parts;
    tensor.read = read_assembled;
    tensor.source = assembly;
    return mlt_checkpoint_add_tensor(checkpoint, &tensor, err);
}
