/*
 * The reference models in the layout of Hugging Face: each is written as config.json and safetensors,
 * imported again, and must be the same model: the same tensors bit for bit, and the same logits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "import/import.h"
#include "model/model.h"
#include "support/hf_files.h"
#include "support/test_data.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_TOKENS = 24 };

static const char *folder(void)
{
    static char path[512];
    snprintf(path, sizeof path, "%s", folder_path(""));
    path[strlen(path) - 1] = 0;
    return path;
}

static struct mlt_checkpoint *open_gguf(const char *path)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    if (mlt_checkpoint_open(mlt_default_allocator(), path, NULL, &checkpoint, &err) != MILLET_OK)
        fail_msg("%s: %s", path, err.message);
    return checkpoint;
}

static struct mlt_checkpoint *open_imported(void)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    if (mlt_import_checkpoint(mlt_default_allocator(), folder(), &checkpoint, &err) != MILLET_OK)
        fail_msg("%s %s: %s", err.file, err.item, err.message);
    return checkpoint;
}

static void *bytes_of(const struct mlt_tensor *tensor)
{
    millet_error err;
    void *bytes = malloc((size_t)tensor->bytes);
    assert_non_null(bytes);
    assert_int_equal(mlt_tensor_read(tensor, 0, tensor->rows, bytes, &err), MILLET_OK);
    return bytes;
}

/* All tensors of the original, with the same shape and bytes, and no others. */
static void compare_tensors(const struct mlt_checkpoint *original, const struct mlt_checkpoint *imported)
{
    assert_int_equal(original->n_tensors, imported->n_tensors);
    for (size_t i = 0; i < original->n_tensors; i++) {
        const struct mlt_tensor *a = &original->tensors[i];
        const struct mlt_tensor *b = mlt_checkpoint_tensor(imported, a->name.data);
        if (!b) fail_msg("%s is missing", a->name.data);
        if (a->dtype != b->dtype || memcmp(a->ne, b->ne, sizeof a->ne) != 0)
            fail_msg("%s has another type or shape", a->name.data);
        void *left = bytes_of(a), *right = bytes_of(b);
        if (memcmp(left, right, (size_t)a->bytes) != 0) fail_msg("%s differs", a->name.data);
        free(left);
        free(right);
    }
}

/* Every key about the architecture that the original has, with the same value. */
static void compare_keys(const struct mlt_checkpoint *original, const struct mlt_checkpoint *imported)
{
    for (size_t i = 0; i < original->n_metas; i++) {
        const struct mlt_meta *a = &original->metas[i];
        if (strncmp(a->key.data, "general.", 8) == 0 || strncmp(a->key.data, "tokenizer.", 10) == 0) continue;
        if (a->type != MLT_META_U32 && a->type != MLT_META_F32) continue;
        const struct mlt_meta *b = mlt_checkpoint_meta(imported, a->key.data);
        if (!b) fail_msg("%s is missing", a->key.data);
        assert_int_equal(a->type, b->type);
        bool same = a->type == MLT_META_U32 ? a->value.u == b->value.u
                                            : fabs(a->value.f - b->value.f) <= 1e-7 * fabs(a->value.f);
        if (!same) fail_msg("%s differs", a->key.data);
    }
}

static float *logits_of(struct mlt_checkpoint *checkpoint, const json_t *tokens, int32_t *n_vocab)
{
    millet_model *model;
    millet_session *session;
    millet_error err;
    if (mlt_model_from_checkpoint(mlt_default_allocator(), checkpoint, &model, &err) != MILLET_OK)
        fail_msg("%s %s: %s", err.file, err.item, err.message);
    millet_session_options options = millet_session_options_default();
    options.n_ctx = options.n_batch = options.n_logits = N_TOKENS;
    options.n_threads = 1;
    if (millet_session_open(model, &options, &session, &err) != MILLET_OK) fail_msg("%s", err.message);
    millet_item items[N_TOKENS];
    assert_true(json_array_size(tokens) >= N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++)
        items[i] = (millet_item){(int32_t)json_integer_value(json_array_get(tokens, (size_t)i)), 0, true};
    if (millet_eval(session, items, N_TOKENS, &err) != MILLET_OK) fail_msg("%s", err.message);
    *n_vocab = model->config.n_vocab;
    size_t row = (size_t)*n_vocab;
    float *all = malloc(N_TOKENS * row * sizeof *all);
    assert_non_null(all);
    for (int i = 0; i < N_TOKENS; i++)
        memcpy(all + (size_t)i * row, millet_logits(session, i), row * sizeof *all);
    millet_session_close(&session);
    millet_model_close(&model);
    return all;
}

/* Only types that safetensors has. */
static bool can_be_written(const struct mlt_checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        mlt_dtype dtype = checkpoint->tensors[i].dtype;
        if (dtype != MLT_F32 && dtype != MLT_F16 && dtype != MLT_BF16) return false;
    }
    return true;
}

static void check_model(const char *path, const json_t *tokens, int n_shards)
{
    struct mlt_checkpoint *original = open_gguf(path);
    if (!can_be_written(original)) {
        mlt_checkpoint_close(&original);
        return;
    }
    folder_make();
    hf_export(original, n_shards);
    struct mlt_checkpoint *imported = open_imported();
    compare_tensors(original, imported);
    compare_keys(original, imported);
    int32_t n_vocab, other;
    float *wanted = logits_of(original, tokens, &n_vocab), *got = logits_of(imported, tokens, &other);
    assert_int_equal(n_vocab, other);
    if (memcmp(wanted, got, N_TOKENS * (size_t)n_vocab * sizeof *got) != 0)
        fail_msg("%s: logits differ", path);
    free(wanted);
    free(got);
    folder_remove();
}

static void test_reference_models(void **state)
{
    (void)state;
    json_t *index = test_data_json("reference/index.json");
    const json_t *models = json_object_get(index, "models");
    int checked = 0;
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *model = json_array_get(models, i);
        char relative[256];
        const char *file = json_string_value(json_object_get(model, "file"));
        if (json_object_get(model, "quantised_from")) continue;
        snprintf(relative, sizeof relative, "reference/%s", file);
        printf("%s\n", file);
        check_model(test_data_path(relative), json_object_get(model, "tokens"), 1 + (int)i % 3);
        checked++;
    }
    assert_true(checked >= 18);
    json_decref(index);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
