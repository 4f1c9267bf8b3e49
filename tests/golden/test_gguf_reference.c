/*
 * Readers and writer against files that other programs wrote: every reference model and vocabulary is read,
 * compared with its record, and written again byte for byte; a llama2.c checkpoint holds what its GGUF
 * conversion holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/gguf_write.h"
#include "support/file_bytes.h"
#include "support/sha256.h"
#include "support/test_data.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mlt_checkpoint *open_path(const char *path)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    if (mlt_checkpoint_open(mlt_default_allocator(), path, NULL, &checkpoint, &err) != MILLET_OK)
        fail_msg("%s: %s: %s", err.file, err.item, err.message);
    return checkpoint;
}

/* Writes all of a checkpoint to a new file and gives its bytes. */
static struct file_bytes write_again(const struct mlt_checkpoint *checkpoint)
{
    const struct mlt_gguf_contents contents = {.metas = checkpoint->metas,
                                               .n_metas = checkpoint->n_metas,
                                               .tensors = checkpoint->tensors,
                                               .n_tensors = checkpoint->n_tensors};
    struct mlt_gguf_writer *writer;
    const char *path = folder_path("again.gguf");
    assert_int_equal(mlt_gguf_writer_open(mlt_default_allocator(), path, &contents, &writer, NULL),
                     MILLET_OK);
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct mlt_tensor *tensor = &checkpoint->tensors[i];
        assert_int_equal(mlt_gguf_writer_write(writer, i, tensor->data, tensor->bytes, NULL), MILLET_OK);
    }
    assert_int_equal(mlt_gguf_writer_commit(&writer, NULL), MILLET_OK);
    return file_read(path);
}

static void compare_tensor(const json_t *record, const struct mlt_checkpoint *checkpoint)
{
    const char *name = json_string_value(json_object_get(record, "name"));
    const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, name);
    if (!tensor) fail_msg("%s lacks %s", checkpoint->path, name);
    const json_t *ne = json_object_get(record, "ne");
    assert_int_equal(tensor->n_dims, json_array_size(ne));
    for (int i = 0; i < tensor->n_dims; i++)
        assert_int_equal(tensor->ne[i], json_integer_value(json_array_get(ne, (size_t)i)));
    assert_string_equal(mlt_dtype_info(tensor->dtype)->name,
                        json_string_value(json_object_get(record, "type")));
    assert_int_equal(tensor->bytes, json_integer_value(json_object_get(record, "bytes")));
    char hex[65];
    sha256_hex(tensor->data, tensor->bytes, hex);
    assert_string_equal(hex, json_string_value(json_object_get(record, "sha256")));
}

static void test_models(void **state)
{
    (void)state;
    json_t *index = test_data_json("reference/index.json");
    const json_t *models = json_object_get(index, "models");
    size_t n_models = json_array_size(models), n_tensors = 0;
    assert_true(n_models > 30);
    for (size_t i = 0; i < n_models; i++) {
        const json_t *model = json_array_get(models, i);
        char name[256], hex[65];
        snprintf(name, sizeof name, "reference/%s", json_string_value(json_object_get(model, "file")));
        struct mlt_checkpoint *checkpoint = open_path(test_data_path(name));
        const json_t *tensors = json_object_get(model, "tensors");
        if (tensors) assert_int_equal(checkpoint->n_tensors, json_array_size(tensors));
        for (size_t k = 0; k < json_array_size(tensors); k++, n_tensors++)
            compare_tensor(json_array_get(tensors, k), checkpoint);
        struct file_bytes again = write_again(checkpoint);
        sha256_hex(again.data, again.size, hex);
        if (strcmp(hex, json_string_value(json_object_get(model, "sha256"))) != 0)
            fail_msg("%s is not the same when it is written again", name);
        bytes_free(&again);
        mlt_checkpoint_close(&checkpoint);
    }
    assert_true(n_tensors > 300);
    json_decref(index);
}

/* Vocabularies have no tensors; some end without the padding that our files have. */
static void test_vocabularies(void **state)
{
    (void)state;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", test_data_path("tokenizers"));
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    const struct dirent *entry;
    int count = 0;
    while ((entry = readdir(directory))) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 5, ".gguf") != 0) continue;
        char path[2048];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct mlt_checkpoint *checkpoint = open_path(path);
        assert_non_null(mlt_checkpoint_meta(checkpoint, "tokenizer.ggml.tokens"));
        struct file_bytes theirs = file_read(path), ours = write_again(checkpoint);
        bytes_align(&theirs, 32);
        assert_int_equal(ours.size, theirs.size);
        assert_memory_equal(ours.data, theirs.data, ours.size);
        bytes_free(&theirs);
        bytes_free(&ours);
        mlt_checkpoint_close(&checkpoint);
        count++;
    }
    closedir(directory);
    assert_true(count >= 9);
}

static const struct mlt_meta *array_of(const struct mlt_checkpoint *checkpoint, const char *key,
                                       uint64_t count)
{
    const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
    if (!meta || meta->type != MLT_META_ARRAY) fail_msg("%s lacks the array %s", checkpoint->path, key);
    assert_int_equal(meta->count, count);
    return meta;
}

/* The conversion renamed two numbers' defaults and nothing else: weights, vocabulary and shape are the same.
 */
static void test_llama2c_is_its_conversion(void **state)
{
    (void)state;
    struct mlt_checkpoint *bin = open_path(test_data_path("models/stories260K.bin"));
    struct mlt_checkpoint *gguf = open_path(test_data_path("reference/stories260K.gguf"));
    assert_string_equal(bin->format, "llama2.c v0");
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct mlt_tensor *theirs = &gguf->tensors[i];
        /* The classifier is shared; the conversion wrote it out. */
        bool shared = strcmp(theirs->name.data, "output.weight") == 0;
        const struct mlt_tensor *ours =
            mlt_checkpoint_tensor(bin, shared ? "token_embd.weight" : theirs->name.data);
        if (!ours) fail_msg("no tensor %s", theirs->name.data);
        assert_memory_equal(ours->ne, theirs->ne, sizeof ours->ne);
        assert_int_equal(ours->dtype, theirs->dtype);
        assert_memory_equal(ours->data, theirs->data, ours->bytes);
    }
    assert_int_equal(bin->n_tensors, gguf->n_tensors - 1);

    static const char *const numbers[] = {
        "llama.embedding_length",        "llama.block_count",           "llama.attention.head_count",
        "llama.attention.head_count_kv", "llama.feed_forward_length",   "llama.rope.dimension_count",
        "tokenizer.ggml.bos_token_id",   "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id"};
    for (size_t i = 0; i < MLT_COUNT(numbers); i++) {
        uint32_t ours, theirs;
        assert_int_equal(mlt_meta_get_u32(bin, numbers[i], NULL, &ours, NULL), MILLET_OK);
        assert_int_equal(mlt_meta_get_u32(gguf, numbers[i], NULL, &theirs, NULL), MILLET_OK);
        assert_int_equal(ours, theirs);
    }
    const struct mlt_string *ours = array_of(bin, "tokenizer.ggml.tokens", 512)->value.array;
    const struct mlt_string *theirs = array_of(gguf, "tokenizer.ggml.tokens", 512)->value.array;
    for (size_t i = 0; i < 512; i++)
        assert_string_equal(ours[i].data, theirs[i].data);
    static const char *const arrays[] = {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"};
    for (size_t i = 0; i < MLT_COUNT(arrays); i++)
        assert_memory_equal(array_of(bin, arrays[i], 512)->value.array,
                            array_of(gguf, arrays[i], 512)->value.array, 512 * 4);
    mlt_checkpoint_close(&bin);
    mlt_checkpoint_close(&gguf);
}

static void test_other_llama2c(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        uint32_t n_vocab;
    } models[] = {{"models/babyllama_tok105.bin", 105}, {"models/babyllama_tok361.bin", 361}};
    for (size_t i = 0; i < MLT_COUNT(models); i++) {
        struct mlt_checkpoint *checkpoint = open_path(test_data_path(models[i].file));
        const struct mlt_tensor *embedding = mlt_checkpoint_tensor(checkpoint, "token_embd.weight");
        assert_int_equal(embedding->rows, models[i].n_vocab);
        array_of(checkpoint, "tokenizer.ggml.tokens", models[i].n_vocab);
        mlt_checkpoint_close(&checkpoint);
    }
}

static int set_up(void **state)
{
    (void)state;
    folder_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_llama2c_is_its_conversion),
        cmocka_unit_test(test_other_llama2c),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
