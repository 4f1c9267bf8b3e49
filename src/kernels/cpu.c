/*
 * Which instruction sets the CPU has and the operating system lets programs use. Compiled without ISA flags,
 * so that it runs on every machine of its architecture.
 *
 * Sources: Intel SDM volume 1, 14.3 and 15.2 (CPUID and XGETBV), Linux Documentation/arm64/elf_hwcaps.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/kernels.h"

#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* Ascending within an architecture; "native" stands for all. */
static const struct {
    const char *name;
    unsigned flag, mask;
} tiers[] = {
    {"scalar", 0, 0},
    {"avx2", MLT_CPU_AVX2, MLT_CPU_AVX2},
    {"avx512", MLT_CPU_AVX512, MLT_CPU_AVX2 | MLT_CPU_AVX512},
    {"avx512vnni", MLT_CPU_AVX512_VNNI, MLT_CPU_AVX2 | MLT_CPU_AVX512 | MLT_CPU_AVX512_VNNI},
    {"neon", MLT_CPU_NEON, MLT_CPU_NEON},
    {"dotprod", MLT_CPU_DOTPROD, MLT_CPU_NEON | MLT_CPU_DOTPROD},
    {"i8mm", MLT_CPU_I8MM, MLT_CPU_NEON | MLT_CPU_DOTPROD | MLT_CPU_I8MM},
};

#if defined(__x86_64__) || defined(__i386__)
/* The register sets that the system saves at a thread switch; only where CPUID says OSXSAVE. */
static unsigned read_xcr0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool all_set(unsigned value, unsigned bits)
{
    return (value & bits) == bits;
}

unsigned mlt_cpu_detect(void)
{
    enum { F1C_FMA = 1 << 12, F1C_OSXSAVE = 1 << 27, F1C_AVX = 1 << 28, F1C_F16C = 1 << 29 };
    enum { F7B_AVX2 = 1 << 5, F7B_AVX512F = 1 << 16, F7B_AVX512DQ = 1 << 17, F7B_AVX512BW = 1 << 30 };
    const unsigned f7b_avx512vl = 1u << 31;
    enum { F7C_AVX512_VNNI = 1 << 11 };
    enum { XCR0_SSE_AVX = 0x6, XCR0_OPMASK_ZMM = 0xe0 };

    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (!all_set(c, F1C_FMA | F1C_OSXSAVE | F1C_AVX | F1C_F16C)) return 0;
    unsigned xcr0 = read_xcr0();
    if (!all_set(xcr0, XCR0_SSE_AVX)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !all_set(b, F7B_AVX2)) return 0;
    unsigned flags = MLT_CPU_AVX2;
    if (!all_set(xcr0, XCR0_OPMASK_ZMM)) return flags;
    if (!all_set(b, F7B_AVX512F | F7B_AVX512DQ | F7B_AVX512BW | f7b_avx512vl)) return flags;
    flags |= MLT_CPU_AVX512;
    if (all_set(c, F7C_AVX512_VNNI)) flags |= MLT_CPU_AVX512_VNNI;
    return flags;
}
#elif defined(__aarch64__)
unsigned mlt_cpu_detect(void)
{
    unsigned flags = MLT_CPU_NEON;
#if defined(__linux__)
    /* HWCAP_ASIMDDP and HWCAP2_I8MM; older system headers lack the second. */
    const unsigned long dot_product = 1ul << 20, int8_matrix = 1ul << 13;
    if (getauxval(AT_HWCAP) & dot_product) {
        flags |= MLT_CPU_DOTPROD;
        if (getauxval(AT_HWCAP2) & int8_matrix) flags |= MLT_CPU_I8MM;
    }
#endif
    return flags;
}
#else
unsigned mlt_cpu_detect(void)
{
    return 0;
}
#endif

bool mlt_cpu_mask_by_name(const char *name, unsigned *mask)
{
    if (strcmp(name, "native") == 0) {
        *mask = ~0u;
        return true;
    }
    for (size_t i = 0; i < MLT_COUNT(tiers); i++) {
        if (strcmp(name, tiers[i].name) != 0) continue;
        *mask = tiers[i].mask;
        return true;
    }
    return false;
}

const char *mlt_cpu_tier_names(void)
{
    return "scalar, avx2, avx512, avx512vnni, neon, dotprod, i8mm, native";
}

const char *mlt_cpu_tier_name(unsigned flags)
{
    size_t highest = 0;
    for (size_t i = 1; i < MLT_COUNT(tiers); i++)
        if (flags & tiers[i].flag) highest = i;
    return tiers[highest].name;
}
