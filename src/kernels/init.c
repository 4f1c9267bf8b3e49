/*
 * Builds the kernel table: scalar C, overwritten level by level with what the CPU has.
 *
 * The build defines MLT_HAVE_<LEVEL> for each level whose files it compiles; without any, the table is
 * scalar.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>

/* Ascending; {0, NULL} ends the list. */
static const struct {
    unsigned flag;
    void (*init)(struct mlt_kernels *table);
} levels[] = {
#if defined(MLT_HAVE_AVX2)
    {MLT_CPU_AVX2, mlt_kernels_init_avx2},
#endif
#if defined(MLT_HAVE_AVX512)
    {MLT_CPU_AVX512, mlt_kernels_init_avx512},
#endif
#if defined(MLT_HAVE_AVX512VNNI)
    {MLT_CPU_AVX512_VNNI, mlt_kernels_init_avx512_vnni},
#endif
#if defined(MLT_HAVE_NEON)
    {MLT_CPU_NEON, mlt_kernels_init_neon},
#endif
#if defined(MLT_HAVE_DOTPROD)
    {MLT_CPU_DOTPROD, mlt_kernels_init_dotprod},
#endif
#if defined(MLT_HAVE_I8MM)
    {MLT_CPU_I8MM, mlt_kernels_init_i8mm},
#endif
    {0, NULL},
};

void mlt_kernels_init(struct mlt_kernels *table, unsigned mask)
{
    unsigned usable = mlt_cpu_detect() & mask;
    *table = (struct mlt_kernels){0};
    mlt_kernels_init_scalar(table);
    for (int i = 0; levels[i].init; i++) {
        if (!(usable & levels[i].flag)) continue;
        levels[i].init(table);
        table->cpu |= levels[i].flag;
    }
}

static struct mlt_kernels default_table;
static pthread_once_t default_once = PTHREAD_ONCE_INIT;

static void make_default(void)
{
    const char *tier = getenv("MILLET_CPU");
    unsigned mask = ~0u;
    if (tier) mlt_cpu_mask_by_name(tier, &mask);
    mlt_kernels_init(&default_table, mask);
}

const struct mlt_kernels *mlt_kernels_default(void)
{
    pthread_once(&default_once, make_default);
    return &default_table;
}
