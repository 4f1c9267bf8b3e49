/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/toy_adapter.h"

struct toy_adapter toy_adapter_default(void)
{
    return (struct toy_adapter){.rank = 4, .alpha = 8, .dtype = MLT_F32, .seed = 9, .b_spread = 0.1f};
}

static void must(millet_status status, const millet_error *err)
{
    char text[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, text, sizeof text);
    fail_msg("%s", text);
}

static void add_text(struct mlt_checkpoint *out, const char *key, const char *value, const char *other)
{
    millet_error err;
    if (other && !*other) return;
    if (other) value = other;
    must(mlt_checkpoint_set_string(out, key, value, strlen(value), &err), &err);
}

static void add_tensor(struct mlt_checkpoint *out, const struct toy_adapter *toy,
                       const struct mlt_tensor *target, const char *end, int64_t columns, int64_t rows,
                       float spread, struct mlt_random *random)
{
    millet_error err;
    char name[128];
    snprintf(name, sizeof name, "%s%s", target->name.data, end);
    if (toy->without && !strcmp(toy->without, name)) return;
    struct mlt_tensor tensor = {.name = {name, strlen(name)},
                                .dtype = toy->dtype,
                                .n_dims = 2,
                                .ne = {columns, rows, 1, 1},
                                .offset = 64};
    if (toy->other && !strcmp(toy->other->name, name)) {
        for (int d = 0; d < MLT_MAX_DIMS; d++)
            if (toy->other->ne[d]) tensor.ne[d] = toy->other->ne[d];
        if (tensor.ne[2] > 1) tensor.n_dims = 3;
        if (toy->other->retyped) tensor.dtype = toy->other->dtype;
    }
    size_t n = (size_t)(tensor.ne[0] * tensor.ne[1] * tensor.ne[2]);
    uint8_t *data = mlt_arena_alloc(&out->arena, n * 8 + 1, 1, &err);
    float *values = malloc(n * sizeof *values);
    assert_non_null(data);
    data++; /* files promise no alignment */
    memset(data, 0, n * 8);
    for (size_t i = 0; i < n; i++)
        values[i] = spread * (mlt_random_float(random) + mlt_random_float(random) - 1);
    if (mlt_dtype_info(tensor.dtype)->is_float) mlt_encode(tensor.dtype, values, NULL, data, (int64_t)n);
    free(values);
    tensor.data = data;
    must(mlt_checkpoint_add_tensor(out, &tensor, &err), &err);
}

static bool has_adapter(const struct toy_adapter *toy, const struct mlt_tensor *tensor)
{
    static const char *const suffixes[] = {"attn_q.weight",      "attn_k.weight",   "attn_v.weight",
                                           "attn_qkv.weight",    "ffn_gate.weight", "ffn_up.weight",
                                           "attn_output.weight", "ffn_down.weight"};
    const char *name = tensor->name.data;
    if (toy->added && !strcmp(toy->added, name)) return true;
    if (toy->only && !strstr(name, toy->only)) return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (strstr(name, suffixes[i])) return true;
    return !strcmp(name, "output.weight");
}

struct mlt_checkpoint *toy_adapter_checkpoint(const struct toy_adapter *toy,
                                              const struct mlt_checkpoint *base)
{
    millet_error err;
    struct mlt_checkpoint *out;
    struct mlt_string architecture;
    struct mlt_random random;
    mlt_random_seed(&random, toy->seed);
    must(mlt_checkpoint_new(mlt_default_allocator(), "toy-adapter.gguf", "GGUF v3", &out, &err), &err);
    must(mlt_meta_get_string(base, "general.architecture", NULL, &architecture, &err), &err);
    add_text(out, "general.type", "adapter", toy->type);
    add_text(out, "adapter.type", "lora", toy->kind);
    add_text(out, "general.architecture", architecture.data, toy->architecture);
    if (toy->alpha != 0) must(mlt_checkpoint_set_f32(out, "adapter.lora.alpha", toy->alpha, &err), &err);
    if (toy->extra_key) must(mlt_checkpoint_set_u32(out, toy->extra_key, 1, &err), &err);
    for (size_t i = 0; i < base->n_tensors; i++) {
        const struct mlt_tensor *w = &base->tensors[i];
        if (!has_adapter(toy, w)) continue;
        add_tensor(out, toy, w, ".lora_a", w->ne[0], toy->rank, 0.3f, &random);
        add_tensor(out, toy, w, ".lora_b", toy->rank, w->ne[1], toy->b_spread, &random);
    }
    must(mlt_checkpoint_seal(out, &err), &err);
    return out;
}
