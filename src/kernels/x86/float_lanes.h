/*
 * Float dot products and attention, over the lanes that the including file has chosen. Contracts: kernels.h.
 *
 * The including file defines the sizes of tiles that its registers hold (each 1, 2 or 4): DOT_ROWS by
 * DOT_TOKENS sums of a product of many tokens, MIX_HEADS by MIX_VECTORS sums of a mix. Sums have names of
 * their own, since compilers leave arrays of them in memory; conditions on a tile's size are decided when it
 * is compiled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
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

/* ---- Products of rows and tokens ---- */

/* y[t * ldy + r] = scale * (W[r] . x[t]) */
struct product {
    const uint8_t *w;
    uint64_t row_bytes;
    const float *x;
    int64_t ldx, columns;
    float *y;
    int64_t ldy;
    float scale;
};

/* Adds columns [k, k + 16) of four rows and one token to the sums of that token. */
TILE_FUNCTION step_token(vf *s0, vf *s1, vf *s2, vf *s3, int rows, vf w0, vf w1, vf w2, vf w3, const float *x,
                         bool whole, vm part)
{
    vf v = whole ? vf_load(x) : vf_load_part(x, part);
    *s0 = step(*s0, w0, v, whole, part);
    if (rows > 1) *s1 = step(*s1, w1, v, whole, part);
    if (rows > 2) *s2 = step(*s2, w2, v, whole, part);
    if (rows > 2) *s3 = step(*s3, w3, v, whole, part);
}

TILE_FUNCTION step_columns(struct tile *s, mlt_dtype dtype, int rows, int tokens, const uint8_t *const w[4],
                           const float *const x[4], int64_t k, bool whole, vm part)
{
    vf w0 = load_elements(dtype, w[0], k, whole, part), w1 = w0, w2 = w0, w3 = w0;
    if (rows > 1) w1 = load_elements(dtype, w[1], k, whole, part);
    if (rows > 2) w2 = load_elements(dtype, w[2], k, whole, part);
    if (rows > 2) w3 = load_elements(dtype, w[3], k, whole, part);
    step_token(&s->s00, &s->s10, &s->s20, &s->s30, rows, w0, w1, w2, w3, x[0] + k, whole, part);
    if (tokens > 1)
        step_token(&s->s01, &s->s11, &s->s21, &s->s31, rows, w0, w1, w2, w3, x[1] + k, whole, part);
    if (tokens > 2)
        step_token(&s->s02, &s->s12, &s->s22, &s->s32, rows, w0, w1, w2, w3, x[2] + k, whole, part);
    if (tokens > 2)
        step_token(&s->s03, &s->s13, &s->s23, &s->s33, rows, w0, w1, w2, w3, x[3] + k, whole, part);
}

/* tree16 of one token's sums, one a row. */
TILE_FUNCTION store_token(vf s0, vf s1, vf s2, vf s3, int rows, float scale, float *y)
{
    __m128 t01 = _mm_hadd_ps(vf_tree4(s0), vf_tree4(s1));
    __m128 t23 = rows > 2 ? _mm_hadd_ps(vf_tree4(s2), vf_tree4(s3)) : t01;
    __m128 sums = _mm_mul_ps(_mm_hadd_ps(t01, t23), _mm_set1_ps(scale));
    if (rows == 4)
        _mm_storeu_ps(y, sums);
    else if (rows == 2)
        _mm_storel_pi((__m64 *)y, sums);
    else
        _mm_store_ss(y, sums);
}

/*
 * One tile of rows from `row` and tokens from `token` on. `ahead`: prefetch what comes AHEAD_BYTES later in
 * each row, or past its end in the row that will take its place.
 */
TILE_FUNCTION product_tile(mlt_dtype dtype, int rows, int tokens, const struct product *p, int64_t row,
                           int64_t token, int64_t last_token, bool ahead)
{
    enum { AHEAD_BYTES = 1024, LINE = 64 };
    const uint8_t *w[4];
    const float *x[4];
    struct tile s = empty_tile();
    int64_t whole = p->columns / 16 * 16, k = 0;
    vm part = vm_first(p->columns % 16);
    for (int i = 0; i < 4; i++) {
        w[i] = p->w + (uint64_t)(row + MLT_MIN(i, rows - 1)) * p->row_bytes;
        x[i] = p->x + MLT_MIN(token + MLT_MIN(i, tokens - 1), last_token) * p->ldx;
    }
    uintptr_t length = (uintptr_t)(p->columns * element_size(dtype)),
              next_row = (uintptr_t)rows * p->row_bytes;
    uintptr_t at = AHEAD_BYTES % length, shift = AHEAD_BYTES / length * next_row;
    for (; k < whole; k += 16) {
        if (ahead && k * element_size(dtype) % LINE == 0) {
            for (int i = 0; i < rows; i++)
                prefetch((uintptr_t)w[i] + shift + at);
            at += LINE;
            if (at >= length) {
                at -= length;
                shift += next_row;
            }
        }
        step_columns(&s, dtype, rows, tokens, w, x, k, true, part);
    }
    if (k < p->columns) step_columns(&s, dtype, rows, tokens, w, x, k, false, part);
    float *y = p->y + row;
    store_token(s.s00, s.s10, s.s20, s.s30, rows, p->scale, y + token * p->ldy);
    if (tokens > 1)
        store_token(s.s01, s.s11, s.s21, s.s31, rows, p->scale, y + MLT_MIN(token + 1, last_token) * p->ldy);
    if (tokens > 2)
        store_token(s.s02, s.s12, s.s22, s.s32, rows, p->scale, y + MLT_MIN(token + 2, last_token) * p->ldy);
    if (tokens > 2)
        store_token(s.s03, s.s13, s.s23, s.s33, rows, p->scale, y + MLT_MIN(token + 3, last_token) * p->ldy);
}

/* Tokens of the last tile that are past the end repeat the last one: the same result is stored again. */
TILE_FUNCTION product_rows(mlt_dtype dtype, const struct product *p, int64_t rows, int64_t tokens)
{
    int64_t r = 0;
    if (tokens == 1) {
        for (; r + 4 <= rows; r += 4)
            product_tile(dtype, 4, 1, p, r, 0, 0, true);
        for (; r < rows; r++)
            product_tile(dtype, 1, 1, p, r, 0, 0, false);
        return;
    }
    for (; r + DOT_ROWS <= rows; r += DOT_ROWS)
        for (int64_t t = 0; t < tokens; t += DOT_TOKENS)
            product_tile(dtype, DOT_ROWS, DOT_TOKENS, p, r, t, tokens - 1, t == 0);
    for (; r < rows; r++)
        for (int64_t t = 0; t < tokens; t += DOT_TOKENS)
            product_tile(dtype, 1, DOT_TOKENS, p, r, t, tokens - 1, false);
}

#define DOT_KERNEL(name, dtype)                                                                              \
    static void name(const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x, int64_t ldx,        \
                     int64_t tokens, int64_t columns, float *y, int64_t ldy)                                 \
    {                                                                                                        \
        struct product p = {w, row_bytes, x, ldx, columns, y, ldy, 1.0f};                                    \
        product_rows(dtype, &p, rows, tokens);                                                               \
    }
DOT_KERNEL(dot_f32, MLT_F32)
DOT_KERNEL(dot_f16, MLT_F16)
DOT_KERNEL(dot_bf16, MLT_BF16)
#undef DOT_KERNEL

/* Scores are products of keys as rows and query heads as tokens. */
#define SCORE_KERNEL(name, dtype)                                                                            \
    static void name(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,          \
                     float scale, float *s, int64_t lds)                                                     \
    {                                                                                                        \
        struct product p = {k, (uint64_t)(stride * element_size(dtype)), q, size, size, s, lds, scale};      \
        product_rows(dtype, &p, n, heads);                                                                   \
    }
SCORE_KERNEL(score_f32, MLT_F32)
SCORE_KERNEL(score_f16, MLT_F16)
#undef SCORE_KERNEL

/* ---- Weighted sums of values ---- */

enum { MIX_CHUNK = 256 };

struct mix {
    const float *p;
    int64_t ldp;
    const uint8_t *v;
    int64_t row_bytes, n;
    int size;
    float *out;
};

/* Adds p * V for one head, vectors of columns v0 to v3. */
TILE_FUNCTION step_head(vf *s0, vf *s1, vf *s2, vf *s3, int vectors, float p, vf v0, vf v1, vf v2, vf v3)
{
    vf weight = vf_set(p);
    *s0 = vf_fma(weight, v0, *s0);
    if (vectors > 1) *s1 = vf_fma(weight, v1, *s1);
    if (vectors > 2) *s2 = vf_fma(weight, v2, *s2);
    if (vectors > 2) *s3 = vf_fma(weight, v3, *s3);
}

/* out = out + c for one head; lanes that are not chosen are not touched. */
static inline void add_chunk(float *out, vf c, bool whole, vm part)
{
    if (whole)
        vf_store(out, vf_add(vf_load(out), c));
    else
        vf_store_part(out, part, vf_add(vf_load_part(out, part), c));
}

TILE_FUNCTION add_head_chunk(float *out, vf s0, vf s1, vf s2, vf s3, int vectors, bool whole, vm part)
{
    add_chunk(out, s0, whole, part);
    if (vectors > 1) add_chunk(out + 16, s1, whole, part);
    if (vectors > 2) add_chunk(out + 32, s2, whole, part);
    if (vectors > 2) add_chunk(out + 48, s3, whole, part);
}

/* Columns [j, j + 16 * vectors) (or those chosen) of `heads` heads from `head` on, positions [begin, end). */
TILE_FUNCTION mix_tile(mlt_dtype dtype, int heads, int vectors, const struct mix *m, int head, int j,
                       int64_t begin, int64_t end, bool whole, vm part)
{
    enum { AHEAD_BYTES = 1024 };
    struct tile s = empty_tile();
    const float *p = m->p + head * m->ldp;
    const int bytes = 16 * vectors * element_size(dtype);
    const uintptr_t ahead = (uintptr_t)(AHEAD_BYTES / bytes * m->row_bytes);
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *v = m->v + i * m->row_bytes;
        for (int line = 0; line < bytes; line += 64)
            prefetch((uintptr_t)v + ahead + (uintptr_t)(j * element_size(dtype) + line));
        vf v0 = load_elements(dtype, v, j, whole, part), v1 = v0, v2 = v0, v3 = v0;
        if (vectors > 1) v1 = load_elements(dtype, v, j + 16, whole, part);
        if (vectors > 2) v2 = load_elements(dtype, v, j + 32, whole, part);
        if (vectors > 2) v3 = load_elements(dtype, v, j + 48, whole, part);
        step_head(&s.s00, &s.s01, &s.s02, &s.s03, vectors, p[i], v0, v1, v2, v3);
        if (heads > 1) step_head(&s.s10, &s.s11, &s.s12, &s.s13, vectors, p[i + m->ldp], v0, v1, v2, v3);
        if (heads > 2) step_head(&s.s20, &s.s21, &s.s22, &s.s23, vectors, p[i + 2 * m->ldp], v0, v1, v2, v3);
        if (heads > 2) step_head(&s.s30, &s.s31, &s.s32, &s.s33, vectors, p[i + 3 * m->ldp], v0, v1, v2, v3);
    }
    float *out = m->out + (int64_t)head * m->size + j;
    add_head_chunk(out, s.s00, s.s01, s.s02, s.s03, vectors, whole, part);
    if (heads > 1) add_head_chunk(out + m->size, s.s10, s.s11, s.s12, s.s13, vectors, whole, part);
    if (heads > 2) add_head_chunk(out + 2 * m->size, s.s20, s.s21, s.s22, s.s23, vectors, whole, part);
    if (heads > 2) add_head_chunk(out + 3 * m->size, s.s30, s.s31, s.s32, s.s33, vectors, whole, part);
}

TILE_FUNCTION mix_columns(mlt_dtype dtype, int heads, const struct mix *m, int head, int64_t begin,
                          int64_t end)
{
    int j = 0;
    for (; j + 16 * MIX_VECTORS <= m->size; j += 16 * MIX_VECTORS)
        mix_tile(dtype, heads, MIX_VECTORS, m, head, j, begin, end, true, vm_first(0));
    for (; j + 16 <= m->size; j += 16)
        mix_tile(dtype, heads, 1, m, head, j, begin, end, true, vm_first(0));
    if (j < m->size) mix_tile(dtype, heads, 1, m, head, j, begin, end, false, vm_first(m->size - j));
}

TILE_FUNCTION mix_heads(mlt_dtype dtype, const struct mix *m, int heads)
{
    vf zero = vf_set(0.0f);
    int64_t outputs = (int64_t)heads * m->size, k = 0;
    for (; k + 16 <= outputs; k += 16)
        vf_store(m->out + k, zero);
    if (k < outputs) vf_store_part(m->out + k, vm_first(outputs - k), zero);
    for (int64_t begin = 0; begin < m->n; begin += MIX_CHUNK) {
        int64_t end = MLT_MIN(begin + MIX_CHUNK, m->n);
        int head = 0;
        for (; head + MIX_HEADS <= heads; head += MIX_HEADS)
            mix_columns(dtype, MIX_HEADS, m, head, begin, end);
        for (; head < heads; head++)
            mix_columns(dtype, 1, m, head, begin, end);
    }
}

#define MIX_KERNEL(name, dtype)                                                                              \
    static void name(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,       \
                     int size, float *out)                                                                   \
    {                                                                                                        \
        struct mix m = {p, ldp, v, stride * element_size(dtype), n, size, out};                              \
        mix_heads(dtype, &m, heads);                                                                         \
    }
MIX_KERNEL(mix_f32, MLT_F32)
MIX_KERNEL(mix_f16, MLT_F16)
#undef MIX_KERNEL

static inline void set_float(struct mlt_kernels *table)
{
    table->dot_f32 = dot_f32;
    table->dot_f16 = dot_f16;
    table->dot_bf16 = dot_bf16;
    table->score_f32 = score_f32;
    table->score_f16 = score_f16;
    table->mix_f32 = mix_f32;
    table->mix_f16 = mix_f16;
}

#undef TILE_FUNCTION
