/*
 * Files: maps, whole reads, and the writer that replaces a file only when it is finished.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int files_in_folder(void)
{
    DIR *dir = opendir(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(dir);
    return count;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/millet-test-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        unlink(path_of(entry->d_name));
    closedir(dir);
    return rmdir(folder);
}

static void write_text(const char *name, const char *text)
{
    struct mlt_writer *writer = NULL;
    millet_error err;
    assert_int_equal(mlt_writer_open(mlt_default_allocator(), path_of(name), &writer, &err), MILLET_OK);
    assert_int_equal(mlt_writer_write(writer, text, strlen(text), &err), MILLET_OK);
    assert_int_equal(mlt_writer_commit(&writer, &err), MILLET_OK);
    assert_null(writer);
}

static void expect_text(const char *name, const char *text)
{
    struct mlt_file_map map;
    millet_error err;
    assert_int_equal(mlt_file_map_open(path_of(name), &map, &err), MILLET_OK);
    assert_int_equal(map.size, strlen(text));
    if (map.size) assert_memory_equal(map.data, text, map.size);
    mlt_file_map_close(&map);

    char *data;
    uint64_t size;
    assert_int_equal(mlt_file_read(mlt_default_allocator(), path_of(name), 1000, &data, &size, &err),
                     MILLET_OK);
    assert_string_equal(data, text);
    mlt_free(mlt_default_allocator(), data);
}

static void test_commit_and_abort(void **state)
{
    (void)state;
    millet_error err;
    write_text("a", "first");
    expect_text("a", "first");
    struct mlt_writer *writer = NULL;
    assert_int_equal(mlt_writer_open(mlt_default_allocator(), path_of("a"), &writer, &err), MILLET_OK);
    assert_int_equal(mlt_writer_write(writer, "second", 6, &err), MILLET_OK);
    expect_text("a", "first"); /* until it is committed */
    mlt_writer_abort(&writer);
    expect_text("a", "first");
    assert_int_equal(files_in_folder(), 1);
    write_text("a", "third");
    expect_text("a", "third");
    write_text("empty", "");
    expect_text("empty", "");
    assert_int_equal(files_in_folder(), 2);
}

static void test_large_and_aligned(void **state)
{
    (void)state;
    millet_error err;
    struct mlt_writer *writer = NULL;
    size_t size = 1000003;
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    assert_int_equal(mlt_writer_open(mlt_default_allocator(), path_of("large"), &writer, &err), MILLET_OK);
    uint64_t at = 0;
    for (size_t part = 1; at < size;
         part = part * 3 + 1) { /* small pieces first, then pieces above the buffer */
        uint64_t n = MLT_MIN(part, size - at);
        assert_int_equal(mlt_writer_write(writer, bytes + at, n, &err), MILLET_OK);
        at += n;
    }
    assert_int_equal(mlt_writer_position(writer), size);
    assert_int_equal(mlt_writer_align(writer, 4096, &err), MILLET_OK);
    assert_int_equal(mlt_writer_position(writer) % 4096, 0);
    assert_int_equal(mlt_writer_commit(&writer, &err), MILLET_OK);
    struct mlt_file_map map;
    assert_int_equal(mlt_file_map_open(path_of("large"), &map, &err), MILLET_OK);
    assert_int_equal(map.size, mlt_round_up(size, 4096));
    assert_memory_equal(map.data, bytes, size);
    for (uint64_t i = size; i < map.size; i++)
        assert_int_equal(map.data[i], 0);
    mlt_file_map_advise(&map, 0, map.size, MLT_FILE_WILL_NEED);
    mlt_file_map_close(&map);
    free(bytes);
}

static void test_refusals(void **state)
{
    (void)state;
    struct mlt_file_map map;
    struct mlt_writer *writer = NULL;
    millet_error err;
    char *data;
    uint64_t size;
    assert_int_equal(mlt_file_map_open(path_of("none"), &map, &err), MILLET_NOT_FOUND);
    assert_string_equal(err.file, path_of("none"));
    assert_int_equal(mlt_file_map_open(folder, &map, &err), MILLET_IO);
    assert_non_null(strstr(err.message, "directory"));
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_int_equal(mlt_file_map_open(path_of("pipe"), &map, &err), MILLET_IO);
    assert_int_equal(mlt_writer_open(mlt_default_allocator(), folder, &writer, &err), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_writer_open(mlt_default_allocator(), path_of("no/such"), &writer, &err),
                     MILLET_NOT_FOUND);
    assert_null(writer);
    write_text("big", "0123456789");
    assert_int_equal(mlt_file_read(mlt_default_allocator(), path_of("big"), 9, &data, &size, &err),
                     MILLET_BAD_FORMAT);
    assert_null(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commit_and_abort, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_large_and_aligned, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refusals, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
