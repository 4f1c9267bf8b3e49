/*
 * Low-rank adapters beside a model: the same logits as of the model with the adapter merged into it, no bit
 * changed by a B of zeros, nothing that depends on batches or threads, memory as estimated, and files that
 * are wrong.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "compact/merge_adapter.h"
#include "model/forward.h"
#include "support/counting_allocator.h"
#include "support/naive_forward.h"
#include "support/sha256.h"
#include "support/toy_adapter.h"

#include <math.h>
#include <string.h>

enum { N_TOKENS = 14, MOST_LOGITS = N_TOKENS * 320 };

static void must(millet_status status, const millet_error *err)
{
    char text[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, text, sizeof text);
    fail_msg("%s", text);
}

static millet_adapter *open_adapter(const millet_model *model, const struct toy_adapter *toy)
{
    millet_error err;
    millet_adapter *adapter = NULL;
    must(mlt_adapter_from_checkpoint(model, toy_adapter_checkpoint(toy, model->checkpoint), &adapter, &err),
         &err);
    return adapter;
}

struct how {
    int threads, batch; /* tokens of a call */
    bool exact;
};

static void logits_with(const millet_model *model, const millet_adapter_use *uses, int32_t n_uses,
                        struct how how, float *logits)
{
    millet_error err;
    struct mlt_forward *f;
    millet_item items[N_TOKENS];
    struct mlt_forward_options options = {.n_ctx = 64,
                                          .n_sequences = 1,
                                          .n_batch = how.batch,
                                          .n_logits = how.batch,
                                          .n_threads = how.threads,
                                          .cache = MLT_F32,
                                          .exact_activations = how.exact,
                                          .adapters = uses,
                                          .n_adapters = n_uses};
    for (int32_t i = 0; i < N_TOKENS; i++)
        items[i] = (millet_item){.token = i * 29 % model->config.n_vocab, .logits = true};
    must(mlt_forward_open(mlt_default_allocator(), model, &options, &f, &err), &err);
    for (int32_t i = 0; i < N_TOKENS; i += how.batch)
        mlt_forward_run(f, items + i, MLT_MIN(how.batch, N_TOKENS - i),
                        logits + (int64_t)i * model->config.n_vocab);
    mlt_forward_close(&f);
}

static const struct how plainly = {1, N_TOKENS, false};

/* Families with one matrix for q, k and v, with one for gate and up, with their own output matrix, with
 * experts, with an output of learned scale. */
enum { FAMILIES = 9 };

static struct toy_model family(int index)
{
    static const char *const names[FAMILIES] = {"llama", "qwen2",    "gemma2", "phi3",   "gpt2",
                                                "llama", "stablelm", "llama",  "minicpm"};
    struct toy_model toy = toy_model_default(names[index]);
    if (index == 5) toy.untied = toy.biases = true;
    if (index == 6) toy.parallel_block = true;
    if (index == 7) toy.n_experts = 3, toy.n_experts_used = 2;
    return toy;
}

static double distance(const float *a, const double *b, size_t n)
{
    double difference = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        difference = d > difference ? d : difference;
        scale = fabs(b[i]) > scale ? fabs(b[i]) : scale;
    }
    return difference / scale;
}

/* ---- Merging ---- */

static void read_floats(const struct mlt_tensor *tensor, float *out)
{
    millet_error err;
    uint8_t *bytes = malloc(tensor->bytes);
    must(mlt_tensor_read(tensor, 0, tensor->rows, bytes, &err), &err);
    mlt_decode(tensor->dtype, bytes, out, tensor->ne[0] * (int64_t)tensor->rows);
    free(bytes);
}

static void merging_is_the_sum(void **state)
{
    (void)state;
    static float before[320 * 96], after[320 * 96], a[32 * 96], b[320 * 32];
    static const mlt_dtype dtypes[] = {MLT_F32, MLT_Q8_0, MLT_BF16};
    for (size_t d = 0; d < MLT_COUNT(dtypes); d++) {
        millet_error err;
        struct toy_model toy = family(5);
        struct toy_adapter low = toy_adapter_default();
        struct mlt_checkpoint *base, *plain;
        struct mlt_adapter_file file;
        struct mlt_arena arena;
        toy.dtype = dtypes[d];
        low.dtype = dtypes[d];
        low.rank = 32;
        low.only = "blk.1.ffn_down";
        must(toy_checkpoint(mlt_default_allocator(), &toy, &base, &err), &err);
        must(toy_checkpoint(mlt_default_allocator(), &toy, &plain, &err), &err);
        struct mlt_checkpoint *adapter = toy_adapter_checkpoint(&low, base);
        mlt_arena_init(&arena, mlt_default_allocator());
        must(mlt_adapter_file_read(adapter, base, &arena, &file, &err), &err);
        assert_int_equal(file.n_pairs, 1);
        must(mlt_merge_adapter(base, &file, 0.5f, &err), &err);
        for (size_t i = 0; i < base->n_tensors; i++) {
            const char *name = plain->tensors[i].name.data;
            bool changed = !strcmp(name, "blk.1.ffn_down.weight");
            assert_int_equal(base->tensors[i].dtype, changed ? MLT_F32 : plain->tensors[i].dtype);
            if (!changed) continue;
            read_floats(&plain->tensors[i], before);
            read_floats(&base->tensors[i], after);
            read_floats(mlt_checkpoint_tensor(adapter, "blk.1.ffn_down.weight.lora_a"), a);
            read_floats(mlt_checkpoint_tensor(adapter, "blk.1.ffn_down.weight.lora_b"), b);
            for (int r = 0; r < 64; r++) {
                for (int c = 0; c < 96; c++) {
                    double sum = (double)before[r * 96 + c];
                    for (int k = 0; k < 32; k++) /* alpha 8, rank 32, scale 0.5 */
                        sum += 0.125 * (double)b[r * 32 + k] * (double)a[k * 96 + c];
                    if (fabs(sum - (double)after[r * 96 + c]) > 1e-6)
                        fail_msg("row %d, column %d: %g, but %g is right", r, c, (double)after[r * 96 + c],
                                 sum);
                }
            }
        }
        mlt_checkpoint_close(&base);
        mlt_checkpoint_close(&plain);
        mlt_checkpoint_close(&adapter);
        mlt_arena_release(&arena);
    }
}

/* ---- The pass ---- */

static void logits_are_those_of_the_merged_model(void **state)
{
    (void)state;
    static const struct {
        int64_t rank;
        mlt_dtype dtype;
        float alpha;
        double bound;
    } variants[] = {{1, MLT_F32, 2, 1e-5},
                    {5, MLT_F16, 5, 1e-5},
                    {70, MLT_BF16, 0, 1e-5},
                    {130, MLT_F32, 64, 1e-5},
                    {32, MLT_Q8_0, 32, 2e-2}};
    static float with[MOST_LOGITS], without[MOST_LOGITS];
    static double expected[MOST_LOGITS];
    for (int i = 0; i < FAMILIES; i++) {
        for (size_t v = 0; v < MLT_COUNT(variants); v++) {
            millet_error err;
            struct toy_model toy = family(i);
            struct toy_adapter low = toy_adapter_default(), second = toy_adapter_default();
            low.rank = variants[v].rank;
            low.dtype = variants[v].dtype;
            low.alpha = variants[v].alpha;
            second.seed = 77;
            second.only = "attn";
            millet_model *model = toy_model_open(&toy), *merged;
            millet_adapter *adapters[] = {open_adapter(model, &low), open_adapter(model, &second)};
            millet_adapter_use uses[] = {{adapters[0], 0.75f}, {adapters[1], -1.5f}};
            struct mlt_checkpoint *base;
            must(toy_checkpoint(mlt_default_allocator(), &toy, &base, &err), &err);
            struct mlt_arena arena;
            struct mlt_adapter_file file;
            mlt_arena_init(&arena, mlt_default_allocator());
            for (int j = 0; j < 2; j++) {
                must(mlt_adapter_file_read(adapters[j]->checkpoint, base, &arena, &file, &err), &err);
                must(mlt_merge_adapter(base, &file, uses[j].scale, &err), &err);
            }
            must(mlt_model_from_checkpoint(mlt_default_allocator(), base, &merged, &err), &err);
            int32_t tokens[N_TOKENS];
            for (int32_t t = 0; t < N_TOKENS; t++)
                tokens[t] = t * 29 % toy.n_vocab;
            naive_forward(merged, tokens, N_TOKENS, 64, expected);
            logits_with(model, uses, 2, plainly, with);
            logits_with(model, NULL, 0, plainly, without);
            size_t n = (size_t)N_TOKENS * (size_t)toy.n_vocab;
            double far = distance(with, expected, n);
            if (far > variants[v].bound)
                fail_msg("%s (%d), variant %zu: the distance to the merged model is %g", toy.architecture, i,
                         v, far);
            assert_true(distance(without, expected, n) > 5 * variants[v].bound);
            mlt_arena_release(&arena);
            millet_model_close(&merged);
            millet_adapter_close(&adapters[0]);
            millet_adapter_close(&adapters[1]);
            millet_model_close(&model);
        }
    }
}

static void nothing_is_added_by_zeros(void **state)
{
    (void)state;
    static float with[MOST_LOGITS], without[MOST_LOGITS];
    static const mlt_dtype dtypes[] = {MLT_F32, MLT_Q8_0, MLT_F16};
    for (int i = 0; i < FAMILIES * 3; i++) {
        struct toy_model toy = family(i % FAMILIES);
        struct toy_adapter zero = toy_adapter_default(), low = toy_adapter_default();
        toy.dtype = dtypes[i / FAMILIES];
        zero.b_spread = 0;
        millet_model *model = toy_model_open(&toy);
        millet_adapter *of_zeros = open_adapter(model, &zero), *adapter = open_adapter(model, &low);
        size_t bytes = (size_t)N_TOKENS * (size_t)toy.n_vocab * sizeof(float);
        logits_with(model, NULL, 0, plainly, without);
        logits_with(model, &(millet_adapter_use){of_zeros, 3}, 1, plainly, with);
        assert_memory_equal(with, without, bytes);
        logits_with(model, &(millet_adapter_use){adapter, 0}, 1, plainly, with);
        assert_memory_equal(with, without, bytes);
        logits_with(model, &(millet_adapter_use){adapter, 1}, 1, plainly, with);
        assert_memory_not_equal(with, without, bytes);
        millet_adapter_close(&of_zeros);
        millet_adapter_close(&adapter);
        millet_model_close(&model);
    }
}

/* The same bits for every batch, number of threads and, by the digest, instruction set. */
static void batches_and_threads_change_no_bit(void **state)
{
    (void)state;
    static const char *const digests[] = {"6be42eb35186593a", "f0366b0a4d73bf15", "4daf3a1d19f01fe9"};
    static const mlt_dtype dtypes[] = {MLT_Q8_0, MLT_Q4_0, MLT_F16};
    static float expected[MOST_LOGITS], logits[MOST_LOGITS];
    for (size_t d = 0; d < MLT_COUNT(dtypes); d++) {
        struct toy_model toy = family(5);
        struct toy_adapter low = toy_adapter_default(), second = toy_adapter_default();
        toy.dtype = dtypes[d];
        low.rank = 19;
        second.rank = 32;
        second.dtype = dtypes[d];
        second.seed = 4;
        millet_model *model = toy_model_open(&toy);
        millet_adapter *adapters[] = {open_adapter(model, &low), open_adapter(model, &second)};
        millet_adapter_use uses[] = {{adapters[0], 1}, {adapters[1], 0.3f}};
        size_t bytes = (size_t)N_TOKENS * (size_t)toy.n_vocab * sizeof(float);
        char digest[65];
        logits_with(model, uses, 2, plainly, expected);
        sha256_hex(expected, bytes, digest);
        digest[16] = 0;
        assert_string_equal(digest, digests[d]);
        static const struct how ways[] = {{3, N_TOKENS, false}, {1, 1, false}, {2, 5, false}};
        for (size_t w = 0; w < MLT_COUNT(ways); w++) {
            logits_with(model, uses, 2, ways[w], logits);
            assert_memory_equal(logits, expected, bytes);
        }
        millet_adapter_close(&adapters[0]);
        millet_adapter_close(&adapters[1]);
        millet_model_close(&model);
    }
}

/* ---- Sessions ---- */

static void memory_is_what_was_estimated(void **state)
{
    (void)state;
    struct toy_model toy = family(5);
    struct toy_adapter low = toy_adapter_default();
    low.rank = 200; /* wider than any input of the model */
    millet_model *model = toy_model_open(&toy);
    millet_adapter *adapter = open_adapter(model, &low);
    millet_adapter_use use = {adapter, 1};
    millet_adapter_info info;
    millet_adapter_get_info(adapter, &info);
    assert_int_equal(info.rank, 200);
    assert_int_equal(info.n_matrices, 2 * 7 + 1);
    assert_int_equal(info.bytes, info.parameters * sizeof(float));
    assert_true(info.alpha == 8.0f);
    millet_memory plain, memory;
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    millet_session_options options = {.allocator = &counting.allocator, .n_ctx = 32, .n_threads = 2};
    assert_int_equal(millet_estimate(model, &options, &plain, NULL), MILLET_OK);
    options.adapters = &use;
    options.n_adapters = 1;
    assert_int_equal(millet_estimate(model, &options, &memory, NULL), MILLET_OK);
    assert_int_equal(memory.weights, plain.weights + info.bytes);
    assert_true(memory.workspace > plain.workspace);
    millet_session *session;
    assert_int_equal(millet_session_open(model, &options, &session, NULL), MILLET_OK);
    assert_int_equal(counting.bytes, memory.total);
    assert_int_equal(counting.peak, memory.total);
    use = (millet_adapter_use){0}; /* the session has its own list */
    long long calls = counting.calls;
    millet_item items[] = {{1, 0, false}, {2, 0, true}};
    assert_int_equal(millet_eval(session, items, 2, NULL), MILLET_OK);
    assert_non_null(millet_logits(session, 0));
    assert_int_equal(counting.calls, calls);
    millet_session_close(&session);
    assert_int_equal(counting.live, 0);
    millet_adapter_close(&adapter);
    assert_null(adapter);
    millet_adapter_close(&adapter);
    millet_model_close(&model);
}

static void wrong_uses_are_refused(void **state)
{
    (void)state;
    struct toy_model toy = family(0);
    struct toy_adapter low = toy_adapter_default();
    millet_model *model = toy_model_open(&toy), *other = toy_model_open(&toy);
    millet_adapter *adapter = open_adapter(model, &low);
    millet_adapter_use uses[MILLET_MAX_ADAPTERS + 1];
    for (int i = 0; i <= MILLET_MAX_ADAPTERS; i++)
        uses[i] = (millet_adapter_use){adapter, 1};
    millet_session_options options = {.n_ctx = 8, .adapters = uses, .n_adapters = MILLET_MAX_ADAPTERS};
    millet_session *session;
    millet_memory memory;
    millet_error err;
    assert_int_equal(millet_session_open(model, &options, &session, &err), MILLET_OK);
    millet_session_close(&session);
    assert_int_equal(millet_session_open(other, &options, &session, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "not opened for this model"));
    options.n_adapters++;
    assert_int_equal(millet_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    options.n_adapters = -1;
    assert_int_equal(millet_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    options.n_adapters = 2;
    uses[1].scale = NAN;
    assert_int_equal(millet_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.file, "toy-adapter.gguf"));
    uses[1] = (millet_adapter_use){NULL, 1};
    assert_int_equal(millet_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    options.adapters = NULL;
    assert_int_equal(millet_estimate(model, &options, &memory, &err), MILLET_BAD_ARGUMENT);
    millet_adapter_close(&adapter);
    millet_model_close(&model);
    millet_model_close(&other);
}

/* ---- Files ---- */

static void bad_files_are_refused(void **state)
{
    (void)state;
#define Q "blk.0.attn_q.weight"
    static const struct toy_tensor longer = {.name = Q ".lora_a", .ne = {65}},
                                   deeper = {.name = Q ".lora_a", .ne = {0, 0, 2}},
                                   ranks = {.name = Q ".lora_b", .ne = {3}},
                                   rows = {.name = Q ".lora_b", .ne = {0, 63}},
                                   whole = {.name = Q ".lora_b", .retyped = true, .dtype = MLT_I32};
    const struct {
        struct toy_adapter toy;
        millet_status status;
        const char *place, *message;
    } cases[] = {
        {{.type = "model"}, MILLET_BAD_FORMAT, "general.type", "this is no adapter"},
        {{.type = ""}, MILLET_BAD_FORMAT, "general.type", "this is no adapter"},
        {{.kind = "control"}, MILLET_UNSUPPORTED, "adapter.type", "control"},
        {{.kind = ""}, MILLET_NOT_FOUND, "adapter.type", ""},
        {{.architecture = "gpt2"}, MILLET_BAD_ARGUMENT, "general.architecture", "gpt2"},
        {{.architecture = ""}, MILLET_NOT_FOUND, "general.architecture", ""},
        {{.alpha = INFINITY}, MILLET_BAD_FORMAT, "adapter.lora.alpha", "finite"},
        {{.alpha = NAN}, MILLET_BAD_FORMAT, "adapter.lora.alpha", "finite"},
        {{.extra_key = "adapter.alora.invocation_tokens"}, MILLET_UNSUPPORTED, "alora", ""},
        {{.without = Q ".lora_b"}, MILLET_BAD_FORMAT, Q ".lora_a", "other half"},
        {{.without = Q ".lora_a"}, MILLET_BAD_FORMAT, Q ".lora_b", "other half"},
        {{.other = &longer}, MILLET_BAD_FORMAT, Q ".lora_a", "65 x 4"},
        {{.other = &deeper}, MILLET_BAD_FORMAT, Q ".lora_a", "64 x 4 x 2"},
        {{.other = &ranks}, MILLET_BAD_FORMAT, Q ".lora_a", "ask for 64 x 3"},
        {{.other = &rows}, MILLET_BAD_FORMAT, Q ".lora_b", "4 x 63"},
        {{.other = &whole}, MILLET_UNSUPPORTED, Q ".lora_b", "cannot be a weight"},
        {{.only = "nothing"}, MILLET_BAD_FORMAT, "", "no tensors"},
        {{.added = "token_embd.weight"}, MILLET_UNSUPPORTED, "token_embd.weight.lora_a", "embeddings"},
        {{.added = "blk.0.attn_norm.weight"}, MILLET_UNSUPPORTED, "blk.0.attn_norm.weight.lora_a", "vectors"},
    };
#undef Q
    struct toy_model toy = toy_model_default("llama");
    millet_model *model = toy_model_open(&toy);
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        millet_error err = {0};
        millet_adapter *adapter;
        struct toy_adapter low = cases[i].toy;
        low.rank = 4;
        low.b_spread = 0.1f;
        if (low.alpha == 0) low.alpha = 4;
        struct mlt_checkpoint *checkpoint = toy_adapter_checkpoint(&low, model->checkpoint);
        millet_status status = mlt_adapter_from_checkpoint(model, checkpoint, &adapter, &err);
        if (status != cases[i].status || !strstr(err.item, cases[i].place) ||
            !strstr(err.message, cases[i].message) || !strstr(err.file, "toy-adapter.gguf"))
            fail_msg("case %zu: status %d, file \"%s\", place \"%s\", message \"%s\"", i, status, err.file,
                     err.item, err.message);
        assert_null(adapter);
    }
    millet_model_close(&model);
    /* A tensor that this model has not, experts and the router. */
    struct toy_model bare = family(7);
    model = toy_model_open(&toy);
    millet_model *experts = toy_model_open(&bare);
    static const char *const others[] = {"blk.1.ffn_gate_inp.weight", "blk.1.ffn_up_exps.weight"};
    for (int i = 0; i < 3; i++) {
        millet_error err = {0};
        millet_adapter *adapter;
        struct toy_adapter low = toy_adapter_default();
        if (i < 2) low.added = others[i];
        if (i == 2) low.only = "blk.1.ffn_down";
        struct mlt_checkpoint *checkpoint =
            toy_adapter_checkpoint(&low, (i < 2 ? experts : model)->checkpoint);
        assert_int_equal(mlt_adapter_from_checkpoint(experts, checkpoint, &adapter, &err),
                         i < 2 ? MILLET_UNSUPPORTED : MILLET_NOT_FOUND);
        assert_non_null(strstr(err.item, i < 2 ? others[i] : "blk.1.ffn_down.weight.lora_a"));
    }
    millet_model_close(&experts);
    millet_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_is_the_sum),
        cmocka_unit_test(logits_are_those_of_the_merged_model),
        cmocka_unit_test(nothing_is_added_by_zeros),
        cmocka_unit_test(batches_and_threads_change_no_bit),
        cmocka_unit_test(memory_is_what_was_estimated),
        cmocka_unit_test(wrong_uses_are_refused),
        cmocka_unit_test(bad_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
