/*
 * The element types of tensors: their numbers in GGUF, their block sizes, and the way from and to float.
 *
 * A quantised type stores `block_length` consecutive elements of a row in `block_bytes` bytes. A row always
 * holds whole blocks. The byte layouts are those of the GGUF specification and its reference implementation;
 * quant_blocks.h has a struct for each.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_DTYPE_H
#define MLT_DTYPE_H

#include "base/base.h"

/* X(NAME, GGUF number, "name", block length, block bytes). Numbers are those of GGUF; gaps are types we do
 * not read. */
#define MLT_DTYPE_LIST(X)                                                                                    \
    X(F32, 0, "F32", 1, 4)                                                                                   \
    X(F16, 1, "F16", 1, 2)                                                                                   \
    X(Q4_0, 2, "Q4_0", 32, 18)                                                                               \
    X(Q4_1, 3, "Q4_1", 32, 20)                                                                               \
    X(Q5_0, 6, "Q5_0", 32, 22)                                                                               \
    X(Q5_1, 7, "Q5_1", 32, 24)                                                                               \
    X(Q8_0, 8, "Q8_0", 32, 34)                                                                               \
    X(Q2_K, 10, "Q2_K", 256, 84)                                                                             \
    X(Q3_K, 11, "Q3_K", 256, 110)                                                                            \
    X(Q4_K, 12, "Q4_K", 256, 144)                                                                            \
    X(Q5_K, 13, "Q5_K", 256, 176)                                                                            \
    X(Q6_K, 14, "Q6_K", 256, 210)                                                                            \
    X(IQ4_NL, 20, "IQ4_NL", 32, 18)                                                                          \
    X(IQ4_XS, 23, "IQ4_XS", 256, 136)                                                                        \
    X(I8, 24, "I8", 1, 1)                                                                                    \
    X(I16, 25, "I16", 1, 2)                                                                                  \
    X(I32, 26, "I32", 1, 4)                                                                                  \
    X(I64, 27, "I64", 1, 8)                                                                                  \
    X(F64, 28, "F64", 1, 8)                                                                                  \
    X(BF16, 30, "BF16", 1, 2)                                                                                \
    X(TQ1_0, 34, "TQ1_0", 256, 54)                                                                           \
    X(TQ2_0, 35, "TQ2_0", 256, 66)                                                                           \
    X(MXFP4, 39, "MXFP4", 32, 17)

typedef enum mlt_dtype {
#define MLT_DTYPE_ENUM(name, number, text, length, bytes) MLT_##name = (number),
    MLT_DTYPE_LIST(MLT_DTYPE_ENUM)
#undef MLT_DTYPE_ENUM
        MLT_DTYPE_LIMIT = 64 /* every number is below this: tables may be indexed by dtype */
} mlt_dtype;

struct mlt_dtype_info {
    const char *name;
    int block_length; /* elements */
    int block_bytes;
    bool quantised; /* block_length > 1 */
    bool is_float;  /* F32, F16, BF16 or quantised: can be a weight */
};

/* NULL where `number` is no dtype that we know (`number` may come from a file). */
const struct mlt_dtype_info *mlt_dtype_find(uint32_t number);
/* `dtype` must be one of the enum's values. */
const struct mlt_dtype_info *mlt_dtype_info(mlt_dtype dtype);
/* By name, case-insensitive ("q4_k", "Q4_K"); false where there is none. */
bool mlt_dtype_by_name(const char *name, mlt_dtype *dtype);
/* Bytes of a row of `elements`, which must be a multiple of the block length. */
size_t mlt_dtype_row_bytes(mlt_dtype dtype, int64_t elements);

/*
 * Decodes `elements` (a multiple of the block length) from `bytes` to `values`; exact: the same floats on
 * every machine. Every bit pattern of a block is decoded to something; NaN and infinite scales give NaN and
 * infinite values. Only dtypes with is_float. `bytes` needs no alignment.
 */
void mlt_decode(mlt_dtype dtype, const void *bytes, float *values, int64_t elements);

/*
 * Encodes `elements` (a multiple of the block length) from `values`. Only dtypes with is_float. The bytes of
 * a block depend on its values and importances alone: not on how rows are cut into calls, nor on the machine.
 * Without importances they are those of GGUF's reference quantiser.
 *
 * `importance`, one weight >= 0 an element, or NULL: how much the square of the element's error matters. The
 * types with scales to search for (all quantised ones but Q8_0) then choose them for that.
 *
 * Values that are not finite are the caller's error: mlt_encode_check finds them. Finite ones may be of any
 * size:
 *   - what is too large for a type is clipped, not made infinite: a scale is a binary16 (but for MXFP4) and
 * ends at 65504, so that Q8_0 ends at 8.3e6, Q4_0 at 5.2e5, Q4_K at 6.2e7 and TQ2_0 at 65504. F16 itself is
 * rounded as mlt_float_to_half does it, to infinity from 65520 on;
 *   - what is too small becomes zero: a scale below 2^-25.
 */
void mlt_encode(mlt_dtype dtype, const float *values, const float *importance, void *bytes, int64_t elements);

/* Index of the first value that is NaN or infinite, or -1. */
int64_t mlt_encode_check(const float *values, int64_t elements);

/* IEEE binary16 and bfloat16, round to nearest even; exact on every machine, subnormals, infinities and NaN
 * included. */
float mlt_half_to_float(uint16_t half);
uint16_t mlt_float_to_half(float value);
float mlt_bfloat_to_float(uint16_t bfloat);
uint16_t mlt_float_to_bfloat(float value);

#endif
