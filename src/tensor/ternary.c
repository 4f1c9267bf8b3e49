/*
 * The ternary types TQ1_0 (1.69 bits a weight) and TQ2_0 (2.06), for models that were trained to weights of
 * -d, 0 and d.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tensor/codecs.h"
#include "tensor/half.h"
#include "tensor/quant_blocks.h"

/*
 * TQ1_0 packs five digits of base 3 (0, 1, 2 for -d, 0, d) into a byte: their number, 0 to 242, is scaled to
 * ceil(number * 256 / 243). Digit k, counted from the most significant, comes back without a division:
 * multiply by 3^k modulo 256, which drops the digits before it, then the top of the product with 3 is the
 * digit. The rounding up is what makes this exact for all 243 numbers. Other bytes give digits too.
 */
static int base3_digit(uint8_t packed, uint8_t power_of_3)
{
    uint8_t rest = (uint8_t)(packed * power_of_3);
    return rest * 3 >> 8;
}

/*
 * Where the digits of TQ1_0 lie: `bytes` bytes from `first_byte` of the block hold digit k of elements
 * first_element + k * bytes + i.
 */
static const struct {
    uint8_t first_byte, bytes, digits, first_element;
} tq1_parts[3] = {{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}};

void mlt_decode_tq1_0(const void *bytes, float *values, int64_t blocks)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++, values += MLT_QK_K) {
        struct mlt_block_tq1_0 block;
        uint8_t packed[52]; /* qs, then qh */
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        memcpy(packed, block.qs, sizeof block.qs);
        memcpy(packed + sizeof block.qs, block.qh, sizeof block.qh);
        float d = mlt_half_to_float_inline(block.d);
        for (int p = 0; p < 3; p++) {
            const uint8_t *part = packed + tq1_parts[p].first_byte;
            float *out = values + tq1_parts[p].first_element;
            for (int k = 0; k < tq1_parts[p].digits; k++, out += tq1_parts[p].bytes)
                for (int i = 0; i < tq1_parts[p].bytes; i++)
                    out[i] = (float)(base3_digit(part[i], powers[k]) - 1) * d;
        }
    }
}

/* TQ2_0: 32 bytes hold 128 elements, the first 32 in the lowest two bits of each byte. The unused code 3 is
 * 2 * d. */
void mlt_decode_tq2_0(const void *bytes, float *values, int64_t blocks)
{
    const uint8_t *source = bytes;
    for (int64_t b = 0; b < blocks; b++) {
        struct mlt_block_tq2_0 block;
        memcpy(&block, source + (size_t)b * sizeof block, sizeof block);
        float d = mlt_half_to_float_inline(block.d);
        for (int part = 0; part < 8; part++, values += 32) {
            const uint8_t *q = block.qs + 32 * (part / 4);
            int shift = part % 4 * 2;
            for (int i = 0; i < 32; i++)
                values[i] = (float)((q[i] >> shift & 3) - 1) * d;
        }
    }
}
