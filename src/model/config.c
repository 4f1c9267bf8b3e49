/*
 * Reads a decoder's description from metadata. What a family of models fixes stands in the table below; what
 * differs between its members is read under the keys of the GGUF specification.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- The families ---- */

struct family {
    const char *name;
    enum mlt_norm_kind norm;
    enum mlt_qk_norm qk_norm;
    enum mlt_rope_kind rope;
    enum mlt_activation activation;
    bool gated;
    bool post_norms;
    bool position_embd;
    bool embedding_sqrt; /* embeddings are multiplied by sqrt(n_embd) */
    bool scales;         /* the file must say embedding_scale, residual_scale and logit_scale (a divisor) */
    bool experts;        /* may have them; routed by a renormalised softmax */
    /*
     * By tensors rather than by key: a block without ffn_norm is a parallel one, and q and k are normed where
     * attn_q_norm exists.
     */
    bool shape_by_tensors;
    /* Layer i is local where i % local_period < local_count; 0: none is. */
    int local_period, local_count;
    int32_t window; /* where the file says none; 0: then no layer is local */
    /* Layer i has no rope where (i + 1) % rope_skip == 0; 0: all have. */
    int rope_skip;
    float rope_base_local;                  /* of local layers, without scaling; 0: as the others */
    float attention_softcap, logit_softcap; /* where the file says none */
    /* A model of exactly so many layers scales scores by 1 / sqrt(n_embd / n_heads), not by the head's size.
     */
    int32_t wide_scale_layers;
};

static const struct family families[] = {
    {.name = "llama",
     .norm = MLT_NORM_RMS,
     .rope = MLT_ROPE_INTERLEAVED,
     .activation = MLT_ACT_SILU,
     .gated = true,
     .experts = true},
    {.name = "qwen2",
     .norm = MLT_NORM_RMS,
     .rope = MLT_ROPE_HALVES,
     .activation = MLT_ACT_SILU,
     .gated = true},
    {.name = "qwen3",
     .norm = MLT_NORM_RMS,
     .qk_norm = MLT_QK_RMS_HEAD,
     .rope = MLT_ROPE_HALVES,
     .activation = MLT_ACT_SILU,
     .gated = true},
    {.name = "gemma2",
     .norm = MLT_NORM_RMS,
     .rope = MLT_ROPE_HALVES,
     .activation = MLT_ACT_GELU,
     .gated = true,
     .post_norms = true,
     .embedding_sqrt = true,
     .local_period = 2,
     .local_count = 1,
     .window = 4096,
     .attention_softcap = 50.0f,
     .logit_softcap = 30.0f,
     .wide_scale_layers = 46},
    {.name = "gemma3",
     .norm = MLT_NORM_RMS,
     .qk_norm = MLT_QK_RMS_HEAD,
     .rope = MLT_ROPE_HALVES,
     .activation = MLT_ACT_GELU,
     .gated = true,
     .post_norms = true,
     .embedding_sqrt = true,
     .local_period = 6,
     .local_count = 5,
     .rope_base_local = 10000.0f,
     .wide_scale_layers = 62},
    {.name = "phi3",
     .norm = MLT_NORM_RMS,
     .rope = MLT_ROPE_HALVES,
     .activation = MLT_ACT_SILU,
     .gated = true,
     .local_period = 1,
     .local_count = 1},
    {.name = "gpt2",
     .norm = MLT_NORM_LAYER,
     .rope = MLT_ROPE_NONE,
     .activation = MLT_ACT_GELU,
     .position_embd = true},
    {.name = "stablelm",
     .norm = MLT_NORM_LAYER,
     .rope = MLT_ROPE_HALVES,
     .activation = MLT_ACT_SILU,
     .gated = true,
     .shape_by_tensors = true},
    {.name = "smollm3",
     .norm = MLT_NORM_RMS,
     .rope = MLT_ROPE_INTERLEAVED,
     .activation = MLT_ACT_SILU,
     .gated = true,
     .rope_skip = 4},
    {.name = "minicpm",
     .norm = MLT_NORM_RMS,
     .rope = MLT_ROPE_INTERLEAVED,
     .activation = MLT_ACT_SILU,
     .gated = true,
     .scales = true},
};

const char *mlt_config_architectures(void)
{
    return "llama, qwen2, qwen3, gemma2, gemma3, phi3, gpt2, stablelm, smollm3, minicpm";
}

static millet_status find_family(const struct mlt_checkpoint *checkpoint, const struct family **out,
                                 millet_error *err)
{
    struct mlt_string name;
    MLT_TRY(mlt_meta_get_string(checkpoint, "general.architecture", NULL, &name, err));
    for (size_t i = 0; i < MLT_COUNT(families); i++) {
        if (strlen(families[i].name) == name.length && !memcmp(families[i].name, name.data, name.length)) {
            *out = &families[i];
            return MILLET_OK;
        }
    }
    return mlt_fail_at(err, MILLET_UNSUPPORTED, checkpoint->path, "general.architecture", MILLET_NO_OFFSET,
                       "the architecture \"%.*s\" is not one of those known: %s",
                       (int)MLT_MIN(name.length, (size_t)60), name.data, mlt_config_architectures());
}

/* ---- Reading keys ---- */

struct reader {
    const struct mlt_checkpoint *checkpoint;
    const char *architecture;
    millet_error *err;
    char key[128];
};

/* The full key "architecture.suffix", valid until the next call. */
static const char *key_of(struct reader *r, const char *suffix)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->architecture, suffix);
    return r->key;
}

static bool has_key(struct reader *r, const char *suffix)
{
    return mlt_checkpoint_meta(r->checkpoint, key_of(r, suffix)) != NULL;
}

/*
 * The integers of an array, whose elements must all be equal: layers of different shapes are not supported.
 * False where they are no integers that fit in 32 bits.
 */
static bool array_element(const struct mlt_meta *meta, uint64_t i, uint32_t *out)
{
    const void *array = meta->value.array;
    int64_t value;
    switch (meta->element) {
    case MLT_META_U8: value = ((const uint8_t *)array)[i]; break;
    case MLT_META_I8: value = ((const int8_t *)array)[i]; break;
    case MLT_META_U16: value = ((const uint16_t *)array)[i]; break;
    case MLT_META_I16: value = ((const int16_t *)array)[i]; break;
    case MLT_META_U32: value = ((const uint32_t *)array)[i]; break;
    case MLT_META_I32: value = ((const int32_t *)array)[i]; break;
    case MLT_META_I64: value = ((const int64_t *)array)[i]; break;
    case MLT_META_U64: {
        uint64_t wide = ((const uint64_t *)array)[i];
        value = wide > UINT32_MAX ? -1 : (int64_t)wide;
        break;
    }
    default: return false;
    }
    if (value < 0 || value > UINT32_MAX) return false;
    *out = (uint32_t)value;
    return true;
}

static millet_status read_uniform_array(struct reader *r, const struct mlt_meta *meta, uint32_t *out)
{
    for (uint64_t i = 0; i < meta->count; i++) {
        uint32_t value;
        if (!array_element(meta, i, &value))
            return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->checkpoint->path, r->key, MILLET_NO_OFFSET,
                               "element %llu is not a number of 32 bits", (unsigned long long)i);
        if (i == 0) *out = value;
        if (value != *out)
            return mlt_fail_at(r->err, MILLET_UNSUPPORTED, r->checkpoint->path, r->key, MILLET_NO_OFFSET,
                               "layers differ (%u and %u); only models whose layers are alike are supported",
                               *out, value);
    }
    if (meta->count == 0)
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->checkpoint->path, r->key, MILLET_NO_OFFSET,
                           "the array is empty");
    return MILLET_OK;
}

/* A count in [least, most]; `fallback` NULL: required. An array of equal numbers, one a layer, is taken too.
 */
static millet_status read_count(struct reader *r, const char *suffix, uint32_t least, uint32_t most,
                                const uint32_t *fallback, int32_t *out)
{
    uint32_t value = 0;
    const struct mlt_meta *meta = mlt_checkpoint_meta(r->checkpoint, key_of(r, suffix));
    if (meta && meta->type == MLT_META_ARRAY)
        MLT_TRY(read_uniform_array(r, meta, &value));
    else
        MLT_TRY(mlt_meta_get_u32(r->checkpoint, r->key, fallback, &value, r->err));
    if (value < least || value > most)
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->checkpoint->path, r->key, MILLET_NO_OFFSET,
                           "%u is outside the range from %u to %u", value, least, most);
    *out = (int32_t)value;
    return MILLET_OK;
}

/* A finite float that is at least `least`, or above it where `above`; `fallback` NULL: required. */
static millet_status read_float(struct reader *r, const char *suffix, float least, bool above,
                                const float *fallback, float *out)
{
    float value = 0;
    MLT_TRY(mlt_meta_get_f32(r->checkpoint, key_of(r, suffix), fallback, &value, r->err));
    if (!isfinite(value) || value < least || (above && value == least))
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->checkpoint->path, r->key, MILLET_NO_OFFSET,
                           "%g is no possible value: a finite number %s %g is needed", (double)value,
                           above ? "above" : "of at least", (double)least);
    *out = value;
    return MILLET_OK;
}

/* ---- Parts of the configuration ---- */

/* Bounds far above every model known, so that products of two of these numbers stay below 2^60. */
enum {
    MAX_LAYERS = 4096,
    MAX_WIDTH = 1 << 24, /* embedding, feed-forward, all heads together */
    MAX_HEADS = 1 << 16,
    MAX_CONTEXT = 1 << 30,
    MAX_EXPERTS = 1024
};

static millet_status read_sizes(struct reader *r, struct mlt_config *config)
{
    const struct mlt_checkpoint *checkpoint = r->checkpoint;
    MLT_TRY(read_count(r, "block_count", 1, MAX_LAYERS, NULL, &config->n_layers));
    if ((uint64_t)config->n_layers > checkpoint->n_tensors)
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, checkpoint->path, key_of(r, "block_count"),
                           MILLET_NO_OFFSET, "%d blocks, but the file has only %zu tensors", config->n_layers,
                           checkpoint->n_tensors);
    MLT_TRY(read_count(r, "context_length", 1, MAX_CONTEXT, NULL, &config->n_ctx_train));
    MLT_TRY(read_count(r, "embedding_length", 1, MAX_WIDTH, NULL, &config->n_embd));
    MLT_TRY(read_count(r, "feed_forward_length", 1, MAX_WIDTH, NULL, &config->n_ff));

    MLT_TRY(read_count(r, "attention.head_count", 1, MAX_HEADS, NULL, &config->n_heads));
    uint32_t n_heads = (uint32_t)config->n_heads;
    MLT_TRY(read_count(r, "attention.head_count_kv", 1, n_heads, &n_heads, &config->n_kv_heads));
    if (config->n_heads % config->n_kv_heads)
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, checkpoint->path, key_of(r, "attention.head_count_kv"),
                           MILLET_NO_OFFSET, "%d query heads cannot share %d key heads evenly",
                           config->n_heads, config->n_kv_heads);
    uint32_t size = (uint32_t)config->n_embd / n_heads;
    bool divides = (uint32_t)config->n_embd % n_heads == 0;
    if (!divides && !has_key(r, "attention.key_length"))
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, checkpoint->path, key_of(r, "attention.head_count"),
                           MILLET_NO_OFFSET,
                           "%d heads do not divide embedding_length %d, and %s says no size", config->n_heads,
                           config->n_embd, "attention.key_length");
    MLT_TRY(read_count(r, "attention.key_length", 1, MAX_WIDTH / n_heads, &size, &config->head_size));
    if (!divides) size = (uint32_t)config->head_size;
    MLT_TRY(read_count(r, "attention.value_length", 1, MAX_WIDTH / n_heads, &size, &config->value_size));

    /* The matrix of embeddings says how many tokens there are; it is in the file, a key is only a claim. */
    const struct mlt_tensor *embd = mlt_checkpoint_tensor(checkpoint, "token_embd.weight");
    if (!embd)
        return mlt_fail_at(r->err, MILLET_NOT_FOUND, checkpoint->path, "token_embd.weight", MILLET_NO_OFFSET,
                           "the tensor does not exist");
    if (embd->ne[1] > INT32_MAX / 2)
        return mlt_fail_at(r->err, MILLET_UNSUPPORTED, checkpoint->path, "token_embd.weight",
                           MILLET_NO_OFFSET, "a vocabulary of %lld tokens", (long long)embd->ne[1]);
    uint32_t rows = (uint32_t)embd->ne[1];
    MLT_TRY(read_count(r, "vocab_size", 1, INT32_MAX / 2, &rows, &config->n_vocab));
    if ((uint32_t)config->n_vocab != rows)
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, checkpoint->path, key_of(r, "vocab_size"),
                           MILLET_NO_OFFSET, "%d tokens, but token_embd.weight has %u rows", config->n_vocab,
                           rows);
    config->tied = mlt_checkpoint_tensor(checkpoint, "output.weight") == NULL;
    return MILLET_OK;
}

static millet_status read_experts(struct reader *r, const struct family *family, struct mlt_config *config)
{
    static const uint32_t none = 0;
    MLT_TRY(read_count(r, "expert_count", 0, MAX_EXPERTS, &none, &config->n_experts));
    if (config->n_experts > 0 && !family->experts)
        return mlt_fail_at(r->err, MILLET_UNSUPPORTED, r->checkpoint->path, key_of(r, "expert_count"),
                           MILLET_NO_OFFSET, "experts in the architecture %s", family->name);
    uint32_t least = config->n_experts > 0, most = (uint32_t)config->n_experts;
    MLT_TRY(read_count(r, "expert_used_count", least, most, config->n_experts ? NULL : &none,
                       &config->n_experts_used));
    config->expert_renormalise = true;
    return MILLET_OK;
}

static millet_status read_norms(struct reader *r, const struct family *family, struct mlt_config *config)
{
    config->norm = family->norm;
    config->qk_norm = family->qk_norm;
    config->post_norms = family->post_norms;
    const char *suffix =
        family->norm == MLT_NORM_LAYER ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    MLT_TRY(read_float(r, suffix, 0, true, NULL, &config->norm_eps));
    if (family->shape_by_tensors) {
        config->parallel_block = !mlt_checkpoint_tensor(r->checkpoint, "blk.0.ffn_norm.weight");
        if (mlt_checkpoint_tensor(r->checkpoint, "blk.0.attn_q_norm.weight"))
            config->qk_norm = MLT_QK_LAYER_HEAD;
    }
    return MILLET_OK;
}

/* Linear scaling and YaRN. LongRoPE has its divisors in tensors, and `magnitude` is all that it says here. */
static millet_status read_rope_scaling(struct reader *r, struct mlt_rope *rope)
{
    static const float one = 1, fast = 32, slow = 1;
    /* A factor without a type is linear, also under the older key. */
    const char *suffix = has_key(r, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    MLT_TRY(read_float(r, suffix, 0, true, &one, &rope->factor));
    MLT_TRY(read_float(r, "rope.scaling.attn_factor", 0, true, &one, &rope->magnitude));

    struct mlt_string type, linear = {"linear", 6};
    MLT_TRY(mlt_meta_get_string(r->checkpoint, key_of(r, "rope.scaling.type"), &linear, &type, r->err));
    if (!strcmp(type.data, "linear")) return MILLET_OK;
    if (!strcmp(type.data, "none") || !strcmp(type.data, "longrope")) {
        rope->factor = 1;
        return MILLET_OK;
    }
    if (strcmp(type.data, "yarn"))
        return mlt_fail_at(r->err, MILLET_UNSUPPORTED, r->checkpoint->path, r->key, MILLET_NO_OFFSET,
                           "\"%.60s\" is not one of none, linear, yarn, longrope", type.data);
    rope->yarn = true;
    MLT_TRY(read_float(r, "rope.scaling.yarn_beta_fast", 0, true, &fast, &rope->yarn_beta_fast));
    MLT_TRY(read_float(r, "rope.scaling.yarn_beta_slow", 0, true, &slow, &rope->yarn_beta_slow));
    MLT_TRY(read_float(r, "rope.scaling.yarn_ext_factor", 0, false, &one, &rope->yarn_ext_factor));
    float more;
    MLT_TRY(read_float(r, "rope.scaling.yarn_attn_factor", 0, true, &one, &more));
    rope->magnitude *= more;
    if (rope->base <= 1)
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->checkpoint->path, key_of(r, "rope.freq_base"),
                           MILLET_NO_OFFSET, "yarn needs a base above 1");
    return MILLET_OK;
}

static millet_status read_rope(struct reader *r, const struct family *family, struct mlt_config *config)
{
    config->position_embd = family->position_embd;
    config->rope_kind = family->rope;
    config->rope.factor = config->rope.magnitude = 1;
    if (family->rope == MLT_ROPE_NONE) return MILLET_OK;

    uint32_t head_size = (uint32_t)config->head_size;
    MLT_TRY(read_count(r, "rope.dimension_count", 2, head_size, &head_size, &config->rope_size));
    if (config->rope_size % 2)
        return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->checkpoint->path, key_of(r, "rope.dimension_count"),
                           MILLET_NO_OFFSET, "%d elements cannot be rotated in pairs", config->rope_size);
    /* A base below 1 would make frequencies grow; no model has one. */
    static const float usual = 10000;
    MLT_TRY(read_float(r, "rope.freq_base", 1, false, &usual, &config->rope.base));
    uint32_t n_ctx = (uint32_t)config->n_ctx_train;
    MLT_TRY(read_count(r, "rope.scaling.original_context_length", 1, MAX_CONTEXT, &n_ctx,
                       &config->rope.n_ctx_original));
    MLT_TRY(read_rope_scaling(r, &config->rope));
    config->rope_local = config->rope;
    if (family->rope_base_local > 0) {
        config->rope_local = (struct mlt_rope){.factor = 1, .magnitude = 1};
        config->rope_local.n_ctx_original = config->rope.n_ctx_original;
        MLT_TRY(read_float(r, "rope.freq_base_swa", 1, false, &family->rope_base_local,
                           &config->rope_local.base));
        config->rope_local_differs = true;
    }
    return MILLET_OK;
}

static millet_status read_scales(struct reader *r, const struct family *family, struct mlt_config *config)
{
    config->embedding_scale = family->embedding_sqrt ? (float)sqrt((double)config->n_embd) : 1;
    config->residual_scale = config->logit_scale = 1;
    if (family->scales) {
        float divisor;
        MLT_TRY(read_float(r, "embedding_scale", 0, true, NULL, &config->embedding_scale));
        MLT_TRY(read_float(r, "residual_scale", 0, true, NULL, &config->residual_scale));
        MLT_TRY(read_float(r, "logit_scale", 0, true, NULL, &divisor));
        config->logit_scale = 1 / divisor;
        if (!isfinite(config->logit_scale))
            return mlt_fail_at(r->err, MILLET_BAD_FORMAT, r->checkpoint->path, r->key, MILLET_NO_OFFSET,
                               "%g is too small to divide by", (double)divisor);
    }
    /* 0 in the file stands for the usual scale. */
    static const float automatic = 0;
    MLT_TRY(read_float(r, "attention.scale", 0, false, &automatic, &config->attention_scale));
    if (config->attention_scale == 0) {
        double width = config->head_size;
        if (config->n_layers == family->wide_scale_layers) width = config->n_embd / config->n_heads;
        config->attention_scale = (float)(1 / sqrt(width));
    }
    MLT_TRY(read_float(r, "attn_logit_softcapping", 0, false, &family->attention_softcap,
                       &config->attention_softcap));
    return read_float(r, "final_logit_softcapping", 0, false, &family->logit_softcap, &config->logit_softcap);
}

static millet_status choose_layers(struct reader *r, const struct family *family, struct mlt_config *config,
                                   struct mlt_arena *arena)
{
    int32_t period = family->local_period, count = family->local_count;
    if (family->local_period) {
        uint32_t window = (uint32_t)family->window;
        MLT_TRY(read_count(r, "attention.sliding_window", 0, INT32_MAX, &window, &config->window));
    }
    if (family->local_period > 1) {
        /* Files may say another period; its last layer is then the global one. */
        uint32_t usual = (uint32_t)period;
        MLT_TRY(read_count(r, "attention.sliding_window_pattern", 2, MAX_LAYERS, &usual, &period));
        if (period != family->local_period) count = period - 1;
    }
    size_t n = (size_t)config->n_layers;
    config->layers = mlt_arena_alloc(arena, n, sizeof *config->layers, r->err);
    if (!config->layers) return MILLET_NO_MEMORY;
    for (int i = 0; i < config->n_layers; i++) {
        struct mlt_layer_choice *choice = &config->layers[i];
        choice->local = config->window > 0 && i % period < count;
        choice->rope =
            family->rope != MLT_ROPE_NONE && !(family->rope_skip && (i + 1) % family->rope_skip == 0);
    }
    return MILLET_OK;
}

millet_status mlt_config_read(struct mlt_config *config, const struct mlt_checkpoint *checkpoint,
                              struct mlt_arena *arena, millet_error *err)
{
    memset(config, 0, sizeof *config);
    const struct family *family = NULL;
    MLT_TRY(find_family(checkpoint, &family, err));
    struct reader r = {.checkpoint = checkpoint, .architecture = family->name, .err = err};
    config->architecture = family->name;
    config->activation = family->activation;
    config->gated = family->gated;
    MLT_TRY(read_sizes(&r, config));
    MLT_TRY(read_experts(&r, family, config));
    MLT_TRY(read_norms(&r, family, config));
    MLT_TRY(read_rope(&r, family, config));
    MLT_TRY(read_scales(&r, family, config));
    return choose_layers(&r, family, config, arena);
}
