#!/usr/bin/env python3
"""A teacher of intents: linear classifiers on n-grams of words and characters, for each set three views of an utterance.

    n-grams     tf-idf of words (1 and 2) and of characters within words (2 to 5)
    others      n-grams, and what the classifiers of the other sets say of the utterance
    neighbours  n-grams, and the utterance's place in a latent semantic space of all sets' utterances (truncated SVD)

Linear support vector machines, one against the rest; a view's scores become probabilities by a temperature, and the views'
probabilities are averaged. Temperatures are fitted on train, by cross-fitting: an utterance belongs to one of five folds by
its text alone, in every set, and what is written of it comes from classifiers that saw its fold in no set.

Reads train/SET.jsonl and dev/SET.jsonl, writes teacher/SET.jsonl, a line an utterance:
    {"prompt", "part": "train" | "dev" | "pool", "intent" (of train and dev), "probabilities": {SET/INTENT: p, ...}}
`pool` are the other sets' train utterances, which have no label of this set, under this set's token. Probabilities below
0.001 are left out. Prints the accuracy on dev, and that of cross-fitting on train.

Needs scipy and scikit-learn (Debian: python3-scipy, python3-sklearn).
"""

import os
import time
import zlib

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix, hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from records import CALL, arguments, intent_of, read_jsonl, say, utterance_of, write_jsonl

FOLDS = 5
SMALLEST = 0.001


def fold_of(utterance):
    return zlib.crc32(utterance.encode()) % FOLDS


def word_and_character_ngrams(characters, word_least, character_least):
    common = {"sublinear_tf": True, "lowercase": False, "dtype": np.float32}
    return (TfidfVectorizer(token_pattern=r"[^\s,.?!;:]+", ngram_range=(1, 2), min_df=word_least, **common),
            TfidfVectorizer(analyzer="char_wb", ngram_range=characters, min_df=character_least, **common))


def features(vectorizers, utterances):
    return hstack([one.transform(utterances) for one in vectorizers]).tocsr()


def softmax(scores, temperature):
    scores = scores / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def fitted_temperature(scores, classes, labels):
    """The temperature at which the labels are likeliest."""
    right = np.searchsorted(classes, labels)
    loss = lambda t: -np.mean(np.log(softmax(scores, np.exp(t))[np.arange(len(right)), right] + 1e-9))
    return float(np.exp(minimize_scalar(loss, bounds=(-4, 1.5), method="bounded").x))


class Set:
    """A set's utterances and its classifiers without each fold; the last one, FOLDS, saw all."""

    def __init__(self, folder, name):
        self.name = name
        load = lambda part: [(utterance_of(r), intent_of(r)) for r in read_jsonl(os.path.join(folder, part, f"{name}.jsonl"))]
        self.train, self.dev = load("train"), load("dev")
        self.texts = [text for text, _ in self.train]
        self.labels = np.array([label for _, label in self.train])
        self.classes = np.unique(self.labels)
        self.folds = np.array([fold_of(text) for text in self.texts])
        self.vectorizers = word_and_character_ngrams((2, 5), 1, 2)
        for one in self.vectorizers:
            one.fit(self.texts)
        self.ngrams = features(self.vectorizers, self.texts)

    def fit(self, matrix, cost, folds=range(FOLDS + 1)):
        """The classifiers of a view of train: without each fold, and of all."""
        made = []
        for fold in folds:
            rows = np.flatnonzero(self.folds != fold)
            made.append(LinearSVC(C=cost, tol=1e-2, max_iter=200, random_state=0).fit(matrix[rows], self.labels[rows]))
        return made

    def choose_cost(self, costs):
        """The one of some values of C whose classifier, fitted without fold 0, is right most often in it."""
        rows = np.flatnonzero(self.folds == 0)
        right = lambda cost: np.mean(self.fit(self.ngrams, cost, [0])[0].predict(self.ngrams[rows]) == self.labels[rows])
        return max(costs, key=right) if len(costs) > 1 else costs[0]

    def scores(self, classifiers, matrix, folds):
        """Scores of utterances by the classifier without their fold, in the order of `classes`. A class that a fold alone
        has scores lowest."""
        out = np.full((matrix.shape[0], len(self.classes)), -3.0, dtype=np.float32)
        for fold in np.unique(folds):
            rows, one = np.flatnonzero(folds == fold), classifiers[fold]
            columns = np.searchsorted(self.classes, one.classes_)
            found = one.decision_function(matrix[rows])
            out[np.ix_(rows, columns)] = found
        return out

    def accuracy(self, scores, labels):
        return 100 * float(np.mean(self.classes[scores.argmax(axis=1)] == labels))


def others_view(sets, this, texts, folds):
    """What the other sets' classifiers say, as probabilities at a fixed temperature."""
    parts = [softmax(one.scores(one.first, features(one.vectorizers, texts), folds), 0.15) for one in sets if one is not this]
    return csr_matrix(np.hstack(parts) * 0.7)


class Semantic:
    """A latent semantic space of all sets' train utterances."""

    def __init__(self, texts, dimensions):
        self.vectorizers = word_and_character_ngrams((3, 4), 3, 10)
        for one in self.vectorizers:
            one.fit(texts)
        self.space = TruncatedSVD(dimensions, n_iter=2, random_state=0).fit(features(self.vectorizers, texts))

    def view(self, texts):
        return csr_matrix(normalize(self.space.transform(features(self.vectorizers, texts))))


def lines(this, texts, part, labels, probabilities):
    for row, text in enumerate(texts):
        kept = [i for i in np.argsort(-probabilities[row]) if probabilities[row, i] >= SMALLEST]
        made = {"prompt": f"<|{this.name}|> {text}{CALL}", "part": part,
                "probabilities": {str(this.classes[i]): round(float(probabilities[row, i]), 4) for i in kept}}
        if labels is not None:
            made["intent"] = str(labels[row])
        yield made


def main():
    given = arguments(__doc__.split("\n")[0], needs_data=False, sets=("hwu64,clinc150,snips,massive,banking77", "sets to teach"),
                      costs=("0.3,1.0", "values of C to choose from, on a fifth of train"),
                      dimensions=(200, "of the semantic space"), no_pool=(False, "no other sets' utterances"))
    began = time.time()
    sets = [Set(given.output, name) for name in given.sets.split(",")]
    for this in sets:
        this.cost = this.choose_cost([float(cost) for cost in given.costs.split(",")])
        this.first = this.fit(this.ngrams, this.cost)
        this.first_scores = this.scores(this.first, this.ngrams, this.folds)
        right = this.accuracy(this.first_scores, this.labels)
        say(f"{this.name}: n-grams, C {this.cost}: {right:.2f}% of train by cross-fitting ({time.time() - began:.0f} s)")
    semantic = Semantic([text for one in sets for text in one.texts], given.dimensions)
    say(f"semantic space ({time.time() - began:.0f} s)")

    for this in sets:
        def views(texts, folds, ngrams=None):
            ngrams = features(this.vectorizers, texts) if ngrams is None else ngrams
            yield ngrams
            yield hstack([ngrams, others_view(sets, this, texts, folds)]).tocsr()
            yield hstack([ngrams, semantic.view(texts)]).tocsr()

        classifiers, temperatures, total = [], [], 0
        for i, matrix in enumerate(views(this.texts, this.folds, this.ngrams)):
            classifiers.append(this.first if i == 0 else this.fit(matrix, this.cost))
            scores = this.first_scores if i == 0 else this.scores(classifiers[-1], matrix, this.folds)
            temperatures.append(fitted_temperature(scores, this.classes, this.labels))
            total = total + softmax(scores, temperatures[-1])
        train = total / len(classifiers)

        def taught(texts, folds):
            parts = [softmax(this.scores(c, matrix, folds), t) for c, t, matrix in zip(classifiers, temperatures, views(texts, folds))]
            return parts, sum(parts) / len(parts)

        whole = lambda texts: np.full(len(texts), FOLDS)
        dev_texts, dev_labels = [text for text, _ in this.dev], np.array([label for _, label in this.dev])
        each, dev = taught(dev_texts, whole(dev_texts))
        made = list(lines(this, this.texts, "train", this.labels, train)) + list(lines(this, dev_texts, "dev", dev_labels, dev))
        if not given.no_pool:
            own = set(this.texts) | set(dev_texts)
            pool = sorted({text for one in sets if one is not this for text in one.texts} - own)
            made += lines(this, pool, "pool", None, taught(pool, whole(pool))[1])
        write_jsonl(os.path.join(given.output, "teacher", f"{this.name}.jsonl"), made)
        single = ", ".join(f"{this.accuracy(p, dev_labels):.2f}" for p in each)
        print(f"{this.name}: dev {this.accuracy(dev, dev_labels):.2f}% (views {single}), train by cross-fitting "
              f"{this.accuracy(train, this.labels):.2f}%, temperatures {', '.join(f'{t:.2f}' for t in temperatures)}", flush=True)
        if this.name == "clinc150":
            known = dev_labels != "clinc150/oos"
            print(f"clinc150: dev in scope {this.accuracy(dev[known], dev_labels[known]):.2f}%", flush=True)
        say(f"({time.time() - began:.0f} s)")


if __name__ == "__main__":
    main()
