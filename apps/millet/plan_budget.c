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
        }
        if (right && *end == '\0') return true;
        if (!right || *end != ',') break;
        at = end + 1;
    }
    cli_usage("--budget %s: \"%s\" is no budget; it is file=SIZE, ram=SIZE or ram=SIZE@CONTEXT, with commas "
              "between them, and a size is a number with kB, MB, GB, KiB, MiB or GiB",
              text, at);
    return false;
}
