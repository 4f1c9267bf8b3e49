/* Checkpoints in memory: building, names, typed access, reading rows. SPDX-License-Identifier: Apache-2.0 */
#include "format/checkpoint.h"
#include "support/counting_allocator.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct counting_allocator counting;
static struct mlt_checkpoint *checkpoint;

static int set_up(void **state)
{
    (void)state;
    counting_allocator_init(&counting);
    return mlt_checkpoint_new(&counting.allocator, "test.gguf", "test", &checkpoint, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    mlt_checkpoint_close(&checkpoint);
    return counting.live == 0 ? 0 : -1;
}

static struct mlt_string text(const char *data)
{
    return (struct mlt_string){data, strlen(data)};
}

static struct mlt_tensor matrix(const char *name, int64_t cols, int64_t rows)
{
    return (struct mlt_tensor){.name = text(name), .dtype = MLT_F32, .n_dims = 2, .ne = {cols, rows, 9, 9}};
}

static millet_status add_scalar(const char *key, enum mlt_meta_type type, uint64_t bits)
{
    struct mlt_meta meta = {.key = text(key), .type = type, .element = type, .count = 1, .value.u = bits};
    return mlt_checkpoint_add_meta(checkpoint, &meta, NULL);
}

static millet_status add_real(const char *key, enum mlt_meta_type type, double value)
{
    struct mlt_meta meta = {.key = text(key), .type = type, .element = type, .count = 1, .value.f = value};
    return mlt_checkpoint_add_meta(checkpoint, &meta, NULL);
}

static void test_lookup_among_many(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    char name[32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "key.%d", i * 7919 % COUNT);
        assert_int_equal(mlt_checkpoint_set_u32(checkpoint, name, (uint32_t)(i * 7919 % COUNT), NULL),
                         MILLET_OK);
        struct mlt_tensor tensor = matrix(name, 1 + i * 7919 % COUNT, 1);
        assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, NULL), MILLET_OK);
    }
    assert_non_null(mlt_checkpoint_meta(checkpoint, "key.17")); /* before it is sealed, too */
    assert_null(mlt_checkpoint_tensor(checkpoint, "key"));
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        uint32_t value = COUNT;
        assert_int_equal(mlt_meta_get_u32(checkpoint, name, NULL, &value, NULL), MILLET_OK);
        assert_int_equal(value, i);
        const struct mlt_tensor *tensor = mlt_checkpoint_tensor(checkpoint, name);
        assert_non_null(tensor);
        assert_int_equal(tensor->ne[0], i + 1);
    }
    static const char *const absent[] = {"", "key", "key.", "key.2000", "zzz", "key.1 "};
    for (size_t i = 0; i < MLT_COUNT(absent); i++) {
        assert_null(mlt_checkpoint_tensor(checkpoint, absent[i]));
        assert_null(mlt_checkpoint_meta(checkpoint, absent[i]));
    }
}

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_OK);
    assert_null(mlt_checkpoint_tensor(checkpoint, "a"));
    assert_null(mlt_checkpoint_meta(checkpoint, "a"));
}

static void test_duplicates(void **state)
{
    (void)state;
    millet_error err;
    for (int kind = 0; kind < 2; kind++) {
        struct mlt_checkpoint *other;
        assert_int_equal(mlt_checkpoint_new(&counting.allocator, "double.gguf", "test", &other, NULL),
                         MILLET_OK);
        static const char *const names[] = {"b", "a.b", "c", "a", "a.b", "d"};
        for (size_t i = 0; i < MLT_COUNT(names); i++) {
            struct mlt_tensor tensor = matrix(names[i], 1, 1);
            millet_status status = kind ? mlt_checkpoint_add_tensor(other, &tensor, NULL)
                                        : mlt_checkpoint_set_u32(other, names[i], 1, NULL);
            assert_int_equal(status, MILLET_OK);
        }
        assert_int_equal(mlt_checkpoint_seal(other, &err), MILLET_BAD_FORMAT);
        assert_string_equal(err.item, "a.b");
        assert_string_equal(err.file, "double.gguf");
        mlt_checkpoint_close(&other);
        assert_null(other);
    }
    /* A key and a tensor may have one name. */
    struct mlt_tensor tensor = matrix("same", 1, 1);
    assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, NULL), MILLET_OK);
    assert_int_equal(mlt_checkpoint_set_u32(checkpoint, "same", 1, NULL), MILLET_OK);
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_OK);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t length;
        bool valid;
    } cases[] = {
        {"", 0, false},
        {"a\0b", 3, false},
        {"\xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80", 9, true},
        {"\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF"
         "\xBF",
         25, true},
        {"\x80", 1, false},             /* a continuation alone */
        {"\xC3", 1, false},             /* cut */
        {"\xE2\x96", 2, false},         /* cut */
        {"\xF0\x9F\x98", 3, false},     /* cut */
        {"\xC0\xAF", 2, false},         /* not the shortest form */
        {"\xC1\xBF", 2, false},         /* not the shortest form */
        {"\xE0\x9F\xBF", 3, false},     /* not the shortest form */
        {"\xF0\x8F\xBF\xBF", 4, false}, /* not the shortest form */
        {"\xED\xA0\x80", 3, false},     /* surrogate */
        {"\xF4\x90\x80\x80", 4, false}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", 4, false},
        {"\xFF", 1, false},
        {"\xC3\x28", 2, false},
        {"\xE2\x28\x81", 3, false},
        {"\xE2\x96\xC1", 3, false},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        /* An exact copy: a character that is cut must not be completed by what lies behind it. */
        char exact[32];
        memset(exact, 0x80, sizeof exact);
        memcpy(exact, cases[i].name, cases[i].length);
        exact[cases[i].length] = 0;
        struct mlt_tensor tensor = matrix("", 1, 1);
        tensor.name = (struct mlt_string){exact, cases[i].length};
        struct mlt_meta meta = {.key = tensor.name, .type = MLT_META_U8, .element = MLT_META_U8, .count = 1};
        millet_status expected = cases[i].valid ? MILLET_OK : MILLET_BAD_FORMAT;
        assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, NULL), expected);
        assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), expected);
    }
    assert_int_equal(checkpoint->n_tensors, 2);
}

static void test_sealed(void **state)
{
    (void)state;
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_OK);
    struct mlt_tensor tensor = matrix("late", 1, 1);
    assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, NULL), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_checkpoint_set_u32(checkpoint, "late", 1, NULL), MILLET_BAD_ARGUMENT);
    assert_int_equal(mlt_checkpoint_seal(checkpoint, NULL), MILLET_BAD_ARGUMENT);
}

static void test_values_are_copied(void **state)
{
    (void)state;
    char key[] = "strings", first[] = "one", second[] = "t\0wo";
    struct mlt_string strings[] = {{first, 3}, {second, 4}, {"", 0}};
    struct mlt_meta meta = {.key = text(key),
                            .type = MLT_META_ARRAY,
                            .element = MLT_META_STRING,
                            .count = 3,
                            .value.array = strings};
    assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), MILLET_OK);
    uint16_t numbers[] = {1, 2, 65535};
    meta = (struct mlt_meta){.key = text("numbers"),
                             .type = MLT_META_ARRAY,
                             .element = MLT_META_U16,
                             .count = 3,
                             .value.array = numbers};
    assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), MILLET_OK);
    meta = (struct mlt_meta){.key = text("none"), .type = MLT_META_ARRAY, .element = MLT_META_F64};
    assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), MILLET_OK);
    meta = (struct mlt_meta){.key = text("deep"), .type = MLT_META_ARRAY, .element = MLT_META_ARRAY};
    assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), MILLET_UNSUPPORTED);
    memset(key, 'x', sizeof key - 1);
    memset(first, 'x', sizeof first);
    memset(second, 'x', sizeof second);
    memset(strings, 0, sizeof strings);
    memset(numbers, 0, sizeof numbers);

    const struct mlt_meta *found = mlt_checkpoint_meta(checkpoint, "strings");
    assert_non_null(found);
    const struct mlt_string *copies = found->value.array;
    assert_int_equal(copies[0].length, 3);
    assert_memory_equal(copies[0].data, "one", 4);
    assert_int_equal(copies[1].length, 4);
    assert_memory_equal(copies[1].data, "t\0wo", 5);
    assert_int_equal(copies[2].length, 0);
    assert_string_equal(copies[2].data, "");
    const uint16_t expected[] = {1, 2, 65535};
    found = mlt_checkpoint_meta(checkpoint, "numbers");
    assert_memory_equal(found->value.array, expected, sizeof expected);
}

static void test_get_u32(void **state)
{
    (void)state;
    static const struct {
        enum mlt_meta_type type;
        uint64_t bits;
        bool fits;
    } cases[] = {
        {MLT_META_U8, 255, true},          {MLT_META_U16, 65535, true},
        {MLT_META_U32, UINT32_MAX, true},  {MLT_META_U64, UINT32_MAX, true},
        {MLT_META_U64, 1ull << 32, false}, {MLT_META_U64, 1ull << 40, false},
        {MLT_META_I8, 127, true},          {MLT_META_I8, UINT64_MAX, false},
        {MLT_META_I32, 0, true},           {MLT_META_I64, UINT32_MAX, true},
        {MLT_META_I64, 1ull << 32, false}, {MLT_META_I64, 1ull << 63, false},
        {MLT_META_BOOL, 1, false},
    };
    char key[32];
    millet_error err;
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        snprintf(key, sizeof key, "k%zu", i);
        assert_int_equal(add_scalar(key, cases[i].type, cases[i].bits), MILLET_OK);
        uint32_t value = 77;
        assert_int_equal(mlt_meta_get_u32(checkpoint, key, NULL, &value, &err),
                         cases[i].fits ? MILLET_OK : MILLET_BAD_FORMAT);
        if (cases[i].fits) assert_int_equal(value, cases[i].bits);
        if (!cases[i].fits) assert_string_equal(err.item, key);
    }
    static const struct {
        double value;
        bool fits;
    } reals[] = {{3.0, true},  {0.0, true},   {4294967295.0, true}, {4294967296.0, false},
                 {2.5, false}, {-1.0, false}, {(double)NAN, false}, {(double)INFINITY, false}};
    for (size_t i = 0; i < MLT_COUNT(reals); i++) {
        snprintf(key, sizeof key, "r%zu", i);
        assert_int_equal(add_real(key, MLT_META_F64, reals[i].value), MILLET_OK);
        uint32_t value = 77;
        assert_int_equal(mlt_meta_get_u32(checkpoint, key, NULL, &value, NULL),
                         reals[i].fits ? MILLET_OK : MILLET_BAD_FORMAT);
        if (reals[i].fits) assert_true((double)value == reals[i].value);
    }
    uint32_t fallback = 5, value = 0;
    assert_int_equal(mlt_meta_get_u32(checkpoint, "absent", &fallback, &value, NULL), MILLET_OK);
    assert_int_equal(value, 5);
    assert_int_equal(mlt_meta_get_u32(checkpoint, "absent", NULL, &value, &err), MILLET_NOT_FOUND);
    assert_string_equal(err.item, "absent");
    assert_string_equal(err.file, "test.gguf");
    assert_int_equal(mlt_checkpoint_set_string(checkpoint, "s", "12", 2, NULL), MILLET_OK);
    assert_int_equal(mlt_meta_get_u32(checkpoint, "s", NULL, &value, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "string"));
    const uint32_t numbers[] = {1, 2};
    struct mlt_meta meta = {.key = text("a"),
                            .type = MLT_META_ARRAY,
                            .element = MLT_META_U32,
                            .count = 2,
                            .value.array = numbers};
    assert_int_equal(mlt_checkpoint_add_meta(checkpoint, &meta, NULL), MILLET_OK);
    assert_int_equal(mlt_meta_get_u32(checkpoint, "a", NULL, &value, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "array of u32"));
}

static void test_get_f32(void **state)
{
    (void)state;
    float value = 0, fallback = 2.5f;
    assert_int_equal(mlt_checkpoint_set_f32(checkpoint, "f32", 0.1f, NULL), MILLET_OK);
    assert_int_equal(add_real("f64", MLT_META_F64, 1e-5), MILLET_OK);
    assert_int_equal(add_real("huge", MLT_META_F64, 1e300), MILLET_OK);
    assert_int_equal(add_real("inf", MLT_META_F64, (double)INFINITY), MILLET_OK);
    assert_int_equal(add_scalar("u32", MLT_META_U32, 10000), MILLET_OK);
    assert_int_equal(add_scalar("i32", MLT_META_I32, (uint64_t)-3), MILLET_OK);
    assert_int_equal(add_scalar("odd", MLT_META_U32, 16777217), MILLET_OK);
    assert_int_equal(add_scalar("bool", MLT_META_BOOL, 1), MILLET_OK);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "f32", NULL, &value, NULL), MILLET_OK);
    assert_true(value == 0.1f);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "f64", NULL, &value, NULL), MILLET_OK);
    assert_true(value == 1e-5f);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "inf", NULL, &value, NULL), MILLET_OK);
    assert_true(isinf(value));
    assert_int_equal(mlt_meta_get_f32(checkpoint, "u32", NULL, &value, NULL), MILLET_OK);
    assert_true(value == 10000.0f);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "i32", NULL, &value, NULL), MILLET_OK);
    assert_true(value == -3.0f);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "huge", NULL, &value, NULL), MILLET_BAD_FORMAT);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "odd", NULL, &value, NULL), MILLET_BAD_FORMAT);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "bool", NULL, &value, NULL), MILLET_BAD_FORMAT);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "none", NULL, &value, NULL), MILLET_NOT_FOUND);
    assert_int_equal(mlt_meta_get_f32(checkpoint, "none", &fallback, &value, NULL), MILLET_OK);
    assert_true(value == 2.5f);
}

static void test_get_bool_and_string(void **state)
{
    (void)state;
    bool flag = false, fallback = true;
    millet_error err;
    assert_int_equal(mlt_checkpoint_set_bool(checkpoint, "yes", true, NULL), MILLET_OK);
    assert_int_equal(add_scalar("one", MLT_META_U8, 1), MILLET_OK);
    assert_int_equal(add_scalar("two", MLT_META_U8, 2), MILLET_OK);
    assert_int_equal(add_scalar("zero", MLT_META_I32, 0), MILLET_OK);
    assert_int_equal(mlt_meta_get_bool(checkpoint, "yes", NULL, &flag, NULL), MILLET_OK);
    assert_true(flag);
    assert_int_equal(mlt_meta_get_bool(checkpoint, "zero", NULL, &flag, NULL), MILLET_OK);
    assert_false(flag);
    assert_int_equal(mlt_meta_get_bool(checkpoint, "one", NULL, &flag, NULL), MILLET_OK);
    assert_true(flag);
    assert_int_equal(mlt_meta_get_bool(checkpoint, "two", NULL, &flag, NULL), MILLET_BAD_FORMAT);
    assert_int_equal(mlt_meta_get_bool(checkpoint, "none", NULL, &flag, NULL), MILLET_NOT_FOUND);
    assert_int_equal(mlt_meta_get_bool(checkpoint, "none", &fallback, &flag, NULL), MILLET_OK);
    assert_true(flag);

    struct mlt_string value = {0}, other = {"other", 5};
    assert_int_equal(mlt_checkpoint_set_string(checkpoint, "s", "a\0b\xFF", 4, NULL), MILLET_OK);
    assert_int_equal(mlt_meta_get_string(checkpoint, "s", NULL, &value, NULL), MILLET_OK);
    assert_int_equal(value.length, 4);
    assert_memory_equal(value.data, "a\0b\xFF", 5); /* with the NUL behind it */
    assert_int_equal(mlt_meta_get_string(checkpoint, "none", &other, &value, NULL), MILLET_OK);
    assert_string_equal(value.data, "other");
    assert_int_equal(mlt_meta_get_string(checkpoint, "none", NULL, &value, NULL), MILLET_NOT_FOUND);
    assert_int_equal(mlt_meta_get_string(checkpoint, "yes", NULL, &value, &err), MILLET_BAD_FORMAT);
    assert_non_null(strstr(err.message, "bool"));
}

static void test_measure(void **state)
{
    (void)state;
    static const struct {
        uint32_t dtype;
        int n_dims;
        int64_t ne[4];
        millet_status status;
        uint64_t row_bytes, rows;
    } cases[] = {
        {MLT_F32, 1, {5, 99, 99, 99}, MILLET_OK, 20, 1},
        {MLT_F16, 3, {5, 2, 3, 99}, MILLET_OK, 10, 6},
        {MLT_Q4_0, 2, {64, 3, 0, 0}, MILLET_OK, 36, 3},
        {MLT_Q4_K, 4, {512, 2, 2, 2}, MILLET_OK, 288, 8},
        {MLT_Q4_0, 2, {48, 3, 0, 0}, MILLET_BAD_FORMAT, 0, 0},
        {MLT_Q4_K, 1, {128, 0, 0, 0}, MILLET_BAD_FORMAT, 0, 0},
        {MLT_F32, 2, {4, 0, 1, 1}, MILLET_BAD_FORMAT, 0, 0},
        {MLT_F32, 2, {-4, 1, 1, 1}, MILLET_BAD_FORMAT, 0, 0},
        {MLT_F32, 0, {4, 1, 1, 1}, MILLET_BAD_FORMAT, 0, 0},
        {MLT_F32, 5, {4, 1, 1, 1}, MILLET_BAD_FORMAT, 0, 0},
        {MLT_F32, 2, {1ll << 32, 1ll << 32, 1, 1}, MILLET_BAD_FORMAT, 0, 0}, /* elements overflow */
        {MLT_F32, 2, {1ll << 31, 1ll << 31, 1, 1}, MILLET_BAD_FORMAT, 0, 0}, /* 2^62 elements, 2^64 bytes */
        {MLT_F64, 1, {1ll << 60, 1, 1, 1}, MILLET_BAD_FORMAT, 0, 0},         /* 2^63 bytes */
        {MLT_I8, 4, {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, MILLET_BAD_FORMAT, 0, 0},
        {9, 1, {32, 1, 1, 1}, MILLET_UNSUPPORTED, 0, 0},
    };
    for (size_t i = 0; i < MLT_COUNT(cases); i++) {
        char name[16];
        millet_error err;
        snprintf(name, sizeof name, "t%zu", i);
        struct mlt_tensor tensor = {
            .name = text(name), .dtype = (mlt_dtype)cases[i].dtype, .n_dims = cases[i].n_dims};
        memcpy(tensor.ne, cases[i].ne, sizeof tensor.ne);
        assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, &err), cases[i].status);
        const struct mlt_tensor *added = mlt_checkpoint_tensor(checkpoint, name);
        if (cases[i].status != MILLET_OK) {
            assert_null(added);
            assert_string_equal(err.item, name);
            continue;
        }
        assert_int_equal(added->row_bytes, cases[i].row_bytes);
        assert_int_equal(added->rows, cases[i].rows);
        assert_int_equal(added->bytes, cases[i].rows * cases[i].row_bytes);
        assert_string_equal(added->file, "test.gguf");
        for (int k = added->n_dims; k < MLT_MAX_DIMS; k++)
            assert_int_equal(added->ne[k], 1);
    }
}

static millet_status count_up(const struct mlt_tensor *tensor, uint64_t row, uint64_t rows, void *out,
                              millet_error *err)
{
    if (row >= 3) return mlt_fail(err, MILLET_IO, "row 3 cannot be read");
    for (uint64_t i = 0; i < rows * (uint64_t)tensor->ne[0]; i++)
        ((uint8_t *)out)[i] = (uint8_t)(row * (uint64_t)tensor->ne[0] + i);
    return MILLET_OK;
}

static void test_read_rows(void **state)
{
    (void)state;
    static const uint8_t data[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    millet_error err;
    for (int assembled = 0; assembled < 2; assembled++) {
        struct mlt_tensor tensor = {.name = text(assembled ? "read" : "data"),
                                    .dtype = MLT_I8,
                                    .n_dims = 2,
                                    .ne = {3, 4, 1, 1},
                                    .data = assembled ? NULL : data,
                                    .read = assembled ? count_up : NULL};
        assert_int_equal(mlt_checkpoint_add_tensor(checkpoint, &tensor, NULL), MILLET_OK);
        const struct mlt_tensor *added = mlt_checkpoint_tensor(checkpoint, tensor.name.data);
        uint8_t out[13];
        memset(out, 99, sizeof out);
        assert_int_equal(mlt_tensor_read(added, 1, 2, out, NULL), MILLET_OK);
        assert_memory_equal(out, data + 3, 6);
        assert_int_equal(out[6], 99);
        assert_int_equal(mlt_tensor_read(added, 4, 0, out, NULL), MILLET_OK);
        assert_int_equal(mlt_tensor_read(added, 4, 1, out, &err), MILLET_BAD_ARGUMENT);
        assert_string_equal(err.item, tensor.name.data);
        assert_int_equal(mlt_tensor_read(added, 5, 0, out, NULL), MILLET_BAD_ARGUMENT);
        assert_int_equal(mlt_tensor_read(added, 1, UINT64_MAX, out, NULL), MILLET_BAD_ARGUMENT);
        assert_int_equal(mlt_tensor_read(added, 3, 1, out, NULL), assembled ? MILLET_IO : MILLET_OK);
    }
}

static void test_type_tables(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, sizeof(struct mlt_string), 0, 8, 8, 8};
    for (unsigned i = 0; i < MLT_COUNT(sizes); i++)
        assert_int_equal(mlt_meta_type_size((enum mlt_meta_type)i), sizes[i]);
    assert_int_equal(mlt_meta_type_size((enum mlt_meta_type)13), 0);
    assert_string_equal(mlt_meta_type_name(MLT_META_STRING), "string");
    assert_string_equal(mlt_meta_type_name(MLT_META_F64), "f64");
    assert_string_equal(mlt_meta_type_name((enum mlt_meta_type)13), "unknown");
}

static void test_close_null(void **state)
{
    (void)state;
    struct mlt_checkpoint *none = NULL;
    mlt_checkpoint_close(&none);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_lookup_among_many),
        TEST(test_empty),
        TEST(test_duplicates),
        TEST(test_names),
        TEST(test_sealed),
        TEST(test_get_u32),
        TEST(test_values_are_copied),
        TEST(test_get_f32),
        TEST(test_measure),
        TEST(test_read_rows),
        TEST(test_get_bool_and_string),
        TEST(test_type_tables),
        TEST(test_close_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
