#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/corpus/nfkc_table.c from Python's Unicode database.

Usage: tools/make_nfkc_table.py > src/corpus/nfkc_table.c
"""
import sys
import unicodedata

LAST = 0x10FFFF


def table(declaration, rows):
    print(f"\n{declaration} = {{")
    line = "   "
    for row in rows:
        text = f" {row},"
        if len(line) + len(text) > 110:
            print(line)
            line = "   "
        line += text
    print(line + "\n};")


def main():
    codes, lengths, points = [], [], []
    for code in range(LAST + 1):
        if 0xD800 <= code <= 0xDFFF:
            continue
        normal = unicodedata.normalize("NFKC", chr(code))
        if normal == chr(code):
            continue
        codes.append(code)
        lengths.append(len(normal))
        points.extend(ord(char) for char in normal)
    print(f"""/*
 * Unicode {unicodedata.unidata_version}: made by tools/make_nfkc_table.py, not to be edited by hand. The data is that of
 * UnicodeData.txt of the Unicode Character Database (https://www.unicode.org/ucd/).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "corpus/nfkc_map.h"

// clang-format off
const size_t mlt_nfkc_n_codes = {len(codes)};""")
    table("const uint32_t mlt_nfkc_codes[]", codes)
    table("const uint8_t mlt_nfkc_lengths[]", lengths)
    table("const uint32_t mlt_nfkc_points[]", points)


if __name__ == "__main__":
    sys.exit(main())
