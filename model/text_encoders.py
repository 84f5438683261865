"""Encoders of new texts: what `model.text_features` computes for the texts of a data set, for any others."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from base.console import UserError
from model.nets.word_cnn import WordCNN
from model.text_features import run, tfidf_features, word_numbers

METADATA = "word_cnn"  # the one key of the file's metadata; the order of several would differ from run to run


@dataclass(frozen=True)
class WordCNNEncoder:
    """A trained word CNN, with the words that it knows.

    Attributes:
        net: in any mode.
        words: those numbered 1 .. W, in the order of their numbers.
        longest: words of a text that are read, the first ones.
    """

    net: WordCNN
    words: Sequence[str]
    longest: int

    def __call__(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the features of segmented texts: float32 (N, widths x kernels); without a known word they are 0."""
        numbers = {word: number for number, word in enumerate(self.words, start=1)}
        return run(self.net.features, self.net, word_numbers(texts, numbers, self.longest))

    def save(self, path: Path) -> None:
        """Write a .safetensors file; equal encoders give equal bytes."""
        about = json.dumps({"longest": self.longest, "words": list(self.words)}, ensure_ascii=False)
        state = {name: value.contiguous() for name, value in self.net.state_dict().items()}
        save_file(state, path, {METADATA: about})

    @staticmethod
    def load(path: Path) -> "WordCNNEncoder":
        """Read what :meth:`save` has written; nothing is unpickled.

        Raises:
            UserError: the file is missing, damaged, or of another kind.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such text encoder; run the stage that computes the features of texts again")
        try:
            with safe_open(path, "pt") as file:
                about = json.loads(file.metadata()[METADATA])
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            kernels, widths = list[int](), list[int]()
            while (weight := state.get(f"convolutions.{len(widths)}.weight")) is not None:
                kernels.append(weight.shape[0])
                widths.append(weight.shape[2])
            vectors = torch.zeros(len(about["words"]), state["embedding.weight"].shape[1])
            net = WordCNN(vectors, widths, kernels[0], state["classify.weight"].shape[0], 0.0, tuned=False)
            net.load_state_dict(state)
            return WordCNNEncoder(net.eval(), about["words"], int(about["longest"]))
        except (SafetensorError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: not a text encoder: {error}; run the stage that writes it again") from None


@dataclass(frozen=True)
class VectorEncoder:
    """The mean of the vectors of a text's words, and their maximum.

    No label makes these features, and with one file of vectors they mean the same in every set of texts.

    Attributes:
        words: those that have a vector.
        vectors: (W, D), one of each word.
    """

    words: Sequence[str]
    vectors: np.ndarray

    def __call__(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return rows of means and then maxima: float32 (N, 2 D); a text without a known word has zeros."""
        rows = {word: row for row, word in enumerate(self.words)}
        features = np.zeros((len(texts), 2 * self.vectors.shape[1]), np.float32)
        for text, words in enumerate(texts):
            if known := [rows[word] for word in words if word in rows]:
                found = self.vectors[known]
                features[text] = np.concatenate([found.mean(axis=0), found.max(axis=0)])
        return features


@dataclass(frozen=True)
class TfidfEncoder:
    """TF-IDF weights of segmented texts.

    Attributes:
        words: the vocabulary, by word_id.
        idf: (W,).
    """

    words: Sequence[str]
    idf: np.ndarray

    def __call__(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return rows of length 1: float32 (N, W); a text without a word of the vocabulary has zeros.

        A text's words count once each, so their frequencies are equal and the weights are the idf.
        """
        numbers = {word: number for number, word in enumerate(self.words)}
        ids = [[numbers[word] for word in words if word in numbers] for words in texts]
        return tfidf_features(ids, [self.idf[row].tolist() for row in ids], len(self.words))
