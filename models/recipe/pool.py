#!/usr/bin/env python3
"""Utterances without labels for distillation: each set's token in front of what stands in the other sets' train.

Reads teacher/SET.jsonl of ngram_teacher.py and writes train/SET_pool.jsonl: records of understanding whose completion is what the
n-gram teacher finds most probable. They are meant for `millet distil`, which takes most of what it learns from the
teachers' probabilities and not from that completion. What stands in train is never held out.
"""

import os
import random

from records import NLU_SETS, arguments, read_jsonl, say, write_jsonl


def pool(folder, name, share, seed):
    """Records of a set for a part of the utterances that have no label of it."""
    chosen = random.Random(f"{seed} {name}")
    for line in read_jsonl(os.path.join(folder, "teacher", f"{name}.jsonl")):
        if line["part"] == "pool" and chosen.random() < share:
            likely = line["probabilities"]
            yield {"prompt": line["prompt"], "completion": max(likely, key=likely.get), "prefix": True}


def main():
    given = arguments(__doc__.split("\n")[0], needs_data=False, share=(0.3, "part of the sentences that is drawn (0.3)"),
                      seed=(1, "which (1)"))
    for name in NLU_SETS:
        path = os.path.join(given.output, "train", f"{name}_pool.jsonl")
        say(f"{name}_pool: {write_jsonl(path, pool(given.output, name, given.share, given.seed))} records")


if __name__ == "__main__":
    main()
