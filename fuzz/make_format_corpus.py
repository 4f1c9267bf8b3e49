#!/usr/bin/env python3
"""Writes the seeds of the format targets: fuzz/corpus/{gguf,adapter,llama2c,tokenizer_bin}/seed-*.

Small synthetic files, valid ones and one for each kind of damage that the readers name, so that a fuzzer starts
behind the checks that chance does not pass. Deterministic: running it again changes nothing.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus"
MARKER = b"\n-- next piece --\n"

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
# type number: elements and bytes of a block
DTYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 24: (1, 1),
          25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17)}


def save(folder, name, data):
    path = HERE / folder
    path.mkdir(parents=True, exist_ok=True)
    assert len(data) < 4096, (folder, name, len(data))
    (path / f"seed-{name}").write_bytes(data)


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == STRING:
        return string(content)
    if kind == ARRAY:
        element, items = content
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, item) for item in items)
    return struct.pack("<" + CODES[kind], content)


def meta(key, kind, content):
    return string(key) + struct.pack("<I", kind) + value(kind, content)


def gguf(metas=(), tensors=(), version=3, alignment=32, n_metas=None, n_tensors=None, last_padding=True):
    """Tensors: (name, dims, type). The directory gets the canonical offsets."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                                len(metas) if n_metas is None else n_metas)
    out += b"".join(metas)
    data = b""
    for name, dims, dtype in tensors:
        length, size = DTYPES.get(dtype, (1, 4))
        count = 1
        for n in dims:
            count *= n
        out += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, dtype, len(data))
        data += bytes(i * 7 % 256 for i in range(count // length * size))
        data += bytes(-len(data) % alignment)
    if tensors or last_padding:
        out += bytes(-len(out) % alignment)
    return out + data


def make_gguf():
    name = meta("general.name", STRING, "seed")
    sample = {U8: 255, I8: -1, U16: 65535, I16: -2, U32: 7, I32: -3, F32: 0.5, BOOL: True, STRING: "text", U64: 2**63,
              I64: -2**40, F64: 1e-9}
    scalars = [meta(f"scalar.{kind}", kind, item) for kind, item in sample.items()]
    arrays = [meta(f"array.{kind}", ARRAY, (kind, [item] * 3)) for kind, item in sample.items()]
    save("gguf", "empty", gguf())
    save("gguf", "no-padding", gguf([name], last_padding=False))
    save("gguf", "scalars", gguf(scalars))
    save("gguf", "arrays", gguf(arrays + [meta("none", ARRAY, (STRING, []))]))
    save("gguf", "v2", gguf([name] + scalars, [("t", (4, 2), 0)], version=2))
    for dtype, (length, _) in DTYPES.items():
        save("gguf", f"type-{dtype}", gguf([name], [("w", (length, 2), dtype), ("v", (length,), dtype)]))
    save("gguf", "four-dims", gguf([], [("t", (2, 3, 2, 2), 1), ("u", (8, 1, 1, 1), 0)]))
    for alignment in (1, 8, 64, 512):
        save("gguf", f"alignment-{alignment}", gguf([meta("general.alignment", U32, alignment)],
                                                    [("a", (3,), 24), ("b", (5,), 24)], alignment=alignment))
    model = [meta("general.architecture", STRING, "llama"), meta("llama.block_count", U32, 1),
             meta("llama.rope.freq_base", F32, 1e4),
             meta("tokenizer.ggml.tokens", ARRAY, (STRING, ["<unk>", "<s>", "</s>", "\u2581a", "<0x41>"])),
             meta("tokenizer.ggml.scores", ARRAY, (F32, [0.0, 0.0, 0.0, -1.0, 0.0])),
             meta("tokenizer.ggml.token_type", ARRAY, (I32, [2, 3, 3, 1, 6]))]
    save("gguf", "model", gguf(model, [("token_embd.weight", (32, 5), 8), ("output_norm.weight", (32,), 0),
                                       ("blk.0.attn_q.weight", (32, 32), 2)]))

    def piece(number, count, tensors, total=3):
        return gguf([meta("split.no", U16, number), meta("split.count", U16, count),
                     meta("split.tensors.count", I32, total)], tensors)

    pieces = [piece(i, 3, [(f"t{i}", (8,), 0)]) for i in range(3)]
    save("gguf", "split", MARKER.join(pieces))
    save("gguf", "split-missing", MARKER.join(pieces[:2]))
    save("gguf", "split-order", MARKER.join([pieces[0], pieces[2], pieces[1]]))
    save("gguf", "split-second", MARKER.join(pieces[1:]))
    save("gguf", "split-total", MARKER.join([piece(0, 2, [("a", (8,), 0)]), piece(1, 2, [("b", (8,), 0)])]))
    save("gguf", "split-twice", MARKER.join([piece(0, 2, [("a", (8,), 0)], 2), piece(1, 2, [("a", (8,), 0)], 2)]))

    save("gguf", "bad-v1", gguf(version=1))
    save("gguf", "bad-big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    save("gguf", "bad-counts", gguf(n_tensors=2**60, n_metas=2**60))
    save("gguf", "bad-key", gguf([meta(b"\xff", U8, 0)]))
    save("gguf", "bad-key-nul", gguf([meta(b"a\0", U8, 0)]))
    save("gguf", "bad-key-twice", gguf([name, meta("k", U8, 0), name]))
    save("gguf", "bad-type", gguf([string("k") + struct.pack("<I", 13)]))
    save("gguf", "bad-bool", gguf([string("k") + struct.pack("<IB", BOOL, 2)]))
    save("gguf", "bad-nested", gguf([string("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + value(ARRAY, (U8, [1]))]))
    save("gguf", "bad-array-length", gguf([string("k") + struct.pack("<IIQ", ARRAY, U64, 2**61)]))
    save("gguf", "bad-string-length", gguf([string("k") + struct.pack("<IQ", STRING, 2**40)]))
    save("gguf", "bad-alignment", gguf([meta("general.alignment", U32, 24)]))
    save("gguf", "bad-block", gguf([], [("t", (48,), 2)]))
    save("gguf", "bad-dtype", gguf([], [("t", (4,), 4)]))
    save("gguf", "bad-dims", gguf([], [("t", (4, 0), 0)]))
    save("gguf", "bad-tensor-twice", gguf([], [("t", (4,), 0), ("t", (4,), 0)]))
    two = gguf([], [("a", (16,), 0), ("b", (16,), 0)])
    save("gguf", "bad-cut", two[:-65])
    second = two.index(b"b" + struct.pack("<IQ", 1, 16)) + 17
    save("gguf", "bad-overlap", two[:second] + struct.pack("<Q", 32) + two[second + 8:])
    save("gguf", "bad-offset", two[:second] + struct.pack("<Q", 40) + two[second + 8:])
    save("gguf", "bad-outside", two[:second] + struct.pack("<Q", 2**64 - 32) + two[second + 8:])


def llama2c(version, shared=True, dim=4, hidden=2, layers=1, heads=2, kv_heads=1, vocab=3, context=2, group=2,
            scale=0.5):
    kv = dim // heads * kv_heads
    header = struct.pack("<7i", dim, hidden, layers, heads, kv_heads, -vocab if version == 0 and not shared else vocab,
                         context)
    if version:
        header = struct.pack("<Ii", 0x616B3432, version) + header + struct.pack("<B", shared)
        if version == 2:
            header += struct.pack("<i", group)
        header += bytes(256 - len(header))

    def floats(n):
        return b"".join(struct.pack("<f", i / 8 - 1) for i in range(n))

    def matrix(n):
        if version < 2:
            return floats(n)
        return bytes(i * 5 % 256 for i in range(n)) + struct.pack("<f", scale) * (n // group)

    embedding, norms, last = matrix(vocab * dim), floats(dim) * layers, floats(dim)
    attention = b"".join(matrix(n) * layers for n in (dim * dim, dim * kv, dim * kv, dim * dim))
    ff = b"".join(matrix(n) * layers for n in (dim * hidden,) * 3)
    classifier = b"" if shared else matrix(vocab * dim)
    if version == 0:
        angles = floats(context * (dim // heads))
        return header + embedding + norms + attention + norms + ff + last + angles + classifier
    return header + norms + norms + last + embedding + attention + ff + classifier


def make_llama2c():
    for version in range(3):
        for shared in (True, False):
            kind = "shared" if shared else "own"
            save("llama2c", f"v{version}-{kind}", llama2c(version, shared))
    save("llama2c", "v2-blocks", llama2c(2, dim=32, hidden=2, heads=4, vocab=1, group=32)[:4000])
    save("llama2c", "v2-odd-scale", llama2c(2, scale=0.1))
    save("llama2c", "v2-group-1", llama2c(2, group=1))
    save("llama2c", "v0-layers", llama2c(0, layers=3))
    save("llama2c", "bad-version", llama2c(1)[:4] + struct.pack("<i", 3) + llama2c(1)[8:])
    save("llama2c", "bad-size", llama2c(0) + b"x")
    save("llama2c", "bad-cut", llama2c(1)[:200])
    save("llama2c", "bad-flag", llama2c(1)[:36] + b"\2" + llama2c(1)[37:])
    save("llama2c", "bad-group", llama2c(2)[:37] + struct.pack("<i", 3) + llama2c(2)[41:])
    save("llama2c", "bad-heads", struct.pack("<7i", 4, 2, 1, 3, 1, 3, 2))
    save("llama2c", "bad-huge", struct.pack("<7i", 2**30, 2**30, 4096, 2, 1, 2**30, 2**30))


def tokenizer(tokens):
    out = struct.pack("<Hi", len(tokens) - 1, max(len(text) for text, _ in tokens))
    return out + b"".join(struct.pack("<fi", score, len(text)) + text for text, score in tokens)


def make_tokenizer_bin():
    special = [(b"<unk>", 0.0), (b"\n<s>\n", 0.0), (b"\n</s>\n", 0.0)]
    letters = [(b" ", -0.0), (b"a", -1.0), (b" a", -2.0), ("\u00e9".encode(), -3.0), (b"", -4.0), (b"\xff", -5.0)]
    save("tokenizer_bin", "letters", tokenizer(special + letters))
    save("tokenizer_bin", "bytes", tokenizer(special + [(b"<0x%02X>" % i, 0.0) for i in range(256)]))
    save("tokenizer_bin", "plain-names", tokenizer([(b"<unk>", 0.0), (b"<s>", 0.0), (b"</s>", 0.0)]))
    save("tokenizer_bin", "one", tokenizer(special[:1]))
    save("tokenizer_bin", "two", tokenizer(special[:2]))
    good = tokenizer(special + letters)
    save("tokenizer_bin", "bad-short", good[:-3])
    save("tokenizer_bin", "bad-long", good + b"x")
    save("tokenizer_bin", "bad-count", struct.pack("<H", 65535) + good[2:])
    save("tokenizer_bin", "bad-length", good[:10] + struct.pack("<i", -1) + good[14:])
    save("tokenizer_bin", "bad-length-large", good[:10] + struct.pack("<i", 2**31 - 1) + good[14:])
    save("tokenizer_bin", "bad-score", good[:6] + struct.pack("<f", float("nan")) + good[10:])
    save("tokenizer_bin", "empty", b"\0\0")


def make_adapter():
    """For the model of targets/fuzz_adapter.c: one layer, width 32, two heads of 16, one for keys, 8 tokens."""
    rows = {"attn_q": 32, "attn_k": 16, "attn_v": 16, "attn_output": 32, "ffn_gate": 32, "ffn_up": 32, "ffn_down": 32}

    def keys(kind="adapter", what="lora", architecture="llama", alpha=4.0):
        return [meta("general.type", STRING, kind), meta("adapter.type", STRING, what),
                meta("general.architecture", STRING, architecture), meta("adapter.lora.alpha", F32, alpha)]

    def pair(name, rank, columns=32, dtype=1, b_rank=None):
        name = name if name == "output" else f"blk.0.{name}"
        length = rows.get(name[6:], 8)
        return [(f"{name}.weight.lora_a", (columns, rank), dtype),
                (f"{name}.weight.lora_b", (b_rank or rank, length), dtype)]

    every = [half for name in rows for half in pair(name, 2)]
    save("adapter", "all", gguf(keys(), every))
    save("adapter", "output", gguf(keys(), pair("output", 3)))
    for dtype in (0, 8, 30):
        save("adapter", f"type-{dtype}", gguf(keys(), pair("attn_k", 32 if dtype == 8 else 1, dtype=dtype)))
    save("adapter", "no-alpha", gguf(keys()[:3], pair("attn_q", 1)))
    save("adapter", "state", gguf(keys(), pair("attn_q", 1) + [("train.mean.x", (3,), 0)]))
    save("adapter", "bad-kind", gguf(keys(kind="model"), pair("attn_q", 1)))
    save("adapter", "bad-type", gguf(keys(what="control_vector"), pair("attn_q", 1)))
    save("adapter", "bad-architecture", gguf(keys(architecture="gpt2"), pair("attn_q", 1)))
    save("adapter", "bad-alpha", gguf(keys(alpha=float("nan")), pair("attn_q", 1)))
    save("adapter", "bad-half", gguf(keys(), pair("attn_q", 1)[:1]))
    save("adapter", "bad-ranks", gguf(keys(), pair("attn_q", 2, b_rank=1)))
    save("adapter", "bad-columns", gguf(keys(), pair("attn_q", 2, columns=33)))
    save("adapter", "bad-name", gguf(keys(), pair("attn_q", 1) + [("other", (3,), 0)]))
    save("adapter", "bad-integers", gguf(keys(), pair("attn_q", 1, dtype=26)))
    save("adapter", "bad-absent", gguf(keys(), [("blk.1.ffn_up.weight.lora_a", (32, 1), 0),
                                                ("blk.1.ffn_up.weight.lora_b", (1, 32), 0)]))
    save("adapter", "bad-embeddings", gguf(keys(), [("token_embd.weight.lora_a", (32, 1), 0),
                                                    ("token_embd.weight.lora_b", (1, 8), 0)]))


make_gguf()
make_adapter()
make_llama2c()
make_tokenizer_bin()
