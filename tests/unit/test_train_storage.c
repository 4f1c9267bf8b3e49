/*
 * Training for what a file will hold: the passes read exactly what the file at the end decodes to, its
 * matrices have the types that were promised, the engine finds the same logits in it, and a run that is
 * stopped on either side of the first rounding goes on to the same file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/forward.h"
#include "support/file_bytes.h"
#include "support/tiny_model.h"
#include "support/toy_model.h"
#include "train/pass_state.h"
#include "train/storage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const millet_train_storage storages[] = {MILLET_STORE_F32, MILLET_STORE_BF16, MILLET_STORE_Q8_0,
                                                MILLET_STORE_Q4_0, MILLET_STORE_TQ2_0};

static void must(millet_status status, const millet_error *err)
{
    char text[800];
    if (status == MILLET_OK) return;
    millet_error_format(err, text, sizeof text);
    fail_msg("%s", text);
}

static int set_up(void **state)
{
    (void)state;
    return folder_make() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

/* Rows of 256 and 512: whole superblocks. */
static struct toy_model wide(const char *architecture)
{
    struct toy_model toy = toy_model_default(architecture);
    toy.n_embd = 256;
    toy.n_ff = 512;
    toy.n_heads = 4;
    toy.n_kv_heads = 2;
    return toy;
}

static struct mlt_trainable *open_trainable(const struct toy_model *toy, mlt_dtype stored)
{
    millet_error err;
    struct mlt_checkpoint *checkpoint;
    struct mlt_trainable *t = NULL;
    must(toy_checkpoint(mlt_default_allocator(), toy, &checkpoint, &err), &err);
    must(mlt_trainable_open(mlt_default_allocator(), checkpoint, stored, &t, &err), &err);
    return t;
}

static struct mlt_checkpoint *write_and_open(const struct mlt_trainable *t, mlt_dtype dtype)
{
    millet_error err;
    struct mlt_checkpoint *file;
    const char *path = folder_path("stored.gguf");
    must(mlt_trainable_write(t, path, dtype, NULL, &err), &err);
    must(mlt_checkpoint_open(mlt_default_allocator(), path, NULL, &file, &err), &err);
    return file;
}

/* ---- What is stored ---- */

static void check_parameter(const struct mlt_trainable *t, const struct mlt_parameter *p,
                            const struct mlt_checkpoint *file)
{
    millet_error err;
    int64_t n = p->rows * p->columns;
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(file, p->tensor->name.data);
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, p->stored);
    uint8_t *bytes = malloc(tensor->bytes);
    float *values = malloc((size_t)n * sizeof *values);
    must(mlt_tensor_read(tensor, 0, tensor->rows, bytes, &err), &err);
    mlt_decode(tensor->dtype, bytes, values, n);
    if (memcmp(values, t->weights + p->offset, (size_t)n * sizeof *values) != 0)
        fail_msg("%s as %s is not what the passes read", p->tensor->name.data,
                 mlt_dtype_info(p->stored)->name);
    free(bytes);
    free(values);
}

static void passes_read_what_the_file_holds(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "gpt2", "gemma3", "stablelm"};
    for (size_t i = 0; i < MLT_COUNT(families) * MLT_COUNT(storages); i++) {
        mlt_dtype dtype = mlt_storage_dtype(storages[i % MLT_COUNT(storages)]);
        struct toy_model toy = wide(families[i / MLT_COUNT(storages)]);
        struct mlt_trainable *t = open_trainable(&toy, dtype);
        struct mlt_checkpoint *file = write_and_open(t, dtype);
        uint32_t file_type;
        int64_t differ = 0;
        for (size_t p = 0; p < t->n_parameters; p++)
            check_parameter(t, &t->parameters[p], file);
        for (int64_t j = 0; j < t->n_values; j++)
            differ += t->weights[j] != t->master[j];
        assert_true(dtype == MLT_F32 ? differ == 0 : differ > t->n_values / 2);
        assert_int_equal(mlt_meta_get_u32(file, "general.file_type", NULL, &file_type, NULL), MILLET_OK);
        assert_int_equal(file_type, mlt_storage_file_type(dtype));
        mlt_checkpoint_close(&file);
        mlt_trainable_close(&t);
    }
}

/* Those of `millet compact`: the encoder without importances. */
static void blocks_are_the_encoders(void **state)
{
    (void)state;
    enum { N = 3 * 1024 + 256 };
    static float values[N], rounded[N], expected[N];
    static uint8_t bytes[N * 4];
    for (int i = 0; i < N; i++)
        values[i] = i < 300 ? 0 : sinf((float)i * 1.7f) * (i % 7 ? 0.05f : 1.0f);
    values[700] = 1e30f; /* beyond what the type can hold */
    values[1400] = 1e-30f;
    static const mlt_dtype dtypes[] = {MLT_F32, MLT_F16, MLT_BF16, MLT_Q8_0, MLT_Q4_0, MLT_TQ2_0};
    for (size_t i = 0; i < MLT_COUNT(dtypes); i++) {
        mlt_encode(dtypes[i], values, NULL, bytes, N);
        mlt_decode(dtypes[i], bytes, expected, N);
        mlt_storage_round(dtypes[i], values, rounded, N);
        assert_memory_equal(rounded, expected, sizeof expected);
    }
}

static void check_types(int32_t n_embd, int32_t n_ff, mlt_dtype dtype, mlt_dtype embeddings,
                        mlt_dtype attention, mlt_dtype down)
{
    struct toy_model toy = wide("gpt2"); /* has position embeddings */
    toy.n_embd = n_embd;
    toy.n_ff = n_ff;
    struct mlt_trainable *t = open_trainable(&toy, dtype);
    for (size_t i = 0; i < t->n_parameters; i++) {
        const struct mlt_parameter *p = &t->parameters[i];
        const char *name = p->tensor->name.data;
        mlt_dtype expected = p->kind == MLT_PARAMETER_VECTOR      ? MLT_F32
                             : strstr(name, "position_embd")      ? MLT_F32
                             : strstr(name, "ffn_down")           ? down
                             : p->kind == MLT_PARAMETER_EMBEDDING ? embeddings
                                                                  : attention;
        if (p->stored != expected) fail_msg("%s is %s", name, mlt_dtype_info(p->stored)->name);
    }
    mlt_trainable_close(&t);
}

static void rows_without_whole_blocks_get_more_bits(void **state)
{
    (void)state;
    check_types(256, 512, MLT_TQ2_0, MLT_Q8_0, MLT_TQ2_0, MLT_TQ2_0);
    check_types(96, 256, MLT_TQ2_0, MLT_Q8_0, MLT_Q8_0, MLT_TQ2_0);
    check_types(96, 200, MLT_Q4_0, MLT_Q4_0, MLT_Q4_0, MLT_F16);
    check_types(72, 96, MLT_TQ2_0, MLT_F16, MLT_F16, MLT_Q8_0);
}

/* ---- The engine reads the same model ---- */

enum { TOKENS = 12 };

static void logits_are_those_of_the_file(void **state)
{
    (void)state;
    int32_t tokens[TOKENS], targets[TOKENS] = {0}, first[TOKENS] = {0}, last[TOKENS];
    const struct mlt_batch batch = {
        .rows = 1, .length = TOKENS, .tokens = tokens, .targets = targets, .begin = first, .end = last};
    millet_item items[TOKENS];
    for (int32_t i = 0; i < TOKENS; i++) {
        tokens[i] = i * 37 % 320;
        last[i] = i;
        items[i] = (millet_item){.token = tokens[i], .logits = true};
    }
    for (size_t s = 0; s < MLT_COUNT(storages); s++) {
        millet_error err;
        struct toy_model toy = wide("qwen3");
        mlt_dtype dtype = mlt_storage_dtype(storages[s]);
        struct mlt_trainable *t = open_trainable(&toy, dtype);
        struct mlt_pass_options how = {.rows = 1, .length = TOKENS, .n_threads = 1};
        struct mlt_pass *pass;
        must(mlt_pass_open(mlt_default_allocator(), t, &how, &pass, &err), &err);
        int64_t n = (int64_t)TOKENS * toy.n_vocab;
        float *ours = malloc((size_t)n * sizeof *ours), *engine = malloc((size_t)n * sizeof *engine);
        must(mlt_pass_forward(pass, &batch, &err), &err);
        mlt_pass_linear(pass, pass->hidden, TOKENS, t->output, t->output_bias, false, ours);
        must(mlt_trainable_write(t, folder_path("stored.gguf"), dtype, NULL, &err), &err);
        millet_model *model;
        must(millet_model_open(folder_path("stored.gguf"), NULL, &model, &err), &err);
        struct mlt_forward_options options = {.n_ctx = 64,
                                              .n_sequences = 1,
                                              .n_batch = 64,
                                              .n_logits = 64,
                                              .n_threads = 1,
                                              .cache = MLT_F32,
                                              .exact_activations = true};
        struct mlt_forward *forward;
        must(mlt_forward_open(mlt_default_allocator(), model, &options, &forward, &err), &err);
        mlt_forward_run(forward, items, TOKENS, engine);
        double scale = 0;
        for (int64_t i = 0; i < n; i++)
            scale = fabs((double)engine[i]) > scale ? fabs((double)engine[i]) : scale;
        assert_true(scale > 0);
        for (int64_t i = 0; i < n; i++)
            if (fabs((double)ours[i] - (double)engine[i]) > 2e-5 * scale)
                fail_msg("%s: logit %lld is %g, the engine's is %g", mlt_storage_name(storages[s]),
                         (long long)i, (double)ours[i], (double)engine[i]);
        mlt_forward_close(&forward);
        millet_model_close(&model);
        mlt_pass_close(&pass);
        mlt_trainable_close(&t);
        free(ours);
        free(engine);
    }
}

/* ---- Beginning to round, stopping, going on ---- */

static uint64_t stop_at;

static bool stop(void *context, const millet_train_report *report)
{
    (void)context;
    return report->step != stop_at;
}

static void rounding_begins_where_it_should_and_resumes(void **state)
{
    (void)state;
    char model[512], cache[512], whole[512], parts[512], source[512];
    millet_error err;
    struct file_bytes text = {0};
    struct tiny_shape shape = tiny_default();
    shape.n_embd = 256;
    shape.n_ff = 256;
    strcpy(model, folder_path("in.gguf"));
    strcpy(cache, folder_path("text.tokens"));
    strcpy(whole, folder_path("whole.gguf"));
    strcpy(parts, folder_path("parts.gguf"));
    strcpy(source, folder_path("text.txt"));
    tiny_write(model, &shape);
    for (int i = 0; i < 50; i++) {
        char line[64];
        int n = snprintf(line, sizeof line, "abc de %d fgh\n<|endoftext|>\n", i * i);
        bytes_put(&text, line, (size_t)n);
    }
    file_write(source, &text);
    bytes_free(&text);
    millet_tokenizer *tokenizer;
    must(millet_tokenizer_open(model, NULL, NULL, &tokenizer, &err), &err);
    must(millet_cache_build(source, cache, tokenizer, NULL, NULL, &err), &err);
    millet_tokenizer_close(&tokenizer);

    const millet_train_data data = {.cache = cache};
    millet_train_options options = millet_train_options_default();
    options.model = model;
    options.data = &data;
    options.n_data = 1;
    options.rows = 2;
    options.length = 16;
    options.n_threads = 2;
    options.rate = 0.01f;
    options.steps = 8;
    options.holdout = 5;
    options.evaluate_every = 1;
    options.storage = MILLET_STORE_TQ2_0;
    options.quantize_after = 4;
    options.report = stop;
    millet_train_report last, before;

    /* The loss before and after the first rounding of the same weights. */
    options.output = whole;
    options.rate = 0;
    stop_at = 3;
    options.restart = true;
    assert_int_equal(millet_train(&options, &before, &err), MILLET_CANCELLED);
    stop_at = UINT64_MAX;
    must(millet_train(&options, &last, &err), &err);
    assert_true(fabs(before.evaluation_loss - last.evaluation_loss) > 1e-3);
    options.storage = MILLET_STORE_F32;
    options.quantize_after = 0;
    must(millet_train(&options, &last, &err), &err);
    assert_true(before.evaluation_loss == last.evaluation_loss);

    options.rate = 0.01f;
    options.storage = MILLET_STORE_TQ2_0;
    options.quantize_after = 4;
    must(millet_train(&options, &last, &err), &err);
    options.output = parts;
    static const uint64_t stops[] = {3, 4, 6, UINT64_MAX};
    for (size_t i = 0; i < MLT_COUNT(stops); i++) {
        stop_at = stops[i];
        options.resume = i > 0;
        options.restart = i == 0;
        assert_int_equal(millet_train(&options, &before, &err),
                         i + 1 == MLT_COUNT(stops) ? MILLET_OK : MILLET_CANCELLED);
    }
    assert_true(before.evaluation_loss == last.evaluation_loss);
    assert_true(files_are_same("whole.gguf", "parts.gguf"));
    /* Other settings than the state's. */
    options.quantize_after = 5;
    assert_int_equal(millet_train(&options, &before, &err), MILLET_BAD_ARGUMENT);
    assert_non_null(strstr(err.message, "quantize_after=5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_read_what_the_file_holds),
        cmocka_unit_test(blocks_are_the_encoders),
        cmocka_unit_test(rows_without_whole_blocks_get_more_bits),
        cmocka_unit_test(logits_are_those_of_the_file),
        cmocka_unit_test(rounding_begins_where_it_should_and_resumes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
