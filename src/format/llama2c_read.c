/*
 * The checkpoints of llama2.c (github.com/karpathy/llama2.c: export.py, run.c, runq.c), all numbers
 * little-endian.
 *
 *   v0  seven i32 (below), then float32 tensors; a negative vocabulary size says that the classifier is not
 * shared with the embedding. Two tables of rotation angles lie before the classifier and are skipped. v1  256
 * bytes: magic 0x616b3432, version 1, the seven i32, a byte (1: shared classifier), zeros; float32 tensors.
 *   v2  256 bytes: as v1 with version 2, and an i32 group size after the byte; float32 norms; then for every
 * matrix its elements as int8 and after them a float32 scale for each group of consecutive elements. This is
 * the order that runq.c reads.
 *
 * The seven: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len. Tensors of one kind lie
 * together, layer after layer. Queries and keys are rotated in neighbouring pairs, which is what the
 * architecture "llama" means in GGUF, so that rows need no reordering.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { V0_HEADER = 28, HEADER = 256, MAX_LAYERS = 4096 };

static const uint32_t magic_number = 0x616b3432;

struct shape {
    int version;
    uint64_t dim, hidden, layers, heads, kv_heads, vocab, context;
    bool shared;    /* the classifier is the embedding */
    uint64_t group; /* v2: elements for one scale */
};

/* Tensors of one kind: `count` matrices of rows x cols (a norm: 1 x cols), one behind the other. */
struct kind {
    const char *name; /* in GGUF; in layers after "blk.<layer>." */
    bool in_layers;
    uint64_t count, rows, cols;
    bool quantised;
    uint64_t offset; /* of the first */
    uint64_t stride; /* bytes of one */
};

enum {
    EMBEDDING,
    ATTN_NORM,
    QUERY,
    KEY,
    VALUE,
    ATTN_OUT,
    FFN_NORM,
    GATE,
    DOWN,
    UP,
    NORM,
    ANGLES,
    OUTPUT,
    N_KINDS
};

static int32_t read_i32(const struct mlt_source *source, uint64_t offset)
{
    int32_t value;
    memcpy(&value, source->data + offset, sizeof value);
    return value;
}

static bool has_magic(const struct mlt_source *source)
{
    return source->size >= 8 && (uint32_t)read_i32(source, 0) == magic_number;
}

/* The seven numbers at `offset`; what is wrong with them as text, or NULL. */
static const char *read_shape(const struct mlt_source *source, uint64_t offset, bool sign_is_flag,
                              struct shape *shape)
{
    int64_t number[7];
    for (unsigned i = 0; i < 7; i++)
        number[i] = read_i32(source, offset + 4 * i);
    if (sign_is_flag) {
        shape->shared = number[5] > 0;
        if (number[5] < 0) number[5] = -number[5];
    }
    for (int i = 0; i < 7; i++)
        if (number[i] < 1)
            return "one of dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, "
                   "max_seq_len is below 1";
    shape->dim = (uint64_t)number[0];
    shape->hidden = (uint64_t)number[1];
    shape->layers = (uint64_t)number[2];
    shape->heads = (uint64_t)number[3];
    shape->kv_heads = (uint64_t)number[4];
    shape->vocab = (uint64_t)number[5];
    shape->context = (uint64_t)number[6];
    if (shape->dim % shape->heads != 0 || shape->dim / shape->heads % 2 != 0)
        return "dim is no even multiple of n_heads";
    if (shape->heads % shape->kv_heads != 0) return "n_heads is no multiple of n_kv_heads";
    if (shape->layers > MAX_LAYERS) return "n_layers is above 4096";
    return NULL;
}

bool mlt_llama2c_recognise(const struct mlt_source *source)
{
    struct shape shape;
    return has_magic(source) || (source->size >= V0_HEADER && read_shape(source, 0, true, &shape) == NULL);
}

static millet_status read_header(const struct mlt_source *source, struct shape *shape, millet_error *err)
{
    *shape = (struct shape){0};
    if (!has_magic(source)) {
        const char *wrong = source->size < V0_HEADER ? "the file is shorter than its header"
                                                     : read_shape(source, 0, true, shape);
        if (!wrong) return MILLET_OK;
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, 0, "a bad llama2.c header: %s", wrong);
    }
    shape->version = read_i32(source, 4);
    if (shape->version != 1 && shape->version != 2)
        return mlt_fail_at(err, MILLET_UNSUPPORTED, source->path, NULL, 4,
                           "llama2.c version %d; 0, 1 and 2 are read", shape->version);
    if (source->size < HEADER)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, source->size,
                           "the file ends inside the header of %d bytes", HEADER);
    const char *wrong = read_shape(source, 8, false, shape);
    if (wrong)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, 8, "a bad llama2.c header: %s", wrong);
    if (source->data[36] > 1)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, 36,
                           "the flag for a shared classifier is %u; it must be 0 or 1", source->data[36]);
    shape->shared = source->data[36] == 1;
    if (shape->version == 1) return MILLET_OK;
    int32_t group = read_i32(source, 37);
    if (group < 1)
        return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, NULL, 37,
                           "the group size is %" PRId32 "; at least 1 is needed", group);
    shape->group = (uint64_t)group;
    return MILLET_OK;
}

static void fill_kinds(const struct shape *shape, struct kind kinds[N_KINDS])
{
    uint64_t layers = shape->layers, dim = shape->dim, hidden = shape->hidden;
    uint64_t head_size = dim / shape->heads, kv_dim = head_size * shape->kv_heads;
    bool q8 = shape->version == 2;
    struct kind all[N_KINDS] = {
        [EMBEDDING] = {"token_embd.weight", false, 1, shape->vocab, dim, .quantised = q8},
        [ATTN_NORM] = {"attn_norm.weight", true, layers, 1, dim, .quantised = false},
        [QUERY] = {"attn_q.weight", true, layers, dim, dim, .quantised = q8},
        [KEY] = {"attn_k.weight", true, layers, kv_dim, dim, .quantised = q8},
        [VALUE] = {"attn_v.weight", true, layers, kv_dim, dim, .quantised = q8},
        [ATTN_OUT] = {"attn_output.weight", true, layers, dim, dim, .quantised = q8},
        [FFN_NORM] = {"ffn_norm.weight", true, layers, 1, dim, .quantised = false},
        [GATE] = {"ffn_gate.weight", true, layers, hidden, dim, .quantised = q8},
        [DOWN] = {"ffn_down.weight", true, layers, dim, hidden, .quantised = q8},
        [UP] = {"ffn_up.weight", true, layers, hidden, dim, .quantised = q8},
        [NORM] = {"output_norm.weight", false, 1, 1, dim, .quantised = false},
        /* cosines and sines, head_size / 2 of each for a position */
        [ANGLES] = {"angles", false, shape->version == 0, shape->context, head_size, .quantised = false},
        [OUTPUT] = {"output.weight", false, !shape->shared, shape->vocab, dim, .quantised = q8},
    };
    memcpy(kinds, all, sizeof all);
}

/* Finds where each kind lies; the whole must be exactly the file. */
static millet_status lay_out(const struct mlt_source *source, const struct shape *shape,
                             struct kind kinds[N_KINDS], millet_error *err)
{
    static const int order_v0[N_KINDS] = {EMBEDDING, ATTN_NORM, QUERY, KEY,  VALUE,  ATTN_OUT, FFN_NORM,
                                          GATE,      DOWN,      UP,    NORM, ANGLES, OUTPUT};
    static const int order[N_KINDS] = {ATTN_NORM, FFN_NORM, NORM, EMBEDDING, QUERY,  KEY,   VALUE,
                                       ATTN_OUT,  GATE,     DOWN, UP,        ANGLES, OUTPUT};
    uint64_t at = shape->version == 0 ? V0_HEADER : HEADER;
    bool fits = true;
    for (int i = 0; i < N_KINDS; i++) {
        struct kind *kind = &kinds[shape->version == 0 ? order_v0[i] : order[i]];
        uint64_t elements = kind->rows * kind->cols, bytes; /* below 2^62: both are below 2^31 */
        if (kind->quantised && kind->count > 0 && elements % shape->group != 0)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, source->path, kind->name, 37,
                               "its %" PRIu64 " elements are no multiple of the group size %" PRIu64,
                               elements, shape->group);
        uint64_t floats = kind->quantised ? elements / shape->group : elements;
        fits = fits && mlt_mul_u64(floats, 4, &kind->stride);
        if (kind->quantised) fits = fits && mlt_add_u64(kind->stride, elements, &kind->stride);
        fits = fits && mlt_mul_u64(kind->stride, kind->count, &bytes);
        kind->offset = at;
        fits = fits && mlt_add_u64(at, bytes, &at);
    }
    if (fits && at == source->size) return MILLET_OK;
    if (!fits) at = UINT64_MAX;
    return mlt_fail_at(
        err, MILLET_BAD_FORMAT, source->path, NULL, MLT_MIN(at, source->size),
        "the header (dim %" PRIu64 ", hidden_dim %" PRIu64 ", %" PRIu64 " layers, vocabulary %" PRIu64
        ") asks for a file of %s%" PRIu64 " bytes, but it has %" PRIu64,
        shape->dim, shape->hidden, shape->layers, shape->vocab, fits ? "" : "more than ", at, source->size);
}

/* A quantised matrix for the reader functions below. */
struct groups {
    const int8_t *values;
    const uint8_t *scales; /* float32, any alignment */
    uint64_t group;
};

static float scale_at(const struct groups *groups, uint64_t i)
{
    float scale;
    memcpy(&scale, groups->scales + 4 * i, sizeof scale);
    return scale;
}

/* Rows decoded to float, as runq.c does it: value times scale. Groups may begin anywhere in a row. */
static millet_status read_as_f32(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                 millet_error *err)
{
    (void)err;
    const struct groups *groups = tensor->source;
    uint64_t at = row * (uint64_t)tensor->ne[0], end = at + rows * (uint64_t)tensor->ne[0];
    uint8_t *to = out;
    while (at < end) {
        float scale = scale_at(groups, at / groups->group);
        uint64_t last = MLT_MIN((at / groups->group + 1) * groups->group, end);
        for (; at < last; at++, to += sizeof(float)) {
            float value = (float)groups->values[at] * scale;
            memcpy(to, &value, sizeof value);
        }
    }
    return MILLET_OK;
}

/* Rows as blocks of Q8_0 (a binary16 scale and 32 int8), for tensors where that is exact. */
static millet_status read_as_q8_0(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                                  millet_error *err)
{
    (void)err;
    const struct groups *groups = tensor->source;
    uint64_t at = row * (uint64_t)tensor->ne[0], end = at + rows * (uint64_t)tensor->ne[0];
    uint8_t *to = out;
    for (; at < end; at += 32, to += 34) {
        uint16_t scale = mlt_float_to_half(scale_at(groups, at / groups->group));
        memcpy(to, &scale, sizeof scale);
        memcpy(to + 2, groups->values + at, 32);
    }
    return MILLET_OK;
}

/* Q8_0 says the same where each of its blocks has one scale, and binary16 holds that scale. */
static bool is_q8_0(const struct groups *groups, uint64_t cols, uint64_t elements)
{
    if (cols % 32 != 0 || groups->group % 32 != 0) return false;
    for (uint64_t i = 0; i < elements / groups->group; i++) {
        float scale = scale_at(groups, i), half = mlt_half_to_float(mlt_float_to_half(scale));
        if (memcmp(&scale, &half, sizeof half) != 0) return false;
    }
    return true;
}

static millet_status add_tensor(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                                const struct shape *shape, const struct kind *kind, uint64_t layer,
                                bool *any_q8, millet_error *err)
{
    char name[64];
    if (kind->in_layers)
        snprintf(name, sizeof name, "blk.%d.%s", (int)layer, kind->name);
    else
        snprintf(name, sizeof name, "%s", kind->name);
    uint64_t offset = kind->offset + layer * kind->stride;
    struct mlt_tensor tensor = {
        .name = {name, strlen(name)},
        .dtype = MLT_F32,
        .n_dims = kind->rows == 1 && !kind->quantised ? 1 : 2,
        .ne = {(int64_t)kind->cols, (int64_t)kind->rows, 1, 1},
        .file = source->path,
        .offset = offset,
    };
    if (kind->quantised) {
        struct groups *groups = mlt_arena_alloc(&checkpoint->arena, 1, sizeof *groups, err);
        if (!groups) return MILLET_NO_MEMORY;
        uint64_t elements = kind->rows * kind->cols;
        *groups = (struct groups){.values = (const int8_t *)(source->data + offset),
                                  .scales = source->data + offset + elements,
                                  .group = shape->group};
        bool exact = is_q8_0(groups, kind->cols, elements);
        if (exact) tensor.dtype = MLT_Q8_0;
        if (exact) *any_q8 = true;
        tensor.read = exact ? read_as_q8_0 : read_as_f32;
        tensor.source = groups;
    } else {
        tensor.data = source->data + offset;
    }
    return mlt_checkpoint_add_tensor(checkpoint, &tensor, err);
}

/* The path's last part without ".bin". */
static struct mlt_string model_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".bin") == 0) length -= 4;
    return (struct mlt_string){name, length};
}

static millet_status add_metas(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                               const struct shape *shape, bool any_q8, millet_error *err)
{
    struct mlt_string name = model_name(source->path);
    MLT_TRY(mlt_checkpoint_set_string(checkpoint, "general.architecture", "llama", 5, err));
    MLT_TRY(mlt_checkpoint_set_string(checkpoint, "general.name", name.data, name.length, err));
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"general.file_type", any_q8 ? 7 : 0}, /* mostly Q8_0, all F32 */
        {"llama.vocab_size", shape->vocab},
        {"llama.context_length", shape->context},
        {"llama.embedding_length", shape->dim},
        {"llama.block_count", shape->layers},
        {"llama.feed_forward_length", shape->hidden},
        {"llama.attention.head_count", shape->heads},
        {"llama.attention.head_count_kv", shape->kv_heads},
        {"llama.rope.dimension_count", shape->dim / shape->heads},
    };
    for (size_t i = 0; i < MLT_COUNT(numbers); i++)
        MLT_TRY(mlt_checkpoint_set_u32(checkpoint, numbers[i].key, (uint32_t)numbers[i].value, err));
    /* Constants in run.c. */
    MLT_TRY(mlt_checkpoint_set_f32(checkpoint, "llama.attention.layer_norm_rms_epsilon", 1e-5f, err));
    return mlt_checkpoint_set_f32(checkpoint, "llama.rope.freq_base", 10000.0f, err);
}

millet_status mlt_llama2c_read(struct mlt_checkpoint *checkpoint, const struct mlt_source *source,
                               uint32_t *n_vocab, millet_error *err)
{
    static const char *const formats[] = {"llama2.c v0", "llama2.c v1", "llama2.c v2"};
    struct shape shape;
    struct kind kinds[N_KINDS];
    bool any_q8 = false;
    MLT_TRY(read_header(source, &shape, err));
    fill_kinds(&shape, kinds);
    MLT_TRY(lay_out(source, &shape, kinds, err));
    MLT_TRY(add_tensor(checkpoint, source, &shape, &kinds[EMBEDDING], 0, &any_q8, err));
    for (uint64_t layer = 0; layer < shape.layers; layer++)
        for (int k = ATTN_NORM; k <= UP; k++)
            MLT_TRY(add_tensor(checkpoint, source, &shape, &kinds[k], layer, &any_q8, err));
    MLT_TRY(add_tensor(checkpoint, source, &shape, &kinds[NORM], 0, &any_q8, err));
    if (!shape.shared) MLT_TRY(add_tensor(checkpoint, source, &shape, &kinds[OUTPUT], 0, &any_q8, err));
    MLT_TRY(add_metas(checkpoint, source, &shape, any_q8, err));
    checkpoint->format = formats[shape.version];
    *n_vocab = (uint32_t)shape.vocab;
    return MILLET_OK;
}
