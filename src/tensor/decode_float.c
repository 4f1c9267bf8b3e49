/*
 * Decoding of the unquantised types. Sources need no alignment, so elements are copied out byte by byte; the
 * compiler makes plain loads of that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/codecs.h"
#include "tensor/half.h"

void mlt_decode_f32(const void *bytes, float *values, int64_t blocks)
{
    memcpy(values, bytes, (size_t)blocks * sizeof *values);
}

void mlt_decode_f16(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t i = 0; i < blocks; i++) {
        uint16_t half;
        memcpy(&half, source + 2 * i, sizeof half);
        values[i] = mlt_half_to_float_inline(half);
    }
}

void mlt_decode_bf16(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t i = 0; i < blocks; i++) {
        uint16_t bfloat;
        memcpy(&bfloat, source + 2 * i, sizeof bfloat);
        values[i] = mlt_bfloat_to_float_inline(bfloat);
    }
}
