#!/usr/bin/env python3
"""A teacher of intents: for each set two classifiers that look at an utterance in different ways, mixed.

    n-grams   tf-idf of words (1 and 2) and of characters within words (2 to 5); linear support vector machines, one intent
              against the rest (Fan et al., 2008)
    meaning   the utterance's place in a latent semantic space of all sets' utterances (Deerwester et al., 1990), random
              Fourier features of it (Rahimi and Recht, 2007), and what the n-gram classifiers of the other sets say; ridge
              regression on indicators of intents, in closed form

Scores become probabilities by a temperature, and the two are mixed. What is chosen (temperatures, the mixture, the ridge) is
chosen on train by cross-fitting: an utterance belongs to one of five folds by its text alone, in every set, and what is written of it comes from classifiers that
saw its fold in no set.

Reads train/SET.jsonl and dev/SET.jsonl, writes teacher/SET.jsonl, a line an utterance:
    {"prompt", "part": "train" | "dev" | "pool", "intent" (of train and dev), "probabilities": {"<|call:SET/INTENT|>": p, ...}}
as `millet distil --labels` reads it. `pool` are the other sets' train utterances, which have no label of this set, under this set's token. The 16
largest are written, without those below 0.001. Prints the accuracy on dev, and that of cross-fitting on train.

Needs scipy and scikit-learn (Debian: python3-scipy, python3-sklearn).
"""

import os
import time
import zlib

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.sparse import hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from records import CALL, arguments, intent_of, read_jsonl, say, utterance_of, write_jsonl

FOLDS = 5  # the classifier of fold FOLDS saw all of train
SMALLEST, MOST = 0.001, 16  # probabilities that are written
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def fold_of(utterance):
    return zlib.crc32(utterance.encode()) % FOLDS


def softmax(scores, temperature):
    scores = scores / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def log_loss(probabilities, right):
    return -np.mean(np.log(probabilities[np.arange(len(right)), right] + 1e-9))


def fitted_temperature(scores, right):
    """The temperature at which the right columns are likeliest."""
    found = minimize_scalar(lambda t: log_loss(softmax(scores, np.exp(t)), right), bounds=(-5, 1), method="bounded")
    return float(np.exp(found.x))


def fitted_mixture(one, two, right):
    """The share of the first of two probabilities at which the right columns are likeliest."""
    return min(np.arange(0, 1.01, 0.05), key=lambda share: log_loss(share * one + (1 - share) * two, right))


class Utterances:
    """All different utterances of all sets, train and dev, with n-grams that occur in train."""

    def __init__(self, sets):
        train = sorted({text for one in sets for text, _ in one.train})
        self.texts = train + sorted({text for one in sets for text, _ in one.dev} - set(train))
        self.place = {text: i for i, text in enumerate(self.texts)}
        self.folds = np.array([fold_of(text) for text in self.texts])
        common = {"sublinear_tf": True, "lowercase": False, "dtype": np.float32, "min_df": 2}
        kinds = (TfidfVectorizer(token_pattern=r"[^\s,.?!;:]+", ngram_range=(1, 2), **common),
                 TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **common))
        self.ngrams = hstack([kind.fit(train).transform(self.texts) for kind in kinds]).tocsr()
        self.trained = len(train)

    def meaning(self, dimensions, features, width):
        """Random Fourier features of the latent semantic space, for a Gaussian kernel of a width."""
        frequent = np.flatnonzero(np.asarray((self.ngrams[: self.trained] > 0).sum(axis=0)).ravel() >= 10)
        columns = self.ngrams[:, frequent]
        space = TruncatedSVD(dimensions, n_iter=2, random_state=0).fit(columns[: self.trained])
        places = normalize(space.transform(columns)).astype(np.float32)
        random = np.random.default_rng(0)
        angles = places @ random.normal(0, 1 / width, (dimensions, features)).astype(np.float32)
        angles += random.uniform(0, 2 * np.pi, features).astype(np.float32)
        return np.cos(angles, out=angles) * np.float32((2 / features) ** 0.5)


class Set:
    """A set's utterances."""

    def __init__(self, folder, name):
        self.name = name
        load = lambda part: [(utterance_of(r), intent_of(r)) for r in read_jsonl(os.path.join(folder, part, f"{name}.jsonl"))]
        self.train, self.dev = load("train"), load("dev")
        self.classes = sorted({label for _, label in self.train})

    def places(self, utterances, part):
        """Rows in `utterances`, and columns of the right intents, of a part."""
        column = {label: i for i, label in enumerate(self.classes)}
        return (np.array([utterances.place[text] for text, _ in part]), np.array([column[label] for _, label in part]))


def by_fold(utterances, rows, score):
    """score(fold, rows) for all utterances: those of train by the classifier without their fold, the rest by the one that
    saw all. An utterance of another set's train is also scored without its fold, as classifiers of that set were."""
    out = None
    for fold in range(FOLDS + 1):
        if fold < FOLDS:
            wanted = np.flatnonzero(utterances.folds[: utterances.trained] == fold)
        else:
            wanted = np.arange(utterances.trained, len(utterances.texts))
        found = score(fold, wanted, rows[utterances.folds[rows] != fold])
        out = np.zeros((len(utterances.texts), found.shape[1]), np.float32) if out is None else out
        out[wanted] = found
    return out


def ngram_scores(this, utterances, rows, right, cost):
    """Scores of all utterances for a set by n-grams."""
    used = np.flatnonzero(np.asarray((utterances.ngrams[rows] > 0).sum(axis=0)).ravel() >= 2)
    matrix = utterances.ngrams[:, used]
    label = dict(zip(rows, right))

    def score(fold, wanted, fitted):
        labels = np.array([label[row] for row in fitted])
        one = LinearSVC(C=cost, tol=1e-2, max_iter=200, random_state=0).fit(matrix[fitted], labels)
        out = np.full((len(wanted), len(this.classes)), -3.0, np.float32)  # an intent that stands in one fold alone
        out[:, one.classes_] = one.decision_function(matrix[wanted])
        return out

    return by_fold(utterances, rows, score)


def ridge_scores(this, utterances, rows, right, view):
    """Scores of all utterances for a set by ridge regression on a dense view; the ridge is the one that is right most often
    by cross-fitting."""
    targets = np.zeros((len(utterances.texts), len(this.classes)), np.float32)
    targets[rows, right] = 1
    # Sums over a fold's rows are taken away from those over all.
    grams, products = [], []
    for fold in range(FOLDS):
        of_fold = rows[utterances.folds[rows] == fold]
        grams.append(view[of_fold].T @ view[of_fold])
        products.append(view[of_fold].T @ targets[of_fold])

    def weights(fold, ridge):
        gram, product = (sum(part for i, part in enumerate(parts) if i != fold) for parts in (grams, products))
        return np.linalg.solve(gram + np.eye(len(gram), dtype=np.float32) * np.float32(ridge), product)

    def right_in_train(ridge):
        count = 0
        for fold in range(FOLDS):
            of_fold = np.flatnonzero(utterances.folds[rows] == fold)
            count += np.sum((view[rows[of_fold]] @ weights(fold, ridge)).argmax(axis=1) == right[of_fold])
        return count

    ridge = max(RIDGES, key=right_in_train)
    return ridge, by_fold(utterances, rows, lambda fold, wanted, fitted: view[wanted] @ weights(fold, ridge))


def lines(this, texts, part, labels, probabilities):
    for row, text in enumerate(texts):
        kept = [i for i in np.argsort(-probabilities[row])[:MOST] if probabilities[row, i] >= SMALLEST]
        made = {"prompt": f"<|{this.name}|> {text}{CALL}", "part": part,
                "probabilities": {f"<|call:{this.classes[i]}|>": round(float(probabilities[row, i]), 4) for i in kept}}
        if labels is not None:
            made["intent"] = labels[row]
        yield made


def main():
    given = arguments(__doc__.split("\n")[0], needs_data=False,
                      sets=("hwu64,clinc150,snips,massive,banking77", "sets to teach"), cost=(0.5, "C of the support vector machines"),
                      dimensions=(300, "of the semantic space"), features=(1500, "random Fourier features"),
                      width=(0.7, "of their kernel"), no_pool=(False, "no other sets' utterances"))
    began = time.time()
    sets = [Set(given.output, name) for name in given.sets.split(",")]
    utterances = Utterances(sets)
    say(f"{len(utterances.texts)} utterances, {utterances.ngrams.shape[1]} n-grams ({time.time() - began:.0f} s)")
    meaning = utterances.meaning(given.dimensions, given.features, given.width)
    say(f"meaning ({time.time() - began:.0f} s)")
    first = {}
    for this in sets:
        first[this.name] = ngram_scores(this, utterances, *this.places(utterances, this.train), given.cost)
        say(f"{this.name}: n-grams ({time.time() - began:.0f} s)")
    for this in sets:
        rows, right = this.places(utterances, this.train)
        dev_rows, dev_right = this.places(utterances, this.dev)
        others = [softmax(first[name], 0.15) for name in first if name != this.name]
        ridge, second = ridge_scores(this, utterances, rows, right, np.hstack([meaning] + others))
        views = [softmax(scores, fitted_temperature(scores[rows], right)) for scores in (first[this.name], second)]
        share = fitted_mixture(views[0][rows], views[1][rows], right)
        total = share * views[0] + (1 - share) * views[1]
        single = [f"{100 * np.mean(view[dev_rows].argmax(axis=1) == dev_right):.2f}" for view in views]
        accuracy = lambda rows, right: 100 * np.mean(total[rows].argmax(axis=1) == right)
        print(f"{this.name}: dev {accuracy(dev_rows, dev_right):.2f}%; n-grams {single[0]}, meaning {single[1]}, share of n-grams {share:.2f}, ridge {ridge}; "
              f"train by cross-fitting {accuracy(rows, right):.2f}%", flush=True)
        if f"{this.name}/oos" in this.classes:
            known = dev_right != this.classes.index(f"{this.name}/oos")
            print(f"{this.name}: dev in scope {accuracy(dev_rows[known], dev_right[known]):.2f}%", flush=True)
        made = []
        for part, chosen, at in (("train", this.train, rows), ("dev", this.dev, dev_rows)):
            made += lines(this, [text for text, _ in chosen], part, [label for _, label in chosen], total[at])
        if not given.no_pool:
            pool = np.setdiff1d(np.arange(utterances.trained), rows)
            made += lines(this, [utterances.texts[i] for i in pool], "pool", None, total[pool])
        write_jsonl(os.path.join(given.output, "teacher", f"{this.name}.jsonl"), made)
        say(f"({time.time() - began:.0f} s)")


if __name__ == "__main__":
    main()
