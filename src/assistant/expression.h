/*
 * Arithmetic in words and signs: "twelve times seven plus 3", "15% of 80", "square root of 2", 三加五乘二.
 *
 * The usual precedence: sums below products below powers; a percentage is taken "of" something, or a
 * hundredth.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_EXPRESSION_H
#define MLT_ASSISTANT_EXPRESSION_H

#include <stdbool.h>
#include <stddef.h>

enum mlt_expression_result {
    MLT_EXPRESSION_NONE, /* no arithmetic, or a number alone */
    MLT_EXPRESSION_VALUE,
    MLT_EXPRESSION_UNDEFINED, /* a division by zero, a root of less than zero, no finite number */
};

/* Evaluates the whole text. */
enum mlt_expression_result mlt_expression_evaluate(const char *text, size_t length, double *value);

#endif
