/*
 * The base room: errors, arithmetic, memory, random numbers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <string.h>

static void test_error_places(void **state)
{
    (void)state;
    millet_error err;
    char line[512];
    assert_int_equal(mlt_fail(&err, MILLET_BAD_ARGUMENT, "n is %d", 7), MILLET_BAD_ARGUMENT);
    millet_error_format(&err, line, sizeof line);
    assert_string_equal(line, "n is 7");
    mlt_error_in_file(&err, "a.gguf");
    mlt_error_in_item(&err, "token_embd.weight");
    mlt_error_in_file(&err, "b.gguf"); /* the first place stays */
    millet_error_format(&err, line, sizeof line);
    assert_string_equal(line, "a.gguf: token_embd.weight: n is 7");
    mlt_fail_at(&err, MILLET_BAD_FORMAT, "c.gguf", NULL, 24, "truncated");
    millet_error_format(&err, line, sizeof line);
    assert_string_equal(line, "c.gguf: at byte 24: truncated");
    char small[8];
    assert_int_equal(millet_error_format(&err, small, sizeof small), (int)strlen(line));
    assert_string_equal(small, "c.gguf:");
    assert_int_equal(mlt_fail(NULL, MILLET_IO, "nobody listens"), MILLET_IO);
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    char *name = malloc(5000);
    memset(name, 'x', 4999);
    name[4999] = 0;
    millet_error err;
    mlt_fail_at(&err, MILLET_IO, name, name, MILLET_NO_OFFSET, "%s", name);
    assert_int_equal(strlen(err.file), sizeof err.file - 1);
    assert_int_equal(strlen(err.item), sizeof err.item - 1);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    free(name);
}

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(millet_status_name(MILLET_OK), "OK");
    assert_string_equal(millet_status_name(MILLET_BAD_FORMAT), "BAD_FORMAT");
    assert_string_equal(millet_status_name((millet_status)99), "UNKNOWN");
    assert_non_null(strstr(millet_status_text(MILLET_CONTEXT_FULL), "context"));
}

static void test_overflow(void **state)
{
    (void)state;
    uint64_t out;
    assert_true(mlt_add_u64(UINT64_MAX - 1, 1, &out));
    assert_false(mlt_add_u64(UINT64_MAX, 1, &out));
    assert_true(mlt_mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &out));
    assert_false(mlt_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    assert_true(mlt_mul_u64(0, UINT64_MAX, &out));
    millet_error err;
    assert_null(mlt_alloc(mlt_default_allocator(), SIZE_MAX / 2, 3, &err));
    assert_int_equal(err.status, MILLET_NO_MEMORY);
    assert_int_equal(mlt_round_up(33, 32), 64);
    assert_int_equal(mlt_round_up(64, 32), 64);
}

static void test_arena(void **state)
{
    (void)state;
    struct mlt_arena arena;
    mlt_arena_init(&arena, mlt_default_allocator());
    char *previous = NULL;
    for (int i = 1; i < 2000; i++) {
        char *block = mlt_arena_alloc(&arena, (size_t)i, 7, NULL);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        memset(block, i & 127, (size_t)i * 7);
        if (previous) assert_int_equal(previous[0], (i - 1) & 127);
        previous = block;
    }
    char *text = mlt_arena_text(&arena, "a\0b", 3, NULL);
    assert_memory_equal(text, "a\0b", 4);
    assert_null(mlt_arena_alloc(&arena, SIZE_MAX, 2, NULL));
    mlt_arena_release(&arena);
    assert_null(arena.chunks);
}

static void test_text(void **state)
{
    (void)state;
    struct mlt_text text = {.allocator = mlt_default_allocator()};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(mlt_text_printf(&text, NULL, "%d,", i % 10), MILLET_OK);
    assert_int_equal(text.length, 2000);
    assert_int_equal(mlt_text_append(&text, "end", 3, NULL), MILLET_OK);
    assert_string_equal(text.data + 1998, "9,end");
    mlt_text_release(&text);
    assert_null(text.data);
}

static void test_grow(void **state)
{
    (void)state;
    int *array = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 1000; i++) {
        void *raw = array;
        assert_int_equal(mlt_grow(mlt_default_allocator(), &raw, &capacity, i, sizeof *array, NULL),
                         MILLET_OK);
        array = raw;
        array[i] = (int)i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(array[i], i);
    mlt_free(mlt_default_allocator(), array);
}

/* The first numbers of xoshiro256** seeded through splitmix64 with 0 and 42, computed from the papers'
 * definitions. */
static void test_random(void **state)
{
    (void)state;
    struct mlt_random a, b;
    mlt_random_seed(&a, 0);
    /* splitmix64(0) is published with its reference code. */
    assert_true(a.state[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(a.state[1] == UINT64_C(0x6e789e6aa1b965f4));
    uint64_t x = a.state[1] * 5;
    assert_true(mlt_random_u64(&a) == ((x << 7) | (x >> 57)) * 9);
    mlt_random_seed(&a, 42);
    mlt_random_seed(&b, 42);
    double sum = 0, squares = 0;
    for (int i = 0; i < 100000; i++) {
        float u = mlt_random_float(&a);
        assert_true(u >= 0 && u < 1);
        assert_true(u == mlt_random_float(&b));
        sum += u;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.01);
    sum = 0;
    for (int i = 0; i < 100000; i++) {
        double g = mlt_random_normal(&a);
        sum += g;
        squares += g * g;
    }
    assert_true(fabs(sum / 100000) < 0.02);
    assert_true(fabs(squares / 100000 - 1) < 0.03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_places), cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_status_names), cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_arena),        cmocka_unit_test(test_text),
        cmocka_unit_test(test_grow),         cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
