/* Rotary positions in config.json: bases, sizes and the ways of stretching. SPDX-License-Identifier:
 * Apache-2.0 */
#include "import/hf.h"

#include <math.h>
#include <string.h>

/* What is known of the stretching. The newer key "rope_parameters" holds the base too, and for Gemma 3 one
 * object each for global and local layers. */
struct scaling {
    struct mlt_json object; /* object.object NULL: none */
    struct mlt_json local;  /* of local layers, likewise */
    const char *type;       /* "linear", ... ; "default" where there is none */
};

static millet_status find_scaling(const struct mlt_json *json, struct scaling *out, millet_error *err)
{
    *out = (struct scaling){.type = "default"};
    MLT_TRY(mlt_json_get_object(json, "rope_parameters", "rope_parameters.", &out->object, err));
    if (!out->object.object)
        MLT_TRY(mlt_json_get_object(json, "rope_scaling", "rope_scaling.", &out->object, err));
    if (!out->object.object) return MILLET_OK;
    struct mlt_json whole = out->object, global;
    MLT_TRY(mlt_json_get_object(&whole, "full_attention", "rope_parameters.full_attention.", &global, err));
    if (global.object) {
        out->object = global;
        MLT_TRY(mlt_json_get_object(&whole, "sliding_attention", "rope_parameters.sliding_attention.",
                                    &out->local, err));
    }
    const char *local_type = mlt_json_string(out->local.object, "rope_type");
    if (local_type && strcmp(local_type, "default") != 0)
        return mlt_json_fail(&out->local, "rope_type", err, MILLET_UNSUPPORTED,
                             "local layers are never stretched in this architecture; \"default\" is needed");
    const char *type = mlt_json_string(out->object.object, "rope_type");
    if (!type) type = mlt_json_string(out->object.object, "type");
    if (type) out->type = type;
    return MILLET_OK;
}

/* A positive number from the scaling object, else from the top level of config.json, else `fallback`. */
static millet_status get_positive(const struct mlt_json *json, const struct scaling *scaling, const char *key,
                                  const double *fallback, double *out, millet_error *err)
{
    const json_t *inner = json_object_get(scaling->object.object, key);
    const json_t *outer = json_object_get(json->object, key);
    bool use_inner = (inner && !json_is_null(inner)) || !outer || json_is_null(outer);
    const struct mlt_json *from = use_inner && scaling->object.object ? &scaling->object : json;
    MLT_TRY(mlt_json_get_f64(from, key, fallback, out, err));
    if ((float)*out > 0 && isfinite((float)*out)) return MILLET_OK;
    return mlt_json_fail(from, key, err, MILLET_BAD_FORMAT,
                         "the value is %g; a positive single-precision number is needed", *out);
}

static millet_status put_context(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                 const struct mlt_hf_config *config, double original, millet_error *err)
{
    if (original < 1 || original > UINT32_MAX)
        return mlt_json_fail(json, "original_max_position_embeddings", err, MILLET_BAD_FORMAT,
                             "the value is %g; 1 to 4294967295 is possible", original);
    return mlt_hf_put_u32(checkpoint, config, "rope.scaling.original_context_length", (uint32_t)original,
                          err);
}

static millet_status add_vector(struct mlt_checkpoint *checkpoint, const char *name, const float *values,
                                size_t count, millet_error *err)
{
    struct mlt_tensor tensor = {.name = {name, strlen(name)}, .dtype = MLT_F32, .n_dims = 1};
    tensor.ne[0] = (int64_t)count;
    tensor.data = (const uint8_t *)values;
    return mlt_checkpoint_add_tensor(checkpoint, &tensor, err);
}

/*
 * Llama 3.1's rule: long waves are slowed by `factor`, short ones kept, those between blended. GGUF stores
 * what each frequency is divided by.
 */
static millet_status add_llama3(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                const struct scaling *scaling, const struct mlt_hf_config *config,
                                double base, millet_error *err)
{
    static const double eight = 8, one = 1, four = 4, trained = 8192;
    double factor, low, high, original;
    MLT_TRY(get_positive(json, scaling, "factor", &eight, &factor, err));
    MLT_TRY(get_positive(json, scaling, "low_freq_factor", &one, &low, err));
    MLT_TRY(get_positive(json, scaling, "high_freq_factor", &four, &high, err));
    MLT_TRY(get_positive(json, scaling, "original_max_position_embeddings", &trained, &original, err));
    if (high <= low)
        return mlt_json_fail(&scaling->object, "high_freq_factor", err, MILLET_BAD_FORMAT,
                             "it must be above low_freq_factor");
    size_t count = config->rope_size / 2;
    float *factors = mlt_arena_alloc(&checkpoint->arena, count, sizeof *factors, err);
    if (!factors) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        double frequency = pow(base, -2.0 * (double)i / config->rope_size);
        double wave = 2 * 3.14159265358979323846 / frequency;
        double smooth = (original / wave - low) / (high - low);
        factors[i] = (float)(wave < original / high  ? 1
                             : wave > original / low ? factor
                                                     : 1 / ((1 - smooth) / factor + smooth));
    }
    return add_vector(checkpoint, "rope_freqs.weight", factors, count, err);
}

static millet_status add_factors(struct mlt_checkpoint *checkpoint, const struct scaling *scaling,
                                 const struct mlt_hf_config *config, const char *key, const char *name,
                                 millet_error *err)
{
    const json_t *list = mlt_json_array(scaling->object.object, key);
    size_t count = json_array_size(list);
    if (count == 0 || count != config->rope_size / 2)
        return mlt_json_fail(
            &scaling->object, key, err, MILLET_BAD_FORMAT,
            "a list of %u numbers is needed, half the rotated elements of a head; it has %zu",
            config->rope_size / 2, count);
    float *factors = mlt_arena_alloc(&checkpoint->arena, count, sizeof *factors, err);
    if (!factors) return MILLET_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        factors[i] = (float)json_number_value(json_array_get(list, i));
        if (!(factors[i] > 0) || !isfinite(factors[i]))
            return mlt_json_fail(&scaling->object, key, err, MILLET_BAD_FORMAT,
                                 "number %zu of the list is not above 0", i);
    }
    return add_vector(checkpoint, name, factors, count, err);
}

/* LongRoPE (Ding et al., 2024) with Phi-3's magnitude correction: q and k are scaled by attn_factor. */
static millet_status add_longrope(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                  const struct scaling *scaling, const struct mlt_hf_config *config,
                                  double n_positions, millet_error *err)
{
    double original, magnitude;
    MLT_TRY(get_positive(json, scaling, "original_max_position_embeddings", &n_positions, &original, err));
    double scale = n_positions / original;
    magnitude = scale > 1 && original > 1 ? sqrt(1 + log(scale) / log(original)) : 1;
    MLT_TRY(get_positive(json, scaling, "attention_factor", &magnitude, &magnitude, err));
    MLT_TRY(mlt_hf_put_text(checkpoint, config, "rope.scaling.type", "longrope", err));
    MLT_TRY(put_context(checkpoint, json, config, original, err));
    MLT_TRY(mlt_hf_put_f32(checkpoint, config, "rope.scaling.attn_factor", magnitude, err));
    MLT_TRY(add_factors(checkpoint, scaling, config, "long_factor", "rope_factors_long.weight", err));
    return add_factors(checkpoint, scaling, config, "short_factor", "rope_factors_short.weight", err);
}

/* YaRN (Peng et al., 2023). Runtimes multiply cos and sin by 1 + 0.1 ln(factor) on their own; what the file
 * asks for beyond that becomes attn_factor. */
static millet_status add_yarn(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                              const struct scaling *scaling, const struct mlt_hf_config *config,
                              double n_positions, millet_error *err)
{
    static const double fast_default = 32, slow_default = 1;
    static const bool yes = true;
    double factor, original, fast, slow, all = 0, some = 0;
    bool truncate;
    MLT_TRY(get_positive(json, scaling, "factor", NULL, &factor, err));
    MLT_TRY(get_positive(json, scaling, "original_max_position_embeddings", &n_positions, &original, err));
    MLT_TRY(get_positive(json, scaling, "beta_fast", &fast_default, &fast, err));
    MLT_TRY(get_positive(json, scaling, "beta_slow", &slow_default, &slow, err));
    MLT_TRY(mlt_json_get_f64(&scaling->object, "mscale", &all, &some, err));
    MLT_TRY(mlt_json_get_f64(&scaling->object, "mscale_all_dim", &all, &all, err));
    MLT_TRY(mlt_json_get_bool(&scaling->object, "truncate", &yes, &truncate, err));
    if (!truncate)
        return mlt_json_fail(&scaling->object, "truncate", err, MILLET_UNSUPPORTED,
                             "only ramps between whole dimensions are supported");
    double usual = factor > 1 ? 1 + 0.1 * log(factor) : 1, wanted = usual;
    if (some > 0 && all > 0 && factor > 1)
        wanted = (1 + 0.1 * some * log(factor)) / (1 + 0.1 * all * log(factor));
    MLT_TRY(get_positive(json, scaling, "attention_factor", &wanted, &wanted, err));
    MLT_TRY(mlt_hf_put_text(checkpoint, config, "rope.scaling.type", "yarn", err));
    MLT_TRY(mlt_hf_put_f32(checkpoint, config, "rope.scaling.factor", factor, err));
    MLT_TRY(put_context(checkpoint, json, config, original, err));
    if (wanted != usual)
        MLT_TRY(mlt_hf_put_f32(checkpoint, config, "rope.scaling.attn_factor", wanted / usual, err));
    if (fast != fast_default)
        MLT_TRY(mlt_hf_put_f32(checkpoint, config, "rope.scaling.yarn_beta_fast", fast, err));
    if (slow != slow_default)
        MLT_TRY(mlt_hf_put_f32(checkpoint, config, "rope.scaling.yarn_beta_slow", slow, err));
    return MILLET_OK;
}

static millet_status add_scaling(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                                 const struct scaling *scaling, const struct mlt_hf_config *config,
                                 double base, millet_error *err)
{
    const char *type = scaling->type;
    uint32_t n_positions;
    MLT_TRY(mlt_json_get_u32(json, "max_position_embeddings", &config->n_ctx, &n_positions, err));
    /* "dynamic" changes nothing within the trained context, which is the context that is written. */
    if (strcmp(type, "default") == 0 || strcmp(type, "dynamic") == 0) return MILLET_OK;
    if (strcmp(type, "linear") == 0) {
        double factor;
        MLT_TRY(get_positive(json, scaling, "factor", NULL, &factor, err));
        MLT_TRY(mlt_hf_put_text(checkpoint, config, "rope.scaling.type", "linear", err));
        return mlt_hf_put_f32(checkpoint, config, "rope.scaling.factor", factor, err);
    }
    if (strcmp(type, "yarn") == 0) return add_yarn(checkpoint, json, scaling, config, n_positions, err);
    if (strcmp(type, "llama3") == 0) return add_llama3(checkpoint, json, scaling, config, base, err);
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        return add_longrope(checkpoint, json, scaling, config, n_positions, err);
    return mlt_json_fail(&scaling->object, "rope_type", err, MILLET_UNSUPPORTED,
                         "\"%.40s\" is not known; known: default, linear, dynamic, yarn, llama3, longrope",
                         type);
}

static millet_status read_size(const struct mlt_json *json, const struct scaling *scaling,
                               struct mlt_hf_config *config, millet_error *err)
{
    static const double whole = 1, quarter = 0.25; /* a quarter is StableLM's default */
    double part;
    const char *key = json_object_get(json->object, "rope_pct") ? "rope_pct" : "partial_rotary_factor";
    MLT_TRY(
        get_positive(json, scaling, key, config->family & MLT_HF_STABLELM ? &quarter : &whole, &part, err));
    if (part > 1)
        return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT, "the value is %g; at most 1 is possible",
                             part);
    if (part != 1 && !(config->family & (MLT_HF_STABLELM | MLT_HF_PHI3)))
        return mlt_json_fail(json, key, err, MILLET_UNSUPPORTED,
                             "this architecture rotates whole heads; only 1 is supported");
    config->rope_size = (uint32_t)(part * config->head_size);
    if (config->rope_size == 0 || config->rope_size % 2)
        return mlt_json_fail(json, key, err, MILLET_BAD_FORMAT,
                             "%u elements of a head are to be rotated; an even number is needed",
                             config->rope_size);
    return MILLET_OK;
}

millet_status mlt_hf_rope_read(struct mlt_checkpoint *checkpoint, const struct mlt_json *json,
                               struct mlt_hf_config *out, millet_error *err)
{
    struct scaling scaling;
    /* What the configuration classes take where the file says nothing. */
    double usual = out->family & (MLT_HF_GEMMA3 | MLT_HF_MIXTRAL) ? 1e6
                   : out->family & MLT_HF_SMOLLM3                 ? 2e6
                                                                  : 1e4;
    double usual_local = 1e4, base;
    MLT_TRY(find_scaling(json, &scaling, err));
    MLT_TRY(read_size(json, &scaling, out, err));
    MLT_TRY(get_positive(json, &scaling, "rope_theta", &usual, &base, err));
    MLT_TRY(mlt_hf_put_u32(checkpoint, out, "rope.dimension_count", out->rope_size, err));
    MLT_TRY(mlt_hf_put_f32(checkpoint, out, "rope.freq_base", base, err));
    if (out->family & MLT_HF_GEMMA3) {
        double local;
        const struct mlt_json *from = scaling.local.object ? &scaling.local : json;
        const char *key = scaling.local.object ? "rope_theta" : "rope_local_base_freq";
        MLT_TRY(mlt_json_get_f64(from, key, &usual_local, &local, err));
        if (local <= 0)
            return mlt_json_fail(from, key, err, MILLET_BAD_FORMAT, "the value is %g; it must be above 0",
                                 local);
        MLT_TRY(mlt_hf_put_f32(checkpoint, out, "rope.freq_base_swa", local, err));
    }
    return add_scaling(checkpoint, json, &scaling, out, base, err);
}
