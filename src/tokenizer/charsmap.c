/* The precompiled character map. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/charsmap.h"

#include <string.h>

/* Bytes of a replacement with its NUL. NFKC's longest has 33; without a bound, a file could make a short text
 * of any length. */
#define MAX_REPLACEMENT 256u

static uint32_t read_u32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

millet_status mlt_charsmap_open(const millet_allocator *allocator, const void *bytes, size_t count,
                                struct mlt_charsmap **out, millet_error *err)
{
    *out = NULL;
    if (count == 0) return MILLET_OK;
    const uint8_t *data = bytes;
    if (count < 4 || count > INT32_MAX)
        return mlt_fail(err, MILLET_BAD_FORMAT,
                        "the precompiled character map has %zu bytes; 4 to 2^31 make sense", count);
    uint32_t unit_bytes = read_u32(data);
    if (unit_bytes % 4 || unit_bytes > count - 4)
        return mlt_fail(
            err, MILLET_BAD_FORMAT,
            "the precompiled character map says that its double array has %u bytes, but has %zu in all",
            unit_bytes, count);
    struct mlt_charsmap *map = mlt_alloc_zero(allocator, 1, sizeof *map, err);
    if (!map) return MILLET_NO_MEMORY;
    map->allocator = *allocator;
    map->n_units = unit_bytes / 4;
    map->replacement_bytes = (uint32_t)(count - 4 - unit_bytes) + 1;
    map->units = mlt_alloc(allocator, map->n_units, sizeof *map->units, err);
    map->replacements = mlt_alloc(allocator, map->replacement_bytes, 1, err);
    if (!map->units || !map->replacements) {
        mlt_charsmap_close(&map);
        return MILLET_NO_MEMORY;
    }
    for (uint32_t i = 0; i < map->n_units; i++)
        map->units[i] = read_u32(data + 4 + 4 * (size_t)i);
    memcpy(map->replacements, data + 4 + unit_bytes, map->replacement_bytes - 1);
    map->replacements[map->replacement_bytes - 1] = 0;
    *out = map;
    return MILLET_OK;
}

void mlt_charsmap_close(struct mlt_charsmap **map)
{
    if (!*map) return;
    millet_allocator allocator = (*map)->allocator;
    mlt_free(&allocator, (*map)->units);
    mlt_free(&allocator, (*map)->replacements);
    mlt_free(&allocator, *map);
    *map = NULL;
}

/*
 * A unit of the double array: bits 0..7 the byte that leads to it, bit 8 whether a key ends here, bits 10..30
 * the distance to its children (in units of 256 where bit 9 is set), bit 31 set for a value, which fills bits
 * 0..30.
 */
static uint32_t children_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* The replacement at an offset; NULL where there is none, or one that no normal form has. */
static const char *replacement_at(const struct mlt_charsmap *map, uint32_t offset)
{
    if (offset >= map->replacement_bytes) return NULL;
    const char *text = map->replacements + offset;
    return memchr(text, 0, MLT_MIN(map->replacement_bytes - offset, MAX_REPLACEMENT)) ? text : NULL;
}

size_t mlt_charsmap_longest(const struct mlt_charsmap *map, const char *text, size_t length,
                            const char **replacement)
{
    size_t longest = 0;
    if (map->n_units == 0) return 0;
    uint32_t at = children_of(map->units[0]);
    for (size_t i = 0; i < length && text[i]; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (at >= map->n_units) break;
        uint32_t unit = map->units[at];
        if ((unit & (1u << 31 | 0xFF)) != byte) break;
        at ^= children_of(unit);
        if (unit >> 8 & 1) {
            if (at >= map->n_units) break;
            const char *text_at = replacement_at(map, map->units[at] & ~(1u << 31));
            if (text_at) {
                longest = i + 1;
                *replacement = text_at;
            }
        }
    }
    return longest;
}
