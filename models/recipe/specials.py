#!/usr/bin/env python3
"""The control tokens of the vocabulary, specials.txt: the fixed ones, then those that the files in train/ speak of, one a
line, in an order that depends on the set of them alone. The dev files must not need another one."""

import glob
import os

from records import CONTROL, FIXED_TOKENS, arguments, read_jsonl, say, write_lines


def tokens_of(path):
    """The control tokens that the records of a file need."""
    tokens = set()
    for made in read_jsonl(path):
        for member in ("prompt", "completion"):
            tokens.update(CONTROL.findall(made.get(member, "")))
        for tag in made.get("tags", []):
            tokens.update((f"<|B:{tag['name']}|>", f"<|I:{tag['name']}|>"))
    return tokens


def tokens_below(folder):
    """The control tokens of all files in a folder."""
    return set().union(*(tokens_of(path) for path in glob.glob(os.path.join(folder, "*.jsonl"))))


def main():
    given = arguments(" ".join(__doc__.split()), needs_data=False)
    needed = tokens_below(os.path.join(given.output, "train"))
    missing = tokens_below(os.path.join(given.output, "dev")) - needed - set(FIXED_TOKENS)
    if missing:
        raise SystemExit(f"only dev files have {sorted(missing)}")
    order = lambda token: (":" in token, token.replace("<|I:", "<|B:"), token)  # sets, then tags and calls; B before its I
    tokens = FIXED_TOKENS + sorted(needed - set(FIXED_TOKENS), key=order)
    write_lines(os.path.join(given.output, "specials.txt"), tokens)
    say(f"{len(tokens)} control tokens")


if __name__ == "__main__":
    main()
