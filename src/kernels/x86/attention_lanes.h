/*
 * Attention over the lanes that the including file has chosen. Contracts: kernels.h.
 *
 * The including file defines the sizes of tiles that its registers hold: SCORE_KEYS by SCORE_HEADS sums of
 * scores, MIX_HEADS by MIX_VECTORS sums of a mix (each at most 4); MIX_ALONE vectors of a mix of one head (at
 * most 8); and store_scores, which ends a full tile of scores.
 *
 * For few heads a kernel is as fast as memory: a core keeps too few reads in flight by itself, so each line
 * is prefetched twice, to the second-level cache long before its use and to the first-level cache shortly
 * before.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
enum { NEAR_BYTES = 1024, FAR_BYTES = 8192, LINE = 64 };

/* How far behind a row those lie that are prefetched while it is computed. */
struct ahead {
    uintptr_t near, far;
};

static inline struct ahead ahead_of(int64_t row_bytes)
{
    return (struct ahead){(uintptr_t)((NEAR_BYTES + row_bytes - 1) / row_bytes * row_bytes),
                          (uintptr_t)((FAR_BYTES + row_bytes - 1) / row_bytes * row_bytes)};
}

static inline __attribute__((always_inline)) void prefetch_ahead(struct ahead ahead, const uint8_t *row,
                                                                 int bytes)
{
    for (uintptr_t line = (uintptr_t)row; line < (uintptr_t)row + (uintptr_t)bytes; line += LINE) {
        prefetch(line + ahead.near);
        prefetch_far(line + ahead.far);
    }
}

/* ---- Scores ---- */

/* Positions whose keys are converted together for many heads, and the largest head for which that is done. */
enum { SCORE_BLOCK = 16, SCORE_SIZE = 256 };

struct score {
    const float *q;
    int heads, size;
    const uint8_t *k;
    int64_t row_bytes, n;
    float scale, *s;
    int64_t lds;
};

/* scale * tree16 of one query's sums, one a key. */
TILE_FUNCTION store_keys(vf s0, vf s1, vf s2, vf s3, int keys, float scale, float *s)
{
    store_sums(keys, _mm_mul_ps(add_up(keys, s0, s1, s2, s3), _mm_set1_ps(scale)), s);
}

/* Where the queries and scores of a tile's heads are; heads past the last repeat it: it is stored again. */
struct queries {
    const float *q[4];
    float *s[4];
};

static inline struct queries queries_from(const struct score *p, int head, int64_t position)
{
    struct queries out;
    for (int i = 0; i < 4; i++) {
        int h = MLT_MIN(head + MLT_MIN(i, SCORE_HEADS - 1), p->heads - 1);
        out.q[i] = p->q + (int64_t)h * p->size;
        out.s[i] = p->s + h * p->lds + position;
    }
    return out;
}

/* `keys` keys from `k` on, `row_bytes` apart, and `heads` heads, for positions from `i` on. */
TILE_FUNCTION score_tile(mlt_dtype dtype, int keys, int heads, const struct queries *queries, int size,
                         float scale, const uint8_t *k, int64_t row_bytes, int64_t i)
{
    const uint8_t *const key[4] = {k, k + (keys > 1 ? row_bytes : 0), k + (keys > 2 ? 2 * row_bytes : 0),
                                   k + (keys > 2 ? 3 * row_bytes : 0)};
    struct tile sums = empty_tile();
    int64_t c = 0, whole = size / 16 * 16;
    vm part = vm_first(size % 16);
    for (; c < whole; c += 16)
        step_tile(&sums, dtype, keys, heads, key, queries->q, c, true, part);
    if (c < size) step_tile(&sums, dtype, keys, heads, key, queries->q, c, false, part);
    if (keys == SCORE_KEYS && heads == SCORE_HEADS) {
        store_scores(&sums, scale, queries->s, i);
        return;
    }
    store_keys(sums.s00, sums.s10, sums.s20, sums.s30, keys, scale, queries->s[0] + i);
    if (heads > 1) store_keys(sums.s01, sums.s11, sums.s21, sums.s31, keys, scale, queries->s[1] + i);
    if (heads > 2) store_keys(sums.s02, sums.s12, sums.s22, sums.s32, keys, scale, queries->s[2] + i);
    if (heads > 2) store_keys(sums.s03, sums.s13, sums.s23, sums.s33, keys, scale, queries->s[3] + i);
}

/* Positions [begin, begin + n), whose keys lie at k. */
TILE_FUNCTION score_keys(mlt_dtype dtype, const struct score *p, int size, const uint8_t *k,
                         int64_t row_bytes, int64_t begin, int64_t n)
{
    const float scale = p->scale;
    for (int h = 0; h < p->heads; h += SCORE_HEADS) {
        const struct queries queries = queries_from(p, h, begin);
        int64_t i = 0;
        for (; i + SCORE_KEYS <= n; i += SCORE_KEYS)
            score_tile(dtype, SCORE_KEYS, SCORE_HEADS, &queries, size, scale, k + i * row_bytes, row_bytes,
                       i);
        for (; i < n; i++)
            score_tile(dtype, 1, SCORE_HEADS, &queries, size, scale, k + i * row_bytes, row_bytes, i);
    }
}

/* One head: nothing but reading the keys. */
TILE_FUNCTION score_alone(mlt_dtype dtype, const struct score *p)
{
    const int bytes = p->size * element_size(dtype);
    const struct ahead ahead = ahead_of(p->row_bytes);
    const struct queries queries = queries_from(p, 0, 0);
    int64_t i = 0;
    for (; i + 4 <= p->n; i += 4) {
        const uint8_t *k = p->k + i * p->row_bytes;
        for (int r = 0; r < 4; r++)
            prefetch_ahead(ahead, k + r * p->row_bytes, bytes);
        score_tile(dtype, 4, 1, &queries, p->size, p->scale, k, p->row_bytes, i);
    }
    for (; i < p->n; i++)
        score_tile(dtype, 1, 1, &queries, p->size, p->scale, p->k + i * p->row_bytes, p->row_bytes, i);
}

/* Keys are converted once where several tiles of heads want them. */
TILE_FUNCTION score_heads(mlt_dtype dtype, const struct score *p, const int size)
{
    _Alignas(64) float keys[SCORE_BLOCK * SCORE_SIZE];
    const bool convert = dtype != MLT_F32 && p->heads > SCORE_HEADS && size <= SCORE_SIZE;
    const int bytes = size * element_size(dtype), whole = size / 16 * 16;
    const int64_t row = whole < size ? whole + 16 : whole;
    const struct ahead ahead = ahead_of(p->row_bytes);
    vm part = vm_first(size % 16);
    for (int64_t begin = 0; begin < p->n; begin += SCORE_BLOCK) {
        int64_t n = MLT_MIN(p->n - begin, SCORE_BLOCK);
        const uint8_t *k = p->k + begin * p->row_bytes;
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *key = k + i * p->row_bytes;
            prefetch_ahead(ahead, key, bytes);
            if (!convert) continue;
            for (int c = 0; c < whole; c += 16)
                vf_store(keys + i * row + c, load_elements(dtype, key, c, true, part));
            if (whole < size) vf_store(keys + i * row + whole, load_elements(dtype, key, whole, false, part));
        }
        if (convert)
            score_keys(MLT_F32, p, size, (const uint8_t *)keys, row * (int64_t)sizeof *keys, begin, n);
        else
            score_keys(dtype, p, size, k, p->row_bytes, begin, n);
    }
}

#define SCORE_KERNEL(name, dtype)                                                                            \
    static void name(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,          \
                     float scale, float *s, int64_t lds)                                                     \
    {                                                                                                        \
        struct score p = {q, heads, size, k, stride * element_size(dtype), n, scale, s, lds};                \
        if (heads == 1)                                                                                      \
            score_alone(dtype, &p);                                                                          \
        else if (size == 64)                                                                                 \
            score_heads(dtype, &p, 64);                                                                      \
        else if (size == 128)                                                                                \
            score_heads(dtype, &p, 128);                                                                     \
        else                                                                                                 \
            score_heads(dtype, &p, size);                                                                    \
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

static inline __attribute__((always_inline)) bool in_blocks(mlt_dtype dtype)
{
    return dtype == MLT_Q8_0 || dtype == MLT_IQ4_NL;
}

/* Bytes of `columns` elements, a multiple of 32 for blocks. */
static inline __attribute__((always_inline)) int column_bytes(mlt_dtype dtype, int columns)
{
    return dtype == MLT_Q8_0     ? columns / 32 * (int)sizeof(struct mlt_block_q8_0)
           : dtype == MLT_IQ4_NL ? columns / 32 * (int)sizeof(struct mlt_block_iq4_nl)
                                 : columns * element_size(dtype);
}

/* Elements [j, j + 16) of a row, or the chosen ones; j is a multiple of 16. */
static inline __attribute__((always_inline)) vf load_values(mlt_dtype dtype, const uint8_t *row, int64_t j,
                                                            bool whole, vm part)
{
    if (!in_blocks(dtype)) return load_elements(dtype, row, j, whole, part);
    const uint8_t *block = row + column_bytes(dtype, (int)(j / 32 * 32)); /* begins with d, then codes */
    uint16_t d;
    memcpy(&d, block, sizeof d);
    vf codes = dtype == MLT_Q8_0 ? vf_load_int8(block + 2 + j % 32) : vf_load_iq4(block + 2, j % 32 / 16);
    return vf_mul(vf_set_half(d), codes);
}

/* out = out + c; lanes that are not chosen are not touched. */
static inline void add_chunk(float *out, vf c, bool whole, vm part)
{
    if (whole)
        vf_store(out, vf_add(vf_load(out), c));
    else
        vf_store_part(out, part, vf_add(vf_load_part(out, part), c));
}

/* Adds p * V for one head, vectors of columns v0 to v3. */
TILE_FUNCTION step_head(vf *s0, vf *s1, vf *s2, vf *s3, int vectors, float p, vf v0, vf v1, vf v2, vf v3)
{
    vf weight = vf_set(p);
    *s0 = vf_fma(weight, v0, *s0);
    if (vectors > 1) *s1 = vf_fma(weight, v1, *s1);
    if (vectors > 2) *s2 = vf_fma(weight, v2, *s2);
    if (vectors > 2) *s3 = vf_fma(weight, v3, *s3);
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
    struct tile s = empty_tile();
    const float *p = m->p + head * m->ldp;
    const int bytes = column_bytes(dtype, 16 * vectors);
    const struct ahead ahead = ahead_of(m->row_bytes);
    const bool first = head == 0;
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *v = m->v + i * m->row_bytes;
        if (first) prefetch_ahead(ahead, v + column_bytes(dtype, j), bytes);
        vf v0 = load_values(dtype, v, j, whole, part), v1 = v0, v2 = v0, v3 = v0;
        if (vectors > 1) v1 = load_values(dtype, v, j + 16, whole, part);
        if (vectors > 2) v2 = load_values(dtype, v, j + 32, whole, part);
        if (vectors > 2) v3 = load_values(dtype, v, j + 48, whole, part);
        step_head(&s.s00, &s.s01, &s.s02, &s.s03, vectors, p[i], v0, v1, v2, v3);
        if (heads > 1) step_head(&s.s10, &s.s11, &s.s12, &s.s13, vectors, p[i + m->ldp], v0, v1, v2, v3);
        if (heads > 2) step_head(&s.s20, &s.s21, &s.s22, &s.s23, vectors, p[i + 2 * m->ldp], v0, v1, v2, v3);
        if (heads > 3) step_head(&s.s30, &s.s31, &s.s32, &s.s33, vectors, p[i + 3 * m->ldp], v0, v1, v2, v3);
    }
    float *out = m->out + (int64_t)head * m->size + j;
    add_head_chunk(out, s.s00, s.s01, s.s02, s.s03, vectors, whole, part);
    if (heads > 1) add_head_chunk(out + m->size, s.s10, s.s11, s.s12, s.s13, vectors, whole, part);
    if (heads > 2) add_head_chunk(out + 2 * m->size, s.s20, s.s21, s.s22, s.s23, vectors, whole, part);
    if (heads > 3) add_head_chunk(out + 3 * m->size, s.s30, s.s31, s.s32, s.s33, vectors, whole, part);
}

/*
 * Blocks are converted at some cost, so more heads share fewer columns of them: twice MIX_HEADS heads from
 * `head` on, half of MIX_VECTORS (1 or 2) vectors of columns.
 */
TILE_FUNCTION mix_blocks(mlt_dtype dtype, const struct mix *m, int head, int j, int64_t begin, int64_t end)
{
    enum { HEADS = 2 * MIX_HEADS, VECTORS = MIX_VECTORS / 2 };
    struct tile s = empty_tile();
    const vm all = vm_first(0);
    const float *p = m->p + head * m->ldp;
    const int64_t ld = m->ldp;
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *v = m->v + i * m->row_bytes;
        vf v0 = load_values(dtype, v, j, true, all), v1 = v0;
        if (VECTORS > 1) v1 = load_values(dtype, v, j + 16, true, all);
        step_head(&s.s00, &s.s01, NULL, NULL, VECTORS, p[i], v0, v1, v0, v0);
        step_head(&s.s02, &s.s03, NULL, NULL, VECTORS, p[i + ld], v0, v1, v0, v0);
        step_head(&s.s10, &s.s11, NULL, NULL, VECTORS, p[i + 2 * ld], v0, v1, v0, v0);
        step_head(&s.s12, &s.s13, NULL, NULL, VECTORS, p[i + 3 * ld], v0, v1, v0, v0);
        if (HEADS < 8) continue;
        step_head(&s.s20, &s.s21, NULL, NULL, VECTORS, p[i + 4 * ld], v0, v1, v0, v0);
        step_head(&s.s22, &s.s23, NULL, NULL, VECTORS, p[i + 5 * ld], v0, v1, v0, v0);
        step_head(&s.s30, &s.s31, NULL, NULL, VECTORS, p[i + 6 * ld], v0, v1, v0, v0);
        step_head(&s.s32, &s.s33, NULL, NULL, VECTORS, p[i + 7 * ld], v0, v1, v0, v0);
    }
    float *out = m->out + (int64_t)head * m->size + j;
    const int64_t size = m->size;
    add_head_chunk(out, s.s00, s.s01, s.s01, s.s01, VECTORS, true, all);
    add_head_chunk(out + size, s.s02, s.s03, s.s03, s.s03, VECTORS, true, all);
    add_head_chunk(out + 2 * size, s.s10, s.s11, s.s11, s.s11, VECTORS, true, all);
    add_head_chunk(out + 3 * size, s.s12, s.s13, s.s13, s.s13, VECTORS, true, all);
    if (HEADS < 8) return;
    add_head_chunk(out + 4 * size, s.s20, s.s21, s.s21, s.s21, VECTORS, true, all);
    add_head_chunk(out + 5 * size, s.s22, s.s23, s.s23, s.s23, VECTORS, true, all);
    add_head_chunk(out + 6 * size, s.s30, s.s31, s.s31, s.s31, VECTORS, true, all);
    add_head_chunk(out + 7 * size, s.s32, s.s33, s.s33, s.s33, VECTORS, true, all);
}

/* One head, eight vectors of columns. */
TILE_FUNCTION mix_wide(mlt_dtype dtype, const struct mix *m, int head, int j, int64_t begin, int64_t end)
{
    struct tile s = empty_tile();
    const float *p = m->p + head * m->ldp;
    const int bytes = column_bytes(dtype, 128);
    const struct ahead ahead = ahead_of(m->row_bytes);
    const vm all = vm_first(0);
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *v = m->v + i * m->row_bytes;
        prefetch_ahead(ahead, v + column_bytes(dtype, j), bytes);
        step_head(&s.s00, &s.s01, &s.s02, &s.s03, 4, p[i], load_values(dtype, v, j, true, all),
                  load_values(dtype, v, j + 16, true, all), load_values(dtype, v, j + 32, true, all),
                  load_values(dtype, v, j + 48, true, all));
        step_head(&s.s10, &s.s11, &s.s12, &s.s13, 4, p[i], load_values(dtype, v, j + 64, true, all),
                  load_values(dtype, v, j + 80, true, all), load_values(dtype, v, j + 96, true, all),
                  load_values(dtype, v, j + 112, true, all));
    }
    float *out = m->out + (int64_t)head * m->size + j;
    add_head_chunk(out, s.s00, s.s01, s.s02, s.s03, 4, true, all);
    add_head_chunk(out + 64, s.s10, s.s11, s.s12, s.s13, 4, true, all);
}

TILE_FUNCTION mix_columns(mlt_dtype dtype, int heads, const struct mix *m, int head, int64_t begin,
                          int64_t end)
{
    const int vectors = heads == 1 ? MIX_ALONE : MIX_VECTORS;
    int j = 0;
    for (; vectors == 8 && j + 128 <= m->size; j += 128)
        mix_wide(dtype, m, head, j, begin, end);
    for (; j + 16 * MLT_MIN(vectors, 4) <= m->size; j += 16 * MLT_MIN(vectors, 4))
        mix_tile(dtype, heads, MLT_MIN(vectors, 4), m, head, j, begin, end, true, vm_first(0));
    for (; j + 16 <= m->size; j += 16)
        mix_tile(dtype, heads, 1, m, head, j, begin, end, true, vm_first(0));
    if (!in_blocks(dtype) && j < m->size)
        mix_tile(dtype, heads, 1, m, head, j, begin, end, false, vm_first(m->size - j));
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
        for (; in_blocks(dtype) && head + 2 * MIX_HEADS <= heads; head += 2 * MIX_HEADS)
            for (int j = 0; j < m->size; j += 16 * MIX_VECTORS / 2)
                mix_blocks(dtype, m, head, j, begin, end);
        for (; head + MIX_HEADS <= heads; head += MIX_HEADS)
            mix_columns(dtype, MIX_HEADS, m, head, begin, end);
        if (MIX_HEADS > 3 && head + 3 == heads)
            mix_columns(dtype, 3, m, head, begin, end);
        else if (MIX_HEADS > 2 && head + 2 == heads)
            mix_columns(dtype, 2, m, head, begin, end);
        else if (head < heads)
            mix_columns(dtype, 1, m, head, begin, end);
    }
}

#define MIX_KERNEL(name, dtype)                                                                              \
    static void name(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,       \
                     int size, float *out)                                                                   \
    {                                                                                                        \
        struct mix m = {p, ldp, v, column_bytes(dtype, (int)stride), n, size, out};                          \
        mix_heads(dtype, &m, heads);                                                                         \
    }
MIX_KERNEL(mix_f32, MLT_F32)
MIX_KERNEL(mix_f16, MLT_F16)
MIX_KERNEL(mix_q8_0, MLT_Q8_0)
MIX_KERNEL(mix_iq4_nl, MLT_IQ4_NL)
#undef MIX_KERNEL

static inline void set_attention(struct mlt_kernels *table)
{
    table->score_f32 = score_f32;
    table->score_f16 = score_f16;
    table->mix_f32 = mix_f32;
    table->mix_f16 = mix_f16;
    table->mix_q8_0 = mix_q8_0;
    table->mix_iq4_nl = mix_iq4_nl;
}
