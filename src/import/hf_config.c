/* config.json of Hugging Face models to GGUF keys. SPDX-License-Identifier: Apache-2.0 */
#include "import/hf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_HEAD_SIZE = 65536, /* keeps what is computed per head element small, whatever the file says */
};

static const struct class_row {
    const char *name;
    const char *model_type; /* what config.json calls the family; for files without a class */
    const char *architecture;
    enum mlt_hf_family family;
} classes[] = {
    {"LlamaForCausalLM", "llama", "llama", MLT_HF_LLAMA},
    {"MistralForCausalLM", "mistral", "llama", MLT_HF_LLAMA},
    {"MixtralForCausalLM", "mixtral", "llama", MLT_HF_MIXTRAL},
    {"Qwen2ForCausalLM", "qwen2", "qwen2", MLT_HF_QWEN2},
    {"Qwen3ForCausalLM", "qwen3", "qwen3", MLT_HF_QWEN3},
    {"Gemma2ForCausalLM", "gemma2", "gemma2", MLT_HF_GEMMA2},
    {"Gemma3ForCausalLM", "gemma3_text", "gemma3", MLT_HF_GEMMA3},
    {"Phi3ForCausalLM", "phi3", "phi3", MLT_HF_PHI3},
    {"StableLmForCausalLM", "stablelm", "stablelm", MLT_HF_STABLELM},
    {"GPT2LMHeadModel", "gpt2", "gpt2", MLT_HF_GPT2},
    {"SmolLM3ForCausalLM", "smollm3", "smollm3", MLT_HF_SMOLLM3},
    {"MiniCPMForCausalLM", "minicpm", "minicpm", MLT_HF_MINICPM},
};

static const enum mlt_hf_family gemmas = MLT_HF_GEMMA2 | MLT_HF_GEMMA3;
static const enum mlt_hf_family layer_norms = MLT_HF_GPT2 | MLT_HF_STABLELM;

static void key_of(const struct mlt_hf_config *config, const char *name, char *key, size_t size)
{
    snprintf(key, size, "%s.%s", config->architecture, name);
}

millet_status mlt_hf_put_u32(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                             const char *name, uint32_t value, millet_error *err)
{
    char key[128];
    key_of(config, name, key, sizeof key);
    return mlt_checkpoint_set_u32(checkpoint, key, value, err);
}

millet_status mlt_hf_put_f32(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                             const char *name, double value, millet_error *err)
{
    char key[128];
    key_of(config, name, key, sizeof key);
    return mlt_checkpoint_set_f32(checkpoint, key, (float)value, err);
}

millet_status mlt_hf_put_text(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                              const char *name, const char *value, millet_error *err)
{
    char key[128];
    key_of(config, name, key, sizeof key);
    return mlt_checkpoint_set_string(checkpoint, key, value, strlen(value), err);
}

static millet_status find_class(const struct mlt_json *json, const struct class_row **out, millet_error *err)
{
    const json_t *list = json_object_get(json->object, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    const char *type = !list || json_is_null(list) ? mlt_json_string(json->object, "model_type") : NULL;
    if (!name && !type)
        return mlt_json_fail(json, "architectures", err, MILLET_BAD_FORMAT,
                             "a list with the name of the model's class is needed, such as "
                             "[\"LlamaForCausalLM\"]");
    for (size_t i = 0; i < MLT_COUNT(classes); i++) {
        *out = &classes[i];
        if (strcmp(name ? classes[i].name : classes[i].model_type, name ? name : type) == 0) return MILLET_OK;
    }
    char known[320];
    size_t length = 0;
    for (size_t i = 0; i < MLT_COUNT(classes); i++) {
        int n = snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", classes[i].name);
        length += (size_t)n;
        if (length >= sizeof known) break;
    }
    return mlt_json_fail(json, name ? "architectures" : "model_type", err, MILLET_UNSUPPORTED,
                         "\"%.48s\" is not known; known: %s", name ? name : type, known);
}

/* The first of several names that a count goes by in different families; `fallback` NULL: required. */
static millet_status get_count(const struct mlt_json *json, const char *const *names, size_t n_names,
                               const uint32_t *fallback, uint32_t *out, millet_error *err)
{
    for (size_t i = 0; i < n_names; i++) {
        const json_t *value = json_object_get(json->object, names[i]);
        if (!value || json_is_null(value)) continue;
        MLT_TRY(mlt_json_get_u32(json, names[i], NULL, out, err));
        if (*out == 0)
            return mlt_json_fail(json, names[i], err, MILLET_BAD_FORMAT,
                                 "the value is 0; at least 1 is needed");
        return MILLET_OK;
    }
    return mlt_json_get_u32(json, names[0], fallback, out, err);
}

#define GET_COUNT(json, fallback, out, err, ...)                                                             \
    get_count(json, (const char *const[]){__VA_ARGS__}, MLT_COUNT(((const char *const[]){__VA_ARGS__})),     \
              fallback, out, err)

/* The activation is part of the architecture in GGUF: another one than the family's cannot be said there. */
static millet_status check_activation(const struct mlt_json *json, enum mlt_hf_family family,
                                      millet_error *err)
{
    static const char *const silu[] = {"silu", "swish", NULL};
    /* Gemma's first files say "gelu" and mean the tanh form; the modelling code reads them so. */
    static const char *const gemma[] = {"gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu", NULL};
    static const char *const gpt2[] = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast", NULL};
    const char *key = family & MLT_HF_GPT2 ? "activation_function" : "hidden_act";
    if (family & gemmas && mlt_json_string(json->object, "hidden_activation")) key = "hidden_activation";
    const char *name = mlt_json_string(json->object, key);
    if (!name) return MILLET_OK;
    const char *const *known = family & MLT_HF_GPT2 ? gpt2 : family & gemmas ? gemma : silu;
    for (; *known; known++)
        if (strcmp(*known, name) == 0) return MILLET_OK;
    return mlt_json_fail(json, key, err, MILLET_UNSUPPORTED,
                         "the activation \"%.40s\" is not that of this architecture", name);
}

/* Settings that other values of would change the arithmetic in a way that GGUF has no key for. */
static millet_status check_settings(const struct mlt_json *json, const struct mlt_hf_config *config,
                                    millet_error *err)
{
    const json_t *quantised = json_object_get(json->object, "quantization_config");
    if (json_is_object(quantised)) {
        const char *method = mlt_json_string(quantised, "quant_method");
        return mlt_json_fail(json, "quantization_config", err, MILLET_UNSUPPORTED,
                             "the weights are quantised (%.40s); import the model they were made from",
                             method ? method : "method not named");
    }
    MLT_TRY(check_activation(json, config->family, err));
    if (config->family & MLT_HF_GPT2) {
        static const bool yes = true, no = false;
        bool scaled, by_layer;
        MLT_TRY(mlt_json_get_bool(json, "scale_attn_weights", &yes, &scaled, err));
        MLT_TRY(mlt_json_get_bool(json, "scale_attn_by_inverse_layer_idx", &no, &by_layer, err));
        if (!scaled || by_layer)
            return mlt_json_fail(json, scaled ? "scale_attn_by_inverse_layer_idx" : "scale_attn_weights", err,
                                 MILLET_UNSUPPORTED,
                                 "only scores divided by the root of the head size are "
                                 "supported");
    }
    return MILLET_OK;
}

static millet_status read_counts(const struct mlt_json *json, struct mlt_hf_config *out, millet_error *err)
{
    static const uint32_t zero = 0;
    MLT_TRY(GET_COUNT(json, NULL, &out->n_layers, err, "num_hidden_layers", "n_layer"));
    MLT_TRY(GET_COUNT(json, NULL, &out->n_embd, err, "hidden_size", "n_embd"));
    MLT_TRY(GET_COUNT(json, NULL, &out->n_heads, err, "num_attention_heads", "n_head"));
    MLT_TRY(GET_COUNT(json, &out->n_heads, &out->n_kv_heads, err, "num_key_value_heads"));
    MLT_TRY(GET_COUNT(json, NULL, &out->n_vocab, err, "vocab_size"));
    MLT_TRY(GET_COUNT(json, NULL, &out->n_ctx, err, "max_position_embeddings", "n_positions", "n_ctx"));
    /* Gemma's heads are not hidden_size / heads wide, and 256 is its classes' default. */
    uint32_t head_size = out->family & gemmas ? 256 : out->n_embd / out->n_heads;
    MLT_TRY(GET_COUNT(json, &head_size, &out->head_size, err, "head_dim"));
    if (out->head_size < 1 || out->head_size > MAX_HEAD_SIZE)
        return mlt_json_fail(json, "head_dim", err, MILLET_BAD_FORMAT,
                             "a head has %u elements; 1 to %d are possible", out->head_size,
                             (int)MAX_HEAD_SIZE);
    if (out->family & MLT_HF_MIXTRAL)
        MLT_TRY(GET_COUNT(json, NULL, &out->n_experts, err, "num_local_experts"));
    else {
        MLT_TRY(GET_COUNT(json, &zero, &out->n_experts, err, "num_local_experts", "num_experts"));
        if (out->n_experts)
            return mlt_json_fail(json, "num_local_experts", err, MILLET_UNSUPPORTED,
                                 "this class of model is not supported with experts");
    }
    const json_t *tie = json_object_get(json->object, "tie_word_embeddings");
    out->tie_known = json_is_boolean(tie);
    out->tie = json_is_true(tie);
    return MILLET_OK;
}

static bool is_local(const json_t *layer_types, size_t layer)
{
    const char *type = json_string_value(json_array_get(layer_types, layer));
    return type && strcmp(type, "sliding_attention") == 0;
}

/* In GGUF the pattern of local layers belongs to the architecture: of `period` layers the last is global. */
static millet_status check_layer_types(const struct mlt_json *json, uint32_t period, millet_error *err)
{
    uint32_t pattern;
    MLT_TRY(mlt_json_get_u32(json, "sliding_window_pattern", &period, &pattern, err));
    const json_t *types = mlt_json_array(json->object, "layer_types");
    bool fits = pattern == period;
    for (size_t i = 0; i < json_array_size(types); i++)
        fits = fits && is_local(types, i) == ((i + 1) % period != 0);
    if (fits) return MILLET_OK;
    return mlt_json_fail(json, types ? "layer_types" : "sliding_window_pattern", err, MILLET_UNSUPPORTED,
                         "only the architecture's own pattern is supported: every %u. layer attends globally",
                         period);
}

/*
 * Windows. Gemma and Phi-3 have them in GGUF. Mistral, Qwen and their kin do not: there the context is cut to
 * the window, up to which attention is the same with and without it.
 */
static millet_status read_window(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                 struct mlt_hf_config *config, millet_error *err)
{
    static const uint32_t none = 0, gemma2_default = 4096;
    static const bool yes = true, no = false;
    uint32_t window;
    bool used;
    if (config->family & gemmas) {
        const uint32_t *fallback = config->family & MLT_HF_GEMMA2 ? &gemma2_default : NULL;
        MLT_TRY(mlt_json_get_u32(json, "sliding_window", fallback, &window, err));
        MLT_TRY(check_layer_types(json, config->family & MLT_HF_GEMMA2 ? 2 : 6, err));
        return mlt_hf_put_u32(checkpoint, config, "attention.sliding_window", window, err);
    }
    if (config->family & layer_norms) return MILLET_OK;
    MLT_TRY(mlt_json_get_u32(json, "sliding_window", &none, &window, err));
    if (config->family & MLT_HF_PHI3)
        return mlt_hf_put_u32(checkpoint, config, "attention.sliding_window", window, err);
    bool asks = config->family & (MLT_HF_QWEN2 | MLT_HF_QWEN3 | MLT_HF_SMOLLM3);
    MLT_TRY(mlt_json_get_bool(json, "use_sliding_window", asks ? &no : &yes, &used, err));
    if (used && window > 0) config->n_ctx = MLT_MIN(config->n_ctx, window);
    return MILLET_OK;
}

static millet_status put_softcap(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                 const struct mlt_hf_config *config, const char *from, const char *to,
                                 double otherwise, millet_error *err)
{
    /* Absent is the class's default; an explicit null turns it off. */
    double cap = json_object_get(json->object, from) ? 0 : otherwise;
    MLT_TRY(mlt_json_get_f64(json, from, &cap, &cap, err));
    return mlt_hf_put_f32(checkpoint, config, to, cap, err);
}

static millet_status read_gemma(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                const struct mlt_hf_config *config, millet_error *err)
{
    double scalar = config->head_size;
    MLT_TRY(mlt_json_get_f64(json, "query_pre_attn_scalar", &scalar, &scalar, err));
    if (scalar <= 0)
        return mlt_json_fail(json, "query_pre_attn_scalar", err, MILLET_BAD_FORMAT,
                             "the value is %g; it must be above 0", scalar);
    MLT_TRY(mlt_hf_put_f32(checkpoint, config, "attention.scale", 1 / sqrt(scalar), err));
    if (config->family & MLT_HF_GEMMA3) {
        const json_t *cap = json_object_get(json->object, "attn_logit_softcapping");
        if (cap && !json_is_null(cap))
            return mlt_json_fail(json, "attn_logit_softcapping", err, MILLET_UNSUPPORTED,
                                 "this architecture has no cap of attention scores");
        return put_softcap(checkpoint, json, config, "final_logit_softcapping", "final_logit_softcapping", 0,
                           err);
    }
    MLT_TRY(
        put_softcap(checkpoint, json, config, "attn_logit_softcapping", "attn_logit_softcapping", 50, err));
    return put_softcap(checkpoint, json, config, "final_logit_softcapping", "final_logit_softcapping", 30,
                       err);
}

/* MiniCPM scales embedding, branches and logits (Hu et al., 2024, "MiniCPM", appendix A.1). */
static millet_status read_minicpm(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                  const struct mlt_hf_config *config, millet_error *err)
{
    double embedding, depth, base;
    MLT_TRY(mlt_json_get_f64(json, "scale_emb", NULL, &embedding, err));
    MLT_TRY(mlt_json_get_f64(json, "scale_depth", NULL, &depth, err));
    MLT_TRY(mlt_json_get_f64(json, "dim_model_base", NULL, &base, err));
    if (base <= 0)
        return mlt_json_fail(json, "dim_model_base", err, MILLET_BAD_FORMAT,
                             "the value is %g; it must be above 0", base);
    MLT_TRY(mlt_hf_put_f32(checkpoint, config, "embedding_scale", embedding, err));
    MLT_TRY(mlt_hf_put_f32(checkpoint, config, "residual_scale", depth / sqrt(config->n_layers), err));
    return mlt_hf_put_f32(checkpoint, config, "logit_scale", config->n_embd / base, err);
}

/* SmolLM3 leaves out positions in every fourth layer; the pattern belongs to the architecture. */
static millet_status check_smollm3(const struct mlt_json *json, millet_error *err)
{
    static const uint32_t four = 4;
    uint32_t interval;
    MLT_TRY(mlt_json_get_u32(json, "no_rope_layer_interval", &four, &interval, err));
    const json_t *layers = mlt_json_array(json->object, "no_rope_layers");
    bool fits = layers ? true : interval == 4;
    for (size_t i = 0; i < json_array_size(layers); i++) /* 1: this layer has positions */
        fits = fits && json_integer_value(json_array_get(layers, i)) == ((i + 1) % 4 != 0);
    if (fits) return MILLET_OK;
    return mlt_json_fail(json, layers ? "no_rope_layers" : "no_rope_layer_interval", err, MILLET_UNSUPPORTED,
                         "only the architecture's own pattern is supported: no positions in every 4. layer");
}

static millet_status read_norm(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                               const struct mlt_hf_config *config, millet_error *err)
{
    double eps;
    if (!(config->family & layer_norms)) {
        /* What the configuration classes of these families take where the file says nothing. */
        double usual = config->family & (MLT_HF_PHI3 | MLT_HF_MIXTRAL) ? 1e-5 : 1e-6;
        MLT_TRY(mlt_json_get_f64(json, "rms_norm_eps", &usual, &eps, err));
        return mlt_hf_put_f32(checkpoint, config, "attention.layer_norm_rms_epsilon", eps, err);
    }
    static const double usual = 1e-5;
    const char *key = config->family & MLT_HF_GPT2                      ? "layer_norm_epsilon"
                      : json_object_get(json->object, "layer_norm_eps") ? "layer_norm_eps"
                                                                        : "norm_eps";
    MLT_TRY(mlt_json_get_f64(json, key, &usual, &eps, err));
    return mlt_hf_put_f32(checkpoint, config, "attention.layer_norm_epsilon", eps, err);
}

static millet_status read_feed_forward(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                       const struct mlt_hf_config *config, millet_error *err)
{
    uint32_t n_ff, usual = config->n_embd <= UINT32_MAX / 4 ? 4 * config->n_embd : 0;
    const uint32_t *fallback = config->family & MLT_HF_GPT2 ? &usual : NULL;
    MLT_TRY(GET_COUNT(json, fallback, &n_ff, err, "intermediate_size", "n_inner"));
    MLT_TRY(mlt_hf_put_u32(checkpoint, config, "feed_forward_length", n_ff, err));
    if (!(config->family & MLT_HF_MIXTRAL)) return MILLET_OK;
    uint32_t used;
    MLT_TRY(GET_COUNT(json, NULL, &used, err, "num_experts_per_tok"));
    MLT_TRY(mlt_hf_put_u32(checkpoint, config, "expert_count", config->n_experts, err));
    return mlt_hf_put_u32(checkpoint, config, "expert_used_count", used, err);
}

millet_status mlt_hf_config_read(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                 struct mlt_hf_config *out, millet_error *err)
{
    const struct class_row *row;
    *out = (struct mlt_hf_config){0};
    MLT_TRY(find_class(json, &row, err));
    out->family = row->family;
    out->architecture = row->architecture;
    MLT_TRY(check_settings(json, out, err));
    MLT_TRY(read_counts(json, out, err));

    const char *name = out->architecture;
    MLT_TRY(mlt_checkpoint_set_string(checkpoint, "general.architecture", name, strlen(name), err));
    MLT_TRY(read_window(checkpoint, json, out, err));
    MLT_TRY(mlt_hf_put_u32(checkpoint, out, "vocab_size", out->n_vocab, err));
    MLT_TRY(mlt_hf_put_u32(checkpoint, out, "context_length", out->n_ctx, err));
    MLT_TRY(mlt_hf_put_u32(checkpoint, out, "embedding_length", out->n_embd, err));
    MLT_TRY(mlt_hf_put_u32(checkpoint, out, "block_count", out->n_layers, err));
    MLT_TRY(mlt_hf_put_u32(checkpoint, out, "attention.head_count", out->n_heads, err));
    MLT_TRY(mlt_hf_put_u32(checkpoint, out, "attention.head_count_kv", out->n_kv_heads, err));
    if (!(out->family & MLT_HF_GPT2)) {
        MLT_TRY(mlt_hf_put_u32(checkpoint, out, "attention.key_length", out->head_size, err));
        MLT_TRY(mlt_hf_put_u32(checkpoint, out, "attention.value_length", out->head_size, err));
    }
    MLT_TRY(read_feed_forward(checkpoint, json, out, err));
    MLT_TRY(read_norm(checkpoint, json, out, err));
    if (out->family & gemmas) MLT_TRY(read_gemma(checkpoint, json, out, err));
    if (out->family & MLT_HF_MINICPM) MLT_TRY(read_minicpm(checkpoint, json, out, err));
    if (out->family & MLT_HF_SMOLLM3) MLT_TRY(check_smollm3(json, err));
    if (out->family & MLT_HF_STABLELM) {
        static const bool no = false;
        bool parallel;
        MLT_TRY(mlt_json_get_bool(json, "use_parallel_residual", &no, &parallel, err));
        MLT_TRY(mlt_checkpoint_set_bool(checkpoint, "stablelm.use_parallel_residual", parallel, err));
    }
    if (out->family & MLT_HF_GPT2) return MILLET_OK;
    return mlt_hf_rope_read(checkpoint, json, out, err);
}
