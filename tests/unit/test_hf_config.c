/*
 * config.json of Hugging Face models to GGUF keys: what the keys say for each way of stretching positions and
 * each family's own settings, and that settings without a place in GGUF are refused by name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "import/hf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A small model of a class; `more` is appended and may override: in these texts the last of two keys counts.
 */
static json_t *config_of(const char *class_name, const char *more)
{
    json_error_t error;
    json_t *base =
        json_pack("{s:[s], s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "architectures", class_name,
                  "num_hidden_layers", 6, "hidden_size", 64, "intermediate_size", 96, "num_attention_heads",
                  4, "num_key_value_heads", 2, "vocab_size", 100, "max_position_embeddings", 1024);
    char text[4096];
    snprintf(text, sizeof text, "{%s}", more);
    json_t *extra = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!base || !extra) fail_msg("%s: %s", error.text, text);
    json_object_update(base, extra);
    json_decref(extra);
    return base;
}

static millet_status read_config(const char *class_name, const char *more, struct mlt_checkpoint **out,
                                 struct mlt_hf_config *config, millet_error *err)
{
    json_t *root = config_of(class_name, more);
    struct mlt_json json = {root, "config.json", ""};
    memset(err, 0, sizeof *err);
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), "folder", "safetensors", out, err), 0);
    millet_status status = mlt_hf_config_read(*out, &json, config, err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(*out, err);
    json_decref(root);
    if (status != MILLET_OK) mlt_checkpoint_close(out);
    return status;
}

static struct mlt_checkpoint *must_read(const char *class_name, const char *more,
                                        struct mlt_hf_config *config)
{
    struct mlt_checkpoint *checkpoint;
    struct mlt_hf_config unused;
    millet_error err;
    if (read_config(class_name, more, &checkpoint, config ? config : &unused, &err) != MILLET_OK)
        fail_msg("%s %s: %s: %s", class_name, more, err.item, err.message);
    return checkpoint;
}

/* A number under a key, -1 where there is none. */
static double number(const struct mlt_checkpoint *checkpoint, const char *key)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    if (!meta) return -1;
    return meta->type == MLT_META_F32 ? meta->value.f : (double)meta->value.u;
}

static void check_near(double found, double wanted)
{
    if (!(fabs(found - wanted) <= 1e-6 * fabs(wanted))) fail_msg("%.9g, not %.9g", found, wanted);
}

static const char *text(const struct mlt_checkpoint *checkpoint, const char *key)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    return meta ? meta->value.string.data : "(none)";
}

static void test_plain(void **state)
{
    (void)state;
    struct mlt_hf_config config;
    struct mlt_checkpoint *checkpoint =
        must_read("LlamaForCausalLM", "\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\"", &config);
    assert_string_equal(text(checkpoint, "general.architecture"), "llama");
    assert_true(number(checkpoint, "llama.block_count") == 6);
    assert_true(number(checkpoint, "llama.context_length") == 1024);
    assert_true(number(checkpoint, "llama.embedding_length") == 64);
    assert_true(number(checkpoint, "llama.feed_forward_length") == 96);
    assert_true(number(checkpoint, "llama.attention.head_count") == 4);
    assert_true(number(checkpoint, "llama.attention.head_count_kv") == 2);
    assert_true(number(checkpoint, "llama.vocab_size") == 100);
    assert_true(number(checkpoint, "llama.rope.dimension_count") == 16);
    assert_true(number(checkpoint, "llama.rope.freq_base") == 10000);
    check_near(number(checkpoint, "llama.attention.layer_norm_rms_epsilon"), 1e-5);
    assert_string_equal(text(checkpoint, "llama.rope.scaling.type"), "(none)");
    assert_int_equal(config.head_size, 16);
    assert_int_equal(config.family, MLT_HF_LLAMA);
    assert_false(config.tie_known);
    mlt_checkpoint_close(&checkpoint);

    checkpoint = must_read("MistralForCausalLM",
                           "\"head_dim\":32,\"num_key_value_heads\":null,\"tie_word_embeddings\":true,"
                           "\"rope_theta\":1000000.0",
                           &config);
    assert_true(number(checkpoint, "llama.attention.key_length") == 32);
    assert_true(number(checkpoint, "llama.attention.value_length") == 32);
    assert_true(number(checkpoint, "llama.rope.dimension_count") == 32);
    assert_true(number(checkpoint, "llama.attention.head_count_kv") == 4);
    assert_true(number(checkpoint, "llama.rope.freq_base") == 1e6);
    assert_true(config.tie_known && config.tie);
    mlt_checkpoint_close(&checkpoint);
}

static void test_class_or_type(void **state)
{
    (void)state;
    struct mlt_hf_config config;
    struct mlt_checkpoint *checkpoint =
        must_read("", "\"architectures\":null,\"model_type\":\"qwen3\"", &config);
    assert_int_equal(config.family, MLT_HF_QWEN3);
    mlt_checkpoint_close(&checkpoint);
    /* The class counts more. */
    checkpoint = must_read("Qwen2ForCausalLM", "\"model_type\":\"llama\"", &config);
    assert_int_equal(config.family, MLT_HF_QWEN2);
    mlt_checkpoint_close(&checkpoint);
}

static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *class_name, *more, *prefix;
        double context, window;
    } cases[] = {
        {"MistralForCausalLM", "\"sliding_window\":256", "llama", 256, -1},
        {"MistralForCausalLM", "\"sliding_window\":null", "llama", 1024, -1},
        {"MistralForCausalLM", "\"sliding_window\":4096", "llama", 1024, -1},
        {"Qwen2ForCausalLM", "\"sliding_window\":256,\"use_sliding_window\":false", "qwen2", 1024, -1},
        {"Qwen2ForCausalLM", "\"sliding_window\":256", "qwen2", 1024, -1},
        {"Qwen2ForCausalLM", "\"sliding_window\":256,\"use_sliding_window\":true", "qwen2", 256, -1},
        {"Phi3ForCausalLM", "\"sliding_window\":256", "phi3", 1024, 256},
        {"Phi3ForCausalLM", "\"sliding_window\":null", "phi3", 1024, 0},
        {"Gemma2ForCausalLM", "", "gemma2", 1024, 4096},
        {"Gemma2ForCausalLM", "\"sliding_window\":128", "gemma2", 1024, 128},
        {"Gemma3ForCausalLM", "\"sliding_window\":128,\"sliding_window_pattern\":6", "gemma3", 1024, 128},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char key[64];
        struct mlt_checkpoint *checkpoint = must_read(cases[i].class_name, cases[i].more, NULL);
        snprintf(key, sizeof key, "%s.context_length", cases[i].prefix);
        assert_true(number(checkpoint, key) == cases[i].context);
        snprintf(key, sizeof key, "%s.attention.sliding_window", cases[i].prefix);
        assert_true(number(checkpoint, key) == cases[i].window);
        mlt_checkpoint_close(&checkpoint);
    }
}

static void test_gemma(void **state)
{
    (void)state;
    struct mlt_checkpoint *checkpoint =
        must_read("Gemma2ForCausalLM",
                  "\"head_dim\":32,\"query_pre_attn_scalar\":144,\"attn_logit_softcapping\":null", NULL);
    check_near(number(checkpoint, "gemma2.attention.scale"), 1.0 / 12);
    assert_true(number(checkpoint, "gemma2.attn_logit_softcapping") == 0); /* null turns it off */
    assert_true(number(checkpoint, "gemma2.final_logit_softcapping") == 30);
    assert_true(number(checkpoint, "gemma2.attention.key_length") == 32);
    mlt_checkpoint_close(&checkpoint);

    /* The older and the newer way to write two bases. */
    static const char *const forms[] = {
        "\"sliding_window\":512,\"rope_theta\":5e5,\"rope_local_base_freq\":20000,\"rope_scaling\":{\"rope_"
        "type\":"
        "\"linear\",\"factor\":8.0}",
        "\"sliding_window\":512,\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":"
        "8.0,"
        "\"rope_theta\":500000},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":20000}},"
        "\"layer_types\":[\"sliding_attention\",\"sliding_attention\",\"sliding_attention\",\"sliding_"
        "attention\","
        "\"sliding_attention\",\"full_attention\"]",
    };
    for (size_t i = 0; i < 2; i++) {
        checkpoint = must_read("Gemma3ForCausalLM", forms[i], NULL);
        assert_true(number(checkpoint, "gemma3.rope.freq_base") == 5e5);
        assert_true(number(checkpoint, "gemma3.rope.freq_base_swa") == 20000);
        assert_string_equal(text(checkpoint, "gemma3.rope.scaling.type"), "linear");
        assert_true(number(checkpoint, "gemma3.rope.scaling.factor") == 8);
        check_near(number(checkpoint, "gemma3.attention.scale"), 1.0 / 16);
        assert_true(number(checkpoint, "gemma3.attention.key_length") == 256);
        mlt_checkpoint_close(&checkpoint);
    }
    checkpoint = must_read("Gemma3ForCausalLM", "\"sliding_window\":512", NULL);
    assert_true(number(checkpoint, "gemma3.rope.freq_base") == 1e6);
    assert_true(number(checkpoint, "gemma3.rope.freq_base_swa") == 1e4);
    mlt_checkpoint_close(&checkpoint);
}

static void test_other_families(void **state)
{
    (void)state;
    struct mlt_checkpoint *checkpoint =
        must_read("MiniCPMForCausalLM", "\"scale_emb\":12,\"scale_depth\":1.4,\"dim_model_base\":16", NULL);
    assert_true(number(checkpoint, "minicpm.embedding_scale") == 12);
    check_near(number(checkpoint, "minicpm.residual_scale"), 1.4 / sqrt(6));
    assert_true(number(checkpoint, "minicpm.logit_scale") == 4);
    mlt_checkpoint_close(&checkpoint);

    struct mlt_hf_config config;
    checkpoint =
        must_read("StableLmForCausalLM", "\"layer_norm_eps\":1e-4,\"partial_rotary_factor\":0.5", &config);
    check_near(number(checkpoint, "stablelm.attention.layer_norm_epsilon"), 1e-4);
    assert_true(number(checkpoint, "stablelm.rope.dimension_count") == 8);
    assert_int_equal(config.rope_size, 8);
    assert_true(number(checkpoint, "stablelm.use_parallel_residual") == 0);
    mlt_checkpoint_close(&checkpoint);

    checkpoint =
        must_read("MixtralForCausalLM", "\"num_local_experts\":8,\"num_experts_per_tok\":2", &config);
    assert_true(number(checkpoint, "llama.expert_count") == 8);
    assert_true(number(checkpoint, "llama.expert_used_count") == 2);
    assert_int_equal(config.n_experts, 8);
    mlt_checkpoint_close(&checkpoint);

    checkpoint =
        must_read("GPT2LMHeadModel",
                  "\"num_hidden_layers\":null,\"n_layer\":3,\"hidden_size\":null,\"n_embd\":48,"
                  "\"intermediate_size\":null,\"n_inner\":null,\"num_attention_heads\":null,\"n_head\":3,"
                  "\"num_key_value_heads\":null,\"max_position_embeddings\":null,\"n_positions\":77,"
                  "\"layer_norm_epsilon\":1e-5,\"activation_function\":\"gelu_new\"",
                  NULL);
    assert_true(number(checkpoint, "gpt2.block_count") == 3);
    assert_true(number(checkpoint, "gpt2.feed_forward_length") == 192);
    assert_true(number(checkpoint, "gpt2.context_length") == 77);
    assert_true(number(checkpoint, "gpt2.rope.dimension_count") == -1);
    mlt_checkpoint_close(&checkpoint);

    checkpoint = must_read("SmolLM3ForCausalLM", "\"no_rope_layers\":[1,1,1,0,1,1]", NULL);
    assert_string_equal(text(checkpoint, "general.architecture"), "smollm3");
    mlt_checkpoint_close(&checkpoint);
}

/* ---- Positions ---- */

static const float *factors(const struct mlt_checkpoint *checkpoint, const char *name, int64_t n)
{
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, name);
    assert_non_null(tensor);
    assert_true(tensor->dtype == MLT_F32 && tensor->n_dims == 1 && tensor->ne[0] == n);
    return (const float *)(const void *)tensor->data;
}

static void test_llama3(void **state)
{
    (void)state;
    /* Llama 3.1 8B. The values were computed apart from this code, in double precision, from the published
     * rule: wave lengths below 8192 / 4 are kept, those above 8192 divided by 8, those between blended. */
    static const char more[] =
        "\"hidden_size\":512,\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":8.0,\"low_freq_factor\":1."
        "0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}";
    struct mlt_checkpoint *checkpoint = must_read("LlamaForCausalLM", more, NULL);
    const float *values = factors(checkpoint, "rope_freqs.weight", 64);
    for (int i = 0; i < 64; i++) {
        double wave = 2 * acos(-1) * pow(500000.0, i / 64.0);
        if (wave < 2048)
            assert_true(values[i] == 1);
        else if (wave > 8192)
            assert_true(values[i] == 8);
        else
            assert_true(values[i] > 1 && values[i] < 8);
    }
    assert_true(values[28] == 1 && values[35] == 8);
    check_near(values[29], 1.207483871283662);
    check_near(values[32], 2.6945296878947333);
    assert_string_equal(text(checkpoint, "llama.rope.scaling.type"), "(none)");
    mlt_checkpoint_close(&checkpoint);
}

static void test_scaling(void **state)
{
    (void)state;
    struct mlt_checkpoint *checkpoint =
        must_read("LlamaForCausalLM", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}", NULL);
    assert_string_equal(text(checkpoint, "llama.rope.scaling.type"), "linear");
    assert_true(number(checkpoint, "llama.rope.scaling.factor") == 4);
    mlt_checkpoint_close(&checkpoint);

    /* Within the trained context nothing changes. */
    checkpoint = must_read("LlamaForCausalLM", "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4}", NULL);
    assert_string_equal(text(checkpoint, "llama.rope.scaling.type"), "(none)");
    assert_true(number(checkpoint, "llama.context_length") == 1024);
    mlt_checkpoint_close(&checkpoint);

    checkpoint = must_read(
        "Qwen2ForCausalLM",
        "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":256}", NULL);
    assert_string_equal(text(checkpoint, "qwen2.rope.scaling.type"), "yarn");
    assert_true(number(checkpoint, "qwen2.rope.scaling.factor") == 4);
    assert_true(number(checkpoint, "qwen2.rope.scaling.original_context_length") == 256);
    assert_true(number(checkpoint, "qwen2.rope.scaling.attn_factor") == -1);
    assert_true(number(checkpoint, "qwen2.rope.scaling.yarn_beta_fast") == -1);
    mlt_checkpoint_close(&checkpoint);

    checkpoint = must_read("Qwen3ForCausalLM",
                           "\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":2e5,\"factor\":4,"
                           "\"attention_factor\":1,\"beta_fast\":16,\"beta_slow\":2}",
                           NULL);
    assert_true(number(checkpoint, "qwen3.rope.freq_base") == 2e5);
    assert_true(number(checkpoint, "qwen3.rope.scaling.original_context_length") == 1024);
    check_near(number(checkpoint, "qwen3.rope.scaling.attn_factor"), 1 / (1 + 0.1 * log(4)));
    assert_true(number(checkpoint, "qwen3.rope.scaling.yarn_beta_fast") == 16);
    assert_true(number(checkpoint, "qwen3.rope.scaling.yarn_beta_slow") == 2);
    mlt_checkpoint_close(&checkpoint);

    checkpoint =
        must_read("Phi3ForCausalLM",
                  "\"hidden_size\":32,\"original_max_position_embeddings\":256,\"rope_scaling\":{\"type\":"
                  "\"su\",\"long_factor\":[1,2,3,4.5],\"short_factor\":[1,1,1.25,2]}",
                  NULL);
    assert_string_equal(text(checkpoint, "phi3.rope.scaling.type"), "longrope");
    assert_true(number(checkpoint, "phi3.rope.scaling.original_context_length") == 256);
    check_near(number(checkpoint, "phi3.rope.scaling.attn_factor"), sqrt(1 + log(4) / log(256)));
    assert_true(factors(checkpoint, "rope_factors_long.weight", 4)[3] == 4.5f);
    assert_true(factors(checkpoint, "rope_factors_short.weight", 4)[2] == 1.25f);
    mlt_checkpoint_close(&checkpoint);

    checkpoint = must_read("Phi3ForCausalLM", "\"partial_rotary_factor\":0.75", NULL);
    assert_true(number(checkpoint, "phi3.rope.dimension_count") == 12);
    mlt_checkpoint_close(&checkpoint);
}

/* ---- Refusals ---- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *class_name, *more;
        millet_status status;
        const char *word; /* in the message or the item */
    } cases[] = {
        {"BertModel", "", MILLET_UNSUPPORTED, "Qwen3ForCausalLM"},
        {"", "\"architectures\":null,\"model_type\":\"bert\"", MILLET_UNSUPPORTED, "bert"},
        {"LlamaForCausalLM", "\"architectures\":null", MILLET_BAD_FORMAT, "architectures"},
        {"LlamaForCausalLM", "\"architectures\":[]", MILLET_BAD_FORMAT, "architectures"},
        {"LlamaForCausalLM", "\"architectures\":\"LlamaForCausalLM\"", MILLET_BAD_FORMAT, "architectures"},
        {"LlamaForCausalLM", "\"architectures\":[7]", MILLET_BAD_FORMAT, "architectures"},
        {"LlamaForCausalLM", "\"hidden_size\":null", MILLET_BAD_FORMAT, "hidden_size"},
        {"LlamaForCausalLM", "\"hidden_size\":0", MILLET_BAD_FORMAT, "hidden_size"},
        {"LlamaForCausalLM", "\"hidden_size\":-4", MILLET_BAD_FORMAT, "hidden_size"},
        {"LlamaForCausalLM", "\"hidden_size\":64.5", MILLET_BAD_FORMAT, "integer"},
        {"LlamaForCausalLM", "\"hidden_size\":\"64\"", MILLET_BAD_FORMAT, "a string"},
        {"LlamaForCausalLM", "\"hidden_size\":[64]", MILLET_BAD_FORMAT, "an array"},
        {"LlamaForCausalLM", "\"hidden_size\":4294967296", MILLET_BAD_FORMAT, "4294967295"},
        {"LlamaForCausalLM", "\"hidden_size\":3", MILLET_BAD_FORMAT, "head_dim"},
        {"LlamaForCausalLM", "\"num_attention_heads\":0", MILLET_BAD_FORMAT, "num_attention_heads"},
        {"LlamaForCausalLM", "\"head_dim\":4294967295", MILLET_BAD_FORMAT, "head_dim"},
        {"LlamaForCausalLM", "\"head_dim\":7", MILLET_BAD_FORMAT, "even"},
        {"LlamaForCausalLM", "\"rms_norm_eps\":true", MILLET_BAD_FORMAT, "rms_norm_eps"},
        {"LlamaForCausalLM", "\"hidden_act\":\"gelu\"", MILLET_UNSUPPORTED, "gelu"},
        {"LlamaForCausalLM", "\"quantization_config\":{\"quant_method\":\"gptq\"}", MILLET_UNSUPPORTED,
         "gptq"},
        {"LlamaForCausalLM", "\"quantization_config\":{}", MILLET_UNSUPPORTED, "quantised"},
        {"LlamaForCausalLM", "\"num_local_experts\":4", MILLET_UNSUPPORTED, "experts"},
        {"LlamaForCausalLM", "\"partial_rotary_factor\":0.5", MILLET_UNSUPPORTED, "whole heads"},
        {"StableLmForCausalLM", "\"partial_rotary_factor\":2", MILLET_BAD_FORMAT, "partial_rotary_factor"},
        {"StableLmForCausalLM", "\"partial_rotary_factor\":0.01", MILLET_BAD_FORMAT, "rotated"},
        {"LlamaForCausalLM", "\"rope_theta\":0", MILLET_BAD_FORMAT, "rope_theta"},
        {"LlamaForCausalLM", "\"rope_theta\":1e300", MILLET_BAD_FORMAT, "rope_theta"},
        {"LlamaForCausalLM", "\"rope_scaling\":[]", MILLET_BAD_FORMAT, "rope_scaling"},
        {"LlamaForCausalLM", "\"rope_scaling\":{\"type\":\"ntk\"}", MILLET_UNSUPPORTED, "ntk"},
        {"LlamaForCausalLM", "\"rope_scaling\":{\"type\":\"linear\"}", MILLET_BAD_FORMAT,
         "rope_scaling.factor"},
        {"LlamaForCausalLM", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}", MILLET_BAD_FORMAT,
         "factor"},
        {"LlamaForCausalLM", "\"rope_scaling\":{\"type\":\"yarn\"}", MILLET_BAD_FORMAT, "factor"},
        {"LlamaForCausalLM", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"truncate\":false}",
         MILLET_UNSUPPORTED, "truncate"},
        {"LlamaForCausalLM",
         "\"rope_scaling\":{\"rope_type\":\"llama3\",\"low_freq_factor\":4,\"high_freq_factor\":4}",
         MILLET_BAD_FORMAT, "high_freq_factor"},
        {"LlamaForCausalLM",
         "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":0.5}",
         MILLET_BAD_FORMAT, "original_max_position_embeddings"},
        {"Phi3ForCausalLM", "\"rope_scaling\":{\"type\":\"longrope\"}", MILLET_BAD_FORMAT, "long_factor"},
        {"Phi3ForCausalLM", "\"rope_scaling\":{\"type\":\"longrope\",\"long_factor\":[1,2]}",
         MILLET_BAD_FORMAT, "list of 8"},
        {"Phi3ForCausalLM", "\"rope_scaling\":{\"type\":\"longrope\",\"long_factor\":[1,1,1,1,1,1,1,0]}",
         MILLET_BAD_FORMAT, "number 7"},
        {"Phi3ForCausalLM", "\"rope_scaling\":{\"type\":\"longrope\",\"long_factor\":[1,1,1,1,1,1,1,\"x\"]}",
         MILLET_BAD_FORMAT, "number 7"},
        {"Gemma3ForCausalLM", "", MILLET_BAD_FORMAT, "sliding_window"},
        {"Gemma3ForCausalLM", "\"sliding_window\":8,\"sliding_window_pattern\":4", MILLET_UNSUPPORTED,
         "pattern"},
        {"Gemma3ForCausalLM", "\"sliding_window\":8,\"attn_logit_softcapping\":50", MILLET_UNSUPPORTED,
         "cap"},
        {"Gemma3ForCausalLM",
         "\"sliding_window\":8,\"rope_parameters\":{\"full_attention\":{},\"sliding_attention\":{\"rope_"
         "type\":"
         "\"linear\"}}",
         MILLET_UNSUPPORTED, "local"},
        {"Gemma2ForCausalLM", "\"layer_types\":[\"full_attention\",\"sliding_attention\"]",
         MILLET_UNSUPPORTED, "layer_types"},
        {"Gemma2ForCausalLM", "\"query_pre_attn_scalar\":0", MILLET_BAD_FORMAT, "query_pre_attn_scalar"},
        {"MiniCPMForCausalLM", "", MILLET_BAD_FORMAT, "scale_emb"},
        {"MiniCPMForCausalLM", "\"scale_emb\":1,\"scale_depth\":1,\"dim_model_base\":0", MILLET_BAD_FORMAT,
         "dim_model_base"},
        {"MixtralForCausalLM", "", MILLET_BAD_FORMAT, "num_local_experts"},
        {"MixtralForCausalLM", "\"num_local_experts\":4", MILLET_BAD_FORMAT, "num_experts_per_tok"},
        {"SmolLM3ForCausalLM", "\"no_rope_layer_interval\":2", MILLET_UNSUPPORTED, "no_rope_layer_interval"},
        {"SmolLM3ForCausalLM", "\"no_rope_layers\":[1,1,1,1]", MILLET_UNSUPPORTED, "no_rope_layers"},
        {"GPT2LMHeadModel", "\"scale_attn_weights\":false", MILLET_UNSUPPORTED, "scale_attn_weights"},
        {"GPT2LMHeadModel", "\"scale_attn_by_inverse_layer_idx\":true", MILLET_UNSUPPORTED, "inverse"},
        {"GPT2LMHeadModel", "\"activation_function\":\"relu\"", MILLET_UNSUPPORTED, "relu"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mlt_checkpoint *checkpoint;
        struct mlt_hf_config config;
        millet_error err;
        millet_status status = read_config(cases[i].class_name, cases[i].more, &checkpoint, &config, &err);
        if (status == MILLET_OK) fail_msg("%s %s was taken", cases[i].class_name, cases[i].more);
        if (status != cases[i].status ||
            !(strstr(err.message, cases[i].word) || strstr(err.item, cases[i].word)))
            fail_msg("%s %s: %s, %s: %s", cases[i].class_name, cases[i].more, millet_status_name(status),
                     err.item, err.message);
        assert_string_equal(err.file, "config.json");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_class_or_type),  cmocka_unit_test(test_windows),
        cmocka_unit_test(test_gemma),   cmocka_unit_test(test_other_families), cmocka_unit_test(test_llama3),
        cmocka_unit_test(test_scaling), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
