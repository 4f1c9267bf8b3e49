/*
 * synthetic OUT.gguf [key=value ...]: a llama file of any shape with random weights, for timing engines on
 * the same file.
 *
 * Weights are scaled so that activations stay of the order of one through the layers. Keys and their defaults
 * (the 1.3-billion shape of docs/speed.md): layers=24 width=2048 heads=16 kv_heads=16 feed_forward=5632
 * vocabulary=64000 context=8192 type=F16 seed=1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/random.h"
#include "format/gguf_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct shape {
    uint32_t layers, width, heads, kv_heads, feed_forward, vocabulary, context, seed;
    mlt_dtype type;
} shape = {24, 2048, 16, 16, 5632, 64000, 8192, 1, MLT_F16};

static millet_error error;

static void must(millet_status status)
{
    if (status == MILLET_OK) return;
    char line[1024];
    millet_error_format(&error, line, sizeof line);
    fprintf(stderr, "synthetic: %s\n", line);
    exit(1);
}

static void read_argument(const char *argument)
{
    const struct {
        const char *key;
        uint32_t *value;
    } numbers[] = {
        {"layers", &shape.layers},
        {"width", &shape.width},
        {"heads", &shape.heads},
        {"kv_heads", &shape.kv_heads},
        {"feed_forward", &shape.feed_forward},
        {"vocabulary", &shape.vocabulary},
        {"context", &shape.context},
        {"seed", &shape.seed},
    };
    size_t length = strcspn(argument, "=");
    for (size_t i = 0; i < MLT_COUNT(numbers); i++) {
        if (strlen(numbers[i].key) == length && strncmp(argument, numbers[i].key, length) == 0 &&
            argument[length]) {
            *numbers[i].value = (uint32_t)strtoul(argument + length + 1, NULL, 10);
            return;
        }
    }
    if (strncmp(argument, "type=", 5) == 0 && mlt_dtype_by_name(argument + 5, &shape.type)) return;
    fprintf(stderr, "synthetic: \"%s\" is not understood; see the comment at the top of synthetic.c\n",
            argument);
    exit(2);
}

/* The vocabulary: what SentencePiece always has, then words that are spelled like numbers in base 26. */
static void add_tokens(struct mlt_checkpoint *checkpoint)
{
    const millet_allocator *allocator = mlt_default_allocator();
    struct mlt_string *tokens = mlt_alloc(allocator, shape.vocabulary, sizeof *tokens, &error);
    float *scores = mlt_alloc(allocator, shape.vocabulary, sizeof *scores, &error);
    int32_t *types = mlt_alloc(allocator, shape.vocabulary, sizeof *types, &error);
    char(*texts)[16] = mlt_alloc(allocator, shape.vocabulary, sizeof *texts, &error);
    if (!tokens || !scores || !types || !texts) must(MILLET_NO_MEMORY);
    for (uint32_t i = 0; i < shape.vocabulary; i++) {
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1; /* unknown, control, byte, normal */
        if (i < 3) {
            strcpy(texts[i], i == 0 ? "<unk>" : i == 1 ? "<s>" : "</s>");
        } else if (i < 259) {
            snprintf(texts[i], sizeof texts[i], "<0x%02X>", i - 3);
        } else {
            int at = 0;
            for (uint32_t n = i - 259 + 26; n; n /= 26)
                texts[i][at++] = (char)('a' + n % 26);
            texts[i][at] = 0;
        }
        scores[i] = -(float)i;
        tokens[i] = (struct mlt_string){texts[i], strlen(texts[i])};
    }
    must(mlt_checkpoint_set_string(checkpoint, "tokenizer.ggml.model", "llama", 5, &error));
    const struct mlt_meta metas[] = {
        {{"tokenizer.ggml.tokens", 21}, MLT_META_ARRAY, MLT_META_STRING, shape.vocabulary, {.array = tokens}},
        {{"tokenizer.ggml.scores", 21}, MLT_META_ARRAY, MLT_META_F32, shape.vocabulary, {.array = scores}},
        {{"tokenizer.ggml.token_type", 25}, MLT_META_ARRAY, MLT_META_I32, shape.vocabulary, {.array = types}},
    };
    for (size_t i = 0; i < MLT_COUNT(metas); i++)
        must(mlt_checkpoint_add_meta(checkpoint, &metas[i], &error));
    must(mlt_checkpoint_set_u32(checkpoint, "tokenizer.ggml.bos_token_id", 1, &error));
    must(mlt_checkpoint_set_u32(checkpoint, "tokenizer.ggml.eos_token_id", 2, &error));
    mlt_free(allocator, tokens);
    mlt_free(allocator, scores);
    mlt_free(allocator, types);
    mlt_free(allocator, texts);
}

static void add_tensor(struct mlt_checkpoint *checkpoint, int layer, const char *name, int64_t columns,
                       int64_t rows)
{
    char full[64];
    if (layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    else
        snprintf(full, sizeof full, "%s", name);
    static const uint8_t placeholder; /* bytes are made while they are written */
    struct mlt_tensor tensor = {.name = {full, strlen(full)},
                                .dtype = rows > 1 ? shape.type : MLT_F32,
                                .n_dims = rows > 1 ? 2 : 1,
                                .ne = {columns, rows, 1, 1},
                                .rows = (uint64_t)rows,
                                .data = &placeholder,
                                .file = ""};
    tensor.row_bytes = mlt_dtype_row_bytes(tensor.dtype, columns);
    tensor.bytes = tensor.row_bytes * tensor.rows;
    must(mlt_checkpoint_add_tensor(checkpoint, &tensor, &error));
}

static void describe(struct mlt_checkpoint *checkpoint)
{
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"llama.block_count", shape.layers},
        {"llama.context_length", shape.context},
        {"llama.embedding_length", shape.width},
        {"llama.feed_forward_length", shape.feed_forward},
        {"llama.attention.head_count", shape.heads},
        {"llama.attention.head_count_kv", shape.kv_heads},
        {"llama.rope.dimension_count", shape.width / shape.heads},
        {"llama.vocab_size", shape.vocabulary},
    };
    must(mlt_checkpoint_set_string(checkpoint, "general.architecture", "llama", 5, &error));
    must(mlt_checkpoint_set_string(checkpoint, "general.name", "synthetic", 9, &error));
    must(mlt_checkpoint_set_u32(checkpoint, "general.file_type", shape.type == MLT_F16 ? 1 : 0, &error));
    for (size_t i = 0; i < MLT_COUNT(numbers); i++)
        must(mlt_checkpoint_set_u32(checkpoint, numbers[i].key, numbers[i].value, &error));
    must(mlt_checkpoint_set_f32(checkpoint, "llama.attention.layer_norm_rms_epsilon", 1e-5f, &error));
    must(mlt_checkpoint_set_f32(checkpoint, "llama.rope.freq_base", 10000, &error));
    add_tokens(checkpoint);

    int64_t e = shape.width, kv = (int64_t)shape.width / shape.heads * shape.kv_heads, f = shape.feed_forward;
    add_tensor(checkpoint, -1, "token_embd.weight", e, shape.vocabulary);
    add_tensor(checkpoint, -1, "output_norm.weight", e, 1);
    add_tensor(checkpoint, -1, "output.weight", e, shape.vocabulary);
    for (int layer = 0; layer < (int)shape.layers; layer++) {
        add_tensor(checkpoint, layer, "attn_norm.weight", e, 1);
        add_tensor(checkpoint, layer, "attn_q.weight", e, e);
        add_tensor(checkpoint, layer, "attn_k.weight", e, kv);
        add_tensor(checkpoint, layer, "attn_v.weight", e, kv);
        add_tensor(checkpoint, layer, "attn_output.weight", e, e);
        add_tensor(checkpoint, layer, "ffn_norm.weight", e, 1);
        add_tensor(checkpoint, layer, "ffn_gate.weight", e, f);
        add_tensor(checkpoint, layer, "ffn_up.weight", e, f);
        add_tensor(checkpoint, layer, "ffn_down.weight", f, e);
    }
}

/* A row of values whose sum of squares is about one; vectors (norms) are ones. The sum of four bytes is near
 * a normal. */
static void random_row(struct mlt_random *random, float *row, int64_t n, bool vector)
{
    float scale = 1.0f / (148.0f * sqrtf((float)n)); /* standard deviation of the sum of four bytes: 147.8 */
    for (int64_t i = 0; i < n; i += 2) {
        uint64_t bits = mlt_random_u64(random);
        for (int64_t j = i; j < i + 2 && j < n; j++, bits >>= 32) {
            int sum = (int)(bits & 255) + (int)(bits >> 8 & 255) + (int)(bits >> 16 & 255) +
                      (int)(bits >> 24 & 255);
            row[j] = vector ? 1.0f : (float)(sum - 510) * scale;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("synthetic OUT.gguf [key=value ...]\n", stderr);
        return 2;
    }
    for (int i = 2; i < argc; i++)
        read_argument(argv[i]);
    const millet_allocator *allocator = mlt_default_allocator();
    struct mlt_checkpoint *checkpoint = NULL;
    must(mlt_checkpoint_new(allocator, argv[1], "synthetic", &checkpoint, &error));
    describe(checkpoint);
    must(mlt_checkpoint_seal(checkpoint, &error));

    struct mlt_gguf_contents contents = {.metas = checkpoint->metas,
                                         .n_metas = checkpoint->n_metas,
                                         .tensors = checkpoint->tensors,
                                         .n_tensors = checkpoint->n_tensors};
    struct mlt_gguf_writer *writer = NULL;
    must(mlt_gguf_writer_open(allocator, argv[1], &contents, &writer, &error));
    struct mlt_random random;
    mlt_random_seed(&random, shape.seed);
    int64_t longest = MLT_MAX(shape.width, shape.feed_forward);
    float *values = mlt_alloc(allocator, (size_t)longest, sizeof *values, &error);
    uint8_t *bytes = mlt_alloc(allocator, (size_t)longest, sizeof *values, &error);
    if (!values || !bytes) must(MILLET_NO_MEMORY);
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        for (uint64_t row = 0; row < tensor->rows; row++) {
            random_row(&random, values, tensor->ne[0], tensor->n_dims == 1);
            mlt_encode(tensor->dtype, values, NULL, bytes, tensor->ne[0]);
            must(mlt_gguf_writer_write(writer, i, bytes, tensor->row_bytes, &error));
        }
    }
    must(mlt_gguf_writer_commit(&writer, &error));
    mlt_free(allocator, values);
    mlt_free(allocator, bytes);
    mlt_checkpoint_close(&checkpoint);
    return 0;
}
