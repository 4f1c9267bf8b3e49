#!/usr/bin/env python3
"""The set `home`: requests to a home, drawn from the sentence templates of Home Assistant (English and Chinese).

Writes train/home_en.jsonl, train/home_zh.jsonl, dev/ of the same names (other names of devices, places and things), and
dev/home_tests.jsonl, the tests of the data with the tags that the templates give them; home_table.json says what tagged
texts mean, and for which slots of an intent the area is that of the speaker in the room. The tests are recognised by the templates, and it is counted for how many label and tags lead back
to the slots that the test expects: the most that a perfect model could reach.
"""

import collections
import csv
import glob
import json
import os
import random
import re
import zlib

import yaml

import home_names
from home_slots import (RANGES, SAID, Home, label_of, list_values, number_words, slots_of, tagged,
                        values_table, with_floor_word)
from records import arguments, held_out_sentences, normalise, read_jsonl, record, say, utterance_of, write_jsonl, write_lines
from sentence_templates import Recogniser, draw, every_text, parse

LANGUAGES = {"en": "en", "zh-CN": "zh"}
DEFAULT_DOMAINS = ["light", "switch", "fan", "media_player", "input_boolean", "climate"]
COMMANDS = ("HassTurnOn", "HassTurnOff", "HassLightSet", "HassSetPosition", "HassFanSetSpeed", "HassClimateSetTemperature")


def load(path):
    with open(path, encoding="utf-8") as text:
        return yaml.safe_load(text)


class Language:
    """The templates of a language."""

    def __init__(self, folder, language):
        self.name = language
        self.lists, self.rules = {}, {}
        for path in sorted(glob.glob(os.path.join(folder, "lists", language, "*.yaml"))):
            self.lists.update(load(path).get("lists", {}))
        for path in sorted(glob.glob(os.path.join(folder, "rules", language, "*.yaml"))):
            self.rules.update({name: parse(text) for name, text in load(path).get("expansion_rules", {}).items()})
        self.skip_words = load(os.path.join(folder, "sentences", language, "_common.yaml")).get("skip_words", [])
        self.intents = {}  # intent: combination: [(block, [template])]
        for path in sorted(glob.glob(os.path.join(folder, "sentences", language, "*", "*.yaml"))):
            intent, combination = path.split(os.sep)[-2], os.path.splitext(os.path.basename(path))[0]
            blocks = [(block, [parse(str(s)) for s in block["sentences"]]) for block in load(path)["data"]]
            self.intents.setdefault(intent, {})[combination] = blocks
        self.values = values_table(self.lists, [
            (block, self.lists_of(node))
            for combinations in self.intents.values() for blocks in combinations.values() for block, nodes in blocks
            for node in nodes
        ])

    def skipped(self, sentence):
        """How long the words at the beginning of a sentence are that say nothing."""
        lead = max((len(word) for word in self.skip_words if sentence.startswith(word)), default=0)
        return lead + (len(sentence) - lead - len(sentence[lead:].lstrip()))

    def lists_of(self, node):
        """(list, slot) of every list that a template speaks of."""
        if node[0] == "list":
            return [(node[1], node[2])]
        if node[0] == "rule":
            return self.lists_of(self.rules[node[1]])
        return [found for child in node[1] for found in self.lists_of(child)] if node[0] != "text" else []


def domains_of(block):
    domains = block.get("name_domains") or DEFAULT_DOMAINS
    return DEFAULT_DOMAINS if domains == "default" else domains


class Names:
    """What lists are filled with. One name in eight belongs to dev alone."""

    def __init__(self, data, language, part):
        self.language, self.part = language, part
        tests = load_test_names(data, language)
        keep = lambda names: [n for n in names if n not in tests and (zlib.crc32(n.encode()) % 8 == 0) == (part == "dev")] or names
        self.devices = {d: keep(home_names.device_names(language, d)) for d in home_names.DEVICES[language]}
        self.free = {name: keep(home_names.words(text)) for name, text in home_names.FREE[language].items()}
        self.areas = home_names.words(home_names.AREAS[language])
        self.floors = home_names.words(home_names.FLOORS[language])
        if language == "en":
            self.add_piles(os.path.join(data, "tools", "home_llm_piles", "english"), keep)

    def add_piles(self, folder, keep):
        """Names of devices, titles and tasks that others have collected."""
        kinds = {"blinds": "cover", "garage_door": "cover"}
        with open(os.path.join(folder, "pile_of_device_names.csv"), encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows):
                kind = row["device_name"].split(".")[0]
                domain = kinds.get(kind, kind)
                name = normalise(row["description"])[0]
                if domain in self.devices and keep([name]) == [name] and not re.search("[^a-z0-9' ]", name):
                    self.devices[domain] += keep([name])
        for file, name in (("pile_of_media_names.txt", "search_query"), ("pile_of_todo_items.txt", "todo_list_item")):
            with open(os.path.join(folder, file), encoding="utf-8") as lines:
                titles = [normalise(line)[0] for line in lines]
            self.free[name] = self.free[name] * 5 + keep([t for t in titles if t and len(t) < 40 and not re.search("[^a-z0-9' ]", t)])


def load_test_names(data, language):
    """Names of devices in the homes of the tests, normalised."""
    names = set()
    for path in glob.glob(os.path.join(data, "ha_intents", "tests", language, "**", "*.yaml"), recursive=True):
        for entity in load(path).get("entities") or []:
            names.update(normalise(text)[0] for text in every_text(parse(entity["name"])))
    return names


class Drawer:
    """Draws sentences of a language."""

    def __init__(self, language, names, seed):
        self.language, self.names, self.random = language, names, random.Random(seed)
        # Blocks of a subset of another block's sentences are left out.
        self.blocks = {intent: [one for blocks in combinations.values() for one in blocks if not one[0].get("speech_to_phrase")]
                       or [one for blocks in combinations.values() for one in blocks]
                       for intent, combinations in language.intents.items()}

    def number(self, low, high, digits):
        if self.random.random() < 0.5:
            step = 100 if high > 1000 else 5
            number = self.random.randrange(-(-low // step), high // step + 1) * step
        else:
            number = self.random.randint(low, high if high != 100 or self.random.random() < 0.3 else 30)
        return (str(number) if digits else number_words(number, self.language.name)), number

    def value_of(self, name, block, digits):
        """An entry of a list: its text, and what it means."""
        choose = self.random.choice
        if name in RANGES and name not in self.language.lists or "range" in self.language.lists.get(name, {}):
            return self.number(*RANGES[name], digits)
        if name == "timer_half":
            return ("half", 30)
        if name == "timer_command":
            return (self.sentence(choose(COMMANDS))[0], None)
        if name == "name":
            return (choose(self.names.devices[choose(domains_of(block))]), None)
        if name in ("area", "floor"):
            return (choose(self.names.areas if name == "area" else self.names.floors), None)
        if name in self.names.free:
            return (choose(self.names.free[name]), None)
        return choose(sorted(list_values(self.language.lists[name]).items()))

    def sentence(self, intent=None):
        """Text, label and slots (start, end, slot) of a sentence. An intent has the weight of the root of the number of its
        blocks; in it blocks are equal, and in these their templates."""
        intents = sorted(self.blocks)
        intent = intent or self.random.choices(intents, [len(self.blocks[name]) ** 0.5 for name in intents])[0]
        block, nodes = self.random.choice(self.blocks[intent])
        node = self.random.choice(nodes)
        digits = self.random.random() < 0.6
        while True:
            text, slots = draw(node, self.language.rules, lambda name: self.value_of(name, block, digits), self.random)
            if not digits and re.search("[%°]|[kK]$", text):
                digits = True
            elif not re.search(r"\b(\w+) \1\b|(灯|门|楼|层|的|帘|机)的?\2", re.sub(r"\s+", " ", text)):
                break
        label = label_of(intent, block, [(slot, name, value) for _, _, slot, name, value in slots])
        spans = [with_floor_word(text, start, end, slot) + (slot,) for start, end, slot, name, _ in slots if tagged(slot, name)]
        return text, label, spans

    def polite(self, text, spans):
        """The same with words in front or behind that say nothing."""
        before, after = home_names.POLITE[self.language.name]
        lead = self.random.choice(before) if self.random.random() < 0.12 else ""
        tail = self.random.choice(after) if self.random.random() < 0.08 else ""
        return lead + text + tail, [(start + len(lead), end + len(lead), slot) for start, end, slot in spans]

    def records(self, count, held):
        """So many different records. A template that has few sentences gives the few it has."""
        seen, failures = set(), 0
        while len(seen) < count and failures < 50 * count:
            text, label, spans = self.sentence()
            text, spans = self.polite(text, spans)
            sentence = normalise(text)[0]
            if sentence in seen or sentence in held:
                failures += 1
                continue
            seen.add(sentence)
            yield record("home", text, label, spans)


# Domains of CLINC150 that a home's assistant is asked about; the rest is what it must refuse.
NOT_HOME = ("banking", "credit_cards", "travel", "auto_and_commute", "work")


def refusals(data, part, count, held, seed):
    """Requests that are no home's: label home/none. Those of dev are of CLINC150's dev."""
    with open(os.path.join(data, "nlu", "clinc150_domains.json"), encoding="utf-8") as text:
        domains = json.load(text)
    wanted = {intent for domain in NOT_HOME for intent in domains[domain]} | {"oos"}
    texts = sorted({normalise(line["text"])[0] for line in read_jsonl(os.path.join(data, "nlu", f"clinc150_{part}.jsonl"))
                    if line["intent"] in wanted} - (held if part == "train" else set()))
    for text in random.Random(seed).sample(texts, min(count, len(texts))):
        yield record("home", text, "none", [])


# ---- the tests of the data

def test_home(folder, language, file, cache={}):
    """The home that a test speaks of: what its file brings, and where that lacks areas, floors or entities, the language's."""
    if (folder, file) not in cache:
        own = load(os.path.join(folder, file))
        common = os.path.join(folder, "tests", language, "_fixtures.yaml")
        common = load(common) if os.path.exists(common) else {}
        kinds = {kind: (own.get(kind) or []) + (common.get(kind) or []) for kind in ("areas", "floors", "entities")}
        entities = [(e["name"], e.get("domain") or e.get("id", ".").split(".")[0]) for e in kinds["entities"]]
        cache[(folder, file)] = Home([a["name"] for a in kinds["areas"]], [f["name"] for f in kinds["floors"]], entities)
    return cache[(folder, file)]


def patterns(language, home):
    """Regular expressions of lists, for recognising the sentences of a test."""
    either = lambda texts: "|".join(re.escape(t) for t in sorted(texts, key=lambda t: (-len(t), t))) or r"(?!)"
    numbers = r"\d+|" + either(SAID[language.name])
    surface = {slot: {normalise(text)[0] for name in named.values() for text in every_text(parse(name))} | set(named)
               for slot, named in home.named.items()}

    def pattern_of(name):
        if name in surface:
            return either(surface[name])
        if name in RANGES:
            return numbers
        if name in language.lists and "values" in language.lists[name]:
            return either(list_values(language.lists[name]))
        return "half" if name == "timer_half" else r"\S.*?"

    return pattern_of


def same(expected, got):
    """Whether slots are those that a test expects; texts are compared without case. The tests leave out the domain of some
    sentences whose intents list it, so it is compared where a test names it."""
    fold = lambda slots: {k: str(v).lower() for k, v in slots.items() if k != "domain" or "domain" in expected}
    return fold(expected) == fold(got)


def tests_as_records(folder, languages):
    """The records of the tests that a template recognises, and how many of each language led back to their slots."""
    records, counts, lost, recognisers = [], collections.Counter(), [], {}
    for test in read_jsonl(os.path.join(folder, "tests.jsonl")):
        language = languages[test["lang"]]
        home = test_home(folder, test["lang"], test["file"])
        expected = {slot["name"]: slot["value"] for slot in test["slots"]}
        sentence = normalise(test["text"])[0]
        lead = language.skipped(sentence)
        found = []
        for combination, blocks in language.intents[test["intent"]].items():
            for block, nodes in blocks:
                for node in nodes:
                    key = (id(home), id(node))
                    if key not in recognisers:
                        recognisers[key] = Recogniser(node, language.rules, patterns(language, home))
                    slots = recognisers[key].slots_of(sentence[lead:])
                    if slots is None:
                        continue
                    spans = [with_floor_word(sentence, lead + start, lead + end, slot) + (slot, name)
                             for start, end, slot, name in slots]
                    label = label_of(test["intent"], block, [
                        (slot, name, language.lists.get(name, {}) and direction_of(language, name, sentence[start:end]))
                        for start, end, slot, name in spans])
                    spans = [(start, end, slot) for start, end, slot, name in spans if tagged(slot, name)]
                    got = slots_of(label, [(slot, sentence[start:end]) for start, end, slot in spans], home, language.values,
                                   test["lang"])
                    right_file = combination == os.path.splitext(os.path.basename(test["file"]))[0]
                    found.append((same(expected, got), right_file, label, spans, got))
        counts[test["lang"], "tests"] += 1
        counts[test["lang"], "recognised"] += bool(found)
        found.sort(key=lambda one: one[:2], reverse=True)
        if found and found[0][0]:
            counts[test["lang"], "right"] += 1
            records.append(record("home", sentence, found[0][2], found[0][3]))
        else:
            lost.append({"text": test["text"], "file": test["file"], "expected": expected, "got": found[0][2:] if found else None})
    return records, counts, lost


def direction_of(language, name, text):
    return list_values(language.lists[name]).get(text) if name == "volume_step" and "values" in language.lists[name] else None


def main():
    given = arguments(__doc__.split("\n")[0], en=(24000, "English records"), zh=(12000, "Chinese records"),
                      none=(3000, "requests that are no home's"), seed=(1, "of the random choices"),
                      lost=(False, "print the tests that label and tags do not lead back to"))
    folder = os.path.join(given.data, "ha_intents")
    held = held_out_sentences(given.data)
    languages = {language: Language(folder, language) for language in LANGUAGES}
    tables = {}
    for language, short in LANGUAGES.items():
        for part, count in (("train", getattr(given, short)), ("dev", 1000)):
            drawer = Drawer(languages[language], Names(given.data, language, part), f"{given.seed} {language} {part}")
            made = list(drawer.records(count, held))
            if short == "en":
                made += refusals(given.data, part, given.none if part == "train" else 300, held, given.seed)
            if part == "train":
                trained = {utterance_of(one) for one in made}
            made = [one for one in made if part == "train" or utterance_of(one) not in trained]
            write_jsonl(os.path.join(given.output, part, f"home_{short}.jsonl"), made)
            say(f"home, {language}: {len(made)} {part}, {len({one['completion'] for one in made})} labels")
        tables[language] = {"values": languages[language].values}
    tables["context_area"] = {
        intent: sorted(sorted(one["slots"]) for one in about.get("slot_combinations", {}).values() if one.get("context_area"))
        for intent, about in load(os.path.join(folder, "intents.yaml")).items()
        if any(one.get("context_area") for one in about.get("slot_combinations", {}).values())
    }
    write_lines(os.path.join(given.output, "home_table.json"), [json.dumps(tables, ensure_ascii=False, sort_keys=True, indent=1)])
    records, counts, lost = tests_as_records(folder, languages)
    write_jsonl(os.path.join(given.output, "dev", "home_tests.jsonl"), records)
    for language in LANGUAGES:
        say(f"tests, {language}: {counts[language, 'tests']}, recognised by a template of their intent "
            f"{counts[language, 'recognised']}, slots from label and tags right {counts[language, 'right']}")
    if given.lost:
        for one in lost:
            print(json.dumps(one, ensure_ascii=False))


if __name__ == "__main__":
    main()
