"""What the set `home` labels, and how labels and tags become the slots of an intent again.

A label is INTENT[.DOMAIN][.DETAIL]: the domain that a sentence implies ("open the windows": cover), and the detail that
neither slots nor the home tell apart (see DETAILS). Tags are the template's slots. What a tagged text means is a table:
values[slot][domain][text]; numbers, free text and names of the home are read as they are.
"""

import re

from records import normalise
from sentence_templates import every_text, parse

# Responses that say something that slots and the home do not: what a question asks, and "everywhere" where the slots are
# those of "in this room".
DETAILS = {
    "any": "any", "all": "all", "which": "which", "how_many": "how_many",
    "light_all": "everywhere", "lights_all": "everywhere", "fans_all": "everywhere",
    "hello": "hello", "listening": "listening", "data": "data", "commands": "commands", "creator": "creator",
}
# Lists whose entries are the direction itself: it goes into the label, a number keeps its tag.
DIRECTIONS = {"volume_step": None, "volume_step_up": "up", "volume_step_down": "down"}
FREE_TEXT = ("item", "message", "search_query", "conversation_command")
NAMED = ("name", "area", "floor")

# Lists of numbers that all languages share, which the data names but does not hold: smallest and largest.
RANGES = {
    "timer_hours": (1, 24), "timer_minutes": (1, 100), "timer_seconds": (1, 100), "brightness": (0, 100),
    "temperature": (5, 95), "color_temperature": (1500, 6500), "fan_speed": (0, 100), "volume": (0, 100),
    "volume_percentage": (0, 100), "volume_step_up": (1, 100), "volume_step_down": (1, 100), "position": (0, 100),
}

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
DIGITS_ZH = "零一二三四五六七八九"


def number_words(number, language):
    """How a number from 0 to 100 is said; a larger one, or one below 0, stays in digits."""
    if not 0 <= number <= 100:
        return str(number)
    if language == "en":
        if number < 20:
            return ONES[number]
        if number == 100:
            return "one hundred"
        return TENS[number // 10 - 2] + (" " + ONES[number % 10] if number % 10 else "")
    if number == 100:
        return "一百"
    if number < 10:
        return DIGITS_ZH[number]
    tens = "" if number < 20 else DIGITS_ZH[number // 10]
    return tens + "十" + (DIGITS_ZH[number % 10] if number % 10 else "")


SAID = {language: {number_words(n, language): n for n in range(101)} for language in ("en", "zh-CN")}
SAID["en"].update({"a hundred": 100, "an": 1, "a": 1})
SAID["zh-CN"].update({"两": 2, "俩": 2, "百": 100})


def number_of(text, language):
    """The number that a text says, or None."""
    text = text.replace("-", " ").strip()
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return SAID[language].get(text)


def label_of(intent, block, slots):
    """The label of a sentence of a block; `slots` are (slot, list name, value)."""
    parts = [intent]
    if block.get("inferred_domain"):
        parts.append(block["inferred_domain"])
    detail = DETAILS.get(block.get("response"))
    direction = block.get("slots", {}).get("volume_step")
    for _, name, value in slots:
        if name in DIRECTIONS:
            direction = DIRECTIONS[name] or value
    detail = detail or direction
    return ".".join(parts + [detail] if detail else parts)


def tagged(slot_name, list_name):
    """Whether a list's text is tagged: all are but the words that are the direction."""
    return list_name != "volume_step"


FLOOR_WORD = re.compile(r" ?(?:floor|楼|层)")


def with_floor_word(text, start, end, slot):
    """A floor's span takes the word for "floor" behind it, so that "the second floor" is tagged one way."""
    if slot != "floor" or re.search("(floor|楼|层)$", text[start:end], re.IGNORECASE):
        return (start, end)
    behind = FLOOR_WORD.match(text, end)
    return (start, behind.end() if behind else end)


def values_table(lists, blocks):
    """values[slot][domain][text] of a language: what the entries of lists mean. Domain "" stands for all."""
    table = {}
    for block, node_lists in blocks:
        domains = [block["inferred_domain"]] if block.get("inferred_domain") else block.get("name_domains") or [""]
        for name, slot in node_lists:
            if name in lists and not lists[name].get("wildcard") and tagged(slot, name) and "values" in lists[name]:
                for domain in domains if isinstance(domains, list) else [""]:
                    table.setdefault(slot, {}).setdefault(domain, {}).update(list_values(lists[name]))
    for slot, by_domain in table.items():
        together = {}
        clash = any(together.setdefault(text, value) != value for texts in by_domain.values() for text, value in texts.items())
        if not clash:
            table[slot] = {"": together}
    return table


def list_values(entries):
    """text: value of a list's entries, texts normalised."""
    return {
        normalise(text)[0]: entry["out"]
        for entry in entries["values"]
        for text in every_text(parse(str(entry["in"])))
    }


def plain(name):
    """A name as names are compared: normalised, without the word for "floor"."""
    bare = re.sub(r"^(the|my|our) ", "", normalise(name)[0])
    return re.sub(r" ?(floor|楼|层)$", "", bare) or bare


class Home:
    """Names of areas and floors, and of entities with their domains."""

    def __init__(self, areas, floors, entities):
        self.named = {"area": {}, "floor": {}, "name": {}}
        for slot, names in (("area", areas), ("floor", floors), ("name", [name for name, _ in entities])):
            for name in names:
                for text in every_text(parse(name)):
                    self.named[slot].setdefault(plain(text), name if text == name else every_text(parse(name))[-1])
        self.domains = {}
        for name, domain in entities:
            for text in every_text(parse(name)):
                self.domains.setdefault(plain(text), set()).add(domain)



def slots_of(label, spans, home, values, language):
    """The slots of an intent, {name: value}, from its label and its tagged texts [(slot, text)].

    A text that means nothing here (a device that the home does not have) stays as it was said.
    """
    intent, *more = label.split(".")
    detail = more[-1] if more and more[-1] in set(DETAILS.values()) | {"up", "down"} else None
    domain = more[0] if more and more[0] != detail else None
    slots = {"domain": domain} if domain else {}
    if intent == "HassSetVolumeRelative":
        slots["volume_step"] = detail
    domains = [domain] if domain else []
    for slot, text in spans:
        if slot == "name":
            domains += sorted(home.domains.get(plain(text), ()))
    for slot, text in spans:
        text = normalise(text)[0]
        table = values.get(slot, {})
        meant = [table[d][text] for d in domains + [""] if text in table.get(d, {})]
        number = number_of(text, language)
        if slot in NAMED:
            slots[slot] = home.named[slot].get(plain(text), text)
        elif meant:
            slots[slot] = meant[0]
        elif slot == "volume_step" and number is not None:
            slots[slot] = -number if detail == "down" else number
        elif number is not None and slot not in FREE_TEXT:
            slots[slot] = number
        else:
            slots[slot] = text
    return slots
