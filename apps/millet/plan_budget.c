/* Budgets as users write them. SPDX-License-Identifier: Apache-2.0 */
#include "plan_budget.h"

#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Reads "900MB" up to *end, which points to what follows; 0: it is no size. */
static uint64_t parse_size(const char *text, const char **end)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0},
                 {"kB", 1e3},     {"MB", 1e6},        {"GB", 1e9},           {"TB", 1e12},
                 {"B", 1}};
    char *rest;
    double value = strtod(text, &rest), unit = 1;
    if (rest == text || !(value > 0)) return 0;
    while (*rest == ' ')
        rest++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t length = strlen(units[i].name);
        if (strncasecmp(rest, units[i].name, length) != 0) continue;
        unit = units[i].bytes;
        rest += length;
        break;
    }
    *end = rest;
    value = floor(value * unit);
    return value >= 1 && value < 9e18 ? (uint64_t)value : 0;
}

static bool parse_ram(const char *text, millet_budget *budget, const char **end)
{
    budget->memory_bytes = parse_size(text, end);
    if (!budget->memory_bytes) return false;
    if (**end != '@') return true;
    char *rest;
    long long ctx = strtoll(*end + 1, &rest, 10);
    if (rest == *end + 1 || ctx < 1 || ctx > 1 << 24) return false;
    budget->memory_ctx = (int32_t)ctx;
    *end = rest;
    return true;
}

/* "15", "15tok/s", "15 tokens/s", "15t/s". */
static bool parse_speed(const char *text, millet_budget *budget, const char **end)
{
    static const char *const units[] = {"tokens/s", "tok/s", "t/s"};
    char *rest;
    budget->tokens_per_second = strtod(text, &rest);
    if (rest == text || !(budget->tokens_per_second > 0) || budget->tokens_per_second > 1e9) return false;
    const char *at = rest + strspn(rest, " ");
    *end = at;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strncasecmp(at, units[i], strlen(units[i])) != 0) continue;
        *end = at + strlen(units[i]);
        break;
    }
    return true;
}

bool cli_parse_budget(const char *text, millet_budget *budget)
{
    *budget = (millet_budget){0};
    const char *at = text;
    for (;;) {
        const char *end = at;
        bool right = false;
        if (strncasecmp(at, "file=", 5) == 0) {
            budget->file_bytes = parse_size(at + 5, &end);
            right = budget->file_bytes > 0;
        } else if (strncasecmp(at, "ram=", 4) == 0) {
            right = parse_ram(at + 4, budget, &end);
        } else if (strncasecmp(at, "speed=", 6) == 0) {
            right = parse_speed(at + 6, budget, &end);
        }
        if (right && *end == '\0') return true;
        if (!right || *end != ',') break;
        at = end + 1;
    }
    cli_usage(
        "--budget %s: \"%s\" is no budget; it is file=SIZE, ram=SIZE, ram=SIZE@CONTEXT or speed=N, with "
        "commas between them; a size is a number with kB, MB, GB, KiB, MiB or GiB, a speed is in tokens a "
        "second",
        text, at);
    return false;
}
