/*
 * What the layouts of quantised blocks are taken apart with, over the lanes of lanes_avx2.h or
 * lanes_avx512.h.
 *
 * Sixteen bytes of sixteen rows are read and transposed, so that a register holds the same four bytes of
 * every row: the order of a panel. Taking codes apart happens after that, for all rows at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_CODES_LANES_H
#define MLT_CODES_LANES_H

#include "kernels/kernels.h"
#include "kernels/x86/x86.h"
#include "tensor/quant_blocks.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Four activations, the same for all rows. */
INLINE vi activations4(const int8_t *x)
{
    int32_t value;
    memcpy(&value, x, sizeof value);
    return vi_set32(value);
}

INLINE struct vi4 and_all(struct vi4 v, int mask)
{
    vi m = vi_set8(mask);
    return (struct vi4){vi_and(v.a, m), vi_and(v.b, m), vi_and(v.c, m), vi_and(v.d, m)};
}

INLINE struct vi4 or_all(struct vi4 v, struct vi4 w)
{
    return (struct vi4){vi_or(v.a, w.a), vi_or(v.b, w.b), vi_or(v.c, w.c), vi_or(v.d, w.d)};
}

INLINE struct vi4 subtract_all(struct vi4 v, int offset)
{
    vi o = vi_set8(offset);
    return (struct vi4){vi_sub8(v.a, o), vi_sub8(v.b, o), vi_sub8(v.c, o), vi_sub8(v.d, o)};
}

INLINE struct vi4 lookup_all(__m128i table, struct vi4 v)
{
    return (struct vi4){vi_lookup(table, v.a), vi_lookup(table, v.b), vi_lookup(table, v.c),
                        vi_lookup(table, v.d)};
}

/* Shifts bytes within 16 bits: the caller masks what crosses from the other byte. */
#define SHIFT_RIGHT_ALL(v, bits)                                                                             \
    ((struct vi4){vi_shr16((v).a, bits), vi_shr16((v).b, bits), vi_shr16((v).c, bits), vi_shr16((v).d, bits)})
#define SHIFT_LEFT_ALL(v, bits)                                                                              \
    ((struct vi4){vi_shl16((v).a, bits), vi_shl16((v).b, bits), vi_shl16((v).c, bits), vi_shl16((v).d, bits)})

INLINE struct vi4 low_nibbles(struct vi4 v)
{
    return and_all(v, 15);
}

INLINE struct vi4 high_nibbles(struct vi4 v)
{
    return and_all(SHIFT_RIGHT_ALL(v, 4), 15);
}

/*
 * What stands at `offset` of each row: 16 or 32 bits, or a byte. By general registers and stores, which the
 * assembler makes sure of: compilers put them together in vector registers one by one, on ports that
 * everything else here needs.
 */
#define GATHER(name, element, type, store)                                                                   \
    INLINE void name(struct rows rows, int64_t offset, type out[16])                                         \
    {                                                                                                        \
        for (int first = 0; first < 4; first++) {                                                            \
            const struct four_rows four = every_fourth(rows, offset, first);                                 \
            const uint8_t *const row[4] = {four.a, four.b, four.c, four.d};                                  \
            for (int i = 0; i < 4; i++) {                                                                    \
                element value;                                                                               \
                memcpy(&value, row[i], sizeof value);                                                        \
                __asm__(store " %1, %0" : "=m"(out[first + 4 * i]) : "r"((type)value));                      \
            }                                                                                                \
        }                                                                                                    \
    }
GATHER(gather16, uint16_t, uint16_t, "movw")
GATHER(gather32, uint32_t, uint32_t, "movl")
GATHER(gather8, uint8_t, uint32_t, "movl")
#undef GATHER

INLINE __m128i load_table(const int8_t table[16])
{
    return _mm_loadu_si128((const __m128i *)table);
}

#endif
