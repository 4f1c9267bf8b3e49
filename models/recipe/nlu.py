#!/usr/bin/env python3
"""The five understanding sets as records: train/SET.jsonl and dev/SET.jsonl (dev is for measuring only)."""

import os

from records import (NLU_SETS, SETS_WITH_SLOTS, arguments, byte_slots, held_out_sentences, intent_of, normalise,
                     read_jsonl, record, say, utterance_of, write_jsonl)


def records_of(data, set_name, part):
    """The records of a part of a set, in the order of the data; what is equal to the byte after normalisation stands once
    in train."""
    seen = set()
    for line in read_jsonl(os.path.join(data, "nlu", f"{NLU_SETS[set_name]}_{part}.jsonl")):
        slots = byte_slots(line["text"], line["slots"]) if set_name in SETS_WITH_SLOTS else None
        made = record(set_name, line["text"], line["intent"], slots)
        key = repr(made)
        if part == "train" and key in seen:
            continue
        seen.add(key)
        yield made


def main():
    given = arguments(__doc__)
    held = held_out_sentences(given.data)
    for set_name in NLU_SETS:
        train = list(records_of(given.data, set_name, "train"))
        kept = [made for made in train if utterance_of(made) not in held]
        dev = list(records_of(given.data, set_name, "dev"))
        unknown = {intent_of(made) for made in dev} - {intent_of(made) for made in kept}
        names = {tag["name"] for made in kept for tag in made.get("tags", [])}
        unknown |= {tag["name"] for made in dev for tag in made.get("tags", [])} - names
        if unknown:
            raise SystemExit(f"{set_name}: only in dev: {sorted(unknown)}")
        assert not {utterance_of(made) for made in kept} & held
        assert all(normalise(utterance_of(made))[0] == utterance_of(made) for made in kept)
        write_jsonl(os.path.join(given.output, "train", f"{set_name}.jsonl"), kept)
        write_jsonl(os.path.join(given.output, "dev", f"{set_name}.jsonl"), dev)
        say(f"{set_name}: {len(kept)} to train on ({len(train) - len(kept)} left out, they stand in a dev set), {len(dev)} dev")


if __name__ == "__main__":
    main()
