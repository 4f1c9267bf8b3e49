/*
 * The kernel checker: compares the kernels of every CPU tier with scalar C, bit for bit, and times them.
 *
 *   check_kernels                     all tiers that this CPU has
 *   check_kernels --tier avx2         that tier; exit 77 where the CPU has it not
 *   check_kernels --self-test         breaks kernels and checks that the checker notices
 *   check_kernels --bench             times scalar and every tier in one program
 *   --kernel TEXT  only kernels whose name contains TEXT    --seed N    --rounds N (default 8)
 *   --stream MB    with --bench: also products over a matrix of so many megabytes, from memory
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/check_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const tier_names[] = {"avx2", "avx512", "avx512vnni", "neon", "dotprod", "i8mm"};

enum { EXIT_SKIPPED = 77, MAX_TIERS = 1 + (int)MLT_COUNT(tier_names) };

/* False where CPU or build lack the tier's own level. */
static bool tier_table(const char *name, struct mlt_kernels *table)
{
    unsigned mask;
    if (!mlt_cpu_mask_by_name(name, &mask)) return false;
    mlt_kernels_init(table, mask);
    return strcmp(mlt_cpu_tier_name(table->cpu), name) == 0;
}

static long check_tier(const char *name, const char *filter, int rounds, uint64_t seed)
{
    struct mlt_kernels scalar, variant;
    mlt_kernels_init(&scalar, 0);
    tier_table(name, &variant);
    struct check check = {.scalar = &scalar, .variant = &variant, .tier = name, .rounds = rounds};
    mlt_random_seed(&check.random, seed);
    check_quantized(&check, filter);
    check_float(&check, filter);
    check_elementwise(&check, filter);
    printf("%-11s %ld cases, %ld failures\n", name, check.cases, check.failures);
    return check.failures;
}

int main(int argc, char **argv)
{
    const char *tier = NULL, *filter = NULL;
    int rounds = 8;
    uint64_t seed = 1, stream_bytes = 0;
    bool bench = false, self_test = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--bench") == 0) {
            bench = true;
        } else if (strcmp(argv[i], "--self-test") == 0) {
            self_test = true;
        } else if (strcmp(argv[i], "--tier") == 0) {
            tier = value, i++;
        } else if (strcmp(argv[i], "--kernel") == 0) {
            filter = value, i++;
        } else if (strcmp(argv[i], "--rounds") == 0) {
            rounds = MLT_MAX(atoi(value), 1), i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(value, NULL, 10), i++;
        } else if (strcmp(argv[i], "--stream") == 0) {
            stream_bytes = strtoull(value, NULL, 10) << 20, i++;
        } else {
            fprintf(stderr,
                    "check_kernels: unknown option %s; the options are at the top of check_kernels.c\n",
                    argv[i]);
            return 2;
        }
    }
    if (self_test) return check_broken(seed) != 0;

    struct mlt_kernels tables[MAX_TIERS];
    int n_tables = 1;
    long failures = 0;
    mlt_kernels_init(&tables[0], 0);
    for (size_t i = 0; i < MLT_COUNT(tier_names); i++) {
        if (tier && strcmp(tier, tier_names[i]) != 0) continue;
        if (!tier_table(tier_names[i], &tables[n_tables])) continue;
        n_tables++;
        if (!bench) failures += check_tier(tier_names[i], filter, rounds, seed);
    }
    if (tier && n_tables == 1) {
        printf("skipped: no kernels of tier \"%s\" here\n", tier);
        return EXIT_SKIPPED;
    }
    if (bench) bench_kernels(tables, n_tables, filter, stream_bytes);
    return failures != 0;
}
