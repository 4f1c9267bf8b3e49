/*
 * The codecs of src/tensor against blocks and floats that the reference implementation of GGUF wrote.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "format/checkpoint.h"
#include "support/sha256.h"
#include "support/test_data.h"

#define SAMPLES "reference/quant_samples/"

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The file of the samples folder that `key` of the type's record names; NULL where it has none. */
static void *read_sample(const json_t *type, const char *key, size_t *size)
{
    char path[256];
    const char *name = text_of(type, key);
    if (!name) return NULL;
    snprintf(path, sizeof path, SAMPLES "%s", name);
    return test_data_read(path, size);
}

static void compare_decoded(const json_t *type, mlt_dtype dtype, const char *bytes_key,
                            const char *floats_key)
{
    size_t bytes_size, floats_size;
    uint8_t *bytes = read_sample(type, bytes_key, &bytes_size);
    if (!bytes) return;
    uint32_t *expected = read_sample(type, floats_key, &floats_size);
    assert_non_null(expected);
    int64_t count = (int64_t)(floats_size / sizeof(float));
    assert_int_equal(bytes_size, mlt_dtype_row_bytes(dtype, count));

    /* One byte further on: rows in files are not aligned. */
    uint8_t *unaligned = malloc(bytes_size + 1);
    float *values = malloc(floats_size);
    assert_non_null(unaligned);
    assert_non_null(values);
    memcpy(unaligned + 1, bytes, bytes_size);
    mlt_decode(dtype, unaligned + 1, values, count);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        if (bits != expected[i])
            fail_msg("%s of %s: element %lld is %08x, expected %08x", bytes_key, text_of(type, "type"),
                     (long long)i, bits, expected[i]);
    }
    free(values);
    free(unaligned);
    free(expected);
    free(bytes);
}

static void decodes_samples_exactly(void **state)
{
    (void)state;
    json_t *index = test_data_json(SAMPLES "index.json"), *type;
    size_t i;
    unsigned seen = 0;
    json_array_foreach (json_object_get(index, "types"), i, type) {
        mlt_dtype dtype;
        if (!mlt_dtype_by_name(text_of(type, "type"), &dtype)) continue;
        assert_int_equal(json_integer_value(json_object_get(type, "ggml_type_id")), dtype);
        compare_decoded(type, dtype, "quantised", "dequantised");
        compare_decoded(type, dtype, "random_bits", "random_bits_dequantised");
        seen++;
    }
    assert_int_equal(seen, 17); /* every weight type but F32 */
    json_decref(index);
}

/* The quantised samples were made from source.f32: the same bytes must come out here. */
static void encodes_samples_to_the_same_bytes(void **state)
{
    (void)state;
    json_t *index = test_data_json(SAMPLES "index.json"), *type;
    size_t i, source_size;
    float *source = test_data_read(SAMPLES "source.f32", &source_size);
    int64_t count = (int64_t)(source_size / sizeof *source);
    json_array_foreach (json_object_get(index, "types"), i, type) {
        mlt_dtype dtype;
        size_t size;
        if (!mlt_dtype_by_name(text_of(type, "type"), &dtype)) continue;
        uint8_t *expected = read_sample(type, "quantised", &size), *bytes = malloc(size);
        assert_non_null(bytes);
        assert_int_equal(size, mlt_dtype_row_bytes(dtype, count));
        mlt_encode(dtype, source, NULL, bytes, count);
        if (memcmp(bytes, expected, size) != 0) fail_msg("%s: other bytes", text_of(type, "type"));
        free(bytes);
        free(expected);
    }
    free(source);
    json_decref(index);
}

/* One tensor of a quantised model: `tensor` as it lies in the file, `source` what it was made from. */
static void compare_tensor(const json_t *record, const struct mlt_tensor *tensor,
                           const struct mlt_tensor *source)
{
    const char *name = text_of(record, "name");
    char hex[65];
    int64_t count = (int64_t)tensor->rows * tensor->ne[0];
    float *values = malloc((size_t)count * sizeof *values);
    uint8_t *bytes = malloc(tensor->bytes);
    assert_non_null(values);
    assert_non_null(bytes);

    sha256_hex(tensor->data, tensor->bytes, hex);
    assert_string_equal(hex, text_of(record, "sha256"));
    mlt_decode(tensor->dtype, tensor->data, values, count);
    sha256_hex(values, (size_t)count * sizeof *values, hex);
    if (strcmp(hex, text_of(record, "sha256_f32")) != 0) fail_msg("%s decodes to other floats", name);

    assert_int_equal(source->dtype, MLT_F32);
    assert_int_equal(source->bytes, (size_t)count * sizeof *values);
    memcpy(values, source->data, source->bytes);
    mlt_encode(tensor->dtype, values, NULL, bytes, count);
    if (memcmp(bytes, tensor->data, tensor->bytes) != 0) fail_msg("%s encodes to other bytes", name);
    free(bytes);
    free(values);
}

static void tensors_of_the_quantised_models(void **state)
{
    (void)state;
    json_t *index = test_data_json("reference/index.json"), *model, *record;
    size_t m, t, compared = 0;
    json_array_foreach (json_object_get(index, "models"), m, model) {
        const json_t *records = json_object_get(model, "tensors");
        if (!records) continue;
        char path[256], source_path[256];
        struct mlt_checkpoint *checkpoint, *source;
        millet_error error;
        snprintf(path, sizeof path, "reference/%s", text_of(model, "file"));
        snprintf(source_path, sizeof source_path, "reference/%s", text_of(model, "quantised_from"));
        if (mlt_checkpoint_open(mlt_default_allocator(), test_data_path(path), NULL, &checkpoint, &error) ||
            mlt_checkpoint_open(mlt_default_allocator(), test_data_path(source_path), NULL, &source, &error))
            fail_msg("%s: %s", path, error.message);
        json_array_foreach (records, t, record) {
            const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, text_of(record, "name"));
            assert_non_null(tensor);
            assert_string_equal(mlt_dtype_info(tensor->dtype)->name, text_of(record, "type"));
            compare_tensor(record, tensor, mlt_checkpoint_tensor(source, text_of(record, "name")));
            compared++;
        }
        mlt_checkpoint_close(&source);
        mlt_checkpoint_close(&checkpoint);
    }
    assert_true(compared > 300);
    json_decref(index);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_samples_exactly),
        cmocka_unit_test(encodes_samples_to_the_same_bytes),
        cmocka_unit_test(tensors_of_the_quantised_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
