/*
 * Whole small models in the layout of Hugging Face: their logits against a plain float64 pass that follows
 * the definitions of transformers (rotation by halves, stored rows as they are), and bit for bit against the
 * same model in GGUF's layout. Then files that do not fit together.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "import/import.h"
#include "millet/lab.h"
#include "model/model.h"
#include "support/hf_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    N_LAYERS = 2,
    N_VOCAB = 48,
    N_EMBD = 32,
    N_HEADS = 4,
    N_KV = 2,
    N_FF = 40,
    N_TOKENS = 9,
    MAX_TENSORS = 64
};

/* A kind of model: what differs between the cases. */
struct kind {
    const char *class_name, *architecture, *dtype;
    int head_size;
    bool bias, tied, interleaved; /* interleaved: GGUF has the rows of q and k so */
    int n_shards;
};

/* A tensor under transformers' name, with the values that its dtype holds exactly. */
struct weight {
    char name[80], gguf[48];
    int64_t rows, columns; /* rows 0: a vector */
    float *values;
    int heads; /* of q and k, for GGUF's order */
};

struct model {
    const struct kind *kind;
    struct weight weights[MAX_TENSORS];
    int n;
};

static uint16_t encode(const char *dtype, float value)
{
    return strcmp(dtype, "F16") == 0 ? mlt_float_to_half(value) : mlt_float_to_bfloat(value);
}

static float rounded(const char *dtype, float value)
{
    if (strcmp(dtype, "F32") == 0) return value;
    uint16_t bits = encode(dtype, value);
    return strcmp(dtype, "F16") == 0 ? mlt_half_to_float(bits) : mlt_bfloat_to_float(bits);
}

static void add(struct model *model, struct mlt_random *random, const char *name, const char *gguf,
                int64_t rows, int64_t columns, float middle, float spread, int heads)
{
    struct weight *weight = &model->weights[model->n++];
    size_t n = (size_t)(rows ? rows * columns : columns);
    assert_true(model->n <= MAX_TENSORS);
    *weight = (struct weight){.rows = rows, .columns = columns, .heads = heads};
    snprintf(weight->name, sizeof weight->name, "%s", name);
    snprintf(weight->gguf, sizeof weight->gguf, "%s", gguf);
    weight->values = malloc(n * sizeof(float));
    assert_non_null(weight->values);
    for (size_t i = 0; i < n; i++)
        weight->values[i] = rounded(model->kind->dtype, middle + spread * mlt_random_normal(random));
}

static struct model make_model(const struct kind *kind)
{
    static const struct {
        const char *name, *gguf;
        char rows, columns; /* E, Q, K, F; '1': a vector */
    } layer_weights[] = {
        {"input_layernorm.weight", "attn_norm.weight", '1', 'E'},
        {"self_attn.q_proj.weight", "attn_q.weight", 'Q', 'E'},
        {"self_attn.k_proj.weight", "attn_k.weight", 'K', 'E'},
        {"self_attn.v_proj.weight", "attn_v.weight", 'V', 'E'},
        {"self_attn.q_proj.bias", "attn_q.bias", '1', 'Q'},
        {"self_attn.k_proj.bias", "attn_k.bias", '1', 'K'},
        {"self_attn.v_proj.bias", "attn_v.bias", '1', 'V'},
        {"self_attn.o_proj.weight", "attn_output.weight", 'E', 'Q'},
        {"post_attention_layernorm.weight", "ffn_norm.weight", '1', 'E'},
        {"mlp.gate_proj.weight", "ffn_gate.weight", 'F', 'E'},
        {"mlp.up_proj.weight", "ffn_up.weight", 'F', 'E'},
        {"mlp.down_proj.weight", "ffn_down.weight", 'E', 'F'},
    };
    struct model model = {.kind = kind};
    struct mlt_random random;
    mlt_random_seed(&random, 7);
    int64_t sizes[128] = {['E'] = N_EMBD, ['F'] = N_FF, ['1'] = 0};
    sizes['Q'] = N_HEADS * kind->head_size;
    sizes['K'] = sizes['V'] = N_KV * kind->head_size;
    add(&model, &random, "model.embed_tokens.weight", "token_embd.weight", N_VOCAB, N_EMBD, 0, 1, 0);
    add(&model, &random, "model.norm.weight", "output_norm.weight", 0, N_EMBD, 1, 0.1f, 0);
    if (!kind->tied) add(&model, &random, "lm_head.weight", "output.weight", N_VOCAB, N_EMBD, 0, 0.3f, 0);
    for (int layer = 0; layer < N_LAYERS; layer++) {
        for (size_t i = 0; i < sizeof layer_weights / sizeof *layer_weights; i++) {
            char name[80], gguf[48], rows = layer_weights[i].rows, columns = layer_weights[i].columns;
            bool bias = strstr(layer_weights[i].name, "bias") != NULL, vector = rows == '1';
            if (bias && !kind->bias) continue;
            char heads_of = vector ? columns : rows;
            int heads = strchr(layer_weights[i].gguf, 'v') ? 0
                        : heads_of == 'Q'                  ? N_HEADS
                        : heads_of == 'K'                  ? N_KV
                                                           : 0;
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, layer_weights[i].name);
            snprintf(gguf, sizeof gguf, "blk.%d.%s", layer, layer_weights[i].gguf);
            add(&model, &random, name, gguf, sizes[(int)rows], sizes[(int)columns], vector && !bias ? 1 : 0,
                vector ? 0.1f : 0.2f, heads);
        }
    }
    return model;
}

static void free_model(struct model *model)
{
    for (int i = 0; i < model->n; i++)
        free(model->weights[i].values);
}

static const float *values_of(const struct model *model, const char *format, int layer)
{
    char name[80];
    const char *mark = strchr(format, '%');
    if (mark)
        snprintf(name, sizeof name, "%.*s%d%s", (int)(mark - format), format, layer, mark + 1);
    else
        snprintf(name, sizeof name, "%s", format);
    for (int i = 0; i < model->n; i++)
        if (strcmp(model->weights[i].name, name) == 0) return model->weights[i].values;
    return NULL;
}

/* ---- The two layouts ---- */

static size_t encode_all(const char *dtype, const float *values, size_t n, uint8_t *out)
{
    bool single = strcmp(dtype, "F32") == 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t half = single ? 0 : encode(dtype, values[i]);
        memcpy(out + i * (single ? 4 : 2), single ? (const void *)&values[i] : (const void *)&half,
               single ? 4 : 2);
    }
    return n * (single ? 4 : 2);
}

static json_t *config_json(const struct kind *kind)
{
    return json_pack("{s:[s], s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b}", "architectures",
                     kind->class_name, "num_hidden_layers", N_LAYERS, "hidden_size", N_EMBD,
                     "intermediate_size", N_FF, "num_attention_heads", N_HEADS, "num_key_value_heads", N_KV,
                     "head_dim", kind->head_size, "vocab_size", N_VOCAB, "max_position_embeddings", 64,
                     "rms_norm_eps", 1e-5, "rope_theta", 100.0, "tie_word_embeddings", kind->tied);
}

static void write_model(const struct model *model)
{
    struct hf_file shards[4] = {{0}};
    int n_shards = model->kind->n_shards;
    json_t *map = json_object();
    char shard[64];
    uint8_t *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    for (int i = 0; i < model->n; i++) {
        const struct weight *weight = &model->weights[i];
        size_t n = (size_t)(weight->rows ? weight->rows * weight->columns : weight->columns);
        int64_t shape[2] = {weight->rows ? weight->rows : weight->columns, weight->columns};
        size_t size = encode_all(model->kind->dtype, weight->values, n, bytes);
        hf_tensor(&shards[i % n_shards], weight->name, model->kind->dtype, weight->rows ? 2 : 1, shape, bytes,
                  size);
        snprintf(shard, sizeof shard, "model-%d-of-%d.safetensors", i % n_shards + 1, n_shards);
        json_object_set_new(map, weight->name, json_string(shard));
    }
    for (int i = 0; i < n_shards; i++) {
        snprintf(shard, sizeof shard, "model-%d-of-%d.safetensors", i + 1, n_shards);
        hf_write_file(n_shards > 1 ? shard : "model.safetensors", &shards[i]);
    }
    if (n_shards > 1) hf_write_json("model.safetensors.index.json", json_pack("{s:O}", "weight_map", map));
    json_decref(map);
    hf_write_json("config.json", config_json(model->kind));
    free(bytes);
}

/* In GGUF's llama, elements 2i and 2i + 1 of a head turn together; in transformers i and i + size / 2. */
static int64_t source_row(const struct model *model, const struct weight *weight, int64_t row)
{
    if (!model->kind->interleaved || !weight->heads) return row;
    int64_t size = model->kind->head_size, head = row / size, at = row % size;
    return head * size + (at % 2 ? size / 2 : 0) + at / 2;
}

static struct mlt_checkpoint *gguf_model(const struct model *model, uint8_t *store)
{
    static const char *const metas[] = {
        "block_count",          "context_length",         "embedding_length",
        "feed_forward_length",  "attention.head_count",   "attention.head_count_kv",
        "attention.key_length", "attention.value_length", "rope.dimension_count"};
    const struct kind *kind = model->kind;
    const uint32_t numbers[] = {N_LAYERS,
                                64,
                                N_EMBD,
                                N_FF,
                                N_HEADS,
                                N_KV,
                                (uint32_t)kind->head_size,
                                (uint32_t)kind->head_size,
                                (uint32_t)kind->head_size};
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    char key[64];
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), "gguf", "GGUF v3", &checkpoint, &err), 0);
    mlt_checkpoint_set_string(checkpoint, "general.architecture", kind->architecture,
                              strlen(kind->architecture), &err);
    for (size_t i = 0; i < sizeof metas / sizeof *metas; i++) {
        snprintf(key, sizeof key, "%s.%s", kind->architecture, metas[i]);
        assert_int_equal(mlt_checkpoint_set_u32(checkpoint, key, numbers[i], &err), MILLET_OK);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", kind->architecture);
    mlt_checkpoint_set_f32(checkpoint, key, 1e-5f, &err);
    snprintf(key, sizeof key, "%s.rope.freq_base", kind->architecture);
    mlt_checkpoint_set_f32(checkpoint, key, 100, &err);
    for (int i = 0; i < model->n; i++) {
        const struct weight *weight = &model->weights[i];
        bool vector = weight->rows == 0;
        const char *dtype = vector ? "F32" : kind->dtype;
        struct mlt_tensor tensor = {.name = {weight->gguf, strlen(weight->gguf)}, .n_dims = vector ? 1 : 2};
        tensor.dtype = strcmp(dtype, "F32") == 0 ? MLT_F32 : strcmp(dtype, "F16") == 0 ? MLT_F16 : MLT_BF16;
        tensor.ne[0] = weight->columns;
        tensor.ne[1] = weight->rows;
        tensor.data = store;
        for (int64_t row = 0; row < (vector ? weight->columns : weight->rows); row++) {
            int64_t width = vector ? 1 : weight->columns;
            store += encode_all(dtype, weight->values + source_row(model, weight, row) * width, (size_t)width,
                                store);
        }
        assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, &err), MILLET_OK);
    }
    assert_int_equal(mlt_checkpoint_seal(checkpoint, &err), MILLET_OK);
    return checkpoint;
}

/* ---- The plain pass ---- */

static void plain_norm(const double *x, const float *weight, double *out)
{
    double sum = 0;
    for (int i = 0; i < N_EMBD; i++)
        sum += x[i] * x[i];
    for (int i = 0; i < N_EMBD; i++)
        out[i] = x[i] / sqrt(sum / N_EMBD + 1e-5) * weight[i];
}

static void plain_linear(const float *weight, const float *bias, const double *x, int rows, int columns,
                         double *out)
{
    for (int r = 0; r < rows; r++) {
        out[r] = bias ? bias[r] : 0;
        for (int c = 0; c < columns; c++)
            out[r] += (double)weight[r * columns + c] * x[c];
    }
}

static void rotate_halves(double *head, int size, int position)
{
    for (int i = 0; i < size / 2; i++) {
        double angle = position * pow(100.0, -2.0 * i / size), a = head[i], b = head[i + size / 2];
        head[i] = a * cos(angle) - b * sin(angle);
        head[i + size / 2] = b * cos(angle) + a * sin(angle);
    }
}

/* logits[N_TOKENS][N_VOCAB] of the tokens 0, 5, 10, ... */
static void plain_logits(const struct model *model, double *logits)
{
    enum { MAX_Q = 256 };
    int size = model->kind->head_size, nq = N_HEADS * size, nk = N_KV * size;
    static double stream[N_TOKENS][N_EMBD], keys[N_LAYERS][N_TOKENS][MAX_Q],
        values[N_LAYERS][N_TOKENS][MAX_Q];
    assert_true(nq <= MAX_Q);
    const float *embedding = values_of(model, "model.embed_tokens.weight", 0);
    for (int t = 0; t < N_TOKENS; t++) {
        double *x = stream[t], normed[N_EMBD], q[MAX_Q], mixed[MAX_Q], added[N_EMBD], gate[N_FF], up[N_FF];
        for (int i = 0; i < N_EMBD; i++)
            x[i] = embedding[t * 5 % N_VOCAB * N_EMBD + i];
        for (int l = 0; l < N_LAYERS; l++) {
            double *k = keys[l][t], *v = values[l][t];
            plain_norm(x, values_of(model, "model.layers.%.input_layernorm.weight", l), normed);
            plain_linear(values_of(model, "model.layers.%.self_attn.q_proj.weight", l),
                         values_of(model, "model.layers.%.self_attn.q_proj.bias", l), normed, nq, N_EMBD, q);
            plain_linear(values_of(model, "model.layers.%.self_attn.k_proj.weight", l),
                         values_of(model, "model.layers.%.self_attn.k_proj.bias", l), normed, nk, N_EMBD, k);
            plain_linear(values_of(model, "model.layers.%.self_attn.v_proj.weight", l),
                         values_of(model, "model.layers.%.self_attn.v_proj.bias", l), normed, nk, N_EMBD, v);
            for (int h = 0; h < N_HEADS; h++)
                rotate_halves(q + h * size, size, t);
            for (int h = 0; h < N_KV; h++)
                rotate_halves(k + h * size, size, t);
            for (int h = 0; h < N_HEADS; h++) {
                int from = h / (N_HEADS / N_KV) * size;
                double score[N_TOKENS], sum = 0;
                for (int p = 0; p <= t; p++) {
                    score[p] = 0;
                    for (int i = 0; i < size; i++)
                        score[p] += q[h * size + i] * keys[l][p][from + i];
                    score[p] = exp(score[p] / sqrt(size));
                    sum += score[p];
                }
                for (int i = 0; i < size; i++) {
                    mixed[h * size + i] = 0;
                    for (int p = 0; p <= t; p++)
                        mixed[h * size + i] += score[p] / sum * values[l][p][from + i];
                }
            }
            plain_linear(values_of(model, "model.layers.%.self_attn.o_proj.weight", l), NULL, mixed, N_EMBD,
                         nq, added);
            for (int i = 0; i < N_EMBD; i++)
                x[i] += added[i];
            plain_norm(x, values_of(model, "model.layers.%.post_attention_layernorm.weight", l), normed);
            plain_linear(values_of(model, "model.layers.%.mlp.gate_proj.weight", l), NULL, normed, N_FF,
                         N_EMBD, gate);
            plain_linear(values_of(model, "model.layers.%.mlp.up_proj.weight", l), NULL, normed, N_FF, N_EMBD,
                         up);
            for (int i = 0; i < N_FF; i++)
                gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
            plain_linear(values_of(model, "model.layers.%.mlp.down_proj.weight", l), NULL, gate, N_EMBD, N_FF,
                         added);
            for (int i = 0; i < N_EMBD; i++)
                x[i] += added[i];
        }
        plain_norm(x, values_of(model, "model.norm.weight", 0), normed);
        const float *head = values_of(model, "lm_head.weight", 0);
        plain_linear(head ? head : embedding, NULL, normed, N_VOCAB, N_EMBD, logits + t * N_VOCAB);
    }
}

/* ---- Comparing ---- */

static const char *folder(void)
{
    static char path[512];
    snprintf(path, sizeof path, "%s", folder_path(""));
    path[strlen(path) - 1] = 0;
    return path;
}

static void engine_logits(const millet_model *model, float *logits)
{
    millet_session *session;
    millet_error err;
    millet_session_options options = millet_session_options_default();
    options.n_ctx = options.n_batch = options.n_logits = 32;
    options.n_threads = 1;
    options.cache_type = MILLET_CACHE_F32;
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) fail_msg("%s", err.message);
    millet_item items[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++)
        items[i] = (millet_item){i * 5 % N_VOCAB, 0, true};
    if (millet_eval(session, items, N_TOKENS, &err) != MILLET_OK) fail_msg("%s", err.message);
    for (int i = 0; i < N_TOKENS; i++)
        memcpy(logits + i * N_VOCAB, millet_logits(session, i), N_VOCAB * sizeof *logits);
    millet_session_close(&session);
}

static const struct kind kinds[] = {
    {"LlamaForCausalLM", "llama", "F32", 8, false, false, true, 1},
    {"LlamaForCausalLM", "llama", "BF16", 8, false, true, true, 3},
    {"LlamaForCausalLM", "llama", "F16", 8, true, false, true, 1},
    {"MistralForCausalLM", "llama", "F32", 12, false, false, true, 2},
    {"Qwen2ForCausalLM", "qwen2", "F32", 8, true, true, false, 1},
    {"Qwen2ForCausalLM", "qwen2", "BF16", 8, true, false, false, 4},
};

static void test_logits(void **state)
{
    (void)state;
    static double plain[N_TOKENS * N_VOCAB];
    static float imported[N_TOKENS * N_VOCAB], gguf[N_TOKENS * N_VOCAB];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct model model = make_model(&kinds[i]);
        millet_model *opened;
        millet_error err;
        folder_make();
        write_model(&model);
        if (millet_import(folder(), NULL, &opened, &err) != MILLET_OK)
            fail_msg("%s: %s", err.item, err.message);
        millet_model_info info;
        millet_model_get_info(opened, &info);
        assert_string_equal(info.format, "safetensors");
        assert_string_equal(info.architecture, kinds[i].architecture);
        assert_int_equal(info.n_vocab, N_VOCAB);
        engine_logits(opened, imported);
        millet_model_close(&opened);
        folder_remove();

        uint8_t *store = malloc(1 << 20);
        assert_non_null(store);
        struct mlt_checkpoint *checkpoint = gguf_model(&model, store);
        if (mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &opened, &err) != MILLET_OK)
            fail_msg("%s: %s", err.item, err.message);
        engine_logits(opened, gguf);
        millet_model_close(&opened);
        free(store);
        assert_memory_equal(imported, gguf, sizeof gguf);

        plain_logits(&model, plain);
        double difference = 0, length = 0;
        for (int k = 0; k < N_TOKENS * N_VOCAB; k++) {
            difference += (plain[k] - imported[k]) * (plain[k] - imported[k]);
            length += plain[k] * plain[k];
        }
        /* Wrong rows are off by a tenth and more; half-precision products may round activations. */
        double bound = strcmp(kinds[i].dtype, "F32") == 0 ? 1e-5 : 1e-2;
        if (!(sqrt(difference / length) < bound))
            fail_msg("%s %s: relative distance %g", kinds[i].class_name, kinds[i].dtype,
                     sqrt(difference / length));
        free_model(&model);
    }
}

/* ---- Opening ---- */

static void test_paths(void **state)
{
    (void)state;
    struct model model = make_model(&kinds[0]);
    millet_model *opened;
    millet_error err;
    char path[600];
    folder_make();
    write_model(&model);
    static const char *const tails[] = {"", "/", "/model.safetensors"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(path, sizeof path, "%s%s", folder(), tails[i]);
        if (millet_lab_model_open(path, NULL, &opened, &err) != MILLET_OK)
            fail_msg("%s: %s", path, err.message);
        millet_model_info info;
        millet_model_get_info(opened, &info);
        assert_string_equal(info.name, strrchr(folder(), '/') + 1);
        assert_string_equal(info.tokenizer, "");
        millet_model_close(&opened);
    }
    snprintf(path, sizeof path, "%s/no-such-model", folder());
    assert_int_equal(millet_lab_model_open(path, NULL, &opened, &err), MILLET_NOT_FOUND);
    assert_null(opened);
    assert_int_equal(millet_import(path, NULL, &opened, &err), MILLET_NOT_FOUND);
    snprintf(path, sizeof path, "%s/config.json", folder()); /* a file of no model format */
    assert_int_equal(millet_lab_model_open(path, NULL, &opened, &err), MILLET_BAD_FORMAT);

    remove(folder_path("config.json"));
    assert_int_equal(millet_import(folder(), NULL, &opened, &err), MILLET_NOT_FOUND);
    assert_non_null(strstr(err.message, "config.json"));
    folder_remove();
    free_model(&model);
}

/* A tokenizer of single letters goes all the way into the model. */
static void test_tokenizer_in_model(void **state)
{
    (void)state;
    struct model model = make_model(&kinds[4]);
    millet_model *opened;
    millet_error err;
    folder_make();
    write_model(&model);
    hf_write_text(
        "tokenizer.json",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"added_tokens\":[{\"id\":3,\"content\":\"<|end|>\","
        "\"special\":true},{\"id\":99,\"content\":\"<|extra|>\",\"special\":true}]}");
    hf_write_text("tokenizer_config.json", "{\"eos_token\":\"<|end|>\",\"chat_template\":\"T\"}");
    hf_write_text("generation_config.json", "{\"bos_token_id\":3}");
    if (millet_import(folder(), NULL, &opened, &err) != MILLET_OK) fail_msg("%s: %s", err.item, err.message);
    millet_model_info info;
    millet_model_get_info(opened, &info);
    assert_string_equal(info.tokenizer, "BPE");
    assert_string_equal(info.chat_template, "T");
    assert_int_equal(millet_token_eos(opened), 3);
    assert_int_equal(millet_token_bos(opened), 3);
    int32_t ids[4];
    size_t count;
    assert_int_equal(millet_tokenize(opened, "abb<|end|>", 10, MILLET_TOKENIZE_SPECIAL, ids, 4, &count, &err),
                     0);
    assert_int_equal(count, 3);
    assert_true(ids[0] == 2 && ids[1] == 1 && ids[2] == 3);
    millet_model_close(&opened);

    hf_write_text("tokenizer.json", "{\"model\":");
    assert_int_equal(millet_import(folder(), NULL, &opened, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.file, "tokenizer.json"));
    folder_remove();
    free_model(&model);
}

/* ---- Files that do not fit together ---- */

/* Writes the llama model with one tensor renamed, retyped or reshaped, and more in config.json. */
static millet_status open_changed(const char *from, const char *to, const char *dtype, int64_t drop_rows,
                                  const char *config_key, int config_value, millet_error *err)
{
    struct model model = make_model(&kinds[0]);
    struct hf_file file = {0};
    millet_model *opened = NULL;
    folder_make();
    for (int i = 0; i < model.n; i++) {
        const struct weight *weight = &model.weights[i];
        bool hit = strcmp(weight->name, from) == 0;
        if (hit && !to) continue;
        int64_t rows = weight->rows ? weight->rows : weight->columns;
        if (hit) rows -= drop_rows;
        int64_t shape[2] = {rows, weight->columns};
        size_t n = (size_t)(weight->rows ? rows * weight->columns : rows);
        hf_tensor(&file, hit ? to : weight->name, hit ? dtype : "F32", weight->rows ? 2 : 1, shape,
                  weight->values, n * 4);
    }
    hf_write_file("model.safetensors", &file);
    json_t *config = config_json(&kinds[0]);
    if (config_key) json_object_set_new(config, config_key, json_integer(config_value));
    hf_write_json("config.json", config);
    memset(err, 0, sizeof *err);
    millet_status status = millet_import(folder(), NULL, &opened, err);
    millet_model_close(&opened);
    folder_remove();
    free_model(&model);
    return status;
}

static void test_misfits(void **state)
{
    (void)state;
    static const char q[] = "model.layers.1.self_attn.q_proj.weight", norm[] = "model.norm.weight";
    static const struct {
        const char *from, *to, *dtype;
        int64_t drop_rows;
        const char *key;
        int value;
        millet_status status;
        const char *word;
    } cases[] = {
        {q, q, "F32", 0, NULL, 0, MILLET_OK, ""},
        {q, q, "I32", 0, NULL, 0, MILLET_UNSUPPORTED, "I32"},
        {q, NULL, "F32", 0, NULL, 0, MILLET_NOT_FOUND, "blk.1.attn_q.weight"},
        {q, q, "F32", 1, NULL, 0, MILLET_BAD_FORMAT, "31 rows"},
        {q, q, "F32", 8, NULL, 0, MILLET_BAD_FORMAT, "blk.1.attn_q.weight"},
        {q, "model.layers.2.self_attn.q_proj.weight", "F32", 0, NULL, 0, MILLET_BAD_FORMAT, "layer 2"},
        {q, "model.layers.01.self_attn.q_proj.weight", "F32", 0, NULL, 0, MILLET_UNSUPPORTED, "not part"},
        {q, "model.layers.1.self_attn.qq_proj.weight", "F32", 0, NULL, 0, MILLET_UNSUPPORTED, "not part"},
        {q, "model.layers.4294967297.self_attn.q_proj.weight", "F32", 0, NULL, 0, MILLET_UNSUPPORTED,
         "not part"},
        {q, "layers.0.self_attn.q_proj.weight", "F32", 0, NULL, 0, MILLET_BAD_FORMAT, "same place"},
        {q, "model.layers.1.self_attn.rotary_emb.inv_freq", "I32", 0, NULL, 0, MILLET_NOT_FOUND,
         "blk.1.attn_q.weight"}, /* tables that are not used may have any type */
        {norm, NULL, "F32", 0, NULL, 0, MILLET_NOT_FOUND, "output_norm.weight"},
        {norm, norm, "F32", 4, NULL, 0, MILLET_BAD_FORMAT, "output_norm.weight"},
        {"lm_head.weight", NULL, "F32", 0, NULL, 0, MILLET_BAD_FORMAT, "tie_word_embeddings"},
        {"model.embed_tokens.weight", NULL, "F32", 0, NULL, 0, MILLET_BAD_FORMAT, "embedding"},
        {"model.embed_tokens.weight", "model.embed_tokens.weight", "F32", 1, NULL, 0, MILLET_BAD_FORMAT,
         "47"},
        {q, q, "F32", 0, "vocab_size", 2000000000, MILLET_BAD_FORMAT, "2000000000"},
        {q, q, "F32", 0, "num_hidden_layers", 1, MILLET_BAD_FORMAT, "layer 1"},
        {q, q, "F32", 0, "num_hidden_layers", 2000000000, MILLET_BAD_FORMAT, "block_count"},
        {q, q, "F32", 0, "num_attention_heads", 2000000000, MILLET_BAD_FORMAT, "heads"},
        {q, q, "F32", 0, "num_key_value_heads", 3, MILLET_BAD_FORMAT, "3 heads"},
        {q, q, "F32", 0, "intermediate_size", 41, MILLET_BAD_FORMAT, "ffn_gate"},
        {q, q, "F32", 0, "hidden_size", 31, MILLET_BAD_FORMAT, "31"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        millet_error err;
        millet_status status = open_changed(cases[i].from, cases[i].to, cases[i].dtype, cases[i].drop_rows,
                                            cases[i].key, cases[i].value, &err);
        if (status != cases[i].status ||
            !(strstr(err.message, cases[i].word) || strstr(err.item, cases[i].word)))
            fail_msg("case %zu: %s, %s: %s", i, millet_status_name(status), err.item, err.message);
        if (status != MILLET_OK) assert_true(err.file[0] != 0);
    }
}

/* Experts and heads that are missing, doubled or of another shape. */
static void test_members(void **state)
{
    (void)state;
    static const struct {
        const char *last; /* instead of expert 2 */
        int64_t rows;
        const char *dtype;
        const char *word;
    } cases[] = {
        {"layers.0.block_sparse_moe.experts.2.w1.weight", 4, "F32", NULL},
        {"layers.0.block_sparse_moe.experts.3.w1.weight", 4, "F32", "numbered from 0"},
        {"layers.0.block_sparse_moe.experts.2.w1.weight", 5, "F32", "shape differs"},
        {"layers.0.block_sparse_moe.experts.2.w1.weight", 8, "F16", "shape differs"},
        {"model.layers.0.block_sparse_moe.experts.1.w1.weight", 4, "F32", "same place"},
        {"layers.0.block_sparse_moe.experts.2.w2.weight", 4, "F32", "3 are needed"},
    };
    static const float values[8 * 4];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hf_file file = {0};
        int64_t shape[2] = {4, 4}, last[2] = {cases[i].rows, 4};
        hf_tensor(&file, "layers.0.block_sparse_moe.experts.0.w1.weight", "F32", 2, shape, values, 64);
        hf_tensor(&file, "layers.0.block_sparse_moe.experts.1.w1.weight", "F32", 2, shape, values, 64);
        hf_tensor(&file, cases[i].last, cases[i].dtype, 2, last, values,
                  (size_t)(4 * cases[i].rows) * (cases[i].dtype[1] == '3' ? 4 : 2));
        hf_tensor(&file, "embed_tokens.weight", "F32", 2, shape, values, 64);
        folder_make();
        hf_write_file("model.safetensors", &file);
        hf_write_text("config.json", "{\"architectures\":[\"MixtralForCausalLM\"],\"num_hidden_layers\":1,"
                                     "\"hidden_size\":4,\"intermediate_size\":4,\"num_attention_heads\":2,"
                                     "\"vocab_size\":4,\"max_position_embeddings\":8,\"num_local_experts\":3,"
                                     "\"num_experts_per_tok\":1,\"tie_word_embeddings\":true}");
        struct mlt_checkpoint *checkpoint;
        millet_error err;
        millet_status status = mlt_import_checkpoint(mlt_default_allocator(), folder(), &checkpoint, &err);
        if (!cases[i].word) {
            assert_int_equal(status, MILLET_OK);
            const struct mlt_tensor *stack = mlt_checkpoint_tensor(checkpoint, "blk.0.ffn_gate_exps.weight");
            assert_true(stack->ne[0] == 4 && stack->ne[1] == 4 && stack->ne[2] == 3 && stack->n_dims == 3);
        } else if (status != MILLET_BAD_FORMAT || !strstr(err.message, cases[i].word)) {
            fail_msg("case %zu: %s, %s", i, millet_status_name(status), err.message);
        }
        mlt_checkpoint_close(&checkpoint);
        folder_remove();
    }
}

/* A tensor that is assembled may be read in any pieces, also across its parts. */
static void test_partial_reads(void **state)
{
    (void)state;
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct model model = make_model(&kinds[i]);
        folder_make();
        write_model(&model);
        assert_int_equal(mlt_import_checkpoint(mlt_default_allocator(), folder(), &checkpoint, &err),
                         MILLET_OK);
        for (size_t t = 0; t < checkpoint->n_tensors; t++) {
            const struct mlt_tensor *tensor = &checkpoint->tensors[t];
            uint8_t *whole = malloc((size_t)tensor->bytes), *pieces = malloc((size_t)tensor->bytes);
            assert_non_null(whole);
            assert_non_null(pieces);
            assert_int_equal(mlt_tensor_read(tensor, 0, tensor->rows, whole, &err), MILLET_OK);
            for (uint64_t row = 0, step = 1; row < tensor->rows; row += step, step = step % 5 + 1) {
                step = MLT_MIN(step, tensor->rows - row);
                assert_int_equal(mlt_tensor_read(tensor, row, step, pieces + row * tensor->row_bytes, &err),
                                 MILLET_OK);
            }
            assert_memory_equal(whole, pieces, (size_t)tensor->bytes);
            assert_int_equal(mlt_tensor_read(tensor, 1, tensor->rows, pieces, &err), MILLET_BAD_ARGUMENT);
            free(whole);
            free(pieces);
        }
        mlt_checkpoint_close(&checkpoint);
        folder_remove();
        free_model(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_tokenizer_in_model),
        cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_partial_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
