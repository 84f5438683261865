"""Features of short texts: a word CNN, trained as a classifier and then frozen, or TF-IDF weights.

N texts, B texts of a batch, L words, W different words.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from base.console import UserError, progress
from base.params import Params
from base.seeding import derive_seed
from model.nets.word_cnn import PADDING, WordCNN

EVALUATED = 256  # texts of a batch without gradients


class WordCNNParams(Params):
    """The word CNN of Kim (2014), trained by Adam until the validation loss has not fallen for some epochs."""

    widths: list[int] = Field(
        description="words that a convolution sees, for each group of kernels; the paper: 3, 4, 5"
    )
    kernels: int = Field(description="of each width; widths x kernels is the number of features; the paper: 100", ge=1)
    dropout: float = Field(description="share of the features dropped in training; the paper: 0.5", ge=0, lt=1)
    tuned: bool = Field(
        description="whether the words' vectors are learned further; words of training texts without one then start at "
        "random, otherwise they are ignored"
    )
    longest: int = Field(description="words of a text that are read, the first ones", ge=1)
    epochs: int = Field(description="passes over the training texts at most", ge=1)
    patience: int = Field(description="epochs without a smaller validation loss after which training ends", ge=1)
    batch_size: int = Field(description="texts", ge=1)
    learning_rate: float = Field(description="of Adam", gt=0)
    threads: int = Field(description="CPU threads", ge=1)

    @field_validator("widths")
    @classmethod
    def _check_widths(cls, widths: list[int]) -> list[int]:
        if not widths or min(widths) < 1 or len(set(widths)) < len(widths):
            raise ValueError("expected different whole numbers >= 1, as in [3, 4, 5]")
        return widths


@dataclass(frozen=True)
class Texts:
    """Texts with their labels.

    Attributes:
        words: of each text, in order.
        category: int64 (N,), from 0.
        split: (N,), train, validation or test.
    """

    words: Sequence[Sequence[str]]
    category: np.ndarray
    split: np.ndarray


def train_word_cnn(
    texts: Texts, vectors: Mapping[str, np.ndarray], params: WordCNNParams, seed: int
) -> tuple[WordCNN, list[str], dict[str, float]]:
    """Train a word CNN on the training texts; return it, the words numbered from 1, and numbers about the training.

    The epoch with the smallest cross-entropy on the validation texts is kept.

    Args:
        texts: of all splits.
        vectors: by word, all of one length.
        params: the network and its training.
        seed: of the start weights, the order of the texts and dropout. Equal seeds give equal features.

    Raises:
        UserError: there is no training or validation text, or no training text has a word with a vector.
    """
    torch.set_num_threads(params.threads)
    train, validation = (np.flatnonzero(texts.split == split) for split in ("train", "validation"))
    if not len(train) or not len(validation):
        raise UserError(f"{len(train)} training and {len(validation)} validation texts: each must be at least one")
    known = dict(vectors)
    if params.tuned:
        known |= random_vectors(
            sorted({word for row in train.tolist() for word in texts.words[row]} - set(vectors)), vectors, seed
        )
    numbers = {word: number for number, word in enumerate(known, start=1)}
    table = word_numbers(texts.words, numbers, params.longest)
    if not (table[train] != PADDING).any():
        raise UserError("no word of the training texts has a vector; are the vectors of another language?")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "word CNN"))
        net = WordCNN(
            torch.from_numpy(np.stack(list(known.values())).astype(np.float32)),
            params.widths,
            params.kernels,
            int(texts.category.max()) + 1,
            params.dropout,
            params.tuned,
        )
        numbers_of_training = _train(net, table, texts.category, train, validation, params, seed)
    predicted = run(net, net, table[validation]).argmax(axis=1)
    accuracy = float((predicted == texts.category[validation]).mean())
    return net, list(known), {**numbers_of_training, "validation accuracy": 100 * accuracy}


def random_vectors(words: Sequence[str], vectors: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Return start vectors of words that have none: uniform, with the variance of the known ones (Kim, section 3.2)."""
    every = np.stack(list(vectors.values()))
    bound = np.sqrt(3 * every.var())
    return {
        word: np.random.default_rng(derive_seed(seed, "word", word)).uniform(-bound, bound, every.shape[1])
        for word in words
    }


def word_numbers(texts: Sequence[Sequence[str]], numbers: Mapping[str, int], longest: int) -> np.ndarray:
    """Return the numbers of the texts' known words, the first ``longest`` of each, then PADDING.

    Shape:
        result: int64 (N, L), where L is the most words of a text, at least 1
    """
    rows = [[numbers[word] for word in words if word in numbers][:longest] for words in texts]
    table = np.full((len(rows), max(1, *map(len, rows))), PADDING, np.int64)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table


def _train(
    net: WordCNN,
    table: np.ndarray,
    category: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    params: WordCNNParams,
    seed: int,
) -> dict[str, float]:
    optimizer = torch.optim.Adam((p for p in net.parameters() if p.requires_grad), lr=params.learning_rate)
    labels = torch.from_numpy(category)
    best, chosen, state = np.inf, 0, copy.deepcopy(net.state_dict())
    epoch = 0
    for epoch in progress(range(1, params.epochs + 1), "word CNN", "epochs", params.epochs):
        net.train()
        order = np.random.default_rng(derive_seed(seed, "texts", epoch)).permutation(train)
        for at in range(0, len(order), params.batch_size):
            rows = order[at : at + params.batch_size]
            optimizer.zero_grad()
            loss = F.cross_entropy(net(trimmed(table[rows])), labels[rows])
            loss.backward()
            optimizer.step()
        logits = torch.from_numpy(run(net, net, table[validation]))
        loss_here = float(F.cross_entropy(logits, labels[validation]))
        if loss_here < best:
            best, chosen, state = loss_here, epoch, copy.deepcopy(net.state_dict())
        elif epoch - chosen >= params.patience:
            break
    net.load_state_dict(state)
    return {"epochs": epoch, "chosen epoch": chosen, "validation loss": best}


def trimmed(rows: np.ndarray) -> Tensor:
    """Return a batch without the columns in which all rows have PADDING, but with at least one column."""
    used = int((rows != PADDING).sum(axis=1).max(initial=1))
    return torch.from_numpy(rows[:, : max(used, 1)])


def run(compute: Callable[[Tensor], Tensor], net: WordCNN, table: np.ndarray) -> np.ndarray:
    """Return what the network computes for texts, in evaluation mode.

    Args:
        compute: the network, or one of its methods.
        net: the network.
        table: see :func:`word_numbers`.

    Shape:
        table: (N, L); result: float32 (N, ...)
    """
    net.eval()
    with torch.inference_mode():
        parts = [compute(trimmed(table[at : at + EVALUATED])).numpy() for at in range(0, len(table), EVALUATED)]
    return np.concatenate(parts)


def tfidf_features(word_ids: Sequence[Sequence[int]], weights: Sequence[Sequence[float]], words: int) -> np.ndarray:
    """Return TF-IDF weights as rows of length 1; a text without a word of the vocabulary has zeros.

    Args:
        word_ids: of each text, from 0.
        weights: of these words.
        words: W, the size of the vocabulary.

    Shape:
        result: float32 (N, W)
    """
    features = np.zeros((len(word_ids), words), np.float32)
    for row, ids, values in zip(features, word_ids, weights, strict=True):
        row[list(ids)] = values
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, norms, out=features, where=norms > 0)
