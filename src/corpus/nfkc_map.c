/*
 * The map's keys and replacements, and the double array (Aoe, 1989) in Darts-clone's layout over them.
 *
 * Keys are the code points that NFKC changes; the decompositions of those that are composed, whole and in
 * steps; and the rules of nmt: control characters vanish, white space and what is not seen become a space,
 * the full-width tilde stays.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/nfkc_map.h"

#include "tokenizer/unicode.h"
#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_KEY = 4 * MLT_MAX_DECOMPOSITION, HANGUL_FIRST = 0xAC00, HANGUL_LAST = 0xD7A3, TILDE = 0xFF5E };

struct key {
    uint8_t bytes[MAX_KEY];
    uint8_t length;
    uint32_t value; /* offset of the replacement */
};

struct map {
    const millet_allocator *allocator;
    struct key *keys;
    size_t n_keys, key_capacity;
    struct mlt_text replacements;
    uint32_t *units;
    uint8_t *taken, *base_used; /* for each unit */
    size_t n_units, unit_capacity, first_free;
};

/* ---- Keys ---- */

static const uint32_t removed[][2] = {{0x1, 0x8},   {0xB, 0xB},   {0xE, 0x1F},
                                      {0x7F, 0x7F}, {0x8F, 0x8F}, {0x9F, 0x9F}};
static const uint32_t spaces[] = {0x9,    0xA,    0xC,    0xD,    0x1680, 0x200B, 0x200C,
                                  0x200E, 0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD};

static millet_status add_key(struct map *map, const uint32_t *from, size_t n_from, const uint32_t *to,
                             size_t n_to, millet_error *err)
{
    void *keys = map->keys;
    millet_status status =
        mlt_grow(map->allocator, &keys, &map->key_capacity, map->n_keys, sizeof *map->keys, err);
    map->keys = keys;
    if (status) return status;
    struct key *key = &map->keys[map->n_keys++];
    *key = (struct key){.value = (uint32_t)map->replacements.length};
    for (size_t i = 0; i < n_from; i++)
        key->length = (uint8_t)(key->length + mlt_utf8_encode(from[i], (char *)key->bytes + key->length));
    for (size_t i = 0; i < n_to; i++) {
        char bytes[4];
        MLT_TRY(mlt_text_append(&map->replacements, bytes, mlt_utf8_encode(to[i], bytes), err));
    }
    return mlt_text_append(&map->replacements, "", 1, err);
}

static millet_status add_nmt(struct map *map, millet_error *err)
{
    static const uint32_t space = ' ';
    for (size_t i = 0; i < MLT_COUNT(removed); i++)
        for (uint32_t code = removed[i][0]; code <= removed[i][1]; code++)
            MLT_TRY(add_key(map, &code, 1, NULL, 0, err));
    for (size_t i = 0; i < MLT_COUNT(spaces); i++)
        MLT_TRY(add_key(map, &spaces[i], 1, &space, 1, err));
    return MILLET_OK;
}

static millet_status add_compatible(struct map *map, millet_error *err)
{
    const uint32_t *to = mlt_nfkc_points;
    for (size_t i = 0; i < mlt_nfkc_n_codes; to += mlt_nfkc_lengths[i++])
        if (mlt_nfkc_codes[i] != TILDE)
            MLT_TRY(add_key(map, &mlt_nfkc_codes[i], 1, to, mlt_nfkc_lengths[i], err));
    return MILLET_OK;
}

/* A composed character: its decomposition becomes it, and so does each that ends a step earlier. */
static millet_status add_composed(struct map *map, uint32_t code, uint32_t first, uint32_t second,
                                  millet_error *err)
{
    uint32_t parts[MLT_MAX_DECOMPOSITION + 1];
    int n = mlt_char_decompose(code, parts);
    MLT_TRY(add_key(map, parts, (size_t)n, &code, 1, err));
    const uint32_t step[] = {first, second};
    return n > 2 ? add_key(map, step, 2, &code, 1, err) : MILLET_OK;
}

static millet_status add_compositions(struct map *map, millet_error *err)
{
    for (size_t i = 0; i < mlt_unicode_n_compositions; i++) {
        const struct mlt_decomposition *d = &mlt_unicode_decompositions[mlt_unicode_compositions[i]];
        MLT_TRY(add_composed(map, d->code, d->first, d->second, err));
    }
    for (uint32_t code = HANGUL_FIRST; code <= HANGUL_LAST; code++) {
        uint32_t parts[MLT_MAX_DECOMPOSITION];
        int n = mlt_char_decompose(code, parts);
        /* A syllable with a tail comes from one without. */
        MLT_TRY(
            add_composed(map, code, n > 2 ? code - (code - HANGUL_FIRST) % 28 : parts[0], parts[n - 1], err));
    }
    return MILLET_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, MLT_MIN(x->length, y->length));
    if (order) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

/* Of equal keys the first one stays. */
static void sort_keys(struct map *map)
{
    size_t n = 0;
    qsort(map->keys, map->n_keys, sizeof *map->keys, compare_keys);
    for (size_t i = 0; i < map->n_keys; i++) {
        const struct key *last = n ? &map->keys[n - 1] : NULL;
        if (last && last->length == map->keys[i].length &&
            memcmp(last->bytes, map->keys[i].bytes, last->length) == 0)
            continue;
        map->keys[n++] = map->keys[i];
    }
    map->n_keys = n;
}

/* ---- The double array ---- */

static millet_status make_units(struct map *map, size_t count, millet_error *err)
{
    if (count <= map->unit_capacity) return MILLET_OK;
    size_t capacity = MLT_MAX(2 * map->unit_capacity, mlt_round_up(count, 256));
    uint32_t *units = mlt_alloc_zero(map->allocator, capacity, sizeof *units, err);
    uint8_t *taken = mlt_alloc_zero(map->allocator, capacity, 1, err);
    uint8_t *used = mlt_alloc_zero(map->allocator, capacity, 1, err);
    if (!units || !taken || !used) {
        mlt_free(map->allocator, units);
        mlt_free(map->allocator, taken);
        mlt_free(map->allocator, used);
        return MILLET_NO_MEMORY;
    }
    if (map->unit_capacity) {
        memcpy(units, map->units, map->unit_capacity * sizeof *units);
        memcpy(taken, map->taken, map->unit_capacity);
        memcpy(used, map->base_used, map->unit_capacity);
    }
    mlt_free(map->allocator, map->units);
    mlt_free(map->allocator, map->taken);
    mlt_free(map->allocator, map->base_used);
    map->units = units;
    map->taken = taken;
    map->base_used = used;
    map->unit_capacity = capacity;
    return MILLET_OK;
}

/* A base that no other node has and under which all labels are free. Label 0 holds the value of a key that
 * ends. */
static millet_status find_base(struct map *map, const uint8_t *labels, size_t count, size_t *base,
                               millet_error *err)
{
    for (size_t slot = map->first_free;; slot++) {
        MLT_TRY(make_units(map, (slot | 255) + 1, err));
        if (map->taken[slot]) {
            if (slot == map->first_free) map->first_free++;
            continue;
        }
        *base = slot ^ labels[0];
        if (map->base_used[*base]) continue;
        size_t i = 1;
        while (i < count && !map->taken[*base ^ labels[i]])
            i++;
        if (i == count) return MILLET_OK;
    }
}

/* Places the children of the node at `unit`, to which keys [begin, end) lead by their first `depth` bytes. */
static millet_status place(struct map *map, size_t unit, size_t begin, size_t end, size_t depth,
                           millet_error *err)
{
    uint8_t labels[256];
    size_t count = 0, base;
    for (size_t i = begin; i < end; i++) {
        uint8_t label = map->keys[i].length > depth ? map->keys[i].bytes[depth] : 0;
        if (!count || labels[count - 1] != label) labels[count++] = label;
    }
    MLT_TRY(find_base(map, labels, count, &base, err));
    map->base_used[base] = 1;
    uint32_t distance = (uint32_t)(unit ^ base); /* below 2^21: the array is smaller than that */
    map->units[unit] |= distance << 10 | (labels[0] == 0 ? 1u << 8 : 0u);
    for (size_t i = 0; i < count; i++) {
        size_t child = base ^ labels[i];
        map->taken[child] = 1;
        map->units[child] = labels[i];
        map->n_units = MLT_MAX(map->n_units, child + 1);
    }
    for (size_t i = begin; i < end;) {
        size_t first = i;
        if (map->keys[i].length == depth) {
            map->units[base] = 1u << 31 | map->keys[i++].value;
            continue;
        }
        uint8_t label = map->keys[i].bytes[depth];
        while (i < end && map->keys[i].bytes[depth] == label)
            i++;
        MLT_TRY(place(map, base ^ label, first, i, depth + 1, err));
    }
    return MILLET_OK;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static millet_status build(struct map *map, struct mlt_nfkc_map *out, millet_error *err)
{
    MLT_TRY(add_nmt(map, err));
    MLT_TRY(add_compatible(map, err));
    MLT_TRY(add_compositions(map, err));
    sort_keys(map);
    MLT_TRY(make_units(map, 256, err));
    map->taken[0] = 1;
    map->n_units = 1;
    MLT_TRY(place(map, 0, 0, map->n_keys, 0, err));
    out->size = 4 + 4 * map->n_units + map->replacements.length;
    out->bytes = mlt_alloc(map->allocator, out->size, 1, err);
    if (!out->bytes) return MILLET_NO_MEMORY;
    put_u32(out->bytes, (uint32_t)(4 * map->n_units));
    for (size_t i = 0; i < map->n_units; i++)
        put_u32(out->bytes + 4 + 4 * i, map->units[i]);
    memcpy(out->bytes + 4 + 4 * map->n_units, map->replacements.data, map->replacements.length);
    return MILLET_OK;
}

millet_status mlt_nfkc_map_build(const millet_allocator *allocator, struct mlt_nfkc_map *out,
                                 millet_error *err)
{
    struct map map = {.allocator = allocator, .replacements = {.allocator = allocator}};
    *out = (struct mlt_nfkc_map){.allocator = *allocator};
    millet_status status = build(&map, out, err);
    mlt_free(allocator, map.keys);
    mlt_free(allocator, map.units);
    mlt_free(allocator, map.taken);
    mlt_free(allocator, map.base_used);
    mlt_text_release(&map.replacements);
    return status;
}

void mlt_nfkc_map_release(struct mlt_nfkc_map *map)
{
    if (map->bytes) mlt_free(&map->allocator, map->bytes);
    map->bytes = NULL;
    map->size = 0;
}
