/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/quantize_types.h"

#include "millet/lab.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Best quality first. */
static const struct mlt_quantize_type types[] = {
    {"F32", 0, MLT_F32, MLT_MIX_NONE},         {"BF16", 32, MLT_BF16, MLT_MIX_NONE},
    {"F16", 1, MLT_F16, MLT_MIX_NONE},         {"Q8_0", 7, MLT_Q8_0, MLT_MIX_NONE},
    {"Q6_K", 18, MLT_Q6_K, MLT_MIX_NONE},      {"Q5_K_M", 17, MLT_Q5_K, MLT_MIX_Q5_K_M},
    {"Q5_K_S", 16, MLT_Q5_K, MLT_MIX_Q5_K_S},  {"Q5_1", 9, MLT_Q5_1, MLT_MIX_NONE},
    {"Q5_0", 8, MLT_Q5_0, MLT_MIX_NONE},       {"Q4_K_M", 15, MLT_Q4_K, MLT_MIX_Q4_K_M},
    {"Q4_K_S", 14, MLT_Q4_K, MLT_MIX_Q4_K_S},  {"IQ4_NL", 25, MLT_IQ4_NL, MLT_MIX_IQ4},
    {"IQ4_XS", 30, MLT_IQ4_XS, MLT_MIX_IQ4},   {"Q4_1", 3, MLT_Q4_1, MLT_MIX_NONE},
    {"Q4_0", 2, MLT_Q4_0, MLT_MIX_NONE},       {"MXFP4", 38, MLT_MXFP4, MLT_MIX_NONE},
    {"Q3_K_L", 13, MLT_Q3_K, MLT_MIX_Q3_K_L},  {"Q3_K_M", 12, MLT_Q3_K, MLT_MIX_Q3_K_M},
    {"Q3_K_S", 11, MLT_Q3_K, MLT_MIX_Q3_K_S},  {"Q2_K", 10, MLT_Q2_K, MLT_MIX_Q2_K},
    {"TQ2_0", 37, MLT_TQ2_0, MLT_MIX_TERNARY}, {"TQ1_0", 36, MLT_TQ1_0, MLT_MIX_TERNARY},
};

const char *millet_quantize_type_names(void)
{
    return "F32, BF16, F16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, IQ4_NL, IQ4_XS, Q4_1, "
           "Q4_0, MXFP4, Q3_K_L, Q3_K_M, Q3_K_S, Q2_K, TQ2_0, TQ1_0";
}

const struct mlt_quantize_type *mlt_quantize_type_find(const char *name)
{
    static const char *const short_names[][2] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};
    for (size_t i = 0; i < MLT_COUNT(short_names); i++)
        if (strcasecmp(name, short_names[i][0]) == 0) name = short_names[i][1];
    for (size_t i = 0; i < MLT_COUNT(types); i++)
        if (strcasecmp(name, types[i].name) == 0) return &types[i];
    return NULL;
}

/* A number under "architecture.suffix", 0 where there is none (or one for each layer). */
static uint32_t fact(const struct mlt_checkpoint *checkpoint, const char *suffix)
{
    char key[192];
    const struct mlt_string none = {"", 0};
    const uint32_t zero = 0;
    struct mlt_string architecture;
    uint32_t value = 0;
    if (mlt_meta_get_string(checkpoint, "general.architecture", &none, &architecture, NULL) != MILLET_OK)
        return 0;
    snprintf(key, sizeof key, "%s.%s", architecture.data, suffix);
    return mlt_meta_get_u32(checkpoint, key, &zero, &value, NULL) == MILLET_OK ? value : 0;
}

void mlt_quantize_facts_read(struct mlt_quantize_facts *facts, const struct mlt_checkpoint *checkpoint)
{
    uint32_t heads = fact(checkpoint, "attention.head_count");
    uint32_t kv_heads = fact(checkpoint, "attention.head_count_kv");
    *facts = (struct mlt_quantize_facts){
        .n_layers = fact(checkpoint, "block_count"),
        .n_experts = fact(checkpoint, "expert_count"),
        .group_size = kv_heads ? heads / kv_heads : 1,
        .tied = mlt_checkpoint_tensor(checkpoint, "output.weight") == NULL,
    };
}

static bool ends_with(const struct mlt_tensor *tensor, const char *end)
{
    size_t length = strlen(end);
    return tensor->name.length >= length &&
           memcmp(tensor->name.data + tensor->name.length - length, end, length) == 0;
}

static bool contains(const struct mlt_tensor *tensor, const char *part)
{
    return strstr(tensor->name.data, part) != NULL;
}

static bool is_named(const struct mlt_tensor *tensor, const char *name)
{
    return strcmp(tensor->name.data, name) == 0;
}

const struct mlt_quantize_type *mlt_quantize_type_of(mlt_dtype dtype)
{
    for (size_t i = 0; i < MLT_COUNT(types); i++)
        if (types[i].dtype == dtype) return &types[i];
    return NULL;
}

bool mlt_quantize_applies(const struct mlt_tensor *tensor)
{
    /* Small matrices that a model is very sensitive to. */
    static const char *const parts[] = {"ffn_gate_inp.weight",   "ssm_conv1d",
                                        "ssm_x.weight",          "ssm_dt.weight",
                                        "shortconv.conv.weight", "attn_rel_b.weight"};
    if (!mlt_dtype_info(tensor->dtype)->is_float || tensor->n_dims < 2) return false;
    if (!ends_with(tensor, "weight") || ends_with(tensor, "_norm.weight")) return false;
    if (is_named(tensor, "position_embd.weight") || is_named(tensor, "token_types.weight")) return false;
    for (size_t i = 0; i < MLT_COUNT(parts); i++)
        if (contains(tensor, parts[i])) return false;
    return true;
}

bool mlt_quantize_is_output(const struct mlt_tensor *tensor, const struct mlt_quantize_facts *facts)
{
    return is_named(tensor, facts->tied ? "token_embd.weight" : "output.weight");
}

static uint32_t layer_of(const struct mlt_tensor *tensor)
{
    unsigned layer = 0;
    return sscanf(tensor->name.data, "blk.%9u.", &layer) == 1 ? layer : 0;
}

/* The first and the last eighth of the layers, and every third between them. */
static bool is_sensitive(uint32_t layer, uint32_t n_layers)
{
    uint32_t eighth = n_layers / 8;
    return layer < eighth || layer >= (uint32_t)(7 * (uint64_t)n_layers / 8) || (layer - eighth) % 3 == 2;
}

static mlt_dtype choose_value(const struct mlt_quantize_type *type, const struct mlt_quantize_facts *facts,
                              uint32_t layer)
{
    mlt_dtype dtype = type->dtype;
    switch (type->mix) {
    case MLT_MIX_Q2_K: dtype = facts->group_size >= 4 ? MLT_Q4_K : MLT_Q3_K; break;
    case MLT_MIX_Q3_K_M: dtype = layer < 2 ? MLT_Q5_K : MLT_Q4_K; break;
    case MLT_MIX_Q3_K_L: dtype = MLT_Q5_K; break;
    case MLT_MIX_Q4_K_S:
        if (layer < 4) dtype = MLT_Q5_K;
        break;
    case MLT_MIX_Q4_K_M:
    case MLT_MIX_Q5_K_M:
        if (is_sensitive(layer, facts->n_layers)) dtype = MLT_Q6_K;
        break;
    case MLT_MIX_IQ4:
        if (facts->group_size >= 4) dtype = MLT_Q5_K;
        break;
    default: break;
    }
    /* The largest Llamas share each value head among eight query heads: it is small, and matters. */
    bool largest = facts->n_layers == 80 && facts->group_size > 1;
    if (largest && (dtype == MLT_Q3_K || dtype == MLT_Q4_K)) dtype = MLT_Q5_K;
    return facts->n_experts == 8 ? MLT_Q8_0 : dtype;
}

static mlt_dtype choose_down(const struct mlt_quantize_type *type, const struct mlt_quantize_facts *facts,
                             uint32_t layer)
{
    switch (type->mix) {
    case MLT_MIX_Q2_K: return MLT_Q3_K;
    case MLT_MIX_Q3_K_M: return layer < facts->n_layers / 16 ? MLT_Q5_K : MLT_Q4_K;
    case MLT_MIX_Q3_K_L: return MLT_Q5_K;
    case MLT_MIX_Q4_K_S:
    case MLT_MIX_IQ4: return layer < facts->n_layers / 8 ? MLT_Q5_K : type->dtype;
    case MLT_MIX_Q4_K_M:
    case MLT_MIX_Q5_K_M: return is_sensitive(layer, facts->n_layers) ? MLT_Q6_K : type->dtype;
    default: return type->dtype;
    }
}

static mlt_dtype choose_attention_output(const struct mlt_quantize_type *type,
                                         const struct mlt_quantize_facts *facts)
{
    if (facts->n_experts == 8) {
        switch (type->mix) {
        case MLT_MIX_Q2_K:
        case MLT_MIX_Q3_K_S:
        case MLT_MIX_Q3_K_M:
        case MLT_MIX_Q4_K_S:
        case MLT_MIX_Q4_K_M:
        case MLT_MIX_IQ4: return MLT_Q5_K;
        default: return type->dtype;
        }
    }
    switch (type->mix) {
    case MLT_MIX_Q2_K: return MLT_Q3_K;
    case MLT_MIX_Q3_K_M: return MLT_Q4_K;
    case MLT_MIX_Q3_K_L: return MLT_Q5_K;
    default: return type->dtype;
    }
}

/* Query, key and value in one matrix. */
static mlt_dtype choose_qkv(const struct mlt_quantize_type *type)
{
    switch (type->mix) {
    case MLT_MIX_Q3_K_M:
    case MLT_MIX_Q3_K_L: return MLT_Q4_K;
    case MLT_MIX_Q4_K_M: return MLT_Q5_K;
    case MLT_MIX_Q5_K_M: return MLT_Q6_K;
    default: return type->dtype;
    }
}

mlt_dtype mlt_quantize_choose(const struct mlt_quantize_type *type, const struct mlt_quantize_facts *facts,
                              const struct mlt_tensor *tensor)
{
    if (!mlt_dtype_info(type->dtype)->quantised) return type->dtype;
    if (mlt_quantize_is_output(tensor, facts)) return type->dtype == MLT_Q8_0 ? MLT_Q8_0 : MLT_Q6_K;
    if (is_named(tensor, "token_embd.weight")) return type->mix == MLT_MIX_TERNARY ? MLT_Q4_K : type->dtype;
    uint32_t layer = layer_of(tensor);
    if (contains(tensor, "attn_v.weight")) return choose_value(type, facts, layer);
    if (contains(tensor, "attn_k.weight")) return facts->n_experts == 8 ? MLT_Q8_0 : type->dtype;
    if (contains(tensor, "ffn_down")) return choose_down(type, facts, layer);
    if (contains(tensor, "attn_output.weight")) return choose_attention_output(type, facts);
    if (contains(tensor, "attn_qkv.weight")) return choose_qkv(type);
    return type->dtype;
}

mlt_dtype mlt_quantize_fit(mlt_dtype dtype, int64_t elements)
{
    if (elements % mlt_dtype_info(dtype)->block_length == 0) return dtype;
    switch (dtype) {
    case MLT_Q2_K:
    case MLT_Q3_K:
    case MLT_IQ4_XS: dtype = MLT_IQ4_NL; break;
    case MLT_TQ1_0:
    case MLT_TQ2_0: dtype = MLT_Q4_0; break;
    case MLT_Q4_K: dtype = MLT_Q5_0; break;
    case MLT_Q5_K: dtype = MLT_Q5_1; break;
    case MLT_Q6_K: dtype = MLT_Q8_0; break;
    default: return MLT_F16;
    }
    return elements % mlt_dtype_info(dtype)->block_length == 0 ? dtype : MLT_F16;
}
