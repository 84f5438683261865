"""Encoders of new texts: those of the training's own texts are its features; what is stored, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.feature_extraction.text import TfidfVectorizer

from base.console import UserError
from model.nets.word_cnn import WordCNN
from model.text_encoders import TfidfEncoder, VectorEncoder, WordCNNEncoder
from model.text_features import Texts, WordCNNParams, run, train_word_cnn, word_numbers

PARAMS = WordCNNParams(
    widths=[1, 3], kernels=4, dropout=0.2, tuned=True, longest=4, epochs=3, patience=3, batch_size=4,
    learning_rate=0.01, threads=1,
)  # fmt: skip
WORDS = [["red", "ant"], ["big", "bee"], [], ["red", "bee", "old", "big", "ant"], ["old", "ant"], ["unknown"]]
TEXTS = Texts(WORDS, np.array([0, 1, 0, 1, 0, 1]), np.array(["train", "train", "train", "validation", "train", "test"]))
VECTORS = {word: np.random.default_rng(len(word)).normal(size=3) for word in ("red", "ant", "bee")}


@pytest.fixture
def encoder() -> WordCNNEncoder:
    net, words, _ = train_word_cnn(TEXTS, VECTORS, PARAMS, seed=1)
    return WordCNNEncoder(net, words, PARAMS.longest)


def test_the_trainings_own_texts_have_their_features(encoder: WordCNNEncoder) -> None:
    net, words, _ = train_word_cnn(TEXTS, VECTORS, PARAMS, seed=1)
    numbers = {word: number for number, word in enumerate(words, start=1)}
    expected = run(net.features, net, word_numbers(WORDS, numbers, PARAMS.longest))
    found = encoder(WORDS)
    assert found.shape == (6, 8)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not found[2].any()  # without words
    assert not found[5].any()  # a word of no training text
    assert found[3].any()


def test_what_is_read_encodes_as_what_was_written_with_equal_bytes(encoder: WordCNNEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "one.safetensors")
    again = WordCNNEncoder.load(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(again(WORDS), encoder(WORDS))
    assert list(again.words) == list(encoder.words)
    assert again.longest == 4
    again.save(tmp_path / "other.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()


def test_a_texts_code_does_not_depend_on_the_others(encoder: WordCNNEncoder) -> None:
    np.testing.assert_allclose(encoder(WORDS[:1])[0], encoder(WORDS)[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["missing", "no safetensors", "another network", "no metadata"])
def test_other_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    if kind == "no safetensors":
        path.write_bytes(b"text")
    elif kind == "another network":
        save_file(torch.nn.Linear(2, 3).state_dict(), path, {"word_cnn": '{"words": [], "longest": 3}'})
    elif kind == "no metadata":
        net = WordCNN(torch.zeros(2, 3), [1], 2, 2, 0.0, tuned=False)
        save_file(net.state_dict(), path)
    with pytest.raises(UserError, match="no such text encoder" if kind == "missing" else "not a text encoder"):
        WordCNNEncoder.load(path)


def test_tfidf_is_scikit_learns() -> None:
    texts = [["red", "ant"], ["red", "bee"], ["ant"], ["unknown"], ["bee", "unknown", "red"]]
    oracle = TfidfVectorizer(analyzer=lambda words: words, vocabulary=["red", "ant", "bee"]).fit(texts)
    found = TfidfEncoder(["red", "ant", "bee"], oracle.idf_)(texts)
    np.testing.assert_allclose(found, oracle.transform(texts).toarray(), atol=1e-6)
    assert not found[3].any()


def test_vectors_of_words_by_hand() -> None:
    encode = VectorEncoder(["red", "ant", "bee"], np.array([[1.0, -2.0], [3.0, 0.0], [-4.0, 5.0]], np.float32))
    found = encode([["red", "ant"], ["bee", "unknown", "red"], ["unknown"], [], ["ant"]])
    assert found.dtype == np.float32
    assert found.tolist() == [[2, -1, 3, 0], [-1.5, 1.5, 1, 5], [0, 0, 0, 0], [0, 0, 0, 0], [3, 0, 3, 0]]
