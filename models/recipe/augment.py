#!/usr/bin/env python3
"""Changed copies of understanding records: the same request said, recognised or typed otherwise.

Each change is a function of a list of pieces and a random.Random that gives new pieces, or None where it has nothing to
change. A piece is (text, slot or None): a tagged value, or what stands between. So a change cannot lose a tag, and the
offsets of tags are made anew from the pieces. The command line applies changes in the order of CHANGES, each with its
probability, and writes as many copies as are asked for, without those that equal a record or a sentence held out.
"""

import json
import os
import random
import re

from home_names import POLITE
from home_slots import number_words
from records import CALL, arguments, held_out_sentences, intent_of, normalise, read_jsonl, say, utterance_of, write_jsonl

# Letters beside each other on a keyboard (QWERTY), by rows.
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS = {
    letter: [ROWS[r][c] for r in range(row - 1, row + 2) for c in range(column - 1, column + 2)
             if 0 <= r < 3 and 0 <= c < len(ROWS[r]) and ROWS[r][c] != letter]
    for row, letters in enumerate(ROWS) for column, letter in enumerate(letters)
}
FILLERS = ("um", "uh", "well", "so", "okay", "like", "you know", "hmm", "ah", "right", "actually", "hey")
# What recognisers of speech and writers leave out or take for another word.
SOUNDS_LIKE = {
    "to": ("two", "too"), "two": ("to",), "too": ("to",), "for": ("four",), "four": ("for",), "their": ("there",), "there": ("their",),
    "your": ("you're",), "you're": ("your",), "its": ("it's",), "it's": ("its",), "by": ("buy",), "buy": ("by",), "new": ("knew",),
    "know": ("no",), "weather": ("whether",), "i": ("eye",), "an": ("and",), "and": ("an",), "in": ("and",), "are": ("our",),
    "our": ("are",), "hour": ("our",), "right": ("write",), "write": ("right",), "week": ("weak",), "hear": ("here",), "here": ("hear",),
    "male": ("mail",), "mail": ("male",), "the": ("a",), "a": ("the",), "of": ("off",), "off": ("of",), "then": ("than",), "on": ("an",),
    "what's": ("what is", "whats"), "what is": ("what's",), "i'm": ("i am", "im"), "don't": ("do not", "dont"), "i'd": ("i would",),
    "can't": ("cannot", "cant"), "okay": ("ok",), "ok": ("okay",),
}


def pieces_of(made):
    """The pieces of a record's utterance."""
    prompt = made["prompt"].encode()
    at = prompt.index(b"|> ") + 3
    pieces = []
    for tag in made.get("tags", []):
        if tag["start"] > at:
            pieces.append((prompt[at : tag["start"]].decode(), None))
        pieces.append((prompt[tag["start"] : tag["end"]].decode(), tag["name"]))
        at = tag["end"]
    rest = prompt[at : len(prompt) - len(CALL)].decode()
    return pieces + [(rest, None)] if rest else pieces


def with_pieces(made, pieces):
    """The record with other pieces, or None where a value vanished or the sentence is not a normalised one any more."""
    lead = made["prompt"][: made["prompt"].index("|> ") + 3]
    text, spans = "", []
    for piece, slot in pieces:
        if not text or text.endswith(" "):  # no two spaces, none in front
            piece = piece.lstrip(" ")
        if slot:
            spans.append((len(text), len(text) + len(piece.rstrip(" ")), slot))
            if not piece.strip(" "):
                return None
        text += piece
    text = text.rstrip(" ")
    if not text or normalise(text)[0] != text or "<|" in text:
        return None
    changed = {**made, "prompt": lead + text + CALL}
    if "tags" in made:
        changed["tags"] = [{"start": len((lead + text[:start]).encode()), "end": len((lead + text[:end]).encode()), "name": slot}
                           for start, end, slot in spans]
    return changed


def change_word(pieces, chosen, change, where=lambda piece: True):
    """Puts `change(word)`, a text or None, in the place of a word chosen at random of those that it changes."""
    places = [(i, found.span()) for i, piece in enumerate(pieces) if where(piece) for found in re.finditer(r"[^ ]+", piece[0])]
    chosen.shuffle(places)
    for i, (start, end) in places:
        word = change(pieces[i][0][start:end])
        if word is not None:
            return pieces[:i] + [(pieces[i][0][:start] + word + pieces[i][0][end:], pieces[i][1])] + pieces[i + 1 :]
    return None


def untagged(piece):
    return piece[1] is None


def swap_values(values):
    """A change that puts another value of the same slot in the place of each value, with one chance in two for each."""
    def change(pieces, chosen):
        new = [(chosen.choice(values[slot]), slot) if slot and chosen.random() < 0.5 else (text, slot) for text, slot in pieces]
        return new if new != pieces else None
    return change


# Words without which a request still says the same.
LIGHT_WORDS = frozenset("the a an my me to for of in at is are was will please can you could would i it's that this some with and do "
                        "does from there like want need have any".split())


def drop_word(pieces, chosen):
    """Leaves out a light word that is in no value, of sentences of more than three words."""
    if sum(len(text.split()) for text, _ in pieces) <= 3:
        return None
    return change_word(pieces, chosen, lambda word: "" if word in LIGHT_WORDS else None, untagged)


def swap_words(pieces, chosen):
    """Swaps two words beside each other that are in no value."""
    places = [(i, found.span()) for i, piece in enumerate(pieces) if untagged(piece)
              for found in re.finditer(r"(?<![^ ])([^ ]+) (?=[^ ]+)", piece[0])]
    if not places:
        return None
    i, (start, _) = chosen.choice(places)
    words = pieces[i][0][start:].split(" ", 2)
    words[0], words[1] = words[1], words[0]
    return pieces[:i] + [(pieces[i][0][:start] + " ".join(words), None)] + pieces[i + 1 :]


def typo(pieces, chosen):
    """A slip of the finger in a word of four letters or more: a neighbouring key, a letter twice, left out, or exchanged."""
    def slip(word):
        places = [i for i in range(1, len(word) - 1) if word[i] in NEIGHBOURS]
        if len(word) < 4 or not places:
            return None
        at = chosen.choice(places)
        return chosen.choice((
            word[:at] + chosen.choice(NEIGHBOURS[word[at]]) + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1 :],
            word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
        ))
    return change_word(pieces, chosen, slip)


def filler(pieces, chosen):
    """A word that says nothing, in front or between two words of no value."""
    places = [(0, 0)] + [(i, found.end()) for i, piece in enumerate(pieces) if untagged(piece) for found in re.finditer(" ", piece[0])]
    i, at = chosen.choice(places)
    word = chosen.choice(FILLERS) + " "
    if at == 0 and i == 0:
        return [(word, None)] + pieces
    return pieces[:i] + [(pieces[i][0][:at] + word + pieces[i][0][at:], None)] + pieces[i + 1 :]


def polite(pieces, chosen):
    """A polite word in front or behind."""
    before, after = POLITE["en"]
    if chosen.random() < 0.7:
        return [(chosen.choice(before), None)] + pieces
    return pieces + [(chosen.choice(after), None)]


def misheard(pieces, chosen):
    """What a recogniser of speech makes of a word of no value: one that sounds like it, or no apostrophe."""
    def mishear(word):
        if word in SOUNDS_LIKE:
            return chosen.choice(SOUNDS_LIKE[word])
        return word.replace("'", chosen.choice(("", " "))) if re.fullmatch(r"[a-z]+'[a-z]+", word) else None
    return change_word(pieces, chosen, mishear, untagged)


NUMBERS = {number_words(n, "en"): str(n) for n in range(2, 101)}


def numbers(pieces, chosen):
    """A number in words as digits, or the other way, in values as well; numbers of two words are in one piece."""
    def change(word):
        if re.fullmatch(r"\d{1,2}", word) and int(word) > 1:
            return number_words(int(word), "en")
        return NUMBERS.get(word)
    return change_word(pieces, chosen, change)


def no_punctuation(pieces, chosen):
    """Without the commas, full stops and hyphens that speech does not have."""
    new = [(re.sub(r"[,.;:!?]+(?= |$)|(?<=\w)-(?=\w)", lambda found: " " if found[0] == "-" else "", text), slot)
           for text, slot in pieces]
    return new if new != pieces else None


# The changes in their order: name, function or what makes it of the values of a set, probability unless said otherwise.
CHANGES = (
    ("values", swap_values, 0.6), ("drop", drop_word, 0.15), ("swap", swap_words, 0.05), ("numbers", numbers, 0.2),
    ("misheard", misheard, 0.2), ("punctuation", no_punctuation, 0.3), ("filler", filler, 0.1), ("polite", polite, 0.15),
    ("typo", typo, 0.15),
)


def values_of(records):
    """The values of each slot, once for each time it is said."""
    values = {}
    for made in records:
        for text, slot in pieces_of(made):
            if slot:
                values.setdefault(slot, []).append(text)
    return values


def changed(made, changes, chosen):
    """A changed copy of a record, or None where no change applied. `changes` are (function, probability)."""
    pieces = before = pieces_of(made)
    for change, probability in changes:
        if chosen.random() < probability:
            pieces = change(pieces, chosen) or pieces
    return with_pieces(made, pieces) if pieces != before else None


def main():
    given = arguments(__doc__.split("\n")[0], sets=("hwu64,clinc150,snips,massive,banking77", "files of train/ to change"),
                      copies=(2, "copies of a record to try for"), seed=(1, "of the random choices"),
                      only=("", "changes to apply, NAME or NAME=PROBABILITY, comma-separated; without it all"))
    wanted = dict(one.partition("=")[::2] for one in given.only.split(",") if one)
    unknown = set(wanted) - {name for name, _, _ in CHANGES}
    if unknown:
        raise SystemExit(f"no such change: {sorted(unknown)}; there are {[name for name, _, _ in CHANGES]}")
    held = held_out_sentences(given.data)
    for name in given.sets.split(","):
        records = list(read_jsonl(os.path.join(given.output, "train", f"{name}.jsonl")))
        values = values_of(records)
        changes = [(make(values) if change == "values" else make, float(wanted.get(change) or usual))
                   for change, make, usual in CHANGES if not wanted or change in wanted]
        # A sentence that stands in the data under whatever label is left alone.
        seen = {utterance_of(made) for made in records} | held
        copies, chosen = [], random.Random(f"{given.seed} {name}")
        for _ in range(given.copies):
            for made in records:
                copy = changed(made, changes, chosen)
                if copy and utterance_of(copy) not in seen:
                    seen.add(utterance_of(copy))
                    copies.append(copy)
        write_jsonl(os.path.join(given.output, "train", f"{name}_changed.jsonl"), copies)
        say(f"{name}: {len(copies)} changed copies of {len(records)} records, {len({intent_of(made) for made in copies})} intents")


if __name__ == "__main__":
    main()
