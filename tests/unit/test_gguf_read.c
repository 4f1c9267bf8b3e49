/* The GGUF reader: what valid files hold, what each kind of damage is called. SPDX-License-Identifier:
 * Apache-2.0 */
#include "format/readers.h"
#include "support/counting_allocator.h"
#include "support/file_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct counting_allocator counting;

static int set_up(void **state)
{
    (void)state;
    counting_allocator_init(&counting);
    folder_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove();
    return counting.live == 0 ? 0 : -1;
}

static millet_status no_pieces(struct mlt_checkpoint *checkpoint, const struct mlt_source *first,
                               uint32_t index, uint32_t count, void *context, struct mlt_source *piece,
                               millet_error *err)
{
    (void)checkpoint, (void)count, (void)context, (void)piece;
    return mlt_fail_at(err, MILLET_NOT_FOUND, first->path, NULL, MILLET_NO_OFFSET, "piece %u", index);
}

/* Reads from memory; the checkpoint points into `bytes`. */
static millet_status read_bytes(const struct file_bytes *bytes, struct mlt_checkpoint **out,
                                millet_error *err)
{
    struct mlt_source source = {"memory.gguf", bytes->data, bytes->size};
    assert_int_equal(mlt_checkpoint_new(&counting.allocator, "memory.gguf", "", out, NULL), MILLET_OK);
    millet_status status = mlt_gguf_read(*out, &source, no_pieces, NULL, err);
    if (status == MILLET_OK) status = mlt_checkpoint_seal(*out, err);
    if (status != MILLET_OK) mlt_checkpoint_close(out);
    return status;
}

/* Reads and expects a failure with this status, item, offset (MILLET_NO_OFFSET: any) and part of the message.
 */
static void expect_failure(struct file_bytes *bytes, millet_status status, const char *item, uint64_t offset,
                           const char *part)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err = {0};
    assert_int_equal(read_bytes(bytes, &checkpoint, &err), status);
    assert_null(checkpoint);
    assert_int_equal(err.status, status);
    assert_string_equal(err.file, "memory.gguf");
    assert_string_equal(err.item, item);
    if (offset != MILLET_NO_OFFSET) assert_int_equal(err.offset, offset);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
    assert_int_equal(counting.live, 0);
    bytes_free(bytes);
}

static void check_sample(const struct mlt_checkpoint *checkpoint, const struct file_bytes *bytes,
                         size_t header)
{
    assert_int_equal(checkpoint->n_metas, 26);
    assert_int_equal(checkpoint->n_tensors, 4);
    for (unsigned type = 0; type <= MLT_META_F64; type++) {
        if (type == MLT_META_ARRAY) continue;
        char key[32];
        snprintf(key, sizeof key, "scalar.%u", type);
        const struct mlt_meta *meta = mlt_checkpoint_meta(checkpoint, key);
        assert_non_null(meta);
        assert_int_equal(meta->type, type);
        assert_int_equal(meta->element, type);
        assert_int_equal(meta->count, 1);
        switch (type) {
        case MLT_META_F32: assert_true(meta->value.f == 0.5); break;
        case MLT_META_F64: assert_true(meta->value.f == 0.25); break;
        case MLT_META_STRING: assert_string_equal(meta->value.string.data, "item1"); break;
        case MLT_META_I8:
        case MLT_META_I16:
        case MLT_META_I32:
        case MLT_META_I64: assert_true(meta->value.i == -1); break;
        default: assert_int_equal(meta->value.u, 1); break;
        }
        snprintf(key, sizeof key, "array.%u", type);
        meta = mlt_checkpoint_meta(checkpoint, key);
        assert_non_null(meta);
        assert_int_equal(meta->type, MLT_META_ARRAY);
        assert_int_equal(meta->element, type);
        assert_int_equal(meta->count, 3);
        const void *array = meta->value.array;
        static const uint8_t u8[] = {0, 1, 2}, bools[] = {0, 1, 0};
        static const int8_t i8[] = {0, -1, -2};
        static const uint16_t u16[] = {0, 1, 2};
        static const int16_t i16[] = {0, -1, -2};
        static const uint32_t u32[] = {0, 1, 2};
        static const int32_t i32[] = {0, -1, -2};
        static const uint64_t u64[] = {0, 1, 2};
        static const int64_t i64[] = {0, -1, -2};
        static const float f32[] = {0, 0.5f, 1};
        static const double f64[] = {0, 0.25, 0.5};
        const void *expected[] = {u8, i8, u16, i16, u32, i32, f32, bools, NULL, NULL, u64, i64, f64};
        if (type == MLT_META_STRING) {
            const struct mlt_string *strings = array;
            assert_string_equal(strings[0].data, "item0");
            assert_string_equal(strings[2].data, "item2");
            assert_int_equal(strings[2].length, 5);
        } else {
            assert_memory_equal(array, expected[type], 3 * mlt_meta_type_size((enum mlt_meta_type)type));
            assert_int_equal((uintptr_t)array % 8, 0); /* aligned for its element type */
        }
    }
    assert_int_equal(mlt_checkpoint_meta(checkpoint, "empty")->count, 0);

    static const struct {
        const char *name;
        mlt_dtype dtype;
        int n_dims;
        int64_t ne[4];
        uint64_t offset, bytes;
    } tensors[] = {{"vector", MLT_F32, 1, {16, 1, 1, 1}, 0, 64},
                   {"matrix", MLT_Q8_0, 2, {32, 3, 1, 1}, 64, 102},
                   {"cube", MLT_F16, 3, {64, 2, 2, 1}, 192, 512},
                   {"four", MLT_Q4_K, 4, {256, 1, 2, 1}, 704, 288}};
    for (size_t i = 0; i < MLT_COUNT(tensors); i++) {
        const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, tensors[i].name);
        assert_non_null(tensor);
        assert_int_equal(tensor->dtype, tensors[i].dtype);
        assert_int_equal(tensor->n_dims, tensors[i].n_dims);
        assert_memory_equal(tensor->ne, tensors[i].ne, sizeof tensor->ne);
        assert_int_equal(tensor->bytes, tensors[i].bytes);
        assert_int_equal(tensor->offset, header + tensors[i].offset);
        assert_memory_equal(tensor->data, bytes->data + header + tensors[i].offset, tensors[i].bytes);
    }
}

static void test_sample(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct file_bytes bytes;
        struct mlt_checkpoint *checkpoint;
        size_t header;
        bytes_sample_gguf(&bytes, version, &header);
        assert_int_equal(read_bytes(&bytes, &checkpoint, NULL), MILLET_OK);
        assert_string_equal(checkpoint->format, version == 2 ? "GGUF v2" : "GGUF v3");
        check_sample(checkpoint, &bytes, header);
        assert_ptr_equal(mlt_checkpoint_tensor(checkpoint, "vector")->data,
                         bytes.data + header); /* no copy */
        mlt_checkpoint_close(&checkpoint);

        const char *path = folder_path("sample.gguf");
        file_write(path, &bytes);
        millet_error err;
        assert_int_equal(mlt_checkpoint_open(&counting.allocator, path, NULL, &checkpoint, &err), MILLET_OK);
        check_sample(checkpoint, &bytes, header);
        assert_string_equal(checkpoint->path, path);
        assert_string_equal(checkpoint->tensors[0].file, path);
        mlt_checkpoint_close(&checkpoint);
        bytes_free(&bytes);
    }
}

/* A file of metadata only, as vocabularies are shipped: it may end without padding. */
static void test_no_tensors(void **state)
{
    (void)state;
    struct file_bytes bytes = {0};
    struct mlt_checkpoint *checkpoint;
    bytes_gguf_header(&bytes, 3, 0, 1);
    bytes_gguf_text(&bytes, "general.name", "");
    assert_true(bytes.size % 32 != 0);
    assert_int_equal(read_bytes(&bytes, &checkpoint, NULL), MILLET_OK);
    assert_int_equal(checkpoint->n_tensors, 0);
    assert_int_equal(mlt_checkpoint_meta(checkpoint, "general.name")->value.string.length, 0);
    mlt_checkpoint_close(&checkpoint);
    bytes_free(&bytes);
}

/* Strings hold any bytes; keys do not. */
static void test_string_bytes(void **state)
{
    (void)state;
    struct file_bytes bytes = {0};
    struct mlt_checkpoint *checkpoint;
    bytes_gguf_header(&bytes, 3, 0, 1);
    bytes_gguf_key(&bytes, "s", MLT_META_STRING);
    bytes_u64(&bytes, 4);
    bytes_put(&bytes, "\xFF\0a\x80", 4);
    assert_int_equal(read_bytes(&bytes, &checkpoint, NULL), MILLET_OK);
    const struct mlt_string *string = &mlt_checkpoint_meta(checkpoint, "s")->value.string;
    assert_int_equal(string->length, 4);
    assert_memory_equal(string->data, "\xFF\0a\x80", 5);
    mlt_checkpoint_close(&checkpoint);
    bytes_free(&bytes);
}

/* One F32 tensor of 4 elements behind one u32 key. Returns where the tensor's data begins. */
static size_t one_tensor(struct file_bytes *bytes, uint32_t alignment, uint64_t offset, uint64_t data_bytes)
{
    const uint64_t dims[] = {4};
    *bytes = (struct file_bytes){0};
    bytes_gguf_header(bytes, 3, 1, 1);
    bytes_gguf_u32(bytes, "general.alignment", alignment);
    bytes_gguf_tensor(bytes, "t", 1, dims, MLT_F32, offset);
    size_t power = alignment && (alignment & (alignment - 1)) == 0 && alignment <= 4096 ? alignment : 1;
    bytes_align(bytes, power);
    size_t begin = bytes->size;
    for (uint64_t i = 0; i < data_bytes; i++)
        bytes_u8(bytes, (uint8_t)i);
    return begin;
}

static void test_alignment(void **state)
{
    (void)state;
    static const uint32_t valid[] = {1, 2, 8, 16, 32, 64, 4096};
    struct file_bytes bytes;
    struct mlt_checkpoint *checkpoint;
    for (size_t i = 0; i < MLT_COUNT(valid); i++) {
        size_t begin = one_tensor(&bytes, valid[i], valid[i], valid[i] + 16);
        assert_int_equal(read_bytes(&bytes, &checkpoint, NULL), MILLET_OK);
        assert_ptr_equal(checkpoint->tensors[0].data, bytes.data + begin + valid[i]);
        mlt_checkpoint_close(&checkpoint);
        bytes_free(&bytes);
    }
    static const uint32_t invalid[] = {0, 3, 24, 33, 0xFFFFFFFF};
    for (size_t i = 0; i < MLT_COUNT(invalid); i++) {
        one_tensor(&bytes, invalid[i], 0, 64);
        expect_failure(&bytes, MILLET_BAD_FORMAT, "general.alignment", 24, "power of two");
    }
    one_tensor(&bytes, 0x80000000u, 0, 64); /* data would begin 2 GiB into the file */
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "beyond the file");
    bytes = (struct file_bytes){0};
    bytes_gguf_header(&bytes, 3, 0, 1);
    bytes_gguf_text(&bytes, "general.alignment", "32");
    expect_failure(&bytes, MILLET_BAD_FORMAT, "general.alignment", 24, "power of two");
    bytes = (struct file_bytes){0};
    bytes_gguf_header(&bytes, 3, 0, 1);
    bytes_gguf_key(&bytes, "general.alignment", MLT_META_I32);
    bytes_u32(&bytes, (uint32_t)-32);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "general.alignment", 24, "power of two");
}

static void test_tensor_places(void **state)
{
    (void)state;
    struct file_bytes bytes;
    struct mlt_checkpoint *checkpoint;
    one_tensor(&bytes, 32, 0, 16); /* the padding behind the last tensor may be missing */
    assert_int_equal(read_bytes(&bytes, &checkpoint, NULL), MILLET_OK);
    mlt_checkpoint_close(&checkpoint);
    bytes_free(&bytes);
    one_tensor(&bytes, 32, 0, 15);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "16 bytes at offset 0");
    one_tensor(&bytes, 32, 0, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "beyond the file");
    one_tensor(&bytes, 32, 8, 64);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "no multiple of the alignment");
    one_tensor(&bytes, 32, 64, 64);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "beyond the file");
    one_tensor(&bytes, 32, 0ull - 32, 64); /* begin + offset wraps around to a place inside the file */
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "beyond the file");
    one_tensor(&bytes, 32, 1ull << 63, 64);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "beyond the file");
}

/* Three tensors of 32, 64 and 32 bytes at these offsets, in this order in the directory. */
static void three_tensors(struct file_bytes *bytes, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t dims[] = {8, 2};
    *bytes = (struct file_bytes){0};
    bytes_gguf_header(bytes, 3, 3, 0);
    bytes_gguf_tensor(bytes, "a", 1, dims, MLT_F32, a);
    bytes_gguf_tensor(bytes, "b", 2, dims, MLT_F32, b);
    bytes_gguf_tensor(bytes, "c", 1, dims, MLT_F32, c);
    bytes_align(bytes, 32);
    for (int i = 0; i < 128; i++)
        bytes_u8(bytes, (uint8_t)i);
}

static void test_overlap(void **state)
{
    (void)state;
    static const uint64_t valid[][3] = {{0, 32, 96}, {96, 32, 0}, {96, 0, 64}, {32, 64, 0}};
    struct file_bytes bytes;
    struct mlt_checkpoint *checkpoint;
    for (size_t i = 0; i < MLT_COUNT(valid); i++) {
        three_tensors(&bytes, valid[i][0], valid[i][1], valid[i][2]);
        assert_int_equal(read_bytes(&bytes, &checkpoint, NULL), MILLET_OK);
        mlt_checkpoint_close(&checkpoint);
        bytes_free(&bytes);
    }
    three_tensors(&bytes, 0, 32, 64);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "c", MILLET_NO_OFFSET, "overlaps tensor b");
    three_tensors(&bytes, 64, 32, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "a", MILLET_NO_OFFSET, "overlaps tensor b");
    three_tensors(&bytes, 0, 0, 96);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "b", MILLET_NO_OFFSET, "overlaps");
    three_tensors(&bytes, 0, 64, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "c", MILLET_NO_OFFSET, "overlaps tensor a");
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        uint32_t version;
        const char *part;
    } cases[] = {{0, "version 0"},
                 {1, "version 1"},
                 {4, "version 4"},
                 {0x03000000, "big-endian"},
                 {0x02000000, "big-endian"}};
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        struct file_bytes bytes = {0};
        bytes_gguf_header(&bytes, cases[i].version, 0, 0);
        expect_failure(&bytes, MILLET_UNSUPPORTED, "", 4, cases[i].part);
    }
    struct file_bytes bytes = {0};
    bytes_put(&bytes, "GGUX", 4);
    bytes_u32(&bytes, 3);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "", 0, "no GGUF");
    bytes_put(&bytes, "GGUF", 4);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "", 4, "the version needs 4 bytes, but only 0");
}

/* Begins a file with one key of this type; the value follows. */
static struct file_bytes one_key(const char *key, uint32_t type)
{
    struct file_bytes bytes = {0};
    bytes_gguf_header(&bytes, 3, 0, 1);
    bytes_gguf_key(&bytes, key, type);
    return bytes;
}

static void test_bad_values(void **state)
{
    (void)state;
    struct file_bytes bytes = one_key("k", 13);
    bytes_u32(&bytes, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "k", 33, "type 13");
    bytes = one_key("k", MLT_META_BOOL);
    bytes_u8(&bytes, 2);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "k", 37, "0 or 1");
    bytes = one_key("k", MLT_META_ARRAY);
    bytes_u32(&bytes, MLT_META_BOOL);
    bytes_u64(&bytes, 3);
    bytes_put(&bytes, "\0\1\xFF", 3);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "k", 51, "element 2");
    bytes = one_key("k", MLT_META_ARRAY);
    bytes_u32(&bytes, MLT_META_ARRAY);
    bytes_u64(&bytes, 0);
    expect_failure(&bytes, MILLET_UNSUPPORTED, "k", 37, "arrays of arrays");
    bytes = one_key("k", MLT_META_ARRAY);
    bytes_u32(&bytes, 77);
    bytes_u64(&bytes, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "k", 37, "element type 77");
    bytes = one_key("", MLT_META_U32);
    bytes_u32(&bytes, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "", 24, "empty");
    bytes = one_key("k\xFFz", MLT_META_U8);
    bytes_u8(&bytes, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "", 24, "UTF-8");
    bytes = (struct file_bytes){0};
    bytes_gguf_header(&bytes, 3, 0, 1);
    bytes_u64(&bytes, 3);
    bytes_put(&bytes, "a\0b", 3);
    bytes_u32(&bytes, MLT_META_U8);
    bytes_u8(&bytes, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "", 24, "NUL");
    bytes = (struct file_bytes){0};
    bytes_gguf_header(&bytes, 3, 0, 3);
    bytes_gguf_u32(&bytes, "twice", 1);
    bytes_gguf_u32(&bytes, "once", 1);
    bytes_gguf_u32(&bytes, "twice", 2);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "twice", MILLET_NO_OFFSET, "twice");
}

/* A file with one directory entry and 64 bytes of data. */
static struct file_bytes one_entry(const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type)
{
    struct file_bytes bytes = {0};
    bytes_gguf_header(&bytes, 3, 1, 0);
    bytes_gguf_tensor(&bytes, name, n_dims, dims, type, 0);
    bytes_align(&bytes, 32);
    for (int i = 0; i < 64; i++)
        bytes_u8(&bytes, 0);
    return bytes;
}

static void test_bad_tensors(void **state)
{
    (void)state;
    const uint64_t ones[] = {1, 1, 1, 1, 1}, none[] = {4, 0}, odd[] = {33},
                   large[] = {1ull << 33, 1ull << 33}, negative[] = {UINT64_MAX}, much[] = {1ull << 61};
    struct file_bytes bytes = one_entry("t", 0, ones, MLT_F32);
    struct mlt_checkpoint *checkpoint;
    assert_int_equal(read_bytes(&bytes, &checkpoint, NULL), MILLET_OK); /* a single number */
    assert_int_equal(checkpoint->tensors[0].n_dims, 1);
    assert_int_equal(checkpoint->tensors[0].bytes, 4);
    mlt_checkpoint_close(&checkpoint);
    bytes_free(&bytes);
    bytes = one_entry("t", 0, ones, MLT_Q8_0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "whole number");
    bytes = one_entry("t", 5, ones, MLT_F32);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", 33, "5 dimensions");
    bytes = one_entry("t", 2, none, MLT_F32);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", 45, "dimension 1 is 0");
    bytes = one_entry("t", 1, negative, MLT_F32);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", 37, "below 2^63");
    bytes = one_entry("t", 2, large, MLT_F32);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "product");
    bytes = one_entry("t", 1, much, MLT_F64);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET, "size");
    bytes = one_entry("t", 1, odd, MLT_Q8_0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "t", MILLET_NO_OFFSET,
                   "33 elements is no whole number of Q8_0");
    bytes = one_entry("t", 1, ones, 4); /* a number that GGUF has given up */
    expect_failure(&bytes, MILLET_UNSUPPORTED, "t", 45, "type number 4 ");
    bytes = one_entry("t", 1, ones, 0xFFFFFFFF);
    expect_failure(&bytes, MILLET_UNSUPPORTED, "t", 45, "4294967295");
    bytes = one_entry("", 1, ones, MLT_F32);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "", 24, "empty tensor name");
    bytes = one_entry("t\x80", 1, ones, MLT_F32);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "", 24, "UTF-8");
    const uint64_t dims[] = {8};
    bytes = (struct file_bytes){0};
    bytes_gguf_header(&bytes, 3, 2, 0);
    bytes_gguf_tensor(&bytes, "same", 1, dims, MLT_F32, 0);
    bytes_gguf_tensor(&bytes, "same", 1, dims, MLT_F32, 32);
    bytes_align(&bytes, 32);
    for (int i = 0; i < 64; i++)
        bytes_u8(&bytes, 0);
    expect_failure(&bytes, MILLET_BAD_FORMAT, "same", MILLET_NO_OFFSET, "twice");
}

/* Piece `number` of `count` of a split model, with tensor "t<number>" of 8 floats whose first is the number.
 */
static void write_piece(const char *name, uint16_t number, uint16_t count, uint32_t total)
{
    const uint64_t dims[] = {8};
    char tensor[16];
    snprintf(tensor, sizeof tensor, "t%u", number);
    struct file_bytes bytes = {0};
    bytes_gguf_header(&bytes, 3, 1, 4);
    bytes_gguf_u16(&bytes, "split.no", number);
    bytes_gguf_u16(&bytes, "split.count", count);
    bytes_gguf_key(&bytes, "split.tensors.count", MLT_META_I32);
    bytes_u32(&bytes, total);
    bytes_gguf_text(&bytes, "general.name", number ? "of a later piece" : "of the first");
    bytes_gguf_tensor(&bytes, tensor, 1, dims, MLT_F32, 0);
    bytes_align(&bytes, 32);
    for (int i = 0; i < 8; i++)
        bytes_f32(&bytes, (float)(number + i));
    file_write(folder_path(name), &bytes);
    bytes_free(&bytes);
}

static millet_status open_file(const char *name, struct mlt_checkpoint **out, millet_error *err)
{
    return mlt_checkpoint_open(&counting.allocator, folder_path(name), NULL, out, err);
}

static void test_split(void **state)
{
    (void)state;
    struct mlt_checkpoint *checkpoint;
    write_piece("m-00001-of-00003.gguf", 0, 3, 3);
    write_piece("m-00002-of-00003.gguf", 1, 3, 3);
    write_piece("m-00003-of-00003.gguf", 2, 3, 3);
    assert_int_equal(open_file("m-00001-of-00003.gguf", &checkpoint, NULL), MILLET_OK);
    assert_int_equal(checkpoint->n_tensors, 3);
    assert_int_equal(checkpoint->n_maps, 3);
    assert_string_equal(mlt_checkpoint_meta(checkpoint, "general.name")->value.string.data, "of the first");
    for (int i = 0; i < 3; i++) {
        char name[16];
        float value;
        snprintf(name, sizeof name, "t%d", i);
        const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, name);
        assert_non_null(tensor);
        memcpy(&value, tensor->data, sizeof value);
        assert_true(value == (float)i);
        snprintf(name, sizeof name, "0000%d-of", i + 1);
        assert_non_null(strstr(tensor->file, name));
    }
    mlt_checkpoint_close(&checkpoint);
}

static void expect_split_failure(const char *name, millet_status status, const char *file, const char *part)
{
    struct mlt_checkpoint *checkpoint;
    millet_error err;
    assert_int_equal(open_file(name, &checkpoint, &err), status);
    assert_null(checkpoint);
    if (!strstr(err.file, file)) fail_msg("\"%s\" lacks \"%s\"", err.file, file);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
}

static void test_split_failures(void **state)
{
    (void)state;
    write_piece("m-00001-of-00003.gguf", 0, 3, 3);
    write_piece("m-00002-of-00003.gguf", 1, 3, 3);
    expect_split_failure("m-00001-of-00003.gguf", MILLET_NOT_FOUND, "m-00003-of-00003.gguf",
                         "piece 3 of 3 of a split model is missing");
    expect_split_failure("m-00002-of-00003.gguf", MILLET_BAD_FORMAT, "m-00002-of-00003.gguf",
                         "m-00001-of-00003.gguf");
    write_piece("m-00003-of-00003.gguf", 1, 3, 3); /* the wrong number inside */
    expect_split_failure("m-00001-of-00003.gguf", MILLET_BAD_FORMAT, "m-00003-of-00003.gguf",
                         "piece 3 of 3 was expected");
    write_piece("m-00003-of-00003.gguf", 2, 4, 3); /* the wrong count inside */
    expect_split_failure("m-00001-of-00003.gguf", MILLET_BAD_FORMAT, "m-00003-of-00003.gguf", "piece 3 of 4");
    write_piece("m-00003-of-00003.gguf", 2, 3, 3);
    write_piece("m-00001-of-00003.gguf", 0, 3, 4); /* promises a tensor too many */
    expect_split_failure("m-00001-of-00003.gguf", MILLET_BAD_FORMAT, "m-00001-of-00003.gguf",
                         "4 are promised");
    write_piece("renamed.gguf", 0, 3, 3);
    expect_split_failure("renamed.gguf", MILLET_BAD_FORMAT, "renamed.gguf", "-00001-of-00003.gguf");
    write_piece("-00001-of-00002.gguf", 0, 2, 2); /* a suffix and nothing before it */
    write_piece("-00002-of-00002.gguf", 0, 2, 2);
    expect_split_failure("-00001-of-00002.gguf", MILLET_BAD_FORMAT, "-00002-of-00002.gguf", "was expected");
    write_piece("m-00001-of-00001.gguf", 0, 1, 1); /* a split of one is a file like others */
    struct mlt_checkpoint *checkpoint;
    assert_int_equal(open_file("m-00001-of-00001.gguf", &checkpoint, NULL), MILLET_OK);
    mlt_checkpoint_close(&checkpoint);
}

static void test_other_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
        const char *data, *part;
    } cases[] = {
        {"empty", 0, "", "empty"},
        {"short", 3, "GGU", "neither"},
        {"text", 12, "hello, world", "neither"},
        {"model.safetensors", 13, "\5\0\0\0\0\0\0\0{\"a\":", "safetensors"},
        {"pytorch.bin", 8, "PK\3\4aaaa", "PyTorch"},
        {"ggml.bin", 8, "tjgg\1\0\0\0", "GGML"},
    };
    millet_error err;
    struct mlt_checkpoint *checkpoint;
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        struct file_bytes bytes = {0};
        bytes_put(&bytes, cases[i].data, cases[i].size);
        file_write(folder_path(cases[i].name), &bytes);
        bytes_free(&bytes);
        assert_int_equal(open_file(cases[i].name, &checkpoint, &err), MILLET_BAD_FORMAT);
        assert_null(checkpoint);
        if (!strstr(err.message, cases[i].part)) fail_msg("\"%s\" lacks \"%s\"", err.message, cases[i].part);
        assert_non_null(strstr(err.file, cases[i].name));
    }
    assert_int_equal(open_file("absent.gguf", &checkpoint, &err), MILLET_NOT_FOUND);
    assert_non_null(strstr(err.file, "absent.gguf"));
    assert_int_equal(mlt_checkpoint_open(&counting.allocator, folder_path("."), NULL, &checkpoint, &err),
                     MILLET_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_sample),        TEST(test_no_tensors), TEST(test_string_bytes),   TEST(test_alignment),
        TEST(test_tensor_places), TEST(test_overlap),    TEST(test_versions),       TEST(test_bad_values),
        TEST(test_bad_tensors),   TEST(test_split),      TEST(test_split_failures), TEST(test_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
