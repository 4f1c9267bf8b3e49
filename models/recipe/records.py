"""What the programs of the recipe share: the normaliser of utterances, the form of an understanding record, the sentences
that are held out, and reading and writing of JSONL.

An understanding record is
    {"prompt": "<|SET|> utterance<|call|>", "completion": "<|call:SET/INTENT|>", "prefix": true,
     "tags": [{"start", "end", "name": "SET/SLOT"}]}
with start and end as byte offsets in the prompt. Sets without slots have no "tags".
"""

import argparse
import gzip
import json
import os
import re
import sys

CALL = "<|call|>"
# Tokens that are there whatever the data: turns of dialogues, the end of a document, tags.
FIXED_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|mask|>", CALL, "<|O|>"]
CONTROL = re.compile(r"<\|[^|]*\|>")

SPACE = " \t\r\n\f\v\u00a0\u3000"
CLOSING = ".?!,;:。？！，；：…"


def normalise(text):
    """An utterance as the model sees it, and for each of its characters the place of that character in `text`.

    1. A to Z become a to z, typographic apostrophes become ';
    2. white space at the ends goes, and a run of it inside is one space;
    3. punctuation at the end goes, but a full stop stays after a single letter and after a word with another full stop
       in it ("p.m.", "g. m. t.").
    The second value has one more entry, the place where the last character ends.
    """
    out, where = [], []
    for i, c in enumerate(text):
        if c in SPACE:
            if not out or out[-1] == " ":
                continue
            c = " "
        elif "A" <= c <= "Z":
            c = c.lower()
        elif c in "’‘":
            c = "'"
        out.append(c)
        where.append(i)
    end = len(out)
    while end and (out[end - 1] == " " or out[end - 1] in CLOSING):
        end -= 1
    last = "".join(out[:end]).rsplit(" ", 1)[-1]
    if end < len(out) and out[end] == "." and ((len(last) == 1 and last.isalpha()) or "." in last):
        end += 1
    where = where[:end]
    where.append(where[-1] + 1 if where else 0)
    return "".join(out[:end]), where


def record(set_name, text, intent, slots=None):
    """An understanding record. `slots`, where the set has any, is a list of (start, end, name) with places in characters
    of `text`; a slot of which nothing is left after normalisation is an error."""
    utterance, where = normalise(text)
    if "<|" in utterance:
        raise ValueError(f"an utterance with a control token: {text!r}")
    lead = f"<|{set_name}|> "
    made = {
        "prompt": f"{lead}{utterance}{CALL}",
        "completion": f"<|call:{set_name}/{intent}|>",
        "prefix": True,
    }
    if slots is not None:
        tags = []
        for start, end, name in sorted(slots):
            first = next(i for i, place in enumerate(where) if place >= start)
            last = next((i for i, place in enumerate(where) if place >= end), len(utterance))
            while last > first and utterance[last - 1] == " ":
                last -= 1
            if first >= last or (tags and len((lead + utterance[:first]).encode()) < tags[-1]["end"]):
                raise ValueError(f"a slot without text of its own: {text!r} {name} {start}-{end}")
            tags.append({
                "start": len((lead + utterance[:first]).encode()),
                "end": len((lead + utterance[:last]).encode()),
                "name": f"{set_name}/{name}",
            })
        made["tags"] = tags
    return made


def utterance_of(made):
    """The normalised utterance of a record."""
    return made["prompt"].split("|> ", 1)[1][: -len(CALL)]


def intent_of(made):
    """SET/INTENT of a record."""
    return made["completion"][len("<|call:") : -len("|>")]


def byte_slots(text, slots):
    """The data's slots, byte offsets in `text`, as (start, end, name) in characters."""
    raw = text.encode()
    return [
        (len(raw[: s["start"]].decode()), len(raw[: s["end"]].decode()), s["name"]) for s in slots
    ]


def read_jsonl(path):
    """The objects of a JSONL file, compressed or not."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_jsonl(path, records):
    """Writes records to `path`, which appears when it is complete; returns how many there were."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    count = 0
    with open(path + ".part", "w", encoding="utf-8") as out:
        for made in records:
            out.write(json.dumps(made, ensure_ascii=False) + "\n")
            count += 1
        out.flush()
        os.fsync(out.fileno())
    os.replace(path + ".part", path)
    return count


def write_lines(path, lines):
    """Writes lines of text to `path`, which appears when it is complete."""
    with open(path + ".part", "w", encoding="utf-8") as out:
        out.writelines(line + "\n" for line in lines)
        out.flush()
        os.fsync(out.fileno())
    os.replace(path + ".part", path)


NLU_SETS = {"hwu64": "hwu64", "clinc150": "clinc150", "snips": "snips", "massive": "massive_en", "banking77": "banking77"}
SETS_WITH_SLOTS = {"hwu64", "snips"}


def held_out_sentences(data):
    """Normalised sentences that nothing may be trained on: the dev parts of the understanding sets, and the tests of the
    home's intents."""
    held = set()
    for name in NLU_SETS.values():
        for line in read_jsonl(os.path.join(data, "nlu", f"{name}_dev.jsonl")):
            held.add(normalise(line["text"])[0])
    for line in read_jsonl(os.path.join(data, "ha_intents", "tests.jsonl")):
        held.add(normalise(line["text"])[0])
    return held


def arguments(description, needs_data=True, **more):
    """The command line of the recipe's programs: OUTPUT, --data where they read it, and options of their own, given as
    name=(default, help)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("output", help="folder that gets train/ and dev/")
    if needs_data:
        parser.add_argument("--data", default=os.environ.get("MILLET_DATA"), help="the data (without it: $MILLET_DATA)")
    for name, (default, text) in more.items():
        kind = {} if isinstance(default, bool) else {"type": type(default)}
        action = "store_true" if isinstance(default, bool) else "store"
        parser.add_argument("--" + name.replace("_", "-"), default=default, help=text, action=action, **kind)
    given = parser.parse_args()
    if needs_data and not given.data:
        parser.error("--data is needed where MILLET_DATA is unset")
    return given


def say(text):
    """Talk goes to stderr."""
    print(text, file=sys.stderr)
