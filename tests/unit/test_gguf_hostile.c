/*
 * The GGUF reader against files that lie: every truncation, every byte changed, impossible counts. A call may
 * fail or succeed, but never crash, hang, or take memory that the file's size does not back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/readers.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct counting_allocator counting;

/* An arena's first chunk and the arrays of the builder, whatever the file; and 16 bytes for each of the
 * file's. */
enum { MEMORY_FIXED = 128 * 1024, MEMORY_FACTOR = 16 };

static int set_up(void **state)
{
    (void)state;
    counting_allocator_init(&counting);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return counting.live == 0 ? 0 : -1;
}

/* A later piece is the same file again, which can never be right. */
static millet_status same_again(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                                uint32_t index, uint32_t count, void *context, struct mlt_source *piece,
                                millet_error *err)
{
    (void)checkpoint, (void)index, (void)count, (void)context, (void)err;
    *piece = *first;
    return MILLET_OK;
}

/* Touches every byte of every value, so that sanitizers see what lies outside. */
static unsigned touch(const struct mlt_checkpoint *checkpoint)
{
    unsigned sum = 0;
    for (size_t i = 0; i < checkpoint->n_metas; i++) {
        const struct mlt_meta *meta = &checkpoint->metas[i];
        const uint8_t *array = meta->value.array;
        if (meta->type == MLT_META_STRING) sum += strlen(meta->value.string.data) > meta->value.string.length;
        if (meta->type != MLT_META_ARRAY) continue;
        if (meta->element == MLT_META_STRING) {
            const struct mlt_string *strings = meta->value.array;
            for (uint64_t k = 0; k < meta->count; k++)
                sum += strlen(strings[k].data) > strings[k].length;
        } else {
            for (uint64_t k = 0; k < meta->count * mlt_meta_type_size(meta->element); k++)
                sum += array[k];
        }
    }
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        for (uint64_t k = 0; k < checkpoint->tensors[i].bytes; k++)
            sum += checkpoint->tensors[i].data[k];
    return sum;
}

/* Reads a copy of exactly `size` bytes; a message must come with a failure. */
static millet_status read_hostile(const uint8_t *data, size_t size, millet_error *err)
{
    uint8_t *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    if (size) memcpy(exact, data, size);
    struct mlt_source source = {"hostile.gguf", exact, size};
    struct mlt_checkpoint *checkpoint;
    counting.peak = 0;
    assert_int_equal(mlt_checkpoint_new(&counting.allocator, "hostile.gguf", "", &checkpoint, NULL),
                     MILLET_OK);
    *err = (millet_error){0};
    millet_status status = mlt_gguf_read(checkpoint, &source, same_again, NULL, err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(checkpoint, err);
    if (status == MILLET_OK) {
        static volatile unsigned sink;
        sink = sink + touch(checkpoint);
    } else {
        assert_int_equal(err->status, status);
        assert_string_not_equal(err->message, "");
        assert_string_equal(err->file, "hostile.gguf");
    }
    mlt_checkpoint_close(&checkpoint);
    assert_int_equal(counting.live, 0);
    assert_true(counting.peak <= MEMORY_FIXED + MEMORY_FACTOR * (unsigned long long)size);
    free(exact);
    return status;
}

static void test_every_truncation(void **state)
{
    (void)state;
    struct file_bytes bytes;
    size_t header;
    millet_error err;
    bytes_sample_gguf(&bytes, 3, &header);
    assert_int_equal(read_hostile(bytes.data, bytes.size, &err), MILLET_OK);
    for (size_t size = 0; size < header + 704 + 288; size++) {
        assert_int_equal(read_hostile(bytes.data, size, &err), MILLET_BAD_FORMAT);
        if (err.offset != MILLET_NO_OFFSET) assert_true(err.offset <= header);
    }
    bytes_free(&bytes);
}

static void test_every_byte_changed(void **state)
{
    (void)state;
    struct file_bytes bytes;
    size_t header;
    millet_error err;
    bytes_sample_gguf(&bytes, 3, &header);
    size_t failures = 0, tries = 0;
    for (size_t i = 0; i < header; i++) {
        const uint8_t old = bytes.data[i];
        const uint8_t values[] = {0,
                                  1,
                                  0x7F,
                                  0x80,
                                  0xFF,
                                  (uint8_t)(old + 1),
                                  (uint8_t)(old - 1),
                                  (uint8_t)(old ^ 0x20),
                                  (uint8_t)~old};
        for (size_t k = 0; k < sizeof values; k++) {
            bytes.data[i] = values[k];
            failures += read_hostile(bytes.data, bytes.size, &err) != MILLET_OK;
            tries++;
        }
        bytes.data[i] = old;
    }
    /* Letters of names and values may change; most of a header may not. */
    assert_true(failures > tries / 4 && failures < tries);
    bytes_free(&bytes);
}

/* Every place that could be a 64-bit count, length, dimension or offset gets values that overflow. */
static void test_every_number_lies(void **state)
{
    (void)state;
    static const uint64_t lies[] = {UINT64_MAX, 1ull << 63, (1ull << 63) - 1, 1ull << 62, 1ull << 61,
                                    1ull << 60, 1ull << 40, 1ull << 32,       UINT32_MAX, 1ull << 31,
                                    1ull << 20, 0,          0ull - 32};
    struct file_bytes bytes;
    size_t header;
    millet_error err;
    bytes_sample_gguf(&bytes, 3, &header);
    for (size_t i = 0; i + 8 <= header; i++) {
        uint8_t old[8];
        memcpy(old, bytes.data + i, 8);
        for (size_t k = 0; k < MLT_COUNT(lies); k++) {
            memcpy(bytes.data + i, &lies[k], 8);
            read_hostile(bytes.data, bytes.size, &err);
        }
        memcpy(bytes.data + i, old, 8);
    }
    bytes_free(&bytes);
}

static void expect_lie(struct file_bytes *bytes, const char *item, uint64_t offset, const char *part)
{
    millet_error err;
    assert_int_equal(read_hostile(bytes->data, bytes->size, &err), MILLET_BAD_FORMAT);
    assert_string_equal(err.item, item);
    assert_int_equal(err.offset, offset);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
    /* A count that nothing backs is refused before it costs anything. */
    assert_true(counting.peak < MEMORY_FIXED);
    bytes_free(bytes);
}

static void test_lying_counts(void **state)
{
    (void)state;
    struct file_bytes bytes = {0};
    bytes_gguf_header(&bytes, 3, 1ull << 60, 0);
    expect_lie(&bytes, "", 8, "1152921504606846976 tensors");
    bytes_gguf_header(&bytes, 3, 0, UINT64_MAX);
    expect_lie(&bytes, "", 16, "18446744073709551615 metadata keys");
    bytes_gguf_header(&bytes, 3, 0, 1); /* a key of 2^40 bytes */
    bytes_u64(&bytes, 1ull << 40);
    bytes_put(&bytes, "abcdefghijklm", 13);
    expect_lie(&bytes, "", 32, "1099511627776 bytes");
    bytes_gguf_header(&bytes, 3, 0, 1); /* a string of 2^40 bytes */
    bytes_gguf_key(&bytes, "k", MLT_META_STRING);
    bytes_u64(&bytes, 1ull << 40);
    bytes_put(&bytes, "text", 4);
    expect_lie(&bytes, "k", 45, "1099511627776 bytes");
    for (uint32_t type = 0; type <= MLT_META_F64; type++) {
        if (type == MLT_META_ARRAY) continue;
        bytes_gguf_header(&bytes, 3, 0, 1);
        bytes_gguf_key(&bytes, "k", MLT_META_ARRAY);
        bytes_u32(&bytes, type);
        bytes_u64(&bytes, 1ull << 61); /* times 8 is 0 in 64 bits */
        bytes_u64(&bytes, 0);
        expect_lie(&bytes, "k", 37, "2305843009213693952 elements");
    }
    bytes_gguf_header(&bytes, 3, 0, 1); /* the third string of an array is longer than the file */
    bytes_gguf_key(&bytes, "k", MLT_META_ARRAY);
    bytes_u32(&bytes, MLT_META_STRING);
    bytes_u64(&bytes, 3);
    bytes_string(&bytes, "one");
    bytes_string(&bytes, "two");
    bytes_u64(&bytes, UINT64_MAX);
    expect_lie(&bytes, "k", 79, "18446744073709551615 bytes");
}

/* Thousands of names that begin alike, in falling order, and thousands that are equal. */
static void test_many_names(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    millet_error err;
    for (int equal = 0; equal < 2; equal++) {
        struct file_bytes bytes = {0};
        bytes_gguf_header(&bytes, 3, 0, COUNT);
        for (int i = 0; i < COUNT; i++) {
            char key[32];
            snprintf(key, sizeof key, "aaaaaaaaaaaaaaaa%06d", equal ? 7 : COUNT - i);
            bytes_gguf_key(&bytes, key, MLT_META_U8);
            bytes_u8(&bytes, 0);
        }
        assert_int_equal(read_hostile(bytes.data, bytes.size, &err), equal ? MILLET_BAD_FORMAT : MILLET_OK);
        if (equal) assert_string_equal(err.item, "aaaaaaaaaaaaaaaa000007");
        bytes_free(&bytes);
    }
}

/* Pieces without end: a file that says it is the first of 65535 and is its own second. */
static void test_endless_split(void **state)
{
    (void)state;
    struct file_bytes bytes = {0};
    millet_error err;
    bytes_gguf_header(&bytes, 3, 0, 2);
    bytes_gguf_u16(&bytes, "split.no", 0);
    bytes_gguf_u16(&bytes, "split.count", 65535);
    assert_int_equal(read_hostile(bytes.data, bytes.size, &err), MILLET_BAD_FORMAT);
    assert_string_equal(err.item, "split.no");
    bytes_free(&bytes);
    bytes_gguf_header(&bytes, 3, 0, 1);
    bytes_gguf_u32(&bytes, "split.count", 1u << 31);
    assert_int_equal(read_hostile(bytes.data, bytes.size, &err), MILLET_BAD_FORMAT);
    assert_string_equal(err.item, "split.count");
    bytes_free(&bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_every_truncation), TEST(test_every_byte_changed), TEST(test_every_number_lies),
        TEST(test_lying_counts),     TEST(test_many_names),         TEST(test_endless_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
