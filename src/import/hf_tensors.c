/* Tensor names of Hugging Face models to GGUF's. SPDX-License-Identifier: Apache-2.0 */
#include "import/hf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is done to a tensor on its way, besides that vectors become F32. */
enum treatment {
    PLAIN,
    NORM,     /* Gemma's norms multiply by 1 + w: GGUF stores the sum */
    QUERY,    /* rows in the order of n_heads heads, interleaved in llama's kin */
    KEY,      /* the same with n_kv_heads */
    TURNED,   /* stored [in][out] */
    FLOAT,    /* a matrix that GGUF keeps in F32 */
    EXPERTS,  /* one of n_experts, stacked */
    Q_NORMS,  /* one of n_heads vectors, stacked */
    K_NORMS,  /* one of n_kv_heads vectors, stacked */
    NOT_USED, /* tables that older versions saved along and that are computed today */
};

enum {
    ALL = 0x7FF,
    LLAMA_LIKE = ALL & ~MLT_HF_GPT2, /* names of the first Llama, which most others took over */
    INTERLEAVED = MLT_HF_LLAMA | MLT_HF_MIXTRAL | MLT_HF_SMOLLM3 | MLT_HF_MINICPM,
    GEMMAS = MLT_HF_GEMMA2 | MLT_HF_GEMMA3,
    SEPARATE_QKV = LLAMA_LIKE & ~MLT_HF_PHI3,
    SEPARATE_GATE = SEPARATE_QKV & ~MLT_HF_MIXTRAL,
};

/*
 * "%" is the number of a layer and "#" that of an expert or head. Names may begin with "model." or
 * "transformer." or not: which of them depends on the class that saved the file.
 */
static const struct rule {
    unsigned families;
    enum treatment treatment;
    const char *from, *to;
} rules[] = {
    {LLAMA_LIKE, PLAIN, "embed_tokens.weight", "token_embd.weight"},
    {LLAMA_LIKE, NORM, "norm.weight", "output_norm.weight"},
    {MLT_HF_STABLELM, PLAIN, "norm.bias", "output_norm.bias"},
    {MLT_HF_GPT2, PLAIN, "wte.weight", "token_embd.weight"},
    {MLT_HF_GPT2, FLOAT, "wpe.weight", "position_embd.weight"},
    {MLT_HF_GPT2, PLAIN, "ln_f.weight", "output_norm.weight"},
    {MLT_HF_GPT2, PLAIN, "ln_f.bias", "output_norm.bias"},
    {ALL, PLAIN, "lm_head.weight", "output.weight"},
    {LLAMA_LIKE, NOT_USED, "rotary_emb.inv_freq", ""},

    {LLAMA_LIKE, NORM, "layers.%.input_layernorm.weight", "blk.%.attn_norm.weight"},
    {MLT_HF_STABLELM, PLAIN, "layers.%.input_layernorm.bias", "blk.%.attn_norm.bias"},
    {SEPARATE_QKV, QUERY, "layers.%.self_attn.q_proj.weight", "blk.%.attn_q.weight"},
    {SEPARATE_QKV, QUERY, "layers.%.self_attn.q_proj.bias", "blk.%.attn_q.bias"},
    {SEPARATE_QKV, KEY, "layers.%.self_attn.k_proj.weight", "blk.%.attn_k.weight"},
    {SEPARATE_QKV, KEY, "layers.%.self_attn.k_proj.bias", "blk.%.attn_k.bias"},
    {SEPARATE_QKV, PLAIN, "layers.%.self_attn.v_proj.weight", "blk.%.attn_v.weight"},
    {SEPARATE_QKV, PLAIN, "layers.%.self_attn.v_proj.bias", "blk.%.attn_v.bias"},
    {MLT_HF_PHI3, PLAIN, "layers.%.self_attn.qkv_proj.weight", "blk.%.attn_qkv.weight"},
    {MLT_HF_QWEN3 | MLT_HF_GEMMA3, NORM, "layers.%.self_attn.q_norm.weight", "blk.%.attn_q_norm.weight"},
    {MLT_HF_QWEN3 | MLT_HF_GEMMA3, NORM, "layers.%.self_attn.k_norm.weight", "blk.%.attn_k_norm.weight"},
    {MLT_HF_STABLELM, Q_NORMS, "layers.%.self_attn.q_layernorm.norms.#.weight", "blk.%.attn_q_norm.weight"},
    {MLT_HF_STABLELM, K_NORMS, "layers.%.self_attn.k_layernorm.norms.#.weight", "blk.%.attn_k_norm.weight"},
    {LLAMA_LIKE, PLAIN, "layers.%.self_attn.o_proj.weight", "blk.%.attn_output.weight"},
    {LLAMA_LIKE, PLAIN, "layers.%.self_attn.o_proj.bias", "blk.%.attn_output.bias"},
    {LLAMA_LIKE, NOT_USED, "layers.%.self_attn.rotary_emb.inv_freq", ""},

    /* The same name is the norm before the feed-forward in most, and one after attention in Gemma. */
    {LLAMA_LIKE & ~GEMMAS, NORM, "layers.%.post_attention_layernorm.weight", "blk.%.ffn_norm.weight"},
    {MLT_HF_STABLELM, PLAIN, "layers.%.post_attention_layernorm.bias", "blk.%.ffn_norm.bias"},
    {GEMMAS, NORM, "layers.%.post_attention_layernorm.weight", "blk.%.post_attention_norm.weight"},
    {GEMMAS, NORM, "layers.%.pre_feedforward_layernorm.weight", "blk.%.ffn_norm.weight"},
    {GEMMAS, NORM, "layers.%.post_feedforward_layernorm.weight", "blk.%.post_ffw_norm.weight"},
    {SEPARATE_GATE, PLAIN, "layers.%.mlp.gate_proj.weight", "blk.%.ffn_gate.weight"},
    {SEPARATE_GATE, PLAIN, "layers.%.mlp.gate_proj.bias", "blk.%.ffn_gate.bias"},
    {SEPARATE_GATE, PLAIN, "layers.%.mlp.up_proj.weight", "blk.%.ffn_up.weight"},
    {SEPARATE_GATE, PLAIN, "layers.%.mlp.up_proj.bias", "blk.%.ffn_up.bias"},
    {MLT_HF_PHI3, PLAIN, "layers.%.mlp.gate_up_proj.weight", "blk.%.ffn_up.weight"}, /* gate rows first */
    {SEPARATE_GATE | MLT_HF_PHI3, PLAIN, "layers.%.mlp.down_proj.weight", "blk.%.ffn_down.weight"},
    {SEPARATE_GATE, PLAIN, "layers.%.mlp.down_proj.bias", "blk.%.ffn_down.bias"},
    {MLT_HF_MIXTRAL, FLOAT, "layers.%.block_sparse_moe.gate.weight", "blk.%.ffn_gate_inp.weight"},
    {MLT_HF_MIXTRAL, EXPERTS, "layers.%.block_sparse_moe.experts.#.w1.weight", "blk.%.ffn_gate_exps.weight"},
    {MLT_HF_MIXTRAL, EXPERTS, "layers.%.block_sparse_moe.experts.#.w3.weight", "blk.%.ffn_up_exps.weight"},
    {MLT_HF_MIXTRAL, EXPERTS, "layers.%.block_sparse_moe.experts.#.w2.weight", "blk.%.ffn_down_exps.weight"},

    {MLT_HF_GPT2, PLAIN, "h.%.ln_1.weight", "blk.%.attn_norm.weight"},
    {MLT_HF_GPT2, PLAIN, "h.%.ln_1.bias", "blk.%.attn_norm.bias"},
    {MLT_HF_GPT2, TURNED, "h.%.attn.c_attn.weight", "blk.%.attn_qkv.weight"},
    {MLT_HF_GPT2, PLAIN, "h.%.attn.c_attn.bias", "blk.%.attn_qkv.bias"},
    {MLT_HF_GPT2, TURNED, "h.%.attn.c_proj.weight", "blk.%.attn_output.weight"},
    {MLT_HF_GPT2, PLAIN, "h.%.attn.c_proj.bias", "blk.%.attn_output.bias"},
    {MLT_HF_GPT2, PLAIN, "h.%.ln_2.weight", "blk.%.ffn_norm.weight"},
    {MLT_HF_GPT2, PLAIN, "h.%.ln_2.bias", "blk.%.ffn_norm.bias"},
    {MLT_HF_GPT2, TURNED, "h.%.mlp.c_fc.weight", "blk.%.ffn_up.weight"},
    {MLT_HF_GPT2, PLAIN, "h.%.mlp.c_fc.bias", "blk.%.ffn_up.bias"},
    {MLT_HF_GPT2, TURNED, "h.%.mlp.c_proj.weight", "blk.%.ffn_down.weight"},
    {MLT_HF_GPT2, PLAIN, "h.%.mlp.c_proj.bias", "blk.%.ffn_down.bias"},
    {MLT_HF_GPT2, NOT_USED, "h.%.attn.bias", ""},
    {MLT_HF_GPT2, NOT_USED, "h.%.attn.masked_bias", ""},
};

/* A stored tensor and the rule that it falls under. */
struct entry {
    size_t rule;
    bool in_layer;
    uint32_t layer, member; /* "%" and "#"; 0 where the rule has none */
    const struct mlt_safetensor *tensor;
};

/* A decimal number as programs write it: no sign, no leading zero, below 2^32. */
static bool read_number(const char **text, uint32_t *out)
{
    const char *at = *text;
    uint64_t value = 0;
    if (*at < '0' || *at > '9' || (*at == '0' && at[1] >= '0' && at[1] <= '9')) return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > UINT32_MAX) return false;
    }
    *text = at;
    *out = (uint32_t)value;
    return true;
}

static bool matches(const char *pattern, const char *name, struct entry *entry)
{
    for (; *pattern; pattern++) {
        if (*pattern == '%') {
            entry->in_layer = true;
            if (!read_number(&name, &entry->layer)) return false;
        } else if (*pattern == '#') {
            if (!read_number(&name, &entry->member)) return false;
        } else if (*pattern != *name++) {
            return false;
        }
    }
    return *name == 0;
}

static const char *without_prefix(const char *name)
{
    static const char *const prefixes[] = {"model.", "transformer."};
    for (size_t i = 0; i < MLT_COUNT(prefixes); i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], length) == 0) return name + length;
    }
    return name;
}

static millet_status find_rule(const struct mlt_hf_config *config, const struct mlt_safetensor *tensor,
                               struct entry *out, millet_error *err)
{
    const char *name = without_prefix(tensor->name.data);
    for (size_t i = 0; i < MLT_COUNT(rules); i++) {
        *out = (struct entry){.rule = i, .tensor = tensor};
        if (!(rules[i].families & config->family) || !matches(rules[i].from, name, out)) continue;
        if (!out->in_layer || out->layer < config->n_layers) return MILLET_OK;
        return mlt_fail_at(err, MILLET_BAD_FORMAT, tensor->file, tensor->name.data, tensor->offset,
                           "the tensor belongs to layer %u, but config.json gives the model %u layers",
                           out->layer, config->n_layers);
    }
    return mlt_fail_at(
        err, MILLET_UNSUPPORTED, tensor->file, tensor->name.data, tensor->offset,
        "this tensor is not part of a model of architecture %s; leaving it out would change what "
        "the model computes",
        config->architecture);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->in_layer != right->in_layer) return left->in_layer ? 1 : -1;
    if (left->layer != right->layer) return left->layer < right->layer ? -1 : 1;
    if (left->rule != right->rule) return left->rule < right->rule ? -1 : 1;
    return left->member < right->member ? -1 : left->member > right->member;
}

/* The members of a stack must be numbered 0 .. wanted-1; every other rule takes one tensor. */
static millet_status check_members(const struct entry *entries, size_t n, uint32_t wanted, millet_error *err)
{
    const struct mlt_safetensor *first = entries[0].tensor;
    for (size_t i = 1; i < n; i++)
        if (entries[i].member == entries[i - 1].member)
            return mlt_fail_at(err, MILLET_BAD_FORMAT, first->file, first->name.data, first->offset,
                               "%.100s is another tensor for the same place", entries[i].tensor->name.data);
    if (n != wanted || entries[n - 1].member != wanted - 1)
        return mlt_fail_at(
            err, MILLET_BAD_FORMAT, first->file, first->name.data, first->offset,
            "of tensors like this one %u are needed, numbered from 0; there are %zu, the last of "
            "them %u",
            wanted, n, entries[n - 1].member);
    return MILLET_OK;
}

/* "blk.%.x" with the number of the layer. */
static void make_name(const struct entry *entry, char *name, size_t size)
{
    const char *to = rules[entry->rule].to, *mark = strchr(to, '%');
    if (mark)
        snprintf(name, size, "%.*s%u%s", (int)(mark - to), to, entry->layer, mark + 1);
    else
        snprintf(name, size, "%s", to);
}

/* Adds what `n` entries of one rule and one layer make. */
static millet_status add_group(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                               const struct entry *entries, size_t n, const struct mlt_safetensor **parts,
                               millet_error *err)
{
    char name[64];
    struct mlt_hf_recipe recipe = {.parts = parts, .n_parts = n};
    uint32_t members = 1;
    for (size_t i = 0; i < n; i++)
        parts[i] = entries[i].tensor;
    recipe.as_float = parts[0]->n_dims == 1;
    switch (rules[entries[0].rule].treatment) {
    case PLAIN: break;
    case NORM: recipe.add = config->family & GEMMAS ? 1.0f : 0.0f; break;
    case QUERY: recipe.heads = config->family & INTERLEAVED ? config->n_heads : 0; break;
    case KEY: recipe.heads = config->family & INTERLEAVED ? config->n_kv_heads : 0; break;
    case TURNED: recipe.transpose = true; break;
    case FLOAT: recipe.as_float = true; break;
    case EXPERTS: members = config->n_experts, recipe.stack = true; break;
    case Q_NORMS: members = config->n_heads, recipe.stack = true; break;
    case K_NORMS: members = config->n_kv_heads, recipe.stack = true; break;
    case NOT_USED: return MILLET_OK;
    }
    MLT_TRY(check_members(entries, n, members, err));
    if (recipe.add != 0) recipe.as_float = true;
    make_name(&entries[0], name, sizeof name);
    return mlt_hf_add_tensor(checkpoint, name, &recipe, err);
}

/* Whether lm_head.weight is left out: tied models read the embedding, also where a copy was saved. */
static bool is_tied_head(const struct mlt_hf_config *config, const struct entry *entry)
{
    if (strcmp(rules[entry->rule].to, "output.weight") != 0) return false;
    return config->tie_known ? config->tie : (config->family & GEMMAS) != 0;
}

static millet_status check_head(const struct mlt_hf_config *config, const struct mlt_safetensors *set,
                                const char *path, millet_error *err)
{
    static const char name[] = "lm_head.weight";
    if (!config->tie_known || config->tie || mlt_safetensors_find(set, name, sizeof name - 1))
        return MILLET_OK;
    return mlt_fail_at(
        err, MILLET_BAD_FORMAT, path, name, MILLET_NO_OFFSET,
        "this tensor is missing, and config.json says that the embedding is not used in its place "
        "(tie_word_embeddings is false)");
}

millet_status mlt_hf_tensors_map(struct mlt_checkpoint *checkpoint, const struct mlt_hf_config *config,
                                 const struct mlt_safetensors *set, millet_error *err)
{
    struct mlt_arena *arena = &checkpoint->arena;
    struct entry *entries = mlt_arena_alloc(arena, set->n_tensors, sizeof *entries, err);
    const struct mlt_safetensor **parts = mlt_arena_alloc(arena, set->n_tensors, sizeof *parts, err);
    if (!entries || !parts) return MILLET_NO_MEMORY;
    MLT_TRY(check_head(config, set, checkpoint->path, err));
    size_t n = 0;
    for (size_t i = 0; i < set->n_tensors; i++) {
        MLT_TRY(find_rule(config, &set->tensors[i], &entries[n], err));
        if (!is_tied_head(config, &entries[n])) n++;
    }
    if (n) qsort(entries, n, sizeof *entries, compare_entries);
    for (size_t from = 0, to; from < n; from = to) {
        to = from + 1;
        while (to < n && entries[to].rule == entries[from].rule && entries[to].layer == entries[from].layer)
            to++;
        MLT_TRY(add_group(checkpoint, config, &entries[from], to - from, parts, err));
    }
    return MILLET_OK;
}
