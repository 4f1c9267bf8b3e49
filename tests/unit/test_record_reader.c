/* Sources cut into records: texts, JSONL, compression, and what is wrong with them. SPDX-License-Identifier:
 * Apache-2.0 */
#include "corpus/record_reader.h"
#include "support/file_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

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

static void write_file(const char *name, const char *text, size_t length)
{
    struct file_bytes bytes = {0};
    bytes_put(&bytes, text, length);
    file_write(folder_path(name), &bytes);
    bytes_free(&bytes);
}

/* One gzip member. */
static void put_gzip(struct file_bytes *out, const char *text, size_t length)
{
    z_stream stream = {0};
    size_t capacity = length + 1024;
    uint8_t *packed = malloc(capacity);
    assert_non_null(packed);
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)text;
    stream.avail_in = (uInt)length;
    stream.next_out = packed;
    stream.avail_out = (uInt)capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    bytes_put(out, packed, capacity - stream.avail_out);
    deflateEnd(&stream);
    free(packed);
}

/* All records of a file, each as "[text]", "+" before one that continues. */
static millet_status read_all(const char *name, const millet_source_options *options, char *out, size_t size,
                              uint64_t *skipped, millet_error *err)
{
    const millet_source_options defaults = {0};
    struct mlt_record_reader *reader;
    size_t length = 0;
    out[0] = 0;
    MLT_TRY(mlt_record_reader_open(mlt_default_allocator(), folder_path(name), options ? options : &defaults,
                                   &reader, err));
    millet_status status = MILLET_OK;
    for (bool found = true; found && status == MILLET_OK;) {
        struct mlt_raw_record record;
        status = mlt_record_reader_next(reader, &record, &found, err);
        if (status || !found) break;
        assert_true(length + record.length + 4 < size);
        length += (size_t)snprintf(out + length, size - length, "%s[", record.continues ? "+" : "");
        memcpy(out + length, record.text, record.length);
        length += record.length;
        out[length++] = ']';
        out[length] = 0;
    }
    if (skipped) *skipped = mlt_record_reader_skipped(reader);
    mlt_record_reader_close(&reader);
    return status;
}

static void check(const char *name, const char *text, const millet_source_options *options,
                  const char *expected)
{
    char out[4096];
    write_file(name, text, strlen(text));
    assert_int_equal(read_all(name, options, out, sizeof out, NULL, NULL), MILLET_OK);
    assert_string_equal(out, expected);
}

static void test_texts(void **state)
{
    (void)state;
    check("a.txt", "one\ntwo\n<|endoftext|>\nthree\n<|endoftext|>\n", NULL, "[one\ntwo][three]");
    check("a.txt", "one\r\n<|endoftext|>\r\nthree", NULL, "[one][three]");
    check("a.txt", "one\n<|endoftext|>\n\n<|endoftext|>\n<|endoftext|>\nx <|endoftext|>\n", NULL,
          "[one][x <|endoftext|>\n]");
    check("a.txt", "\xEF\xBB\xBFone\n", NULL, "[one\n]");
    check("a.txt", "one\n<|endoftext|>", NULL, "[one]");
    const millet_source_options lines = {.separator = "==="}, whole = {.separator = ""};
    check("a.txt", "one\n===\ntwo\n", &lines, "[one][two\n]");
    check("a.txt", "one\n\ntwo\n", &whole, "[one\n\ntwo\n]");
    check("a.md", "# x\n", NULL, "[# x\n]");
}

static void test_lines_of_json(void **state)
{
    (void)state;
    check("a.jsonl", "{\"a\":1}\n\n  \r\n{\"b\":2}", NULL, "[{\"a\":1}\n][{\"b\":2}]");
    const millet_source_options options = {.max_line_bytes = 10};
    char out[256];
    uint64_t skipped;
    const char *text =
        "{\"a\":1}\n{\"a\":\"01234567890123456789\"}\n{\"b\":2}\n{\"a\":\"01234567890123456789\"}";
    write_file("long.jsonl", text, strlen(text));
    assert_int_equal(read_all("long.jsonl", &options, out, sizeof out, &skipped, NULL), MILLET_OK);
    assert_string_equal(out, "[{\"a\":1}\n][{\"b\":2}\n]");
    assert_int_equal(skipped, 2);
}

/* A document longer than a part comes in parts that are cut at ends of lines, or between characters, and lose
 * nothing. */
static void test_long_documents(void **state)
{
    (void)state;
    size_t size = 3 * MLT_RECORD_PART + 12345;
    for (int kind = 0; kind < 3; kind++) {
        char *text = malloc(size + 64), *all = malloc(2 * size);
        assert_non_null(text);
        assert_non_null(all);
        size_t length = 0, at = 0;
        while (length < size) {
            /* Short lines; one line of three-byte characters; one line of ASCII. */
            const char *piece = kind == 0 ? "a line\n" : kind == 1 ? "\xE6\xBC\xA2" : "abc";
            memcpy(text + length, piece, strlen(piece));
            length += strlen(piece);
        }
        write_file("long.txt", text, length);
        const millet_source_options defaults = {0};
        struct mlt_record_reader *reader;
        assert_int_equal(mlt_record_reader_open(mlt_default_allocator(), folder_path("long.txt"), &defaults,
                                                &reader, NULL),
                         MILLET_OK);
        int parts = 0;
        for (bool found = true;;) {
            struct mlt_raw_record record;
            assert_int_equal(mlt_record_reader_next(reader, &record, &found, NULL), MILLET_OK);
            if (!found) break;
            assert_true(record.length <= MLT_RECORD_PART);
            assert_int_equal(record.continues, parts > 0);
            memcpy(all + at, record.text, record.length);
            at += record.length;
            if (kind == 0 && at < length) assert_int_equal(all[at - 1], '\n');
            if (kind == 1) assert_int_equal(at % 3, 0);
            parts++;
        }
        mlt_record_reader_close(&reader);
        assert_int_equal(at, length);
        assert_memory_equal(all, text, length);
        assert_int_equal(parts, 4);
        free(text);
        free(all);
    }
}

static void test_compression(void **state)
{
    (void)state;
    char out[4096];
    struct file_bytes bytes = {0};
    put_gzip(&bytes, "one\n<|endof", 11);
    put_gzip(&bytes, "text|>\ntwo\n", 11);
    size_t whole = bytes.size;
    bytes_put(&bytes, "\0\0\0\0", 4); /* padding that tapes leave */
    file_write(folder_path("a.txt.gz"), &bytes);
    assert_int_equal(read_all("a.txt.gz", NULL, out, sizeof out, NULL, NULL), MILLET_OK);
    assert_string_equal(out, "[one][two\n]");
    struct mlt_source_identity identity;
    assert_int_equal(mlt_source_checksum(mlt_default_allocator(), folder_path("a.txt.gz"), &identity, NULL),
                     MILLET_OK);
    assert_int_equal(identity.checksum, crc32(0, bytes.data, (uInt)bytes.size));
    assert_int_equal(identity.size, bytes.size);
    /* Cut short at every place but the end of a member. */
    size_t member = 0;
    for (size_t size = 3; size < whole; size++) {
        struct file_bytes part = {0};
        millet_error err = {.status = MILLET_OK};
        bytes_put(&part, bytes.data, size);
        file_write(folder_path("cut.txt.gz"), &part);
        bytes_free(&part);
        millet_status status = read_all("cut.txt.gz", NULL, out, sizeof out, NULL, &err);
        if (status == MILLET_OK) {
            assert_int_equal(member, 0);
            member = size;
            continue;
        }
        assert_int_equal(status, MILLET_BAD_FORMAT);
        assert_non_null(strstr(err.message, "cut short"));
    }
    assert_true(member > 0);
    /* Every byte of the first member damaged: an error or another text, never a crash. */
    for (size_t at = 0; at < member; at++) {
        struct file_bytes part = {0};
        bytes_put(&part, bytes.data, whole);
        part.data[at] ^= 0x5A;
        file_write(folder_path("bad.txt.gz"), &part);
        bytes_free(&part);
        millet_status status = read_all("bad.txt.gz", NULL, out, sizeof out, NULL, NULL);
        assert_true(status == MILLET_OK || status == MILLET_BAD_FORMAT);
        if (at >= 10 && at + 8 < member) assert_int_equal(status, MILLET_BAD_FORMAT);
    }
    bytes_free(&bytes);
}

static void test_wrong_files(void **state)
{
    (void)state;
    char out[64];
    millet_error err;
    write_file("empty.txt", "", 0);
    assert_int_equal(read_all("empty.txt", NULL, out, sizeof out, NULL, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "empty"));
    write_file("a.bin", "x", 1);
    assert_int_equal(read_all("a.bin", NULL, out, sizeof out, NULL, &err), MILLET_UNSUPPORTED);
    assert_non_null(strstr(err.message, ".jsonl"));
    assert_int_equal(read_all("none.txt", NULL, out, sizeof out, NULL, &err), MILLET_NOT_FOUND);
    assert_non_null(strstr(err.file, "none.txt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines_of_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_documents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_compression, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
