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

#include "support/sha256.h"
#include "support/test_data.h"
#include "tensor/dtype.h"

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

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_samples_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
