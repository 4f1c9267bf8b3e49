/*
 * The kernel table and the contract of each kernel.
 *
 * The scalar C of a kernel (kernels/scalar/) is its definition. Every other variant gives the same bits for
 * the same input: on every instruction set, for every number of threads, tokens and rows in a call. The
 * contracts below fix the order of all float operations; integer sums are exact and may be formed in any
 * order. Rules that hold for all:
 *   - float is IEEE binary32, round to nearest even, subnormals kept (FTZ and DAZ off);
 *   - "fma(a, b, c)" is one rounding; every other operation written here is rounded by itself
 * (-ffp-contract=off);
 *   - a result that is NaN is NaN in every variant, its payload and sign are not defined;
 *   - pointers need no alignment beyond their type's unless said; buffers are never read or written past
 * their end.
 *
 * "lanes16(n, term)": sixteen partial sums p[0..15] start at +0; for k = 0 .. n-1 ascending, term k goes into
 * p[k % 16]. "tree16(p)": s[i] = p[i] + p[i+8] for i < 8; then t[i] = s[i] + s[i+4] for i < 4; then (t[0] +
 * t[1]) + (t[2] + t[3]).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_KERNELS_H
#define MLT_KERNELS_H

#include "tensor/dtype.h"

/* ---- CPU tiers ---- */

/* Instruction-set levels that have kernels; a bit each. A level is used only when CPU and OS both support it.
 */
enum mlt_cpu_flags {
    MLT_CPU_AVX2 = 1u << 0,        /* AVX2, FMA, F16C */
    MLT_CPU_AVX512 = 1u << 1,      /* AVX-512 F, BW, VL, DQ */
    MLT_CPU_AVX512_VNNI = 1u << 2, /* and AVX-512 VNNI */
    MLT_CPU_NEON = 1u << 3,        /* Advanced SIMD with half-precision conversion: every AArch64 */
    MLT_CPU_DOTPROD = 1u << 4,     /* sdot / udot */
    MLT_CPU_I8MM = 1u << 5,        /* smmla */
};

/* What this CPU and OS support; compiled without ISA flags. */
unsigned mlt_cpu_detect(void);

/*
 * The mask that a tier name stands for: "scalar", "avx2", "avx512", "avx512vnni", "neon", "dotprod", "i8mm",
 * "native"; false where the name is unknown. A tier includes the lower tiers of its architecture.
 */
bool mlt_cpu_mask_by_name(const char *name, unsigned *mask);
/* The names, separated by ", ". */
const char *mlt_cpu_tier_names(void);
/* Name of the highest tier in `flags`: "avx512vnni" ... "scalar". */
const char *mlt_cpu_tier_name(unsigned flags);

/* ---- Quantised products ---- */

/*
 * Activations in int8: one row of `columns` floats a token, quantised in blocks of 32 (for weights of
 * 32-blocks) or 256 (for weights of 256-superblocks). Per block: a = the largest |x|.
 *   - a value that is NaN or infinite: d = NaN, all q = 0;
 *   - a < 2^-100 (0 included): d = 0, all q = 0;
 *   - else d = a / 127, s = 127 / a, q = the nearest even integer to x * s, in [-127, 127] by clamping.
 * sums: for each 16 columns the sum of their q. reach: for each block the largest sum of |q| of 16 columns.
 */
struct mlt_act {
    int64_t columns;
    int block;            /* 32 or 256; columns is a multiple of it */
    const int8_t *q;      /* [tokens][columns] */
    const float *d;       /* [tokens][columns / block] */
    const int16_t *sums;  /* [tokens][columns / 16] */
    const int16_t *reach; /* [tokens][columns / block] */
};

enum { MLT_PANEL_ROWS = 16, MLT_PANEL_COLUMNS = 256, MLT_MAX_PANELS = 8 };

/*
 * A panel: up to 256 columns of 16 rows of a quantised matrix, unpacked to what integer dot products want.
 * The integers are defined; how they lie in memory is too, since variants may be mixed: q[k / 4][row][k % 4]:
 * sixteen rows x 4 bytes = 64 bytes for each four columns, k counted from the panel's start. Only whether
 * they are signed is left to the level (`biased` in the table).
 */
enum mlt_panel_kind {
    MLT_PANEL_BLOCK32, /* w = d * q + m, d and m per 32 columns: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4
                        */
    MLT_PANEL_SUPER32, /* w = d * scale * q - dmin * min, scale and min per 32 columns: Q4_K, Q5_K, IQ4_XS,
                          TQ1_0, TQ2_0 */
    MLT_PANEL_SUPER16, /* the same with groups of 16: Q2_K, Q3_K, Q6_K */
};

struct mlt_panel {
    _Alignas(64) int8_t q[MLT_PANEL_COLUMNS / 4][MLT_PANEL_ROWS][4]; /* BLOCK32: any int8; SUPER: -127..127 */
    _Alignas(64) float d[8][MLT_PANEL_ROWS];                         /* BLOCK32: per block; SUPER: d[0] */
    _Alignas(64) float m[8][MLT_PANEL_ROWS];        /* BLOCK32: m per block; SUPER: m[0] = dmin */
    _Alignas(64) int32_t scale[16][MLT_PANEL_ROWS]; /* SUPER: per group, -128..127 */
    _Alignas(64) int32_t min[16][MLT_PANEL_ROWS];   /* SUPER with mins: per group, 0..63 */
    int columns;                                    /* 32..256, a multiple of 32; SUPER: 256 */
    enum mlt_panel_kind kind;
    bool has_min; /* m (and min) are set */
    int bias;     /* q holds q + bias: 0 and int8, or, where the table is `biased`, >= -q_low and uint8 */
    int q_low, q_high; /* every q is in [q_low, q_high]: products of a small range may be added in 16 bits */
};

/*
 * Unpacks columns [column, column + columns) of sixteen rows: rows[r] is the first byte of row r (repeat a
 * row where a matrix has fewer). column is a multiple of the dtype's block length, columns a multiple of it
 * and of 32, at most 256. Fields that the kind does not use are left as they are.
 */
typedef void mlt_unpack_kernel(const uint8_t *const rows[MLT_PANEL_ROWS], int64_t column, int columns,
                               struct mlt_panel *panel);

/*
 * Adds the products of panels [0, n_panels) with tokens [token, token + tokens) of `act` to y: row r of panel
 * p and the i-th of these tokens to y[i * ld + 16 * p + r]. column: the panels' first column. All panels have
 * the same kind, columns, has_min, q_low and q_high. For each output, blocks in ascending order of column:
 *
 *   BLOCK32, act->block == 32, per 32 columns:
 *      isum = sum of q * xq;      y = fma(d * dx, (float)isum, y);
 *      has_min: xsum = sum of xq; y = fma(m, dx * (float)xsum, y);
 *
 *   SUPER32 and SUPER16, act->block == 256, per 256 columns:
 *      isum = sum over groups of scale * (sum of q * xq);    y = fma(d * dx, (float)isum, y);
 *      has_min: msum = sum over groups of min * (sum of xq); y = fma(-(m * dx), (float)msum, y);
 *
 * where dx is the activation block's d, products d * dx, m * dx and dx * (float)xsum are rounded, and (float)
 * rounds to nearest even. |isum| < 2^31 for every panel within the ranges of struct mlt_panel.
 */
typedef void mlt_dot_kernel(const struct mlt_panel *panels, int n_panels, int64_t column,
                            const struct mlt_act *act, int64_t token, int64_t tokens, float *y, int64_t ld);

/*
 * The same product for sixteen whole rows and one token, without a panel in between: y[r] starts as +0 and
 * takes in all blocks of rows[r] in ascending order. For few tokens; NULL in the table where a level has
 * nothing better than unpack and dot.
 */
typedef void mlt_rows_kernel(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,
                             int64_t token, float y[MLT_PANEL_ROWS]);

/*
 * The same for tokens [token, token + tokens), 2 to MLT_FEW_TOKENS of them, which share the work of taking
 * the rows apart: row r of the i-th token to y[i * ld + r]. NULL in the table where a level has nothing
 * better.
 */
enum { MLT_FEW_TOKENS = 4 };
typedef void mlt_few_rows_kernel(const uint8_t *const rows[MLT_PANEL_ROWS], const struct mlt_act *act,
                                 int64_t token, int tokens, float *y, int64_t ld);

/* Quantises one token's row: x[columns] to q[columns], d[columns / block], sums[columns / 16] and
 * reach[columns / block]; block 32 or 256. */
typedef void mlt_quantize_kernel(const float *x, int64_t columns, int block, int8_t *q, float *d,
                                 int16_t *sums, int16_t *reach);

/* ---- Float products ---- */

/*
 * y[t * ldy + r] = tree16(lanes16(columns, p = fma(w[r][k], x[t * ldx + k], p))) for rows r and tokens t. The
 * weights are F32, F16 or BF16 by the table's entry, rows `row_bytes` apart, converted exactly to float.
 */
typedef void mlt_dot_float_kernel(const uint8_t *w, uint64_t row_bytes, int64_t rows, const float *x,
                                  int64_t ldx, int64_t tokens, int64_t columns, float *y, int64_t ldy);

/* ---- Attention ---- */

/*
 * Scores of `heads` query heads that share keys: s[h * lds + i] = scale * tree16(lanes16(size, p =
 * fma(q[h][k], K[i][k], p))) for positions i in [0, n): q[h] = q + h * size, K[i] is `size` elements (F32 or
 * F16) at k + i * stride (in elements).
 */
typedef void mlt_score_kernel(const float *q, int heads, const void *k, int64_t stride, int64_t n, int size,
                              float scale, float *s, int64_t lds);

/*
 * out[h][j] = sum over positions of p[h * ldp + i] * V[i][j]: positions in chunks of 256 from 0; within a
 * chunk c = fma(p, V, c) from c = +0 ascending; chunks are added in order: out = +0, out = out + c. V[i] is
 * `size` elements at v + i * stride (in elements), converted exactly to float: F32, F16, or blocks of 32
 * (Q8_0, IQ4_NL: a half scale times an int8 is a float); then size and stride are multiples of 32.
 */
typedef void mlt_mix_kernel(const float *p, int64_t ldp, int heads, const void *v, int64_t stride, int64_t n,
                            int size, float *out);

/* ---- Elementwise and reductions ---- */

/*
 * mlt_exp, mlt_tanh, mlt_sigmoid: the functions of kernels/math.h.
 *
 * softmax in place: mx = the largest x (NaN anywhere gives all NaN); e[i] = exp(x[i] - mx);
 *   sum = tree16(lanes16(n, p = p + e)); x[i] = e[i] * (1 / sum). -infinity gives 0; all -infinity gives NaN.
 * n >= 1. `extra`: where not NULL, one more term exp(*extra - mx) takes part in mx and, after the tree, in
 * sum (attention sinks).
 */
typedef void mlt_softmax_kernel(float *x, int64_t n, const float *extra);

/* ss = tree16(lanes16(n, p = fma(x, x, p))); r = 1 / sqrt(ss / n + eps); y[i] = (x[i] * r) * w[i]; w NULL:
 * without. */
typedef void mlt_rms_norm_kernel(const float *x, const float *w, int64_t n, float eps, float *y);

/*
 * mean = tree16(lanes16(n, p = p + x)) / n; c = x - mean; v = tree16(lanes16(n, p = fma(c, c, p))) / n;
 * r = 1 / sqrt(v + eps); y[i] = (c[i] * r) * w[i] + b[i]; w or b NULL: without.
 */
typedef void mlt_layer_norm_kernel(const float *x, const float *w, const float *b, int64_t n, float eps,
                                   float *y);

/* y[i] = act(g[i]) * u[i]; u NULL: without the product. act is mlt_silu or mlt_gelu of math.h. y may be g. */
typedef void mlt_gate_kernel(const float *g, const float *u, int64_t n, float *y);

/* x[i] = cap * tanh(x[i] / cap) */
typedef void mlt_softcap_kernel(float *x, int64_t n, float cap);

/* Round to nearest even, as mlt_float_to_half. */
typedef void mlt_to_half_kernel(const float *x, uint16_t *y, int64_t n);

/* ---- The machine's limits ---- */

/*
 * Does multiply-adds on registers alone, `rounds` times as many as one round has, and returns how many
 * operations that was (a multiplication and an addition are two): the level's arithmetic peak, when timed. No
 * contract on bits.
 */
typedef double mlt_peak_kernel(int64_t rounds);

/* ---- The table ---- */

struct mlt_kernels {
    unsigned cpu; /* the levels in use, of enum mlt_cpu_flags */
    bool biased;  /* all unpackers make panels of unsigned codes, and the dot kernels expect them */
    mlt_quantize_kernel *quantize;
    mlt_unpack_kernel *unpack[MLT_DTYPE_LIMIT]; /* by dtype; NULL for what is not quantised */
    mlt_dot_kernel *dot_block32, *dot_super32, *dot_super16;
    mlt_rows_kernel *rows[MLT_DTYPE_LIMIT];         /* by dtype; optional */
    mlt_few_rows_kernel *few_rows[MLT_DTYPE_LIMIT]; /* the same */
    mlt_dot_float_kernel *dot_f32, *dot_f16, *dot_bf16;
    mlt_score_kernel *score_f32, *score_f16;
    mlt_mix_kernel *mix_f32, *mix_f16, *mix_q8_0, *mix_iq4_nl;
    mlt_softmax_kernel *softmax;
    mlt_rms_norm_kernel *rms_norm;
    mlt_layer_norm_kernel *layer_norm;
    mlt_gate_kernel *silu, *gelu;
    mlt_softcap_kernel *softcap;
    mlt_to_half_kernel *to_half;
    mlt_peak_kernel *peak_int8, *peak_f32;
};

/* Fills `table` with scalar C, then with every level in (mlt_cpu_detect() & mask), ascending. */
void mlt_kernels_init(struct mlt_kernels *table, unsigned mask);

/*
 * The table for this process: all levels of the CPU that the environment variable MILLET_CPU (a tier name)
 * allows; made on first use, immutable after; thread-safe. An unknown name in MILLET_CPU is ignored here;
 * callers that can report it ask mlt_cpu_mask_by_name first.
 */
const struct mlt_kernels *mlt_kernels_default(void);

/* Each level's own part, in its own files; those of other architectures do not exist. */
void mlt_kernels_init_scalar(struct mlt_kernels *table);
void mlt_kernels_init_avx2(struct mlt_kernels *table);
void mlt_kernels_init_avx512(struct mlt_kernels *table);
void mlt_kernels_init_avx512_vnni(struct mlt_kernels *table);
void mlt_kernels_init_neon(struct mlt_kernels *table);
void mlt_kernels_init_dotprod(struct mlt_kernels *table);
void mlt_kernels_init_i8mm(struct mlt_kernels *table);

#endif
