/*
 * What a decoder is, as a set of choices: config.c fills it from metadata, forward.c carries it out. A new
 * family of decoder is a row in config.c's table and a test. docs/models.md has the table for people.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CONFIG_H
#define MLT_CONFIG_H

#include "format/checkpoint.h"

enum mlt_norm_kind {
    MLT_NORM_RMS,  /* Zhang and Sennrich, 2019 */
    MLT_NORM_LAYER /* Ba, Kiros and Hinton, 2016 */
};
enum mlt_activation { MLT_ACT_SILU, MLT_ACT_GELU };
/* Which elements of a head are a pair that rope rotates: (2i, 2i + 1) or (i, i + rope_size / 2). */
enum mlt_rope_kind { MLT_ROPE_NONE, MLT_ROPE_INTERLEAVED, MLT_ROPE_HALVES };
/* Norms of each head of q and k before rope: RMS with one weight vector for all heads, or LayerNorm with one
 * a head. */
enum mlt_qk_norm { MLT_QK_NONE, MLT_QK_RMS_HEAD, MLT_QK_LAYER_HEAD };

/*
 * The frequencies of rotary positions (Su et al., 2021). Without YaRN the angle of pair i at position p is
 * p * base^(-2i / rope_size) / (factor * divisor[i]), where the divisors come from a tensor (rope_freqs, or
 * rope_factors_short and _long) and are 1 without one.
 */
struct mlt_rope {
    float base;
    float factor;    /* positions are divided by it; 1: none */
    float magnitude; /* rotated q and k are multiplied by it; 1: none */
    bool yarn;       /* Peng et al., 2023: `factor` applies to slow pairs only, a ramp lies between */
    float yarn_beta_fast, yarn_beta_slow, yarn_ext_factor;
    int32_t n_ctx_original; /* the context before it was extended */
};

struct mlt_layer_choice {
    bool local; /* attention sees only the last `window` positions */
    bool rope;  /* positions are rotated */
};

struct mlt_config {
    const char *architecture; /* static text */
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_size, value_size, n_ff, n_vocab, n_ctx_train;
    int32_t n_experts, n_experts_used; /* 0: a dense feed-forward */
    bool expert_renormalise;           /* weights of the chosen experts are made to sum to one */

    enum mlt_norm_kind norm;
    float norm_eps;
    enum mlt_qk_norm qk_norm;
    bool post_norms;     /* branches are normed once more before they are added */
    bool parallel_block; /* attention and feed-forward read the same norm and are added together */
    bool gated;          /* down(act(gate) * up), else down(act(up)) */
    enum mlt_activation activation;

    enum mlt_rope_kind rope_kind;
    int32_t rope_size; /* elements of a head that are rotated, the first ones; even */
    struct mlt_rope rope;
    struct mlt_rope rope_local; /* of local layers; differs from `rope` only where rope_local_differs */
    bool rope_local_differs;
    bool position_embd; /* learned positions instead of rope */

    float embedding_scale, residual_scale, logit_scale; /* factors; 1: none */
    float attention_scale;                              /* of q . k */
    float attention_softcap, logit_softcap;             /* 0: none */
    int32_t window;                                     /* positions that local layers see; 0: all */
    struct mlt_layer_choice *layers; /* [n_layers], in the arena given to mlt_config_read */
    bool tied;                       /* output is token_embd */
};

/*
 * Reads and checks the configuration; `arena` takes what it points to. Every number is in a range in which
 * the products of two of them, and of one with a context length, fit in 64 bits. Errors name the key:
 * NOT_FOUND, BAD_FORMAT (outside its range or in contradiction to another), UNSUPPORTED (an architecture, or
 * a choice within one, that is not known).
 */
millet_status mlt_config_read(struct mlt_config *config, const struct mlt_checkpoint *checkpoint,
                              struct mlt_arena *arena, millet_error *err);

/* The architectures that are known, separated by ", ". */
const char *mlt_config_architectures(void);

#endif
