#!/usr/bin/env python3
"""Schema-Guided Dialogue as two understanding sets and as dialogues.

`sgd`: turns in which the user says what is wanted; the intent, and slots where their values stand in the turn.
`act`: what other turns do (affirm, negate, select, request, alternatives, inform, thanks, goodbye), without slots: which
slot "in san jose" fills is known from the question before it only.
train/sgd_chat.jsonl and dev/sgd_chat.jsonl are the dialogues. One dialogue in 50 is dev; of its turns dev has those that do
not stand in train.
"""

import collections
import os
import re

from home_slots import ONES
from records import arguments, held_out_sentences, intent_of, normalise, read_jsonl, record, say, utterance_of, write_jsonl

# What a turn does, by its acts; turns with other combinations are left out.
ACTS = {
    ("AFFIRM",): "affirm", ("AFFIRM_INTENT",): "affirm",
    ("NEGATE",): "negate", ("NEGATE_INTENT",): "negate", ("NEGATE", "THANK_YOU"): "negate",
    ("SELECT",): "select", ("REQUEST",): "request",
    ("REQUEST_ALTS",): "alternatives", ("INFORM", "REQUEST_ALTS"): "alternatives",
    ("INFORM",): "inform", ("THANK_YOU",): "thanks",
    ("GOODBYE", "THANK_YOU"): "goodbye", ("GOODBYE", "SELECT"): "goodbye", ("GOODBYE", "NEGATE_INTENT"): "goodbye",
    ("GOODBYE", "NEGATE"): "goodbye",
}
NOT_IN_TEXT = ("true", "false", "dontcare")


def spans_of(text, informed):
    """The places of slots' values in a text, or None where one is not found; a value claims its first free place."""
    spans = []
    for slot, value in informed:
        if value.lower() in NOT_IN_TEXT:
            continue
        forms = [value] + ([ONES[int(value)]] if value.isdigit() and int(value) < len(ONES) else [])
        places = [found.span() for form in forms
                  for found in re.finditer(r"(?<!\w)" + re.escape(form) + r"(?!\w)", text, re.IGNORECASE)]
        free = [(start, end) for start, end in places if all(end <= s or start >= e for s, e, _ in spans)]
        if not free:
            return None
        spans.append((*free[0], slot))
    return spans


def turns_of(dialogue, frequent):
    """The records of a dialogue's turns."""
    for turn in dialogue["turns"]:
        if turn["who"] != "user":
            continue
        wanted = [value for act, _, value in turn["acts"] if act == "INFORM_INTENT"]
        informed = [(slot, value) for act, slot, value in turn["acts"] if act == "INFORM"]
        if wanted:
            spans = spans_of(turn["text"], informed)
            if spans is not None and all(slot in frequent for slot, _ in informed):
                yield record("sgd", turn["text"], wanted[0], spans)
        else:
            act = ACTS.get(tuple(sorted({act for act, _, _ in turn["acts"]})))
            if act:
                yield record("act", turn["text"], act)


def chat_of(dialogue):
    roles = {"user": "user", "system": "assistant"}
    return {"messages": [{"role": roles[turn["who"]], "content": turn["text"]} for turn in dialogue["turns"]]}


def distinct(records, most):
    """Records with a sentence once, under the label that it has most often, and at most so many of a label of `act`."""
    labels = collections.defaultdict(collections.Counter)
    for made in records:
        labels[made["prompt"]][made["completion"]] += 1
    seen, count = set(), collections.Counter()
    for made in records:
        if made["prompt"] in seen or made["completion"] != labels[made["prompt"]].most_common(1)[0][0]:
            continue
        seen.add(made["prompt"])
        count[made["completion"]] += 1
        if "tags" in made or count[made["completion"]] <= most:
            yield made


def main():
    given = arguments(__doc__.split("\n")[0], most=(3000, "records of an act"), rare=(100, "turns with a rarer slot are left out"))
    held = held_out_sentences(given.data)
    dialogues = list(read_jsonl(os.path.join(given.data, "dialogues", "sgd.jsonl.gz")))
    parts = {"train": [d for i, d in enumerate(dialogues) if i % 50], "dev": dialogues[::50]}
    slots = collections.Counter(slot for d in parts["train"] for turn in d["turns"] if turn["who"] == "user"
                                for act, slot, _ in turn["acts"] if act == "INFORM")
    frequent = {slot for slot, count in slots.items() if count >= given.rare}
    trained = set()
    for part, chosen in parts.items():
        made = [one for d in chosen for one in turns_of(d, frequent)]
        made = list(distinct([one for one in made if part == "dev" or utterance_of(one) not in held], given.most))
        made = [one for one in made if one["prompt"] not in trained]
        trained.update(one["prompt"] for one in made)
        for name in ("sgd", "act"):
            of_set = [one for one in made if intent_of(one).startswith(name + "/")]
            write_jsonl(os.path.join(given.output, part, f"{name}.jsonl"), of_set)
            say(f"{name}: {len(of_set)} {part}, {len({one['completion'] for one in of_set})} labels, "
                f"{len({tag['name'] for one in of_set for tag in one.get('tags', [])})} slots")
        write_jsonl(os.path.join(given.output, part, "sgd_chat.jsonl"), (chat_of(d) for d in chosen))
        say(f"sgd_chat: {len(chosen)} {part}")


if __name__ == "__main__":
    main()
