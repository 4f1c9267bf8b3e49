/*
 * Models quantised by millet_quantize have the bytes of those that the reference quantiser made.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/checkpoint.h"
#include "millet/lab.h"
#include "support/file_bytes.h"
#include "support/test_data.h"

#include <stdio.h>
#include <string.h>

static struct mlt_checkpoint *open_file(const char *path)
{
    struct mlt_checkpoint *checkpoint = NULL;
    millet_error err;
    if (mlt_checkpoint_open(mlt_default_allocator(), path, NULL, &checkpoint, &err) != MILLET_OK)
        fail_msg("%s: %s", path, err.message);
    return checkpoint;
}

static const char *reference_path(const json_t *record, const char *key)
{
    char name[256];
    snprintf(name, sizeof name, "reference/%s", json_string_value(json_object_get(record, key)));
    return test_data_path(name);
}

/* The type that is not F32. */
static const char *type_of(const json_t *record)
{
    const json_t *types = json_object_get(record, "weight_types");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (strcmp(type, "F32") != 0) return type;
    }
    fail_msg("%s has no type", json_string_value(json_object_get(record, "name")));
    return NULL;
}

static void check_model(const json_t *record)
{
    const char *output = folder_path("out.gguf");
    millet_quantize_options options = millet_quantize_options_default();
    options.type = type_of(record);
    options.uniform = true;
    millet_error err;
    if (millet_quantize(reference_path(record, "quantised_from"), output, &options, NULL, &err) != MILLET_OK)
        fail_msg("%s: %s", err.item, err.message);
    struct mlt_checkpoint *ours = open_file(output), *theirs = open_file(reference_path(record, "file"));
    assert_int_equal(ours->n_tensors, theirs->n_tensors);
    for (size_t i = 0; i < theirs->n_tensors; i++) {
        const struct mlt_tensor *b = &theirs->tensors[i], *a = mlt_checkpoint_tensor(ours, b->name.data);
        assert_non_null(a);
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->bytes, b->bytes);
        if (memcmp(a->data, b->data, (size_t)a->bytes) != 0)
            fail_msg("%s: %s differs", json_string_value(json_object_get(record, "name")), b->name.data);
    }
    mlt_checkpoint_close(&ours);
    mlt_checkpoint_close(&theirs);
}

static void test_models(void **state)
{
    (void)state;
    json_t *index = test_data_json("reference/index.json");
    const json_t *models = json_object_get(index, "models");
    int checked = 0;
    folder_make();
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *record = json_array_get(models, i);
        if (!json_object_get(record, "quantised_from")) continue;
        check_model(record);
        checked++;
    }
    folder_remove();
    assert_true(checked >= 16);
    json_decref(index);
}

int main(void)
{
    if (!test_data_root()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
