#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small token caches, right and wrong ones, to fuzz/corpus/token_cache (see src/corpus/token_cache.h).

Usage: fuzz/make_cache_corpus.py
"""
import pathlib
import struct
import zlib

FOLDER = pathlib.Path(__file__).parent / "corpus" / "token_cache"


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def cache(lengths=(5, 30, 2, 17), wide=False, mask=True, prefixes=True, vocabulary=400, **wrong):
    body = struct.pack("<8sII48x", b"MLTTOKEN", 1, 0x01020304)
    total = sum(lengths)

    def part(data):
        nonlocal body
        body += b"\0" * (-len(body) % 64)
        at = len(body)
        body += data
        return at

    tokens_at = part(struct.pack(f"<{total}{'I' if wide else 'H'}", *(i * 7 % vocabulary for i in range(total))))
    mask_at = part(bytes(0xB5 for _ in range((total + 7) // 8))) if mask else 0
    prefixes_at = part(struct.pack(f"<{len(lengths)}I", *(n // 2 for n in lengths))) if prefixes else 0
    starts = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    starts = wrong.pop("starts", starts)
    documents_at = part(struct.pack(f"<{len(starts)}Q", *starts))
    path_at = part(b"made-up.txt")
    body += b"\0" * (-len(body) % 64)
    fields = dict(tokens_at=tokens_at, mask_at=mask_at, prefixes_at=prefixes_at, documents_at=documents_at, path_at=path_at,
                  n_tokens=total, n_documents=len(lengths), path_bytes=11, token_bytes=4 if wide else 2, n_vocab=vocabulary,
                  n_trained=total // 2, text_bytes=total)
    fields.update(wrong)
    trailer = struct.pack("<12Q8Q3Q2Q", *fields.values(), *range(8), 1, 2, 3, 4, 5)
    trailer += struct.pack("<Q", zlib.crc32(body))
    trailer += struct.pack("<Q", fnv(trailer)) + b"MLTTKEND"
    return body + trailer


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    seeds = {
        "plain": b"\0" + cache(mask=False, prefixes=False),
        "whole": b"\2" + cache(),
        "wide": b"\4" + cache(wide=True, vocabulary=100000),
        "split": b"\x0e" + cache(lengths=(2,) * 40),
        "long": b"\2" + cache(lengths=(100, 64)),
        "cut": b"\0" + cache()[:-9],
        "bad-order": b"\1" + cache(starts=[0, 5, 4, 37, 54]),
        "bad-end": b"\1" + cache(starts=[0, 5, 35, 37, 53]),
        "bad-tokens": b"\1" + cache(n_tokens=2**61),
        "bad-place": b"\1" + cache(tokens_at=2**63),
        "bad-documents": b"\1" + cache(n_documents=2**31),
        "bad-vocabulary": b"\1" + cache(n_vocab=3),
        "bad-width": b"\1" + cache(token_bytes=3),
        "empty": b"",
    }
    for name, data in seeds.items():
        (FOLDER / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
