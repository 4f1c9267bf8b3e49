/*
 * The packed group scales of the K types, unpacked.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_K_SCALES_H
#define MLT_K_SCALES_H

#include <stdint.h>

/*
 * Q4_K, Q5_K: eight 6-bit scales and eight 6-bit mins in twelve bytes. Bytes 0-3 hold scales 0-3 and bytes
 * 4-7 mins 0-3 in their low six bits; bytes 8-11 hold the low four bits of scales 4-7 (low nibble) and mins
 * 4-7 (high nibble), whose top two bits are the top two bits of bytes 0-3 and 4-7.
 */
static inline void mlt_unpack_k4_scales(const uint8_t packed[12], uint8_t scales[8], uint8_t mins[8])
{
    for (int i = 0; i < 4; i++) {
        scales[i] = packed[i] & 63;
        mins[i] = packed[i + 4] & 63;
        scales[i + 4] = (uint8_t)((packed[i + 8] & 15) | packed[i] >> 6 << 4);
        mins[i + 4] = (uint8_t)(packed[i + 8] >> 4 | packed[i + 4] >> 6 << 4);
    }
}

static inline void mlt_pack_k4_scales(const uint8_t scales[8], const uint8_t mins[8], uint8_t packed[12])
{
    for (int i = 0; i < 4; i++) {
        packed[i] = (uint8_t)(scales[i] | scales[i + 4] >> 4 << 6);
        packed[i + 4] = (uint8_t)(mins[i] | mins[i + 4] >> 4 << 6);
        packed[i + 8] = (uint8_t)((scales[i + 4] & 15) | mins[i + 4] << 4);
    }
}

/*
 * Q3_K: sixteen 6-bit scales, stored with 32 added, in twelve bytes. Bytes 0-7 hold the low four bits of
 * scales 0-7 (low nibble) and 8-15 (high nibble); the top two bits of scale i are bits 2 * (i / 4) and up of
 * byte 8 + i % 4. Here they are -32..31.
 */
static inline void mlt_unpack_q3_scales(const uint8_t packed[12], int8_t scales[16])
{
    for (int i = 0; i < 16; i++) {
        int low = packed[i % 8] >> (i / 8 * 4) & 15;
        int high = packed[8 + i % 4] >> (i / 4 * 2) & 3;
        scales[i] = (int8_t)((low | high << 4) - 32);
    }
}

static inline void mlt_pack_q3_scales(const int8_t scales[16], uint8_t packed[12])
{
    for (int i = 0; i < 12; i++)
        packed[i] = 0;
    for (int i = 0; i < 16; i++) {
        int code = scales[i] + 32;
        packed[i % 8] |= (uint8_t)((code & 15) << (i / 8 * 4));
        packed[8 + i % 4] |= (uint8_t)(code >> 4 << (i / 4 * 2));
    }
}

#endif
