/*
 * Reading a decoder's description: what each family chooses, and that hostile metadata is refused with the
 * name of the key.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/toy_model.h"

#include <math.h>
#include <stdio.h>

/* The configuration of a toy model with one key changed (NULL: none). */
static millet_status read_changed(struct toy_model toy, const struct toy_key *key, struct mlt_config *config,
                                  struct mlt_arena *arena, millet_error *err)
{
    if (key) {
        toy.keys = key;
        toy.n_keys = 1;
    }
    struct mlt_checkpoint *checkpoint;
    if (toy_checkpoint(mlt_default_allocator(), &toy, &checkpoint, err)) fail_msg("%s", err->message);
    mlt_arena_init(arena, mlt_default_allocator());
    millet_status status = mlt_config_read(config, checkpoint, arena, err);
    mlt_checkpoint_close(&checkpoint);
    return status;
}

static struct mlt_config accept(struct toy_model toy, const struct toy_key *key, struct mlt_arena *arena)
{
    struct mlt_config config;
    millet_error err;
    if (read_changed(toy, key, &config, arena, &err))
        fail_msg("%s: %s: %s", toy.architecture, err.item, err.message);
    return config;
}

/* The key named in the error is `name` within the architecture. */
static void refuse(struct toy_model toy, const char *key, bool omit, struct mlt_meta value,
                   millet_status expected, const char *name)
{
    struct toy_key change = {key, omit, value};
    struct mlt_config config;
    struct mlt_arena arena;
    millet_error err;
    millet_status status = read_changed(toy, &change, &config, &arena, &err);
    mlt_arena_release(&arena);
    if (status != expected)
        fail_msg("%s.%s: %s instead of %s", toy.architecture, key, millet_status_name(status),
                 millet_status_name(expected));
    char full[160];
    snprintf(full, sizeof full, "%s.%s", toy.architecture, name);
    assert_string_equal(err.item, full);
    assert_true(err.message[0] != 0);
}

static void test_families(void **state)
{
    (void)state;
    /* Every architecture that is named is known, and every name stands for one. */
    char names[200];
    snprintf(names, sizeof names, "%s", mlt_config_architectures());
    int count = 0;
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", "), count++) {
        struct mlt_arena arena;
        struct mlt_config config = accept(toy_model_default(name), NULL, &arena);
        assert_string_equal(config.architecture, name);
        assert_int_equal(config.n_layers, 2);
        assert_int_equal(config.n_embd, 64);
        assert_int_equal(config.n_heads, 4);
        assert_int_equal(config.n_kv_heads, 2);
        assert_int_equal(config.head_size, 16);
        assert_int_equal(config.value_size, 16);
        assert_int_equal(config.n_ff, 96);
        assert_int_equal(config.n_vocab, 320);
        assert_int_equal(config.n_ctx_train, 64);
        assert_true(config.tied);
        mlt_arena_release(&arena);
    }
    assert_int_equal(count, 10);
}

static void test_layers(void **state)
{
    (void)state;
    struct mlt_arena arena;
    struct toy_model toy = toy_model_default("gemma3");
    toy.n_layers = 13;
    struct mlt_config config = accept(toy, NULL, &arena);
    for (int i = 0; i < 13; i++)
        assert_int_equal(config.layers[i].local, i != 5 && i != 11);
    assert_true(config.rope_local_differs && config.rope_local.base == 10000);
    assert_true(config.embedding_scale == 8);
    mlt_arena_release(&arena);

    /* A file that says every fourth. */
    struct toy_key fourth = {"attention.sliding_window_pattern", false, toy_u32(4)};
    config = accept(toy, &fourth, &arena);
    for (int i = 0; i < 13; i++)
        assert_int_equal(config.layers[i].local, i % 4 != 3);
    mlt_arena_release(&arena);

    toy = toy_model_default("gemma2");
    toy.n_layers = 3;
    config = accept(toy, NULL, &arena);
    assert_true(config.layers[0].local && !config.layers[1].local && config.layers[2].local);
    assert_true(config.attention_softcap == 50 && config.logit_softcap == 30);
    mlt_arena_release(&arena);

    toy = toy_model_default("smollm3");
    toy.n_layers = 8;
    config = accept(toy, NULL, &arena);
    for (int i = 0; i < 8; i++)
        assert_int_equal(config.layers[i].rope, i != 3 && i != 7);
    mlt_arena_release(&arena);

    /* No window, no local layers. */
    struct toy_key none = {"attention.sliding_window", true, {.count = 0}};
    config = accept(toy_model_default("phi3"), &none, &arena);
    assert_false(config.layers[0].local);
    mlt_arena_release(&arena);
}

/* Model sizes at which the scale of scores is another: gemma's widest models. */
static void test_attention_scale(void **state)
{
    (void)state;
    struct mlt_arena arena;
    struct toy_model toy = toy_model_default("gemma2");
    toy.head_size = toy.value_size = 25;
    toy.rope_size = 24;
    struct mlt_config config = accept(toy, NULL, &arena);
    assert_true(config.attention_scale == 0.2f);
    mlt_arena_release(&arena);
    toy.n_layers = 46;
    config = accept(toy, NULL, &arena);
    assert_true(config.attention_scale == 0.25f);
    mlt_arena_release(&arena);
    struct toy_key key = {"attention.scale", false, toy_f32(0.5f)};
    config = accept(toy, &key, &arena);
    assert_true(config.attention_scale == 0.5f);
    mlt_arena_release(&arena);
}

static void test_arrays(void **state)
{
    (void)state;
    uint32_t equal[] = {2, 2}, different[] = {2, 1};
    int32_t negative[] = {-1, -1};
    float fraction[] = {2, 2};
    struct mlt_meta array = {
        .type = MLT_META_ARRAY, .element = MLT_META_U32, .count = 2, .value.array = equal};
    struct toy_key key = {"attention.head_count_kv", false, array};
    struct mlt_arena arena;
    struct toy_model toy = toy_model_default("llama");
    struct mlt_config config = accept(toy, &key, &arena);
    assert_int_equal(config.n_kv_heads, 2);
    mlt_arena_release(&arena);
    array.value.array = different;
    refuse(toy, "attention.head_count_kv", false, array, MILLET_UNSUPPORTED, "attention.head_count_kv");
    array.count = 0;
    refuse(toy, "attention.head_count_kv", false, array, MILLET_BAD_FORMAT, "attention.head_count_kv");
    array.count = 2;
    array.value.array = negative;
    array.element = MLT_META_I32;
    refuse(toy, "feed_forward_length", false, array, MILLET_BAD_FORMAT, "feed_forward_length");
    array.value.array = fraction;
    array.element = MLT_META_F32;
    refuse(toy, "feed_forward_length", false, array, MILLET_BAD_FORMAT, "feed_forward_length");
}

static void test_missing_keys(void **state)
{
    (void)state;
    static const char *const required[] = {
        "block_count",         "context_length",       "embedding_length",
        "feed_forward_length", "attention.head_count", "attention.layer_norm_rms_epsilon",
        "embedding_scale",     "residual_scale",       "logit_scale"};
    struct toy_model toy = toy_model_default("minicpm");
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++)
        refuse(toy, required[i], true, toy_u32(0), MILLET_NOT_FOUND, required[i]);
    toy = toy_model_default("gpt2");
    refuse(toy, "attention.layer_norm_epsilon", true, toy_u32(0), MILLET_NOT_FOUND,
           "attention.layer_norm_epsilon");
}

static void test_hostile_counts(void **state)
{
    (void)state;
    struct toy_model toy = toy_model_default("llama");
    static const struct {
        const char *key;
        uint32_t value;
    } bad[] = {{"block_count", 0},
               {"block_count", 4000}, /* more than the file has tensors */
               {"block_count", UINT32_MAX},
               {"context_length", 0},
               {"context_length", UINT32_MAX},
               {"embedding_length", 0},
               {"embedding_length", UINT32_MAX},
               {"feed_forward_length", 0},
               {"feed_forward_length", 1u << 30},
               {"attention.head_count", 0},
               {"attention.head_count", UINT32_MAX},
               {"attention.head_count_kv", 0},
               {"attention.head_count_kv", 3},
               {"attention.head_count_kv", 8},
               {"attention.key_length", 0},
               {"attention.key_length", 1u << 23},
               {"attention.value_length", 0},
               {"attention.value_length", UINT32_MAX},
               {"rope.dimension_count", 0},
               {"rope.dimension_count", 15},
               {"rope.dimension_count", 18},
               {"rope.scaling.original_context_length", 0},
               {"vocab_size", 319},
               {"vocab_size", UINT32_MAX},
               {"expert_count", 5000},
               {"expert_used_count", 2}}; /* of none */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(toy, bad[i].key, false, toy_u32(bad[i].value), MILLET_BAD_FORMAT, bad[i].key);
    toy.n_kv_heads = 1;
    refuse(toy, "attention.head_count", false, toy_u32(5), MILLET_BAD_FORMAT, "attention.head_count");
    toy.n_kv_heads = 2;
    refuse(toy, "block_count", false, toy_i32(-1), MILLET_BAD_FORMAT, "block_count");
    refuse(toy, "block_count", false, toy_string("two"), MILLET_BAD_FORMAT, "block_count");
    toy.n_experts = 4;
    toy.n_experts_used = 2;
    refuse(toy, "expert_used_count", false, toy_u32(0), MILLET_BAD_FORMAT, "expert_used_count");
    refuse(toy, "expert_used_count", false, toy_u32(5), MILLET_BAD_FORMAT, "expert_used_count");
    refuse(toy, "expert_used_count", true, toy_u32(0), MILLET_NOT_FOUND, "expert_used_count");
    toy = toy_model_default("qwen2");
    refuse(toy, "expert_count", false, toy_u32(4), MILLET_UNSUPPORTED, "expert_count");
    toy = toy_model_default("gemma2");
    refuse(toy, "attention.sliding_window", false, toy_i32(-1), MILLET_BAD_FORMAT,
           "attention.sliding_window");
    refuse(toy, "attention.sliding_window", false, toy_u32(UINT32_MAX), MILLET_BAD_FORMAT,
           "attention.sliding_window");
}

static void test_hostile_floats(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0.0f, -1.0f};
    static const char *const above_zero[] = {"attention.layer_norm_rms_epsilon",
                                             "rope.freq_base",
                                             "rope.scaling.factor",
                                             "rope.scaling.attn_factor",
                                             "embedding_scale",
                                             "residual_scale",
                                             "logit_scale"};
    struct toy_model toy = toy_model_default("minicpm");
    for (size_t k = 0; k < sizeof above_zero / sizeof above_zero[0]; k++)
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
            refuse(toy, above_zero[k], false, toy_f32(bad[i]), MILLET_BAD_FORMAT, above_zero[k]);
    refuse(toy, "logit_scale", false, toy_f32(1e-45f), MILLET_BAD_FORMAT, "logit_scale");
    refuse(toy, "rope.freq_base", false, toy_string("10000"), MILLET_BAD_FORMAT, "rope.freq_base");
    refuse(toy, "rope.scaling.type", false, toy_string("spiral"), MILLET_UNSUPPORTED, "rope.scaling.type");
    static const char *const not_negative[] = {"attention.scale", "attn_logit_softcapping",
                                               "final_logit_softcapping"};
    toy = toy_model_default("gemma2");
    for (size_t k = 0; k < sizeof not_negative / sizeof not_negative[0]; k++)
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
            if (bad[i] != 0)
                refuse(toy, not_negative[k], false, toy_f32(bad[i]), MILLET_BAD_FORMAT, not_negative[k]);
    toy = toy_model_default("gemma3");
    refuse(toy, "attention.sliding_window_pattern", false, toy_u32(1), MILLET_BAD_FORMAT,
           "attention.sliding_window_pattern");
    refuse(toy, "rope.freq_base_swa", false, toy_f32(0), MILLET_BAD_FORMAT, "rope.freq_base_swa");
}

static void test_rope_scaling(void **state)
{
    (void)state;
    struct mlt_arena arena;
    struct toy_model toy = toy_model_default("llama");
    struct toy_key old = {"rope.scale_linear", false, toy_f32(2)};
    struct mlt_config config = accept(toy, &old, &arena);
    assert_true(config.rope.factor == 2 && !config.rope.yarn);
    mlt_arena_release(&arena);

    struct toy_key keys[] = {{"rope.scaling.type", false, toy_string("none")},
                             {"rope.scaling.factor", false, toy_f32(4)}};
    toy.keys = keys;
    toy.n_keys = 2;
    config = accept(toy, NULL, &arena);
    assert_true(config.rope.factor == 1);
    mlt_arena_release(&arena);
    keys[0].value = toy_string("yarn");
    config = accept(toy, NULL, &arena);
    assert_true(config.rope.factor == 4 && config.rope.yarn && config.rope.yarn_beta_fast == 32);
    assert_int_equal(config.rope.n_ctx_original, 64);
    mlt_arena_release(&arena);

    /* Local layers of gemma3 keep their own base and are not scaled. */
    keys[0].value = toy_string("linear");
    toy.architecture = "gemma3";
    config = accept(toy, NULL, &arena);
    assert_true(config.rope.factor == 4 && config.rope_local.factor == 1);
    mlt_arena_release(&arena);
}

static void test_unknown_architecture(void **state)
{
    (void)state;
    struct mlt_config config;
    struct mlt_arena arena;
    millet_error err;
    struct toy_model toy = toy_model_default("llama5");
    assert_int_equal(read_changed(toy, NULL, &config, &arena, &err), MILLET_UNSUPPORTED);
    assert_string_equal(err.item, "general.architecture");
    assert_non_null(strstr(err.message, "llama5"));
    assert_non_null(strstr(err.message, "qwen3"));
    struct toy_tensor without = {.name = "token_embd.weight", .omit = true};
    toy = toy_model_default("llama");
    toy.tensors = &without;
    toy.n_tensors = 1;
    assert_int_equal(read_changed(toy, NULL, &config, &arena, &err), MILLET_NOT_FOUND);
    assert_string_equal(err.item, "token_embd.weight");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_attention_scale),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_hostile_counts),
        cmocka_unit_test(test_hostile_floats),
        cmocka_unit_test(test_rope_scaling),
        cmocka_unit_test(test_unknown_architecture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
