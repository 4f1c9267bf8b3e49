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

/* Adds columns [k, k + 16) of up to four rows a (1, 2 or 4) times one row b to the sums s0 to s3. */
TILE_FUNCTION step_rows(vf *s0, vf *s1, vf *s2, vf *s3, int n_a, vf a0, vf a1, vf a2, vf a3, const float *b,
                        bool whole, vm part)
{
    vf v = whole ? vf_load(b) : vf_load_part(b, part);
    *s0 = step(*s0, a0, v, whole, part);
    if (n_a > 1) *s1 = step(*s1, a1, v, whole, part);
    if (n_a > 2) *s2 = step(*s2, a2, v, whole, part);
    if (n_a > 2) *s3 = step(*s3, a3, v, whole, part);
}

/* Adds columns [k, k + 16) of n_a rows a times n_b rows b (each 1, 2 or 4), or the chosen ones of them. */
TILE_FUNCTION step_tile(struct tile *s, mlt_dtype dtype, int n_a, int n_b, const uint8_t *const a[4],
                        const float *const b[4], int64_t k, bool whole, vm part)
{
    vf a0 = load_elements(dtype, a[0], k, whole, part), a1 = a0, a2 = a0, a3 = a0;
    if (n_a > 1) a1 = load_elements(dtype, a[1], k, whole, part);
    if (n_a > 2) a2 = load_elements(dtype, a[2], k, whole, part);
    if (n_a > 2) a3 = load_elements(dtype, a[3], k, whole, part);
    step_rows(&s->s00, &s->s10, &s->s20, &s->s30, n_a, a0, a1, a2, a3, b[0] + k, whole, part);
    if (n_b > 1) step_rows(&s->s01, &s->s11, &s->s21, &s->s31, n_a, a0, a1, a2, a3, b[1] + k, whole, part);
    if (n_b > 2) step_rows(&s->s02, &s->s12, &s->s22, &s->s32, n_a, a0, a1, a2, a3, b[2] + k, whole, part);
    if (n_b > 2) step_rows(&s->s03, &s->s13, &s->s23, &s->s33, n_a, a0, a1, a2, a3, b[3] + k, whole, part);
}

/* tree16 of the first n sums (1, 2 or 4). */
static inline __attribute__((always_inline)) __m128 add_up(int n, vf s0, vf s1, vf s2, vf s3)
{
    __m128 t01 = _mm_hadd_ps(vf_tree4(s0), vf_tree4(s1));
    return _mm_hadd_ps(t01, n > 2 ? _mm_hadd_ps(vf_tree4(s2), vf_tree4(s3)) : t01);
}

/* The first n (1, 2 or 4). */
TILE_FUNCTION store_sums(int n, __m128 sums, float *y)
{
    if (n == 4)
        _mm_storeu_ps(y, sums);
    else if (n == 2)
        _mm_storel_pi((__m64 *)y, sums);
    else
        _mm_store_ss(y, sums);
}

#endif
