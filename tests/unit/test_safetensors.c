/*
 * The safetensors reader: what it finds in good files, and that every lie in a bad one is refused with a
 * message that names the place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "import/safetensors.h"
#include "support/counting_allocator.h"
#include "support/hf_files.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int64_t shape_23[] = {2, 3}, shape_4[] = {4}, shape_0[] = {0};

/* Three tensors of the usable types, one that is not, an empty one, and free text. */
static struct file_bytes sample(void)
{
    static const float floats[] = {1, 2, 3, 4, 5, 6};
    static const uint16_t halves[] = {0x3C00, 0x4000, 0x4200, 0x4400};
    static const int64_t longs[] = {1, 2, 3, 4};
    struct hf_file file = {0};
    file.header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    hf_tensor(&file, "zeta", "F32", 2, shape_23, floats, sizeof floats);
    hf_tensor(&file, "alpha", "F16", 1, shape_4, halves, sizeof halves);
    hf_tensor(&file, "mid.\xC3\xA9", "BF16", 1, shape_4, halves, sizeof halves);
    hf_tensor(&file, "counts", "I64", 1, shape_4, longs, sizeof longs);
    hf_tensor(&file, "none", "F32", 1, shape_0, NULL, 0);
    hf_tensor(&file, "scalar", "F32", 0, NULL, floats, 4);
    struct file_bytes bytes = hf_file_bytes(&file);
    hf_file_free(&file);
    return bytes;
}

static millet_status parse(const struct file_bytes *bytes, millet_error *err)
{
    struct mlt_arena arena;
    struct mlt_safetensors set;
    struct mlt_source source = {"weights", bytes->data, bytes->size};
    mlt_arena_init(&arena, mlt_default_allocator());
    memset(err, 0, sizeof *err);
    millet_status status = mlt_safetensors_parse(&arena, &source, &set, err);
    mlt_arena_release(&arena);
    return status;
}

static void test_good_file(void **state)
{
    (void)state;
    struct file_bytes bytes = sample();
    folder_make();
    file_write(folder_path("w.safetensors"), &bytes);
    struct mlt_checkpoint *checkpoint;
    struct mlt_safetensors set;
    millet_error err;
    const char *path = folder_path("w.safetensors");
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), path, "safetensors", &checkpoint, &err), 0);
    assert_int_equal(mlt_safetensors_open(checkpoint, path, &set, &err), MILLET_OK);
    assert_int_equal(set.n_tensors, 6);
    for (size_t i = 1; i < set.n_tensors; i++)
        assert_true(strcmp(set.tensors[i - 1].name.data, set.tensors[i].name.data) < 0);

    const struct mlt_safetensor *zeta = mlt_safetensors_find(&set, "zeta", 4);
    assert_non_null(zeta);
    assert_true(zeta->usable && zeta->dtype == MLT_F32 && zeta->n_dims == 2);
    assert_int_equal(zeta->shape[0], 2);
    assert_int_equal(zeta->shape[1], 3);
    assert_int_equal(zeta->bytes, 24);
    float last;
    memcpy(&last, zeta->data + 20, 4);
    assert_true(last == 6);
    /* Used in place, at the offset that is told. */
    assert_ptr_equal(zeta->data, checkpoint->maps[0].data + zeta->offset);
    assert_string_equal(zeta->file, path);

    assert_true(mlt_safetensors_find(&set, "alpha", 5)->dtype == MLT_F16);
    assert_true(mlt_safetensors_find(&set, "mid.\xC3\xA9", 6)->dtype == MLT_BF16);
    assert_false(mlt_safetensors_find(&set, "counts", 6)->usable);
    assert_string_equal(mlt_safetensors_find(&set, "counts", 6)->dtype_name, "I64");
    assert_int_equal(mlt_safetensors_find(&set, "none", 4)->bytes, 0);
    assert_int_equal(mlt_safetensors_find(&set, "scalar", 6)->n_dims, 0);
    assert_null(mlt_safetensors_find(&set, "zet", 3));
    assert_null(mlt_safetensors_find(&set, "zetaa", 5));
    assert_null(mlt_safetensors_find(&set, "__metadata__", 12));
    mlt_checkpoint_close(&checkpoint);
    folder_remove();
    bytes_free(&bytes);
}

static void test_truncated_everywhere(void **state)
{
    (void)state;
    struct file_bytes bytes = sample();
    millet_error err;
    assert_int_equal(parse(&bytes, &err), MILLET_OK);
    for (size_t size = 0; size < bytes.size; size++) {
        struct file_bytes cut = {.data = malloc(size ? size : 1), .size = size};
        assert_non_null(cut.data);
        memcpy(cut.data, bytes.data, size);
        assert_int_equal(parse(&cut, &err), MILLET_BAD_FORMAT);
        assert_true(err.message[0] != 0);
        assert_string_equal(err.file, "weights");
        free(cut.data);
    }
    bytes_u8(&bytes, 0); /* and one byte too many */
    assert_int_equal(parse(&bytes, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "belong to no tensor"));
    bytes_free(&bytes);
}

static void test_flipped_bits(void **state)
{
    (void)state;
    struct file_bytes bytes = sample();
    millet_error err;
    for (size_t i = 0; i < bytes.size * 8; i++) {
        bytes.data[i / 8] ^= (uint8_t)(1u << i % 8);
        millet_status status = parse(&bytes, &err); /* must return, whatever it says */
        assert_true(status == MILLET_OK || status == MILLET_BAD_FORMAT);
        bytes.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    bytes_free(&bytes);
}

static void test_lying_length(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {0,          1,          3,        1u << 20,       100 * 1000 * 1000,
                                       UINT32_MAX, 1ull << 62, 1u << 31, UINT64_MAX - 7, UINT64_MAX};
    struct counting_allocator counting;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct file_bytes bytes = sample();
        for (int k = 0; k < 8; k++)
            bytes.data[k] = (uint8_t)(lengths[i] >> 8 * k);
        struct mlt_arena arena;
        struct mlt_safetensors set;
        struct mlt_source source = {"weights", bytes.data, bytes.size};
        millet_error err;
        counting_allocator_init(&counting);
        mlt_arena_init(&arena, &counting.allocator);
        assert_int_equal(mlt_safetensors_parse(&arena, &source, &set, &err), MILLET_BAD_FORMAT);
        assert_true(counting.peak < 1 << 20); /* nothing in proportion to the lie */
        mlt_arena_release(&arena);
        assert_int_equal(counting.live, 0);
        bytes_free(&bytes);
    }
}

/* Headers over a buffer of 16 bytes, and a word of the message that must come. */
static const struct bad_header {
    const char *header, *word;
} bad_headers[] = {
    {"[]", "'{'"},
    {" {}", "'{'"},
    {"{", "'{'"},
    {"{\"a\"", "JSON"},
    {"{}{}", "JSON"},
    {"{\"a\":{}}", "dtype"},
    {"{\"a\":7}", "dtype"},
    {"{\"a\":[]}", "dtype"},
    {"{\"a\":null}", "dtype"},
    {"{\"a\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,16]}}", "dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"4\"],\"data_offsets\":[0,16]}}", "dimension"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", "dimension"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", "dimension"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}", "dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,32]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16.0]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-16,0]}}", "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[4,20]}}", "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,9223372036854775807]}}", "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,9223372036854775808]}}", "JSON"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,16]}}", "exactly"},
    {"{\"a\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,16]}}", "exactly"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,16]}}", "product"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", "exactly"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}",
     "overlap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     "overlap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
     "before"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "end of the file"},
    {"{}", "end of the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
     "duplicate"},
    {"{\"\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "empty"},
    {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "JSON"},
    {"{\"\xFF\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "JSON"},
};

static void test_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_headers / sizeof *bad_headers; i++) {
        struct file_bytes bytes = hf_raw(bad_headers[i].header, 16);
        millet_error err;
        millet_status status = parse(&bytes, &err);
        if (status != MILLET_BAD_FORMAT || !strstr(err.message, bad_headers[i].word))
            fail_msg("%s: %s, %s", bad_headers[i].header, millet_status_name(status), err.message);
        bytes_free(&bytes);
    }
    /* A type of the future and padding behind the header are fine. */
    static const char later[] = "{\"a\":{\"dtype\":\"F4\",\"shape\":[32],\"data_offsets\":[0,16]}}      ";
    struct file_bytes bytes = hf_raw(later, 16);
    millet_error err;
    assert_int_equal(parse(&bytes, &err), MILLET_OK);
    bytes_free(&bytes);
}

static void test_deep_nesting(void **state)
{
    (void)state;
    /* 100 000 brackets must neither overflow the stack nor be taken. */
    size_t depth = 100000;
    char *text = malloc(2 * depth + 16);
    assert_non_null(text);
    strcpy(text, "{\"a\":");
    size_t at = strlen(text);
    memset(text + at, '[', depth);
    memset(text + at + depth, ']', depth);
    strcpy(text + at + 2 * depth, "}");
    struct file_bytes bytes = hf_raw(text, 0);
    millet_error err;
    assert_int_equal(parse(&bytes, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "depth"));
    bytes_free(&bytes);
    free(text);
}

/* ---- Shards ---- */

/* Two shards with a matrix each, and the index that places them. */
static void write_shards(const char *first_holds, const char *second_holds)
{
    static const float values[] = {1, 2, 3, 4};
    struct hf_file one = {0}, two = {0};
    hf_tensor(&one, first_holds, "F32", 1, shape_4, values, sizeof values);
    hf_tensor(&two, second_holds, "F32", 1, shape_4, values, sizeof values);
    hf_write_file("model-00001-of-00002.safetensors", &one);
    hf_write_file("model-00002-of-00002.safetensors", &two);
}

static void write_index(const char *a, const char *b)
{
    hf_write_json("model.safetensors.index.json", json_pack("{s:{s:i}, s:{s:s, s:s}}", "metadata",
                                                            "total_size", 32, "weight_map", "a", a, "b", b));
}

static millet_status open_folder(millet_error *err)
{
    struct mlt_checkpoint *checkpoint;
    struct mlt_safetensors set;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", folder_path(""));
    folder[strlen(folder) - 1] = 0;
    memset(err, 0, sizeof *err);
    assert_int_equal(mlt_checkpoint_new(mlt_default_allocator(), folder, "safetensors", &checkpoint, err), 0);
    millet_status status = mlt_safetensors_open(checkpoint, folder, &set, err);
    if (status == MILLET_OK) assert_int_equal(set.n_tensors, 2);
    mlt_checkpoint_close(&checkpoint);
    return status;
}

static void test_shards(void **state)
{
    (void)state;
    static const char one[] = "model-00001-of-00002.safetensors", two[] = "model-00002-of-00002.safetensors";
    millet_error err;
    folder_make();
    assert_int_equal(open_folder(&err), MILLET_NOT_FOUND);
    assert_non_null(strstr(err.message, "model.safetensors.index.json"));

    write_shards("a", "b");
    write_index(one, two);
    assert_int_equal(open_folder(&err), MILLET_OK);

    write_index(two, one); /* the wrong shard */
    assert_int_equal(open_folder(&err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "lies in"));

    write_index(one, two);
    write_shards("a", "c"); /* a tensor that the index does not name */
    assert_int_equal(open_folder(&err), MILLET_BAD_FORMAT);
    assert_string_equal(err.item, "c");

    write_shards("a", "a"); /* twice the same */
    assert_int_equal(open_folder(&err), MILLET_BAD_FORMAT);

    write_shards("a", "b");
    write_index(one, one); /* one is placed where it is not */
    assert_int_equal(open_folder(&err), MILLET_BAD_FORMAT);
    assert_string_equal(err.item, "b");

    write_index(one, two);
    assert_int_equal(unlink(folder_path(two)), 0);
    assert_int_equal(open_folder(&err), MILLET_NOT_FOUND);
    assert_non_null(strstr(err.file, two));
    folder_remove();
}

static void test_shard_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "../../etc/passwd",
        "../x.safetensors",
        "/etc/passwd",
        "/tmp/x.safetensors",
        "sub/x.safetensors",
        "..",
        ".",
        "",
        ".safetensors",
        "..safetensors",
        "c:x.safetensors",
        "..\\x.safetensors",
        "model.bin",
    };
    static const char one[] = "model-00001-of-00002.safetensors";
    millet_error err;
    folder_make();
    write_shards("a", "b");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_index(one, names[i]);
        assert_int_equal(open_folder(&err), MILLET_BAD_FORMAT);
        assert_string_equal(err.item, "b");
        assert_non_null(strstr(err.message, "same directory"));
    }
    static const char *const indexes[] = {
        "{}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{\"a\":7}}",
        "{\"weight_map\":{\"a\":null}}",
        "{\"weight_map\":{\"a\":\"x\\u0000.safetensors\"}}",
        "[]",
        "",
        "{\"weight_map\":{\"a\":\"m.safetensors\",\"a\":\"m.safetensors\"}}",
    };
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        hf_write_text("model.safetensors.index.json", indexes[i]);
        assert_int_equal(open_folder(&err), MILLET_BAD_FORMAT);
    }
    folder_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_file),    cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_flipped_bits), cmocka_unit_test(test_lying_length),
        cmocka_unit_test(test_bad_headers),  cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_shards),       cmocka_unit_test(test_shard_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
