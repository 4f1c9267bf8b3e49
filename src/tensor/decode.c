/*
 * Decoding: every dtype that can be a weight, to float.
 *
 * unpack.c knows the layouts. What is added here is the order in which the floats are rounded, which is what
 * makes decoding exact: the reference implementation of GGUF multiplies a group's scale out first and then
 * spends one product, and one difference where the type has minima, on an element.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/half.h"
#include "tensor/quant_blocks.h"
#include "tensor/unpack.h"

const int8_t mlt_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t mlt_e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Sources may begin at any byte: elements are copied out, which compilers turn into plain loads. */
static void decode_f16(const uint8_t *bytes, float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        values[i] = mlt_half_to_float_inline(half);
    }
}

static void decode_bf16(const uint8_t *bytes, float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint16_t bfloat;
        memcpy(&bfloat, bytes + 2 * i, sizeof bfloat);
        values[i] = mlt_bfloat_to_float_inline(bfloat);
    }
}

static void decode_block_of_32(const struct mlt_unpacked *block, bool has_min, float *values)
{
    for (int i = 0; i < MLT_QK; i++)
        values[i] = block->d * (float)block->q[i];
    for (int i = 0; i < MLT_QK && has_min; i++)
        values[i] += block->m;
}

static void decode_superblock(const struct mlt_unpacked *block, int groups, bool has_min, float *values)
{
    int length = MLT_QK_K / groups;
    for (int g = 0; g < groups; g++) {
        float scale = block->d * (float)block->scale[g];
        for (int i = g * length; i < (g + 1) * length; i++)
            values[i] = scale * (float)block->q[i];
        if (!has_min) continue;
        float min = block->m * (float)block->min[g];
        for (int i = g * length; i < (g + 1) * length; i++)
            values[i] -= min;
    }
}

void mlt_decode(mlt_dtype dtype, const void *bytes, float *values, int64_t elements)
{
    const uint8_t *source = bytes;
    if (dtype == MLT_F32) {
        memcpy(values, source, (size_t)elements * sizeof *values);
    } else if (dtype == MLT_F16) {
        decode_f16(source, values, elements);
    } else if (dtype == MLT_BF16) {
        decode_bf16(source, values, elements);
    } else {
        const struct mlt_dtype_info *info = mlt_dtype_info(dtype);
        const struct mlt_unpack_traits *traits = mlt_unpack_traits(dtype);
        for (int64_t i = 0; i < elements; i += info->block_length, source += info->block_bytes) {
            struct mlt_unpacked block;
            traits->unpack(source, &block);
            if (traits->groups == 1)
                decode_block_of_32(&block, traits->has_min, values + i);
            else
                decode_superblock(&block, traits->groups, traits->has_min, values + i);
        }
    }
}
