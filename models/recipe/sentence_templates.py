"""Sentence templates in the language of hassil (Home Assistant's intents): parsing, drawing sentences at random, and
recognising sentences.

    text (one|another) [maybe] {list} {list:slot} <rule> (first;second in any order)

A parsed template is a node: ("text", str), ("seq", nodes), ("alt", nodes), ("perm", nodes), ("list", name, slot),
("rule", name).
"""

import itertools
import re

CLOSERS = {"(": ")", "[": "]"}


def parse(template):
    """The node of a template; ValueError says where it cannot be read."""
    node, at = parse_group(template, 0, "")
    if at != len(template):
        raise ValueError(f"{template!r}: unmatched {template[at]!r} at {at}")
    return node


def parse_group(template, at, closer):
    """Alternatives or a permutation up to `closer` (which is not taken), and where it stands."""
    items, separators, text = [[]], set(), ""

    def flush():
        nonlocal text
        if text:
            items[-1].append(("text", text))
        text = ""

    while at < len(template) and template[at] not in ")]":
        c = template[at]
        if c == "\\" and at + 1 < len(template):
            text += template[at + 1]
            at += 2
        elif c in "|;":
            flush()
            separators.add(c)
            items.append([])
            at += 1
        elif c in CLOSERS:
            flush()
            inner, end = parse_group(template, at + 1, CLOSERS[c])
            if end >= len(template) or template[end] != CLOSERS[c]:
                raise ValueError(f"{template!r}: {c!r} at {at} is not closed")
            items[-1].append(("alt", [inner, ("text", "")]) if c == "[" else inner)
            at = end + 1
        elif c in "{<":
            flush()
            end = template.find("}" if c == "{" else ">", at)
            if end < 0:
                raise ValueError(f"{template!r}: {c!r} at {at} is not closed")
            name, _, slot = template[at + 1 : end].partition(":")
            items[-1].append(("list", name, slot or name) if c == "{" else ("rule", name))
            at = end + 1
        else:
            text += c
            at += 1
    flush()
    if at < len(template) and template[at] != closer:
        raise ValueError(f"{template!r}: unmatched {template[at]!r} at {at}")
    if len(separators) > 1:
        raise ValueError(f"{template!r}: | and ; in one group")
    nodes = [one[0] if len(one) == 1 else ("seq", one) for one in items]
    if len(nodes) == 1:
        return nodes[0], at
    return ("perm" if ";" in separators else "alt", nodes), at


def permuted(nodes):
    """A permutation as alternatives; what is put side by side is kept apart by a space."""
    orders = []
    for order in itertools.permutations(nodes):
        spaced = [order[0]]
        for node in order[1:]:
            spaced += [("text", " "), node]
        orders.append(("seq", spaced))
    return ("alt", orders)


def draw(node, rules, value_of, random):
    """A sentence of a template: its text and a list of (start, end, slot, list name, value), in characters.

    `rules` are parsed nodes by name; `value_of(list name)` gives (text, value) of an entry.
    """
    text, slots = "", []

    def visit(node):
        nonlocal text
        kind = node[0]
        if kind == "text":
            text += node[1]
        elif kind == "seq":
            for child in node[1]:
                visit(child)
        elif kind == "alt":
            visit(random.choice(node[1]))
        elif kind == "perm":
            visit(random.choice(permuted(node[1])[1]))
        elif kind == "rule":
            visit(rules[node[1]])
        else:
            entry, value = value_of(node[1])
            slots.append((len(text), len(text) + len(entry), node[2], node[1], value))
            text += entry

    visit(node)
    return text, slots


def every_text(node):
    """All texts of a template without lists and rules, in order."""
    kind = node[0]
    if kind == "text":
        return [node[1]]
    if kind == "seq":
        return ["".join(parts) for parts in itertools.product(*map(every_text, node[1]))]
    if kind == "alt":
        return [text for child in node[1] for text in every_text(child)]
    if kind == "perm":
        return every_text(permuted(node[1]))
    raise ValueError(f"a list entry that speaks of another list or rule: {node}")


class Recogniser:
    """Recognises normalised sentences of one template. `pattern_of(list name)` gives the regular expression of a list's
    entries, without groups that capture."""

    def __init__(self, node, rules, pattern_of):
        self.slots = []
        self.expression = re.compile(self.build(node, rules, pattern_of) + r"\Z")

    def build(self, node, rules, pattern_of):
        kind = node[0]
        if kind == "text":
            return r"\s*".join(re.escape(word.lower()) for word in re.split(r"\s+", node[1]))
        if kind == "seq":
            return "".join(self.build(child, rules, pattern_of) for child in node[1])
        if kind == "alt":
            return "(?:" + "|".join(self.build(child, rules, pattern_of) for child in node[1]) + ")"
        if kind == "perm":
            return self.build(permuted(node[1]), rules, pattern_of)
        if kind == "rule":
            return self.build(rules[node[1]], rules, pattern_of)
        self.slots.append((node[2], node[1]))
        return "(" + pattern_of(node[1]) + ")"

    def slots_of(self, sentence):
        """None, or the (start, end, slot, list name) of a sentence, the first way the template allows."""
        found = self.expression.match(sentence)
        if not found:
            return None
        return [
            (found.start(i + 1), found.end(i + 1), slot, name)
            for i, (slot, name) in enumerate(self.slots)
            if found.start(i + 1) >= 0
        ]
