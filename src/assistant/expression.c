/* Arithmetic by recursive descent. SPDX-License-Identifier: Apache-2.0 */
#include "assistant/expression.h"

#include "assistant/words_scan.h"

#include <math.h>

enum { MAX_DEPTH = 32 };

struct parser {
    struct mlt_scan s;
    int depth, operations;
    bool bad, undefined;
};

/* Any of the words, NULL-terminated; those of letters as whole words. */
static bool take_any(struct parser *p, const char *const *words)
{
    for (; *words; words++) {
        bool letters = (**words >= 'a' && **words <= 'z');
        if (letters ? mlt_scan_take_word(&p->s, *words) : mlt_scan_take(&p->s, *words)) return true;
    }
    return false;
}

#define TAKE(p, ...) take_any(p, (const char *const[]){__VA_ARGS__, NULL})

static double sum(struct parser *p);

static double factorial(struct parser *p, double n)
{
    double product = 1;
    if (n < 0 || n != floor(n) || n > 170) {
        p->undefined = true;
        return 0;
    }
    for (double i = 2; i <= n; i++)
        product *= i;
    return product;
}

static double root_of(struct parser *p, double value, double degree)
{
    p->operations++;
    if (value < 0 && degree == 2) p->undefined = true;
    return degree == 3 ? cbrt(value) : sqrt(fabs(value));
}

static double primary(struct parser *p)
{
    double value = 0;
    if (++p->depth > MAX_DEPTH) p->bad = true;
    if (p->bad) return 0;
    if (mlt_scan_take(&p->s, "(")) {
        value = sum(p);
        if (!mlt_scan_take(&p->s, ")")) p->bad = true;
    } else if (TAKE(p, "the square root of", "square root of", "root of", "sqrt", "根号", "√")) {
        value = root_of(p, primary(p), 2);
    } else if (TAKE(p, "the cube root of", "cube root of")) {
        value = root_of(p, primary(p), 3);
    } else if (TAKE(p, "the sum of", "sum of")) {
        value = primary(p);
        if (!TAKE(p, "and", "和")) p->bad = true;
        value += primary(p);
        p->operations++;
    } else if (TAKE(p, "half of", "half")) {
        value = primary(p) / 2;
        p->operations++;
    } else if (TAKE(p, "a third of", "one third of")) {
        value = primary(p) / 3;
        p->operations++;
    } else if (TAKE(p, "a quarter of", "one quarter of")) {
        value = primary(p) / 4;
        p->operations++;
    } else if (TAKE(p, "twice", "double")) {
        value = primary(p) * 2;
        p->operations++;
    } else if (TAKE(p, "百分之")) {
        value = primary(p) / 100;
        p->operations++;
    } else if (!mlt_scan_number(&p->s, &value)) {
        p->bad = true;
    }
    p->depth--;
    return value;
}

/* What stands behind a value: squared, %, 的平方. */
static double postfix(struct parser *p)
{
    double value = primary(p);
    while (!p->bad) {
        if (TAKE(p, "的平方根")) {
            value = root_of(p, value, 2);
        } else if (TAKE(p, "squared", "的平方")) {
            value *= value;
        } else if (TAKE(p, "cubed", "的立方", "的三次方")) {
            value *= value * value;
        } else if (TAKE(p, "factorial", "!", "的阶乘")) {
            value = factorial(p, value);
        } else if (TAKE(p, "percent", "per cent", "%")) {
            value /= 100;
            if (TAKE(p, "of", "的")) value *= postfix(p);
        } else if (TAKE(p, "的百分之")) {
            value *= primary(p) / 100;
        } else {
            return value;
        }
        p->operations++;
    }
    return value;
}

static double power(struct parser *p)
{
    double base = postfix(p);
    if (!TAKE(p, "to the power of", "raised to the power of", "to the", "**", "^", "的")) return base;
    if (++p->depth > MAX_DEPTH) p->bad = true;
    double exponent = p->bad ? 0 : power(p);
    p->depth--;
    p->operations++;
    TAKE(p, "th power", "power", "次方");
    return pow(base, exponent);
}

static double product(struct parser *p)
{
    double value = power(p);
    while (!p->bad) {
        if (TAKE(p, "multiplied by", "times", "x", "*", "×", "乘以", "乘")) {
            value *= power(p);
        } else if (TAKE(p, "divided by", "over", "/", "÷", "除以")) {
            double by = power(p);
            if (by == 0) p->undefined = true;
            value = by == 0 ? 0 : value / by;
        } else if (TAKE(p, "modulo", "mod", "取模", "模")) {
            double by = power(p);
            if (by == 0) p->undefined = true;
            value = by == 0 ? 0 : fmod(value, by);
        } else {
            return value;
        }
        p->operations++;
    }
    return value;
}

static double sum(struct parser *p)
{
    double value = product(p);
    while (!p->bad) {
        if (TAKE(p, "plus", "+", "加上", "加"))
            value += product(p);
        else if (TAKE(p, "minus", "-", "less", "减去", "减", "−"))
            value -= product(p);
        else
            return value;
        p->operations++;
    }
    return value;
}

enum mlt_expression_result mlt_expression_evaluate(const char *text, size_t length, double *value)
{
    struct parser p = {.s = {text, length, 0, true}};
    *value = sum(&p);
    if (p.bad || p.operations == 0) return MLT_EXPRESSION_NONE;
    TAKE(&p, "equals", "is", "=", "等于", "是");
    if (!mlt_scan_at_end(&p.s)) return MLT_EXPRESSION_NONE;
    if (p.undefined || !isfinite(*value)) return MLT_EXPRESSION_UNDEFINED;
    return MLT_EXPRESSION_VALUE;
}
