/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/test_data.h"

const char *test_data_root(void)
{
    const char *root = getenv("MILLET_DATA");
    if (root && *root) return root;
    fprintf(stderr, "skipped: MILLET_DATA does not name the folder with the reference data\n");
    return NULL;
}

const char *test_data_path(const char *relative)
{
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    const char *root = getenv("MILLET_DATA");
    int length = snprintf(path, sizeof paths[0], "%s/%s", root ? root : "", relative);
    assert_true(length > 0 && (size_t)length < sizeof paths[0]);
    return path;
}

void *test_data_read(const char *relative, size_t *size)
{
    FILE *file = fopen(test_data_path(relative), "rb");
    if (!file) fail_msg("%s: cannot be opened", test_data_path(relative));
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long length = ftell(file);
    assert_true(length >= 0);
    rewind(file);
    void *bytes = malloc((size_t)length + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)length, file), (size_t)length);
    fclose(file);
    *size = (size_t)length;
    return bytes;
}

json_t *test_data_json(const char *relative)
{
    json_error_t error;
    json_t *json = json_load_file(test_data_path(relative), 0, &error);
    if (!json) fail_msg("%s: %s in line %d", test_data_path(relative), error.text, error.line);
    return json;
}
