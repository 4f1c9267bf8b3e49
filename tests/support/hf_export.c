/* A checkpoint with GGUF names as a Hugging Face directory. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/hf_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHARDS = 8 };

struct export
{
    const struct mlt_checkpoint *checkpoint;
    const char *arch;
    bool llama_like_rows; /* GGUF has the rows of q and k interleaved */
    bool gemma;
    struct hf_file shards[MAX_SHARDS];
    json_t *weight_map;
    int n_shards, next;
};

static bool is_arch(const struct export *e, const char *name)
{
    return strcmp(e->arch, name) == 0;
}

static bool has(const struct export *e, const char *key)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", e->arch, key);
    return mlt_checkpoint_meta(e->checkpoint, full) != NULL;
}

static uint32_t get_u32(const struct export *e, const char *key, uint32_t otherwise)
{
    char full[128];
    uint32_t value = 0;
    millet_error err;
    snprintf(full, sizeof full, "%s.%s", e->arch, key);
    if (mlt_meta_get_u32(e->checkpoint, full, &otherwise, &value, &err) != MILLET_OK)
        fail_msg("%s", err.message);
    return value;
}

static double get_f32(const struct export *e, const char *key)
{
    char full[128];
    float value = 0;
    millet_error err;
    snprintf(full, sizeof full, "%s.%s", e->arch, key);
    if (mlt_meta_get_f32(e->checkpoint, full, NULL, &value, &err) != MILLET_OK) fail_msg("%s", err.message);
    return value;
}

static uint32_t n_heads(const struct export *e)
{
    return get_u32(e, "attention.head_count", 0);
}

static uint32_t n_kv_heads(const struct export *e)
{
    return get_u32(e, "attention.head_count_kv", n_heads(e));
}

/* ---- config.json ---- */

static void set_int(json_t *config, const char *key, uint32_t value)
{
    json_object_set_new(config, key, json_integer(value));
}

static void set_real(json_t *config, const char *key, double value)
{
    json_object_set_new(config, key, json_real(value));
}

static json_t *list_of(const struct export *e, const char *tensor_name)
{
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(e->checkpoint, tensor_name);
    json_t *list = json_array();
    assert_non_null(tensor);
    for (int64_t i = 0; i < tensor->ne[0]; i++) {
        float value;
        memcpy(&value, tensor->data + 4 * i, 4);
        json_array_append_new(list, json_real(value));
    }
    return list;
}

static void write_scaling(const struct export *e, json_t *config)
{
    json_t *scaling = json_object();
    if (mlt_checkpoint_tensor(e->checkpoint, "rope_factors_long.weight")) {
        json_object_set_new(scaling, "type", json_string("longrope"));
        json_object_set_new(scaling, "long_factor", list_of(e, "rope_factors_long.weight"));
        json_object_set_new(scaling, "short_factor", list_of(e, "rope_factors_short.weight"));
        set_real(scaling, "attention_factor", get_f32(e, "rope.scaling.attn_factor"));
        set_int(config, "original_max_position_embeddings",
                get_u32(e, "rope.scaling.original_context_length", 0));
    } else if (mlt_checkpoint_tensor(e->checkpoint, "rope_freqs.weight")) {
        /* The factors of Llama 3.1; the tensor must be what they give at this context. */
        json_object_set_new(scaling, "rope_type", json_string("llama3"));
        set_real(scaling, "factor", 8);
        set_real(scaling, "low_freq_factor", 1);
        set_real(scaling, "high_freq_factor", 4);
        set_int(scaling, "original_max_position_embeddings", get_u32(e, "context_length", 0));
    } else if (has(e, "rope.scaling.type")) {
        char key[64];
        struct mlt_string type;
        millet_error err;
        snprintf(key, sizeof key, "%s.rope.scaling.type", e->arch);
        assert_int_equal(mlt_meta_get_string(e->checkpoint, key, NULL, &type, &err), MILLET_OK);
        json_object_set_new(scaling, "type", json_string(type.data));
        set_real(scaling, "factor", get_f32(e, "rope.scaling.factor"));
        if (has(e, "rope.scaling.original_context_length"))
            set_int(scaling, "original_max_position_embeddings",
                    get_u32(e, "rope.scaling.original_context_length", 0));
    }
    if (json_object_size(scaling))
        json_object_set_new(config, "rope_scaling", scaling);
    else
        json_decref(scaling);
}

static const char *class_of(const struct export *e)
{
    static const char *const names[][2] = {
        {"qwen2", "Qwen2ForCausalLM"},       {"qwen3", "Qwen3ForCausalLM"},
        {"gemma2", "Gemma2ForCausalLM"},     {"gemma3", "Gemma3ForCausalLM"},
        {"phi3", "Phi3ForCausalLM"},         {"gpt2", "GPT2LMHeadModel"},
        {"stablelm", "StableLmForCausalLM"}, {"smollm3", "SmolLM3ForCausalLM"},
        {"minicpm", "MiniCPMForCausalLM"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_arch(e, names[i][0])) return names[i][1];
    assert_string_equal(e->arch, "llama");
    return has(e, "expert_count") ? "MixtralForCausalLM" : "LlamaForCausalLM";
}

static void write_gpt2_config(const struct export *e, json_t *config)
{
    set_int(config, "n_layer", get_u32(e, "block_count", 0));
    set_int(config, "n_head", n_heads(e));
    set_int(config, "n_embd", get_u32(e, "embedding_length", 0));
    set_int(config, "n_inner", get_u32(e, "feed_forward_length", 0));
    set_int(config, "n_positions", get_u32(e, "context_length", 0));
    set_real(config, "layer_norm_epsilon", get_f32(e, "attention.layer_norm_epsilon"));
    json_object_set_new(config, "activation_function", json_string("gelu_new"));
}

static void write_family_config(const struct export *e, json_t *config)
{
    uint32_t head_size = get_u32(e, "attention.key_length", get_u32(e, "embedding_length", 0) / n_heads(e));
    uint32_t rope_size = get_u32(e, "rope.dimension_count", head_size);
    if (has(e, "expert_count")) {
        set_int(config, "num_local_experts", get_u32(e, "expert_count", 0));
        set_int(config, "num_experts_per_tok", get_u32(e, "expert_used_count", 0));
    }
    if (e->gemma || is_arch(e, "qwen3")) set_int(config, "head_dim", head_size);
    if (has(e, "attention.sliding_window"))
        set_int(config, "sliding_window", get_u32(e, "attention.sliding_window", 0));
    if (is_arch(e, "gemma2")) {
        set_real(config, "attn_logit_softcapping", get_f32(e, "attn_logit_softcapping"));
        set_real(config, "final_logit_softcapping", get_f32(e, "final_logit_softcapping"));
    }
    if (e->gemma) {
        set_int(config, "query_pre_attn_scalar", head_size);
        json_object_set_new(config, "hidden_activation", json_string("gelu_pytorch_tanh"));
    }
    if (is_arch(e, "gemma3")) set_real(config, "rope_local_base_freq", get_f32(e, "rope.freq_base_swa"));
    if (is_arch(e, "stablelm")) {
        json_object_set_new(config, "use_parallel_residual", json_false());
        set_real(config, "layer_norm_eps", get_f32(e, "attention.layer_norm_epsilon"));
        set_real(config, "partial_rotary_factor", (double)rope_size / head_size);
    } else {
        set_real(config, "rms_norm_eps", get_f32(e, "attention.layer_norm_rms_epsilon"));
    }
    if (is_arch(e, "minicpm")) {
        /* The scales stand in the file in terms of depth and width. */
        set_real(config, "scale_emb", get_f32(e, "embedding_scale"));
        set_real(config, "scale_depth", get_f32(e, "residual_scale") * sqrt(get_u32(e, "block_count", 0)));
        set_real(config, "dim_model_base", get_u32(e, "embedding_length", 0) / get_f32(e, "logit_scale"));
    }
}

static void write_config(const struct export *e)
{
    const struct mlt_tensor *embedding = mlt_checkpoint_tensor(e->checkpoint, "token_embd.weight");
    bool tied = !mlt_checkpoint_tensor(e->checkpoint, "output.weight");
    json_t *config = json_pack("{s:[s], s:b}", "architectures", class_of(e), "tie_word_embeddings", tied);
    assert_non_null(config);
    set_int(config, "vocab_size", (uint32_t)embedding->ne[1]);
    if (is_arch(e, "gpt2")) {
        write_gpt2_config(e, config);
    } else {
        set_int(config, "num_hidden_layers", get_u32(e, "block_count", 0));
        set_int(config, "num_attention_heads", n_heads(e));
        set_int(config, "num_key_value_heads", n_kv_heads(e));
        set_int(config, "hidden_size", get_u32(e, "embedding_length", 0));
        set_int(config, "intermediate_size", get_u32(e, "feed_forward_length", 0));
        set_int(config, "max_position_embeddings", get_u32(e, "context_length", 0));
        if (has(e, "rope.freq_base")) set_real(config, "rope_theta", get_f32(e, "rope.freq_base"));
        write_family_config(e, config);
        write_scaling(e, config);
    }
    hf_write_json("config.json", config);
}

/* ---- Weights ---- */

static const char *dtype_name(mlt_dtype dtype)
{
    return dtype == MLT_F32 ? "F32" : dtype == MLT_F16 ? "F16" : dtype == MLT_BF16 ? "BF16" : NULL;
}

static void put(struct export *e, const char *name, mlt_dtype dtype, int n_dims, const int64_t *shape,
                const void *data, size_t bytes)
{
    char shard[64];
    assert_non_null(dtype_name(dtype));
    snprintf(shard, sizeof shard, "model-%05d-of-%05d.safetensors", e->next + 1, e->n_shards);
    hf_tensor(&e->shards[e->next], name, dtype_name(dtype), n_dims, shape, data, bytes);
    json_object_set_new(e->weight_map, name, json_string(shard));
    e->next = (e->next + 1) % e->n_shards;
}

/* transformers turns elements i and i + D/2 of a head together where GGUF's llama turns 2i and 2i + 1. */
static void split_halves(uint8_t *rows, size_t row_bytes, size_t n_rows, size_t heads)
{
    size_t size = n_rows / heads;
    uint8_t *head = malloc(size * row_bytes);
    assert_non_null(head);
    for (size_t h = 0; h < heads; h++) {
        uint8_t *at = rows + h * size * row_bytes;
        memcpy(head, at, size * row_bytes);
        for (size_t i = 0; i < size / 2; i++) {
            memcpy(at + i * row_bytes, head + 2 * i * row_bytes, row_bytes);
            memcpy(at + (i + size / 2) * row_bytes, head + (2 * i + 1) * row_bytes, row_bytes);
        }
    }
    free(head);
}

static void subtract_one(float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float less = values[i] - 1;
        assert_true(less + 1 == values[i]); /* else the file could not be exact */
        values[i] = less;
    }
}

static uint8_t *turned(const uint8_t *data, size_t rows, size_t columns, size_t element)
{
    uint8_t *out = malloc(rows * columns * element);
    assert_non_null(out);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            memcpy(out + (c * rows + r) * element, data + (r * columns + c) * element, element);
    return out;
}

/* Pairs of GGUF suffix and transformers' suffix within a layer. */
typedef const char *name_pair[2];

static const name_pair llama_names[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_inp", "block_sparse_moe.gate"},
};
static const name_pair gemma_names[] = {
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};
static const name_pair gpt2_names[] = {
    {"attn_norm", "ln_1"}, {"attn_qkv", "attn.c_attn"}, {"attn_output", "attn.c_proj"},
    {"ffn_norm", "ln_2"},  {"ffn_up", "mlp.c_fc"},      {"ffn_down", "mlp.c_proj"},
};
static const name_pair global_names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};
static const name_pair gpt2_globals[] = {
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
};

static const char *look_up(const name_pair *pairs, size_t n, const char *stem)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(pairs[i][0], stem) == 0) return pairs[i][1];
    return NULL;
}

#define LOOK_UP(pairs, stem) look_up(pairs, sizeof(pairs) / sizeof *(pairs), stem)

static const char *layer_name(const struct export *e, const char *stem)
{
    const char *name = NULL;
    if (is_arch(e, "gpt2")) return LOOK_UP(gpt2_names, stem);
    if (is_arch(e, "phi3") && strcmp(stem, "ffn_up") == 0) return "mlp.gate_up_proj";
    if (e->gemma) name = LOOK_UP(gemma_names, stem);
    return name ? name : LOOK_UP(llama_names, stem);
}

/* Experts, and norms of single heads: as many tensors as the outermost dimension counts. */
static bool put_members(struct export *e, const struct mlt_tensor *tensor, const uint8_t *data, int layer,
                        const char *stem)
{
    static const char *const stacks[][2] = {
        {"ffn_gate_exps", "block_sparse_moe.experts.%d.w1"},
        {"ffn_up_exps", "block_sparse_moe.experts.%d.w3"},
        {"ffn_down_exps", "block_sparse_moe.experts.%d.w2"},
        {"attn_q_norm", "self_attn.q_layernorm.norms.%d"},
        {"attn_k_norm", "self_attn.k_layernorm.norms.%d"},
    };
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        if (strcmp(stacks[i][0], stem) != 0 || (tensor->n_dims == 1)) continue;
        int last = tensor->n_dims - 1;
        size_t bytes = (size_t)(tensor->bytes / (uint64_t)tensor->ne[last]);
        int64_t shape[2] = {last == 2 ? tensor->ne[1] : tensor->ne[0], tensor->ne[0]};
        for (int k = 0; k < (int)tensor->ne[last]; k++) {
            const char *mark = strchr(stacks[i][1], '%');
            char name[128];
            snprintf(name, sizeof name, "model.layers.%d.%.*s%d%s.weight", layer, (int)(mark - stacks[i][1]),
                     stacks[i][1], k, mark + 2);
            put(e, name, tensor->dtype, last, shape, data + (size_t)k * bytes, bytes);
        }
        return true;
    }
    return false;
}

static void put_tensor(struct export *e, const struct mlt_tensor *tensor, uint8_t *data)
{
    int layer = -1, used = 0;
    char stem[64], name[160];
    const char *suffix = strrchr(tensor->name.data, '.');
    sscanf(tensor->name.data, "blk.%d.%n", &layer, &used);
    snprintf(stem, sizeof stem, "%.*s", (int)(suffix - tensor->name.data - used), tensor->name.data + used);
    if (strncmp(stem, "rope_f", 6) == 0) return; /* in config.json */
    if (layer >= 0 && put_members(e, tensor, data, layer, stem)) return;

    bool gpt2 = is_arch(e, "gpt2"), matrix = tensor->n_dims == 2;
    if (e->gemma && strstr(stem, "norm")) subtract_one((float *)data, tensor->ne[0]);
    if (e->llama_like_rows && (strcmp(stem, "attn_q") == 0 || strcmp(stem, "attn_k") == 0)) {
        uint32_t heads = strcmp(stem, "attn_q") == 0 ? n_heads(e) : n_kv_heads(e);
        size_t rows = (size_t)(matrix ? tensor->ne[1] : tensor->ne[0]);
        split_halves(data, (size_t)tensor->bytes / rows, rows, heads);
    }
    const char *found = layer >= 0 ? layer_name(e, stem)
                        : gpt2     ? LOOK_UP(gpt2_globals, stem)
                                   : LOOK_UP(global_names, stem);
    if (!found) fail_msg("no name for %s", tensor->name.data);
    if (layer >= 0)
        snprintf(name, sizeof name, "%s.%d.%s%s", gpt2 ? "transformer.h" : "model.layers", layer, found,
                 suffix);
    else
        snprintf(name, sizeof name, "%s%s", found, suffix);
    int64_t shape[2] = {matrix ? tensor->ne[1] : tensor->ne[0], tensor->ne[0]};
    if (gpt2 && layer >= 0 && matrix) {
        uint8_t *other =
            turned(data, (size_t)shape[0], (size_t)shape[1], (size_t)tensor->row_bytes / (size_t)shape[1]);
        int64_t swapped[2] = {shape[1], shape[0]};
        put(e, name, tensor->dtype, 2, swapped, other, (size_t)tensor->bytes);
        free(other);
    } else {
        put(e, name, tensor->dtype, tensor->n_dims, shape, data, (size_t)tensor->bytes);
    }
}

void hf_export(const struct mlt_checkpoint *checkpoint, int n_shards)
{
    struct export e = {.checkpoint = checkpoint, .n_shards = n_shards, .weight_map = json_object()};
    struct mlt_string arch;
    millet_error err;
    assert_true(n_shards >= 1 && n_shards <= MAX_SHARDS);
    assert_int_equal(mlt_meta_get_string(checkpoint, "general.architecture", NULL, &arch, &err), MILLET_OK);
    e.arch = arch.data;
    e.gemma = strncmp(e.arch, "gemma", 5) == 0;
    e.llama_like_rows = is_arch(&e, "llama") || is_arch(&e, "smollm3") || is_arch(&e, "minicpm");
    write_config(&e);
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        uint8_t *data = malloc((size_t)tensor->bytes);
        assert_non_null(data);
        assert_int_equal(mlt_tensor_read(tensor, 0, tensor->rows, data, &err), MILLET_OK);
        put_tensor(&e, tensor, data);
        free(data);
    }
    for (int i = 0; i < n_shards; i++) {
        char shard[64];
        snprintf(shard, sizeof shard, "model-%05d-of-%05d.safetensors", i + 1, n_shards);
        hf_write_file(n_shards == 1 ? "model.safetensors" : shard, &e.shards[i]);
    }
    if (n_shards > 1)
        hf_write_json("model.safetensors.index.json", json_pack("{s:o}", "weight_map", e.weight_map));
    else
        json_decref(e.weight_map);
}
