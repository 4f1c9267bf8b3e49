/*
 * What a decoder is, as a set of choices: config.c fills it from metadata, forward.c carries it out. A new
 * family of decoder is a row in config.c's table and a test.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CONFIG_H
#define MLT_CONFIG_H

#include "format/checkpoint.h"

enum mlt_norm_kind { MLT_NORM_RMS, MLT_NORM_LAYER };
enum mlt_activation { MLT_ACT_SILU, MLT_ACT_GELU };
enum mlt_rope_kind { MLT_ROPE_NONE, MLT_ROPE_INTERLEAVED, MLT_ROPE_HALVES };
enum mlt_rope_scaling {
    MLT_ROPE_SCALE_NONE,
    MLT_ROPE_SCALE_LINEAR,
    MLT_ROPE_SCALE_YARN,
    MLT_ROPE_SCALE_LONG
};
enum mlt_qk_norm { MLT_QK_NONE, MLT_QK_RMS_HEAD, MLT_QK_LAYER_HEAD };

/* Which layers are special: layer % period is compared with a boundary; see config.c. */
struct mlt_layer_choice {
    bool local; /* attention sees only the last `window` positions */
    bool rope;  /* positions are rotated */
};

struct mlt_config {
    const char *architecture;
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_size, value_size, n_ff, n_vocab, n_ctx_train;
    int32_t n_experts, n_experts_used;
    bool expert_renormalise; /* weights of the chosen experts are made to sum to one */

    enum mlt_norm_kind norm;
    float norm_eps;
    enum mlt_qk_norm qk_norm;
    bool parallel_block; /* attention and feed-forward read the same norm and are added together */
    bool gated;          /* down(act(gate) * up), else down(act(up)) */
    enum mlt_activation activation;

    enum mlt_rope_kind rope;
    int32_t rope_size; /* elements of a head that are rotated */
    float rope_base, rope_base_local;
    enum mlt_rope_scaling rope_scaling;
    float rope_factor;       /* positions are divided by it; 1: none */
    float rope_factor_local; /* of local layers */
    float rope_attn_factor;
    int32_t rope_n_ctx_original;
    float yarn_beta_fast, yarn_beta_slow, yarn_ext_factor;
    bool position_embd; /* learned positions */

    float embedding_scale, residual_scale, logit_scale; /* factors; 1: none */
    float attention_scale;                              /* of q . k */
    float attention_softcap, logit_softcap;             /* 0: none */
    int32_t window;                                     /* sliding window; 0: none */
    struct mlt_layer_choice *layers; /* [n_layers], in the checkpoint's arena-like lifetime */
    bool tied;                       /* output is token_embd */
};

/* Reads and checks the configuration; `arena` takes what it points to. Errors name the key. */
millet_status mlt_config_read(struct mlt_config *config, const struct mlt_checkpoint *checkpoint,
                              struct mlt_arena *arena, millet_error *err);

/* The architectures that are known, separated by ", ". */
const char *mlt_config_architectures(void);

#endif
