/* Character properties and normal forms. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/unicode.h"
#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

/* Hangul syllables are composed by arithmetic (section 3.12 of the standard). */
enum {
    HANGUL = 0xAC00,
    LEAD = 0x1100,
    VOWEL = 0x1161,
    TAIL = 0x11A7, /* one before the first tail */
    LEADS = 19,
    VOWELS = 21,
    TAILS = 28,
    SYLLABLES = LEADS * VOWELS * TAILS,
};

/* No character below U+0300 changes under NFC, and none below has a combining class. */
enum { FIRST_COMBINING = 0x300 };

static uint8_t value_in(const struct mlt_code_range *ranges, size_t count, uint32_t codepoint)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].last < codepoint)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ranges[low].first <= codepoint ? ranges[low].value : 0;
}

enum mlt_char_class mlt_char_class(uint32_t codepoint)
{
    return (enum mlt_char_class)value_in(mlt_unicode_classes, mlt_unicode_n_classes, codepoint);
}

static uint8_t combining_class(uint32_t codepoint)
{
    if (codepoint < FIRST_COMBINING) return 0;
    return value_in(mlt_unicode_combining, mlt_unicode_n_combining, codepoint);
}

uint32_t mlt_char_lower(uint32_t codepoint)
{
    if (codepoint < 0x80) return codepoint - 'A' < 26 ? codepoint + 32 : codepoint;
    size_t low = 0, high = mlt_unicode_n_lower;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (mlt_unicode_lower_ranges[middle].last < codepoint)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == mlt_unicode_n_lower) return codepoint;
    const struct mlt_lower_range *range = &mlt_unicode_lower_ranges[low];
    if (codepoint < range->first || (codepoint - range->first) % range->step) return codepoint;
    return (uint32_t)((int32_t)codepoint + range->delta);
}

static const struct mlt_decomposition *find_decomposition(uint32_t codepoint)
{
    size_t low = 0, high = mlt_unicode_n_decompositions;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (mlt_unicode_decompositions[middle].code < codepoint)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < mlt_unicode_n_decompositions && mlt_unicode_decompositions[low].code == codepoint;
    return found ? &mlt_unicode_decompositions[low] : NULL;
}

int mlt_char_decompose(uint32_t codepoint, uint32_t out[MLT_MAX_DECOMPOSITION])
{
    if (codepoint - HANGUL < SYLLABLES) {
        uint32_t index = codepoint - HANGUL;
        out[0] = LEAD + index / (VOWELS * TAILS);
        out[1] = VOWEL + index / TAILS % VOWELS;
        out[2] = TAIL + index % TAILS;
        return index % TAILS ? 3 : 2;
    }
    /* Only the first of the two parts may decompose again: the others wait, last first. */
    uint32_t rest[MLT_MAX_DECOMPOSITION];
    int n_rest = 0, count = 0;
    const struct mlt_decomposition *step = codepoint < 0xC0 ? NULL : find_decomposition(codepoint);
    for (; step && n_rest < MLT_MAX_DECOMPOSITION - 1; step = find_decomposition(codepoint)) {
        if (step->second) rest[n_rest++] = step->second;
        codepoint = step->first;
    }
    out[count++] = codepoint;
    while (n_rest)
        out[count++] = rest[--n_rest];
    return count;
}

/* The composition of two code points, or 0. */
static uint32_t compose(uint32_t first, uint32_t second)
{
    if (first - LEAD < LEADS && second - VOWEL < VOWELS)
        return HANGUL + ((first - LEAD) * VOWELS + (second - VOWEL)) * TAILS;
    if (first - HANGUL < SYLLABLES && (first - HANGUL) % TAILS == 0 && second - TAIL - 1 < TAILS - 1)
        return first + (second - TAIL);
    size_t low = 0, high = mlt_unicode_n_compositions;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct mlt_decomposition *pair = &mlt_unicode_decompositions[mlt_unicode_compositions[middle]];
        if (pair->first < first || (pair->first == first && pair->second < second))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == mlt_unicode_n_compositions) return 0;
    const struct mlt_decomposition *pair = &mlt_unicode_decompositions[mlt_unicode_compositions[low]];
    return pair->first == first && pair->second == second ? pair->code : 0;
}

struct character {
    uint32_t code;
    uint8_t combining;
};

/* Sorts each run of combining characters by class, keeping the order of equals: an insertion sort would take
 * quadratic time on a text that is nothing but marks, so runs are merged bottom-up through `spare`. */
static void sort_marks(struct character *marks, struct character *spare, size_t count)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t middle = MLT_MIN(begin + width, count), end = MLT_MIN(begin + 2 * width, count);
            for (size_t to = begin, a = begin, b = middle; to < end; to++)
                spare[to] = b == end || (a < middle && marks[a].combining <= marks[b].combining) ? marks[a++]
                                                                                                 : marks[b++];
        }
        for (size_t i = 0; i < count; i++)
            marks[i] = spare[i];
    }
}

static void reorder(struct character *characters, struct character *spare, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t begin = i;
        while (i < count && characters[i].combining)
            i++;
        if (i - begin > 1) sort_marks(characters + begin, spare, i - begin);
        if (i == begin) i++;
    }
}

/* Composes in place and returns the new count. */
static size_t recompose(struct character *characters, size_t count)
{
    size_t written = 0, starter = SIZE_MAX;
    int last = -1; /* class of the character before this one since the starter; -1: none */
    for (size_t i = 0; i < count; i++) {
        struct character now = characters[i];
        bool blocked = last >= 0 && (last == 0 || last >= now.combining);
        uint32_t whole = starter != SIZE_MAX && !blocked ? compose(characters[starter].code, now.code) : 0;
        if (whole) {
            characters[starter].code = whole;
            continue;
        }
        if (now.combining == 0) {
            starter = written;
            last = -1;
        } else {
            last = now.combining;
        }
        characters[written++] = now;
    }
    return written;
}

static millet_status normalize(const char *text, size_t length, size_t count, struct mlt_text *out,
                               millet_error *err)
{
    /* Both halves of one block: the characters, and room for sorting. */
    struct character *characters = mlt_alloc(out->allocator, count, 2 * sizeof *characters, err);
    if (!characters) return MILLET_NO_MEMORY;
    size_t n = 0;
    for (size_t i = 0; i < length;) {
        uint32_t codepoint = 0, parts[MLT_MAX_DECOMPOSITION];
        i += mlt_utf8_step(text + i, length - i, &codepoint);
        int n_parts = mlt_char_decompose(codepoint, parts);
        for (int k = 0; k < n_parts; k++)
            characters[n++] = (struct character){parts[k], combining_class(parts[k])};
    }
    reorder(characters, characters + count, n);
    n = recompose(characters, n);
    millet_status status = MILLET_OK;
    for (size_t i = 0; i < n && !status; i++) {
        char bytes[4];
        status = mlt_text_append(out, bytes, mlt_utf8_encode(characters[i].code, bytes), err);
    }
    mlt_free(out->allocator, characters);
    return status;
}

millet_status mlt_text_to_nfc(const char *text, size_t length, struct mlt_text *out, millet_error *err)
{
    bool changes = false;
    size_t count = 0;
    for (size_t i = 0; i < length;) {
        uint32_t codepoint = 0, parts[MLT_MAX_DECOMPOSITION];
        i += mlt_utf8_step(text + i, length - i, &codepoint);
        changes = changes || codepoint >= FIRST_COMBINING;
        count += (size_t)mlt_char_decompose(codepoint, parts);
    }
    return changes ? normalize(text, length, count, out, err) : mlt_text_append(out, text, length, err);
}
