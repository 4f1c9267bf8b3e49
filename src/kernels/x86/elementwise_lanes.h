/*
 * Softmax, norms, gates and conversions, over the lanes that the including file has chosen. Contracts:
 * kernels.h.
 *
 * Rows are taken by sixteen values; the last `n % 16` go through a choice of lanes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kernels/kernels.h"
#include "kernels/x86/math_lanes.h"
#include "kernels/x86/x86.h"

static void softmax(float *x, int64_t n, const float *extra)
{
    int64_t whole = n / 16 * 16;
    vm part = vm_first(n % 16);
    vf best = vf_set(extra ? *extra : -INFINITY);
    for (int64_t i = 0; i < whole; i += 16)
        best = vf_max(vf_load(x + i), best);
    if (whole < n) best = vf_choose(part, vf_max(vf_load_part(x + whole, part), best), best);
    float largest = vf_max_lane(best);

    vf shift = vf_set(largest), sum = vf_set(0.0f);
    for (int64_t i = 0; i < whole; i += 16) {
        vf e = vf_exp(vf_sub(vf_load(x + i), shift));
        vf_store(x + i, e);
        sum = vf_add(sum, e);
    }
    if (whole < n) {
        vf e = vf_exp(vf_sub(vf_load_part(x + whole, part), shift));
        vf_store_part(x + whole, part, e);
        sum = vf_choose(part, vf_add(sum, e), sum);
    }
    float total = vf_tree16(sum);
    if (extra) total = total + mlt_exp(*extra - largest);

    vf factor = vf_set(1.0f / total);
    for (int64_t i = 0; i < whole; i += 16)
        vf_store(x + i, vf_mul(vf_load(x + i), factor));
    if (whole < n) vf_store_part(x + whole, part, vf_mul(vf_load_part(x + whole, part), factor));
}

static void rms_norm(const float *x, const float *w, int64_t n, float eps, float *y)
{
    int64_t whole = n / 16 * 16;
    vm part = vm_first(n % 16);
    vf p = vf_set(0.0f);
    for (int64_t i = 0; i < whole; i += 16) {
        vf v = vf_load(x + i);
        p = vf_fma(v, v, p);
    }
    if (whole < n) {
        vf v = vf_load_part(x + whole, part);
        p = vf_choose(part, vf_fma(v, v, p), p);
    }
    vf r = vf_set(1.0f / sqrtf(vf_tree16(p) / (float)n + eps));
    for (int64_t i = 0; i < whole; i += 16) {
        vf scaled = vf_mul(vf_load(x + i), r);
        vf_store(y + i, w ? vf_mul(scaled, vf_load(w + i)) : scaled);
    }
    if (whole < n) {
        vf scaled = vf_mul(vf_load_part(x + whole, part), r);
        vf_store_part(y + whole, part, w ? vf_mul(scaled, vf_load_part(w + whole, part)) : scaled);
    }
}

static void layer_norm(const float *x, const float *w, const float *b, int64_t n, float eps, float *y)
{
    int64_t whole = n / 16 * 16;
    vm part = vm_first(n % 16);
    vf p = vf_set(0.0f), v = p;
    for (int64_t i = 0; i < whole; i += 16)
        p = vf_add(p, vf_load(x + i));
    if (whole < n) p = vf_choose(part, vf_add(p, vf_load_part(x + whole, part)), p);
    vf mean = vf_set(vf_tree16(p) / (float)n);
    for (int64_t i = 0; i < whole; i += 16) {
        vf c = vf_sub(vf_load(x + i), mean);
        v = vf_fma(c, c, v);
    }
    if (whole < n) {
        vf c = vf_sub(vf_load_part(x + whole, part), mean);
        v = vf_choose(part, vf_fma(c, c, v), v);
    }
    vf r = vf_set(1.0f / sqrtf(vf_tree16(v) / (float)n + eps));
    for (int64_t i = 0; i < whole; i += 16) {
        vf scaled = vf_mul(vf_sub(vf_load(x + i), mean), r);
        if (w) scaled = vf_mul(scaled, vf_load(w + i));
        vf_store(y + i, b ? vf_add(scaled, vf_load(b + i)) : scaled);
    }
    if (whole < n) {
        vf scaled = vf_mul(vf_sub(vf_load_part(x + whole, part), mean), r);
        if (w) scaled = vf_mul(scaled, vf_load_part(w + whole, part));
        vf_store_part(y + whole, part, b ? vf_add(scaled, vf_load_part(b + whole, part)) : scaled);
    }
}

static void silu(const float *g, const float *u, int64_t n, float *y)
{
    int64_t whole = n / 16 * 16;
    vm part = vm_first(n % 16);
    for (int64_t i = 0; i < whole; i += 16) {
        vf a = vf_silu(vf_load(g + i));
        vf_store(y + i, u ? vf_mul(a, vf_load(u + i)) : a);
    }
    if (whole == n) return;
    vf a = vf_silu(vf_load_part(g + whole, part));
    vf_store_part(y + whole, part, u ? vf_mul(a, vf_load_part(u + whole, part)) : a);
}

static void gelu(const float *g, const float *u, int64_t n, float *y)
{
    int64_t whole = n / 16 * 16;
    vm part = vm_first(n % 16);
    for (int64_t i = 0; i < whole; i += 16) {
        vf a = vf_gelu(vf_load(g + i));
        vf_store(y + i, u ? vf_mul(a, vf_load(u + i)) : a);
    }
    if (whole == n) return;
    vf a = vf_gelu(vf_load_part(g + whole, part));
    vf_store_part(y + whole, part, u ? vf_mul(a, vf_load_part(u + whole, part)) : a);
}

static void softcap(float *x, int64_t n, float cap)
{
    int64_t whole = n / 16 * 16;
    vm part = vm_first(n % 16);
    vf c = vf_set(cap);
    for (int64_t i = 0; i < whole; i += 16)
        vf_store(x + i, vf_mul(c, vf_tanh(vf_div(vf_load(x + i), c))));
    if (whole == n) return;
    vf_store_part(x + whole, part, vf_mul(c, vf_tanh(vf_div(vf_load_part(x + whole, part), c))));
}

static void to_half(const float *x, uint16_t *y, int64_t n)
{
    int64_t whole = n / 16 * 16;
    vm part = vm_first(n % 16);
    for (int64_t i = 0; i < whole; i += 16)
        vf_store_half(y + i, vf_load(x + i));
    if (whole < n) vf_store_half_part(y + whole, part, vf_load_part(x + whole, part));
}

static inline void set_elementwise(struct mlt_kernels *table)
{
    table->softmax = softmax;
    table->rms_norm = rms_norm;
    table->layer_norm = layer_norm;
    table->silu = silu;
    table->gelu = gelu;
    table->softcap = softcap;
    table->to_half = to_half;
}
