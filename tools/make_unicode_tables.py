#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/tokenizer/unicode_tables.c from Python's Unicode database.

Usage: tools/make_unicode_tables.py > src/tokenizer/unicode_tables.c
"""
import sys
import unicodedata

LAST = 0x10FFFF
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic


def canonical(code):
    """The one-step canonical decomposition of a code point, as a list of one or two, or None."""
    text = unicodedata.decomposition(chr(code))
    if not text or text.startswith("<") or code in HANGUL:
        return None
    return [int(part, 16) for part in text.split()]


def ranges(value_of):
    """(first, last, value) for each maximal run of code points with the same truthy value."""
    runs, first, value = [], 0, 0
    for code in range(LAST + 2):
        new = value_of(chr(code)) if code <= LAST else 0
        if new != value:
            if value:
                runs.append((first, code - 1, value))
            first, value = code, new
    return runs


def char_class(char):
    category = unicodedata.category(char)
    if char in "\t\n\r" or category[0] == "Z":
        return 1
    if category in ("Cc", "Cf", "Co", "Cs"):
        return 2
    if category[0] == "P":
        return 3
    return 4 if category == "Mn" else 0


def lower_case():
    """(first, last, step, delta): every step-th code point of first..last has its lower case delta further on."""
    pairs = [(code, ord(chr(code).lower())) for code in range(LAST + 1) if len(chr(code).lower()) == 1]
    pairs = [(code, low - code) for code, low in pairs if low != code]
    runs = []
    for code, delta in pairs:
        if runs:
            first, last, step, old = runs[-1]
            gap = code - last
            if old == delta and gap <= 2 and (step == gap or first == last):
                runs[-1] = (first, code, gap, delta)
                continue
        runs.append((code, code, 1, delta))
    return runs


def compositions(pairs):
    """Indices of the decompositions that NFC undoes, by their two parts."""
    kept = []
    for index, (code, parts) in enumerate(pairs):
        if len(parts) == 2 and unicodedata.normalize("NFC", chr(code)) == chr(code):
            kept.append((parts[0], parts[1], index))
    return [index for _, _, index in sorted(kept)]


def table(declaration, rows):
    print(f"\n{declaration} = {{")
    line = "   "
    for row in rows:
        text = " {" + ",".join(map(str, row)) + "}," if isinstance(row, tuple) else f" {row},"
        if len(line) + len(text) > 110:
            print(line)
            line = "   "
        line += text
    print(line + "\n};")


def main():
    pairs = [(code, parts) for code in range(LAST + 1) if (parts := canonical(code))]
    decompositions = [(code, parts[0], parts[1] if len(parts) > 1 else 0) for code, parts in pairs]
    composed = compositions(pairs)
    classes = ranges(char_class)
    combining = ranges(unicodedata.combining)
    lower = lower_case()
    print(f"""/*
 * Unicode {unicodedata.unidata_version}: made by tools/make_unicode_tables.py, not to be edited by hand. The data is that of
 * UnicodeData.txt of the Unicode Character Database (https://www.unicode.org/ucd/).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/unicode_tables.h"

// clang-format off
const size_t mlt_unicode_n_decompositions = {len(decompositions)};
const size_t mlt_unicode_n_compositions = {len(composed)};
const size_t mlt_unicode_n_classes = {len(classes)};
const size_t mlt_unicode_n_combining = {len(combining)};
const size_t mlt_unicode_n_lower = {len(lower)};""")
    table("const struct mlt_decomposition mlt_unicode_decompositions[]", decompositions)
    table("const uint16_t mlt_unicode_compositions[]", composed)
    table("const struct mlt_code_range mlt_unicode_classes[]", classes)
    table("const struct mlt_code_range mlt_unicode_combining[]", combining)
    table("const struct mlt_lower_range mlt_unicode_lower_ranges[]", lower)


if __name__ == "__main__":
    sys.exit(main())
