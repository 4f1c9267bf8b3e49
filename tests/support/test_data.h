/*
 * Reference data for golden tests: files under the folder that the environment variable MILLET_DATA names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TEST_DATA_H
#define MLT_TEST_DATA_H

#include <jansson.h>
#include <stddef.h>

/* What a test program returns when it was skipped: ctest knows it. */
enum { TEST_SKIPPED = 77 };

/* The folder, or NULL after saying on stderr that the test is skipped, and why. */
const char *test_data_root(void);

/* Path of a file in the folder; static storage, four calls long. */
const char *test_data_path(const char *relative);

/* A whole file in memory, to be freed by the caller. What is missing fails the cmocka test. */
void *test_data_read(const char *relative, size_t *size);
json_t *test_data_json(const char *relative);

#endif
