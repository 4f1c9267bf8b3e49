/*
 * Tiles of sums in registers, and the float elements that they are fed with, over the lanes that the
 * including file has chosen.
 *
 * Sums have names of their own, since compilers leave arrays of them in memory; conditions on a tile's size
 * are decided when it is compiled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_TILE_LANES_H
#define MLT_TILE_LANES_H

#include "kernels/kernels.h"
#include "kernels/x86/math_lanes.h"
#include "kernels/x86/x86.h"

#define TILE_FUNCTION static inline __attribute__((always_inline)) void

/* Sixteen elements at `index`, or the chosen ones. */
static inline __attribute__((always_inline)) vf load_elements(mlt_dtype dtype, const uint8_t *p,
                                                              int64_t index, bool whole, vm part)
{
    const void *at = p + index * (dtype == MLT_F32 ? 4 : 2);
    switch (dtype) {
    case MLT_F16: return whole ? vf_load_half(at) : vf_load_half_part(at, part);
    case MLT_BF16: return whole ? vf_load_bfloat(at) : vf_load_bfloat_part(at, part);
    default: return whole ? vf_load(at) : vf_load_part(at, part);
    }
}

static inline int element_size(mlt_dtype dtype)
{
    return dtype == MLT_F32 ? 4 : 2;
}

/* Sixteen sums, s<a><b>. */
struct tile {
    vf s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33;
};

static inline __attribute__((always_inline)) struct tile empty_tile(void)
{
    vf z = vf_set(0.0f);
    return (struct tile){z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z};
}

/* fma(a, b, sum); only in the chosen lanes where the step is not whole. */
static inline __attribute__((always_inline)) vf step(vf sum, vf a, vf b, bool whole, vm part)
{
    vf next = vf_fma(a, b, sum);
    return whole ? next : vf_choose(part, next, sum);
}

#endif
