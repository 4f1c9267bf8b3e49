#!/usr/bin/env python3
"""Texts, dialogues, and requests with calls, for predicting text: train/NAME.jsonl and dev/NAME.jsonl (every 100th part).

English texts are cut into parts of about a page at the ends of paragraphs, with ASCII quotation marks and hyphens, as
keyboards write them. Requests with calls that would not fit into a sequence are left out.
"""

import csv
import gzip
import json
import os
import random
import re

from records import arguments, read_jsonl, say, write_jsonl

PART = 2000  # characters of a part of a text, about 500 tokens
LONGEST_CALL = 1500  # characters of a request with its functions and call
ASCII = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "‐": "-", "‑": "-", "–": "-", "—": " - ", "…": "...", "\u00a0": " "})


def documents(path):
    """The documents of a text, which end with a line <|endoftext|>."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as text:
        lines = []
        for line in text:
            if line.rstrip("\n") == "<|endoftext|>":
                yield "".join(lines)
                lines = []
            else:
                lines.append(line)
    if "".join(lines).strip():
        yield "".join(lines)


def parts(document, wrapped):
    """A document in parts of whole paragraphs; in a wrapped one, the lines of a paragraph become one."""
    part = ""
    for paragraph in re.split(r"\n[ \t]*\n+", document.translate(ASCII).strip()):
        if wrapped:
            paragraph = re.sub(r"\s*\n\s*", " ", re.sub(r"(\w)- (?=[a-z])", r"\1", paragraph))
        paragraph = paragraph.strip("\n")
        while len(paragraph) > 2 * PART:  # a chapter without a break is cut at a space
            cut = paragraph.rfind(" ", 0, PART)
            cut = cut if cut > 0 else PART
            yield from ([part] if part else [])
            part, paragraph = paragraph[:cut], paragraph[cut:].strip()
        if part and len(part) + len(paragraph) > PART:
            yield part
            part = ""
        part += ("\n\n" if part else "") + paragraph
    if part.strip():
        yield part


def english(folder, name, wrapped=False):
    for document in documents(os.path.join(folder, name)):
        for part in parts(document, wrapped):
            yield {"text": part}


def poetry(folder):
    """Title, author and poem; the same poem of two files once."""
    seen = set()
    for name in ("zh_tang300.txt", "zh_song300.txt", "zh_poetry.txt.gz"):
        opener = gzip.open if name.endswith(".gz") else open
        with opener(os.path.join(folder, name), "rt", encoding="utf-8") as lines:
            for line in lines:
                _, title, author, poem = line.rstrip("\n").split("\t")
                if poem and poem not in seen:
                    seen.add(poem)
                    yield {"text": f"{title} {author}\n{poem}"}


def trivia(folder):
    """Questions with their right answers; the choices are named where the question speaks of them."""
    for line in read_jsonl(os.path.join(folder, "trivia_qa.jsonl.gz")):
        question, choices = line["question"].translate(ASCII).strip(), [c.translate(ASCII).strip() for c in line["choices"]]
        if re.search(r"\b(these|following|one of)\b", question) and len(choices) > 2:
            question += " (" + ", ".join(choices) + ")"
        yield {"text": f"Question: {question}\nAnswer: {choices[line['answer']]}"}


def messages(*turns):
    return {"messages": [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]}


def chats(folder):
    """Short exchanges, and tasks that people have written with their answers."""
    for line in read_jsonl(os.path.join(folder, "chatterbot.jsonl")):
        turns = [turn.strip() for turn in line["turns"]]
        turns = turns[: len(turns) // 2 * 2]
        if turns and all(turns):
            yield messages(*turns)
    for line in read_jsonl(os.path.join(folder, "instructions.jsonl")):
        request = line["instruction"] + ("\n" + line["input"] if line["input"] else "")
        if line["output"].strip() and len(request) + len(line["output"]) <= PART:
            yield messages(request.strip(), line["output"].strip())


def function_line(function):
    """name(argument: type, ...): description, in one line; arguments that may be left out have a ?."""
    about = function["parameters"]
    arguments_of = ", ".join(
        name + ("" if name in about.get("required", []) else "?") + ": " + str(what.get("type", "any"))
        for name, what in about.get("properties", {}).items())
    return f"{function['name']}({arguments_of}): {' '.join(function['description'].split())}"


def bfcl(folder):
    """Functions and a request, and the calls that are right for it, in JSON; no call where none fits."""
    for line in read_jsonl(os.path.join(folder, "bfcl_v4.jsonl")):
        turns = line["question"][0]
        if len(turns) != 1 or not ("ground_truth" in line or "irrelevance" in line["category"]):
            continue
        calls = [{"name": name, "arguments": {k: accepted[0] for k, accepted in given.items() if accepted and accepted[0] != ""}}
                 for call in line.get("ground_truth", []) for name, given in call.items()]
        prompt = "\n".join(map(function_line, line["function"])) + f"\n\n{turns[0]['content'].strip()}\n"
        completion = json.dumps(calls, ensure_ascii=False)
        if len(prompt) + len(completion) <= LONGEST_CALL:
            yield {"prompt": prompt, "completion": completion}


def rows(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def device_calls(folder, seed):
    """Requests to devices with the call and what is answered, of collected phrases, devices and responses."""
    chosen = random.Random(seed)
    piles = os.path.join(folder, "home_llm_piles", "english")
    devices, responses = {}, {}
    for row in rows(piles, "pile_of_device_names.csv"):
        devices.setdefault(row["device_name"].split(".")[0], []).append(row["description"])
    for row in rows(piles, "pile_of_responses.csv"):
        if row["persona"] == "assistant":
            responses.setdefault(row["service"], []).append(row["response_confirmed"])
    for row in rows(piles, "pile_of_templated_actions.csv"):
        service = f"{row['device_type']}.{row['service']}"
        if re.sub("<device_name>", "", row["phrase"]).count("<") or not devices.get(row["device_type"]):
            continue
        for name in chosen.sample(devices[row["device_type"]], min(4, len(devices[row["device_type"]]))):
            request = row["phrase"].replace("<device_name>", name)
            call = json.dumps({"name": service, "arguments": {"device": name}}, ensure_ascii=False)
            yield {"prompt": request + "\n", "completion": call}
            answers = [text for text in responses.get(service, []) if "<" not in text.replace("<device_name>", "")]
            if answers:
                yield messages(request, chosen.choice(answers).replace("<device_name>", name))


def main():
    given = arguments(__doc__.split("\n")[0], seed=(1, "of the random choices"))
    text, dialogues, tools = (os.path.join(given.data, name) for name in ("text", "dialogues", "tools"))
    sources = {
        "novels": english(text, "english_novels.txt.gz", wrapped=True),
        "prose": english(text, "public_domain_prose.txt.gz"),
        "articles": english(text, "us_government_articles.txt.gz"),
        "recipes": english(text, "recipes.txt"),
        "tldr": english(text, "tldr_pages.txt"),
        "trivia": trivia(text),
        "poetry_zh": poetry(text),
        "chats": chats(dialogues),
        "bfcl": bfcl(tools),
        "device_calls": device_calls(tools, given.seed),
    }
    for name, source in sources.items():
        made = list(source)
        for part, chosen in (("train", [one for i, one in enumerate(made) if i % 100 != 99]), ("dev", made[99::100])):
            count = write_jsonl(os.path.join(given.output, part, f"{name}.jsonl"), chosen)
            size = os.path.getsize(os.path.join(given.output, part, f"{name}.jsonl"))
            say(f"{name}: {count} {part}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
