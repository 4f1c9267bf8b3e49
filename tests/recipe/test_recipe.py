"""The recipe of the models' data (models/recipe) on examples that stand here: spans, templates, labels of the home, changed
copies."""

import json
import os
import random
import sys
import tempfile
import unittest

RECIPE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "recipe")
sys.path.insert(0, RECIPE)

try:
    import yaml  # noqa: F401: Home Assistant's files
except ImportError:
    print("skipped: no PyYAML (Debian: python3-yaml)")
    sys.exit(77)

import augment
import ha
import home_slots
import pool
import records
import sentence_templates as templates
import sgd
import specials
import texts


def tagged_texts(made):
    """(slot, text) of a record's tags, taken from its bytes."""
    prompt = made["prompt"].encode()
    return [(tag["name"].split("/")[1], prompt[tag["start"] : tag["end"]].decode()) for tag in made["tags"]]


class Normaliser(unittest.TestCase):
    def test_rules(self):
        for text, expected in (
            ("  What\u2019s  the TIME?! ", "what's the time"),
            ("wake me at 7 a.m.", "wake me at 7 a.m."),
            ("Call Mary S.", "call mary s."),
            ("euro to u. s. d.", "euro to u. s. d."),
            ("wait...", "wait"),
            ("rate it 3/5.", "rate it 3/5"),
            ("打开客厅的灯。", "打开客厅的灯"),
            ("CAFÉ", "cafÉ"),
            ("?", ""),
            ("", ""),
        ):
            got, where = records.normalise(text)
            self.assertEqual(got, expected)
            self.assertEqual(len(where), len(got) + 1)
            self.assertEqual(records.normalise(got)[0], got, "a normalised text stays as it is")

    def test_places_lead_back(self):
        text = "  Play\u00a0 Beyonc\u00e9\u2019s  Halo!"
        got, where = records.normalise(text)
        for i, c in enumerate(got):
            self.assertTrue(text[where[i]].lower() == c or (c, text[where[i]]) in {(" ", "\u00a0"), ("'", "\u2019")})
        self.assertEqual(text[where[-1]], "!")


class Spans(unittest.TestCase):
    def test_bytes(self):
        text = "Play  Caf\u00e9 del Mar by Beyonc\u00e9!"
        slots = [{"start": len("Play  ".encode()), "end": len("Play  Caf\u00e9 del Mar".encode()), "name": "track"},
                 {"start": len("Play  Caf\u00e9 del Mar by ".encode()), "end": len(text.encode()), "name": "artist"}]
        made = records.record("music", text, "Play", records.byte_slots(text, slots))
        self.assertEqual(made["prompt"], "<|music|> play caf\u00e9 del mar by beyonc\u00e9<|call|>")
        self.assertEqual(made["completion"], "<|call:music/Play|>")
        self.assertEqual(tagged_texts(made), [("track", "caf\u00e9 del mar"), ("artist", "beyonc\u00e9")])
        self.assertEqual(records.utterance_of(made), "play caf\u00e9 del mar by beyonc\u00e9")
        self.assertEqual(records.intent_of(made), "music/Play")

    def test_refused(self):
        with self.assertRaises(ValueError):
            records.record("music", "play it...", "Play", [(7, 10, "track")])  # nothing is left of it
        with self.assertRaises(ValueError):
            records.record("music", "play it now", "Play", [(0, 7, "track"), (5, 11, "time")])  # they overlap
        with self.assertRaises(ValueError):
            records.record("music", "play <|call|>", "Play", [])

    def test_no_tags_without_slots(self):
        self.assertNotIn("tags", records.record("bank", "hello", "greeting"))

    def test_control_tokens(self):
        with tempfile.TemporaryDirectory() as folder:
            made = [records.record("music", "play halo", "Play", [(5, 9, "track")])]
            self.assertEqual(records.write_jsonl(os.path.join(folder, "train", "music.jsonl"), made), 1)
            self.assertEqual(specials.tokens_below(os.path.join(folder, "train")),
                             {"<|music|>", "<|call|>", "<|call:music/Play|>", "<|B:music/track|>", "<|I:music/track|>"})

    def test_dialogue_values(self):
        self.assertEqual(sgd.spans_of("Two tickets to Rome in march", [("number", "2"), ("city", "rome"), ("aisle", "True")]),
                         [(0, 3, "number"), (15, 19, "city")])
        self.assertEqual(sgd.spans_of("from rome to rome", [("from", "Rome"), ("to", "Rome")]), [(5, 9, "from"), (13, 17, "to")])
        self.assertIsNone(sgd.spans_of("to Romeo", [("city", "Rome")]), "a part of a word is no value")


class Templates(unittest.TestCase):
    def test_every_text(self):
        for template, expected in (
            ("a[b](c|d)", ["abc", "abd", "ac", "ad"]),
            ("(x;y)", ["x y", "y x"]),
            ("one|two [more]", ["one", "two more", "two "]),
            ("a\\[b", ["a[b"]),
            ("[(a|b)]", ["a", "b", ""]),
        ):
            self.assertEqual(templates.every_text(templates.parse(template)), expected, template)

    def test_refused(self):
        for template in ("a(b", "a)b", "[a", "a]", "{a", "<a", "(a|b;c)", "(a]"):
            with self.assertRaises(ValueError, msg=template):
                templates.parse(template)

    def test_drawn_sentences_are_recognised(self):
        rules = {"the": templates.parse("(the|my)"), "in": templates.parse("in [<the>]")}
        node = templates.parse("[please] (paint;[<the>] {what}) <in> {where:place} {color}[ty]")
        entries = {"what": ["wall", "old door"], "where": ["hall", "big hall"], "color": ["red", "blue"]}
        chosen = random.Random(3)
        pattern = lambda name: "|".join(sorted(entries[name], key=len, reverse=True))
        recogniser = templates.Recogniser(node, rules, pattern)
        seen = set()
        for _ in range(200):
            text, slots = templates.draw(node, rules, lambda name: (chosen.choice(entries[name]), None), chosen)
            for start, end, slot, name, _ in slots:
                self.assertIn(text[start:end], entries[name])
                self.assertEqual(slot, "place" if name == "where" else name)
            sentence = records.normalise(text)[0]
            found = recogniser.slots_of(sentence)
            self.assertIsNotNone(found, sentence)
            self.assertEqual([(slot, sentence[start:end]) for start, end, slot, _ in found],
                             [(slot, text[start:end]) for start, end, slot, _, _ in slots])
            seen.add(sentence)
        self.assertGreater(len(seen), 50)
        self.assertIsNone(recogniser.slots_of("paint the wall in the hall"))


TINY = {
    "sentences/en/HassTurnOn/area_domain.yaml": """
language: en
data:
  - sentences: ["<turn> on [the] lights in [the] {area}"]
    inferred_domain: light
    response: lights_area
  - sentences: ["open [the] {cover_classes:device_class} on [the] {floor} [floor]"]
    inferred_domain: cover
""",
    "sentences/en/HassGetState/name_state.yaml": """
language: en
data:
  - sentences: ["is [the] {name} {lock_states:state}"]
    name_domains: [lock]
  - sentences: ["is [the] {name} {cover_states:state}"]
    name_domains: [cover]
  - sentences: ["which {cover_classes:device_class} are {cover_states:state}"]
    inferred_domain: cover
    response: which
""",
    "sentences/en/HassSetVolumeRelative/default.yaml": """
language: en
data:
  - sentences: ["turn the volume {volume_step}", "turn down the volume by {volume_step_down:volume_step}[%]"]
""",
    "sentences/en/_common.yaml": "language: en\nskip_words: [please]\n",
    "rules/en/verbs.yaml": 'language: en\nexpansion_rules:\n  turn: "(turn|switch)"\n',
    "lists/en/all.yaml": """
language: en
lists:
  cover_classes:
    values: [{in: "blind[s]", out: blind}, {in: "garage door[s]", out: garage}]
  cover_states:
    values: [{in: open, out: open}, {in: "(closed|shut)", out: closed}]
  lock_states:
    values: [{in: "[securely] locked", out: locked}, {in: open, out: unlocked}]
  volume_step:
    values: [{in: "(up|louder)", out: up}, {in: down, out: down}]
""",
    "tests/en/one.yaml": """
language: en
areas: [{name: "Blue Room"}]
floors: [{name: First Floor}]
entities: [{name: "Oak Hatch", domain: lock}, {name: "Tall Blind[s]", id: cover.tall}]
""",
}


class HomeSet(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for name, text in TINY.items():
            path = os.path.join(self.folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
        self.language = ha.Language(self.folder.name, "en")

    def from_test(self, text, intent, **slots):
        """The records of one test, and how many were right."""
        line = {"text": text, "intent": intent, "lang": "en", "file": "tests/en/one.yaml",
                "slots": [{"name": name, "value": value} for name, value in slots.items()]}
        with open(os.path.join(self.folder.name, "tests.jsonl"), "w", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        made, counts, lost = ha.tests_as_records(self.folder.name, {"en": self.language})
        return made, counts["en", "recognised"], lost

    def test_tests_lead_back(self):
        for text, intent, slots, label, tags in (
            ("Switch on the lights in the blue room", "HassTurnOn", {"area": "Blue Room", "domain": "light"},
             "HassTurnOn.light", [("area", "blue room")]),
            ("please open the garage doors on the first floor", "HassTurnOn",
             {"device_class": "garage", "floor": "First Floor", "domain": "cover"}, "HassTurnOn.cover",
             [("device_class", "garage doors"), ("floor", "first floor")]),
            ("is the oak hatch open?", "HassGetState", {"name": "Oak Hatch", "state": "unlocked"}, "HassGetState",
             [("name", "oak hatch"), ("state", "open")]),
            ("is tall blinds open", "HassGetState", {"name": "Tall Blind", "state": "open"}, "HassGetState",
             [("name", "tall blinds"), ("state", "open")]),
            ("which blinds are shut", "HassGetState", {"device_class": "blind", "state": "closed"}, "HassGetState.cover.which",
             [("device_class", "blinds"), ("state", "shut")]),
            ("turn the volume louder", "HassSetVolumeRelative", {"volume_step": "up"}, "HassSetVolumeRelative.up", []),
            ("turn down the volume by twenty five", "HassSetVolumeRelative", {"volume_step": -25}, "HassSetVolumeRelative.down",
             [("volume_step", "twenty five")]),
        ):
            made, recognised, lost = self.from_test(text, intent, **slots)
            self.assertEqual(lost, [])
            self.assertEqual(recognised, 1)
            self.assertEqual(records.intent_of(made[0]), "home/" + label)
            self.assertEqual(tagged_texts(made[0]), tags)

    def test_wrong_slots_are_seen(self):
        made, recognised, lost = self.from_test("which blinds are shut", "HassGetState", device_class="blind", state="open")
        self.assertEqual((made, recognised, len(lost)), ([], 1, 1))
        made, recognised, lost = self.from_test("paint the blinds", "HassGetState", device_class="blind")
        self.assertEqual((made, recognised, lost[0]["got"]), ([], 0, None))

    def test_drawn_records(self):
        names = type("Names", (), {"devices": {"lock": ["big gate"], "cover": ["left blind"]}, "areas": ["attic"], "free": {},
                                   "floors": ["ground floor", "second"]})()
        drawer = ha.Drawer(self.language, names, 5)
        made = list(drawer.records(60, {"turn the volume down"}))
        self.assertEqual(len(made), 60)
        self.assertEqual(len({one["prompt"] for one in made}), 60)
        self.assertNotIn("turn the volume down", {records.utterance_of(one) for one in made})
        labels = {records.intent_of(one)[5:] for one in made}
        self.assertEqual(labels, {"HassTurnOn.light", "HassTurnOn.cover", "HassGetState", "HassGetState.cover.which",
                                  "HassSetVolumeRelative.up", "HassSetVolumeRelative.down"})
        allowed = {"area": {"attic"}, "floor": {"ground floor", "second", "second floor"}, "name": {"big gate", "left blind"}}
        for one in made:
            for slot, text in tagged_texts(one):
                if slot in allowed:
                    self.assertIn(text, allowed[slot])
                elif slot == "volume_step":
                    self.assertIn(home_slots.number_of(text, "en"), range(1, 101))
                else:
                    self.assertTrue(any(text in entries for entries in self.language.values[slot].values()), text)

    def test_floor_word(self):
        for text, name, expected in (("the lower floor lights", "lower", "lower floor"), ("first floor floor", "first floor", "first floor"),
                                     ("二层的灯", "二", "二层"), ("upstairs lights", "upstairs", "upstairs")):
            start = text.index(name)
            first, last = home_slots.with_floor_word(text, start, start + len(name), "floor")
            self.assertEqual(text[first:last], expected)
            self.assertEqual(home_slots.with_floor_word(text, start, start + len(name), "area"), (start, start + len(name)))

    def test_numbers(self):
        for language in ("en", "zh-CN"):
            for number in range(101):
                self.assertEqual(home_slots.number_of(home_slots.number_words(number, language), language), number)
        self.assertIsNone(home_slots.number_of("many", "en"))


class ChangedCopies(unittest.TestCase):
    MADE = [
        records.record("music", "please don't play caf\u00e9 del mar, by beyonc\u00e9 at 20 in the well-known room", "Play",
                       [(18, 30, "track"), (35, 42, "artist"), (46, 48, "time")]),
        records.record("music", "halo twenty times", "Play", [(0, 4, "track")]),
        records.record("music", "stop", "Stop", []),
    ]

    def test_pieces(self):
        for made in self.MADE:
            self.assertEqual(augment.with_pieces(made, augment.pieces_of(made)), made)

    def test_changes_keep_tags(self):
        values = augment.values_of(self.MADE)
        self.assertEqual(values, {"music/track": ["caf\u00e9 del mar", "halo"], "music/artist": ["beyonc\u00e9"], "music/time": ["20"]})
        exact = {"drop", "swap", "misheard", "filler", "polite"}
        for name, make, _ in augment.CHANGES:
            change = make(values) if name == "values" else make
            differ = 0
            for seed in range(60):
                for made in self.MADE:
                    copy = augment.changed(made, [(change, 1.0)], random.Random(seed))
                    if copy is None:
                        continue
                    differ += copy["prompt"] != made["prompt"]
                    self.assertEqual(copy["completion"], made["completion"])
                    utterance = records.utterance_of(copy)
                    self.assertEqual(records.normalise(utterance)[0], utterance)
                    self.assertEqual([slot for slot, _ in tagged_texts(copy)], [slot for slot, _ in tagged_texts(made)])
                    for (slot, text), (_, before) in zip(tagged_texts(copy), tagged_texts(made)):
                        self.assertEqual(text, text.strip())
                        if name in exact:
                            self.assertEqual(text, before)
                        if name == "values":
                            self.assertIn(text, values["music/" + slot])
            self.assertGreater(differ, 0, name)

    def test_same_seed_same_copy(self):
        changes = [(augment.typo, 1.0), (augment.filler, 1.0)]
        one, two = (augment.changed(self.MADE[0], changes, random.Random(7)) for _ in range(2))
        self.assertEqual(one, two)


class Texts(unittest.TestCase):
    def test_parts(self):
        document = "\n\n".join("paragraph %d\nwith a line \u201cquoted\u201d\u2019" % i + " and more" * 30 for i in range(40))
        for wrapped in (False, True):
            made = list(texts.parts(document, wrapped))
            self.assertGreater(len(made), 3)
            self.assertTrue(all(len(part) <= 2 * texts.PART for part in made))
            together = "\n\n".join(made)
            self.assertEqual(together.replace("\n", " ").split(), document.translate(texts.ASCII).split())
            self.assertEqual("paragraph 3 with" in together, wrapped)

    def test_long_paragraph(self):
        made = list(texts.parts("word " * 3000, False))
        self.assertEqual(" ".join(made).split(), ["word"] * 3000)
        self.assertTrue(all(len(part) <= 2 * texts.PART for part in made))


class Pool(unittest.TestCase):
    def test_share(self):
        lines = [{"prompt": f"<|hwu64|> sentence {i}<|call|>", "part": ("train", "dev", "pool")[i % 3],
                  "probabilities": {"<|call:hwu64/a|>": 0.3, f"<|call:hwu64/b{i}|>": 0.6}} for i in range(3000)]
        with tempfile.TemporaryDirectory() as folder:
            records.write_jsonl(os.path.join(folder, "teacher", "hwu64.jsonl"), lines)
            made, again, other = (list(pool.pool(folder, "hwu64", 0.3, seed)) for seed in (1, 1, 2))
        self.assertEqual(made, again)
        self.assertNotEqual(made, other)
        self.assertTrue(230 < len(made) < 370)
        places = [int(one["prompt"].split()[-1][: -len("<|call|>")]) for one in made]
        self.assertTrue(all(i % 3 == 2 for i in places), "labelled utterances are in no pool")
        self.assertEqual([one["completion"] for one in made], [f"<|call:hwu64/b{i}|>" for i in places])
        self.assertTrue(all(one["prefix"] is True and "tags" not in one for one in made))


if __name__ == "__main__":
    unittest.main()
