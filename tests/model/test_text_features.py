from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from base.console import UserError
from model.text_features import (
    Texts,
    WordCNNParams,
    random_vectors,
    run,
    tfidf_features,
    train_word_cnn,
    trimmed,
    word_numbers,
)

SETTINGS: dict[str, Any] = {
    "widths": [1, 2], "kernels": 6, "dropout": 0.0, "tuned": True, "longest": 8, "epochs": 8, "patience": 3,
    "batch_size": 8, "learning_rate": 0.02, "threads": 1,
}  # fmt: skip
PARAMS = WordCNNParams(**SETTINGS)
WORDS = [f"w{n}" for n in range(12)]
VECTORS = {word: np.random.default_rng(n).normal(size=5).astype(np.float32) for n, word in enumerate(WORDS)}


def texts(number: int = 120) -> Texts:
    """Return texts of three categories, each with words of its own among common ones; the last has no words."""
    generator = np.random.default_rng(3)
    category = np.arange(number) % 3
    words = [
        [f"w{3 * c + generator.integers(3)}", *(f"w{9 + generator.integers(3)}" for _ in range(generator.integers(4)))]
        for c in category
    ]
    words[-1] = []
    split = np.array(["train", "train", "validation", "test"])[np.arange(number) // 3 % 4]
    return Texts(words, category, split)


def word_cnn_features(
    texts: Texts, vectors: dict[str, np.ndarray], params: WordCNNParams, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the features of all texts by a network that is trained on them, and numbers about its training."""
    net, words, found = train_word_cnn(texts, vectors, params, seed)
    numbers = {word: number for number, word in enumerate(words, start=1)}
    return run(net.features, net, word_numbers(texts.words, numbers, params.longest)), found


def test_the_network_learns_and_equal_seeds_give_equal_bytes() -> None:
    state = torch.get_rng_state()
    first, numbers = word_cnn_features(texts(), VECTORS, PARAMS, seed=1)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers are untouched
    torch.rand(7)
    again, _ = word_cnn_features(texts(), VECTORS, PARAMS, seed=1)
    other, _ = word_cnn_features(texts(), VECTORS, PARAMS, seed=2)
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, other)
    assert first.shape == (120, 12)
    assert first.dtype == np.float32
    assert numbers["validation accuracy"] > 90  # a third by chance
    assert not first[-1].any()  # it has no words


def test_labels_of_the_test_split_have_no_influence() -> None:
    some = texts()
    changed = some.category.copy()
    is_test = some.split == "test"
    changed[is_test] = (changed[is_test] + 1) % 3
    first, _ = word_cnn_features(some, VECTORS, PARAMS, seed=1)
    again, _ = word_cnn_features(Texts(some.words, changed, some.split), VECTORS, PARAMS, seed=1)
    assert np.array_equal(first, again)


def test_training_ends_when_the_validation_loss_no_longer_falls() -> None:
    some = texts()
    shuffled = some.category.copy()
    of_validation = some.split == "validation"
    shuffled[of_validation] = (shuffled[of_validation] + 1) % 3  # each step to the training labels is a step away
    params = WordCNNParams(**{**SETTINGS, "epochs": 50, "patience": 2, "learning_rate": 0.05})
    _, numbers = word_cnn_features(Texts(some.words, shuffled, some.split), VECTORS, params, seed=1)
    assert numbers["epochs"] == numbers["chosen epoch"] + 2 < 50


def test_words_without_a_vector_are_learned_only_if_vectors_are_tuned() -> None:
    some = texts()
    named = Texts([[*words, f"name{c}"] for words, c in zip(some.words, some.category, strict=True)], some.category,
                  some.split)  # fmt: skip
    useless = {"w11": VECTORS["w11"], "w10": VECTORS["w10"]}
    _, tuned = word_cnn_features(named, useless, PARAMS, seed=1)
    _, static = word_cnn_features(named, useless, WordCNNParams(**{**SETTINGS, "tuned": False}), seed=1)
    assert tuned["validation accuracy"] > 90 > static["validation accuracy"] + 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": np.array(["train", "test"] * 60)}, "60 training and 0 validation texts"),
        ({"words": [["unknown"]] * 120}, "no word of the training texts has a vector"),
    ],
)
def test_texts_that_teach_nothing_are_errors(change: dict[str, Any], message: str) -> None:
    some = texts()
    parts = {"words": some.words, "category": some.category, "split": some.split} | change
    with pytest.raises(UserError, match=message):
        word_cnn_features(Texts(**parts), VECTORS, WordCNNParams(**{**SETTINGS, "tuned": False}), seed=0)


def test_numbers_leave_out_unknown_words_and_cut_long_texts() -> None:
    numbers = {"a": 1, "b": 2, "c": 3}
    found = word_numbers([["a", "x", "c"], [], ["b", "c", "a", "b"]], numbers, longest=3)
    assert found.tolist() == [[1, 3, 0], [0, 0, 0], [2, 3, 1]]
    assert word_numbers([[], ["x"]], numbers, longest=3).tolist() == [[0], [0]]
    assert trimmed(found[:2]).tolist() == [[1, 3], [0, 0]]
    assert trimmed(found[1:2]).tolist() == [[0]]


def test_random_vectors_have_the_variance_of_the_known_ones_and_depend_on_the_word() -> None:
    found = random_vectors([f"x{n}" for n in range(400)], VECTORS, seed=1)
    known = np.stack(list(VECTORS.values())).var()
    assert np.stack(list(found.values())).var() == pytest.approx(known, rel=0.1)
    assert np.array_equal(random_vectors(["x7"], VECTORS, seed=1)["x7"], found["x7"])
    assert not np.array_equal(random_vectors(["x7"], VECTORS, seed=2)["x7"], found["x7"])


def test_tfidf_rows_have_length_one_as_those_of_scikit_learn() -> None:
    counts = np.array([[2, 0, 1, 0], [0, 3, 1, 0], [0, 0, 0, 0]])
    idf = np.log(3 / np.maximum((counts > 0).sum(axis=0), 1))
    ids = [np.flatnonzero(row).tolist() for row in counts]
    found = tfidf_features(ids, [(row * idf)[row > 0].tolist() for row in counts], words=4)
    np.testing.assert_allclose(found, normalize(counts * idf), rtol=1e-6)
    flat = TfidfTransformer(use_idf=False).fit_transform(counts).toarray()
    equal = tfidf_features(ids, [row[row > 0].tolist() for row in counts], words=4)
    np.testing.assert_allclose(equal, flat, rtol=1e-6)


@pytest.mark.parametrize("widths", [[], [0, 2], [2, 2]])
def test_widths_are_different_whole_numbers(widths: list[int]) -> None:
    with pytest.raises(ValidationError, match="expected different whole numbers"):
        WordCNNParams(**{**SETTINGS, "widths": widths})
