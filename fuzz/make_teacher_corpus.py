#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small files of teacher outputs, right and wrong ones, to fuzz/corpus/teacher_file (see src/train/teacher_file.h).

Usage: fuzz/make_teacher_corpus.py
"""
import pathlib
import struct
import zlib

FOLDER = pathlib.Path(__file__).parent / "corpus" / "teacher_file"
HEADER, STRIDE = 256, 512


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def round_up(value):
    return -(-value // 64) * 64


def teacher(n_tokens=20, n_vocab=400, k=3, row=None, bits=None, counts=None, **wrong):
    bits = bits or [token % 3 != 2 for token in range(n_tokens)]
    positions = sum(bits)
    packed = bytes(sum(bits[i + j] << j for j in range(min(8, n_tokens - i))) for i in range(0, n_tokens, 8))
    counts = counts or [sum(bits[: i * STRIDE]) for i in range(n_tokens // STRIDE + 1)]
    ids = "" if k == n_vocab else "H" if n_vocab <= 65536 else "I"
    if row is None:
        row = list(range(5, 5 + 7 * k, 7)) * bool(ids) + [2048 + 700 * j for j in range(k)] + [1500]
    rows = struct.pack("<" + (f"{k}{ids}" if ids else "") + f"{k + 1}H", *row) * positions
    counts_at = round_up(HEADER + len(packed))
    rows_at = round_up(counts_at + 8 * len(counts))
    body = packed.ljust(counts_at - HEADER, b"\0") + struct.pack(f"<{len(counts)}Q", *counts)
    body = body.ljust(rows_at - HEADER, b"\0") + rows
    fields = dict(cache=1, teachers=2, n_teachers=1, tokens=n_tokens, n_vocab=n_vocab, n_positions=positions, top_k=k,
                  length=64, temperature=0x40000000, bits_at=HEADER, counts_at=counts_at, rows_at=rows_at,
                  file_bytes=HEADER + len(body), n_batch_rows=4, n_done=4, body=zlib.crc32(body))
    fields.update(wrong)
    header = struct.pack("<8sII16Q", b"MLTTEACH", 1, 0x01020304, *fields.values())
    header += struct.pack("<Q", fnv(header))
    return header.ljust(HEADER, b"\0") + body


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    seeds = {
        "plain": b"\0" + teacher(),
        "wide": b"\0" + teacher(n_vocab=100000),
        "all": b"\0" + teacher(n_vocab=12, k=12, row=[5000 + 10 * i for i in range(12)] + [65535]),
        "strides": b"\0" + teacher(n_tokens=1100, k=1),
        "cut": b"\0" + teacher()[:-3],
        "unfinished": b"\1" + teacher(n_done=3),
        "bad-ids": b"\1" + teacher(row=[9, 5, 7, 2048, 2748, 3448, 1500]),
        "bad-id": b"\1" + teacher(row=[5, 6, 400, 2048, 2748, 3448, 1500]),
        "bad-sum": b"\1" + teacher(row=[5, 6, 7, 0, 0, 0, 0]),
        "bad-nothing": b"\1" + teacher(row=[5, 6, 7] + [65535] * 4),
        "bad-counts": b"\1" + teacher(n_tokens=1100, counts=[0, 300, 700]),
        "bad-positions": b"\1" + teacher(n_positions=2),
        "bad-places": b"\1" + teacher(rows_at=64),
        "bad-k": b"\1" + teacher(top_k=401),
        "bad-temperature": b"\1" + teacher(temperature=0x7FC00000),
        "bad-size": b"\1" + teacher(tokens=2**60),
    }
    for name, data in seeds.items():
        (FOLDER / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
