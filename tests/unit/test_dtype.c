/*
 * The table of dtypes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tensor/dtype.h"

#include <string.h>

static void numbers_are_found_or_not(void **state)
{
    (void)state;
    int known = 0;
    for (uint32_t number = 0; number < 300; number++)
        known += mlt_dtype_find(number) != NULL;
    assert_int_equal(known, 23);
    /* Removed from GGUF, never assigned, and the numbers around the table's end. */
    const uint32_t unknown[] = {4, 5, 9, 15, 16, 29, 31, 36, 40, 63, 64, 65, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < MLT_COUNT(unknown); i++)
        assert_null(mlt_dtype_find(unknown[i]));
    assert_ptr_equal(mlt_dtype_find(12), mlt_dtype_info(MLT_Q4_K));
}

static void properties(void **state)
{
    (void)state;
    for (uint32_t number = 0; number < MLT_DTYPE_LIMIT; number++) {
        const struct mlt_dtype_info *info = mlt_dtype_find(number);
        if (!info) continue;
        assert_int_equal(info->quantised, info->block_length > 1);
        assert_true(info->block_length == 1 || info->block_length == 32 || info->block_length == 256);
        bool integer_or_double = info->name[0] == 'I' && info->name[1] != 'Q';
        integer_or_double |= number == MLT_F64;
        assert_int_equal(info->is_float, !integer_or_double);
        /* Three blocks: what three blocks take. */
        assert_int_equal(mlt_dtype_row_bytes((mlt_dtype)number, 3 * info->block_length),
                         3 * info->block_bytes);
    }
    assert_int_equal(mlt_dtype_row_bytes(MLT_Q4_0, 4096), 2304);
    assert_int_equal(mlt_dtype_row_bytes(MLT_Q6_K, (int64_t)1 << 40), ((uint64_t)1 << 32) * 210);
}

static void names_in_any_case(void **state)
{
    (void)state;
    mlt_dtype dtype;
    for (uint32_t number = 0; number < MLT_DTYPE_LIMIT; number++) {
        const struct mlt_dtype_info *info = mlt_dtype_find(number);
        if (!info) continue;
        char lower[16];
        size_t length = strlen(info->name);
        for (size_t i = 0; i <= length; i++)
            lower[i] =
                info->name[i] >= 'A' && info->name[i] <= 'Z' ? (char)(info->name[i] + 32) : info->name[i];
        assert_true(mlt_dtype_by_name(info->name, &dtype));
        assert_int_equal(dtype, number);
        assert_true(mlt_dtype_by_name(lower, &dtype));
        assert_int_equal(dtype, number);
        /* Neither a part of a name nor more than a name. */
        lower[length] = 'x';
        lower[length + 1] = 0;
        assert_false(mlt_dtype_by_name(lower, &dtype));
    }
    assert_true(mlt_dtype_by_name("q4_K", &dtype));
    assert_int_equal(dtype, MLT_Q4_K);
    assert_false(mlt_dtype_by_name("", &dtype));
    assert_false(mlt_dtype_by_name("Q4", &dtype));
    assert_false(mlt_dtype_by_name("Q4-0", &dtype));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_found_or_not),
        cmocka_unit_test(properties),
        cmocka_unit_test(names_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
