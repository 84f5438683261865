"""Queries to words, the same way for every script, each query's words once.

A query is normalised (NFKC, then Unicode case folding, then NFKC again, so that folding cannot undo it). A word is then
a maximal run of Unicode letters and digits; a combining mark belongs to the letter before it, so that vowel signs do
not break words of Hindi, Thai or vocalised Arabic apart. A run ends where Han begins and begins where Han ends; runs
of Han go through jieba (precise mode with its hidden Markov model for names, as jieba has it by default).

What that gives, script by script:

- Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic, Devanagari, ...: what stands between spaces and punctuation
  (``don't`` is ``don``, ``t``; ``golden-retriever`` is two words; ``naïve`` and ``ＮＡÏＶＥ`` are the same one);
- Chinese: jieba's words, ``iphone手机壳`` is ``iphone``, ``手机``, ``壳``;
- Japanese: kanji runs go to jieba, hiragana and katakana runs are one word each (``東京タワー``: ``東京``, ``タワー``);
- Korean: what stands between spaces, with its particles;
- Thai, Lao, Khmer: what stands between spaces, for want of a dictionary;
- emoji, punctuation, ``_``: never words; they separate.

Everything but Han is done for all queries at once; only queries with Han are looked at one by one.

Reference: Tan et al. 2019, section III-A, step 1. The authors' script keeps English tokens only.
"""

import threading
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path

import jieba
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.console import UserError
from pipelines.params import Params

OTHER_RUN = r"[[\p{L}\p{N}]--\p{Han}][[\p{L}\p{N}\p{M}]--\p{Han}]*"
HAN_RUN = r"[\p{Han}&&[\p{L}\p{N}]]+"
RUN = f"{OTHER_RUN}|{HAN_RUN}"

LARGEST_CACHE = 1 << 20  # Han runs whose words are remembered; queries repeat them


class SegmentParams(Params):
    """Section ``segment`` of a parameter file."""

    stop_words: str | None = Field(description="file of words never kept, one a line, UTF-8; null keeps all")
    dictionary: str | None = Field(description="jieba dictionary (word, frequency, tag a line) in place of jieba's own")
    user_dictionary: str | None = Field(description="jieba dictionary on top (word, optional frequency and tag)")
    minimum_length: int = Field(ge=1, le=100, description="characters a word has at least; 1 .. 100")


class Segmenter:
    """Turns queries into words.

    Args:
        params: section ``segment``.

    Raises:
        UserError: a file of the parameters is missing, not UTF-8, or not a jieba dictionary.
    """

    def __init__(self, params: SegmentParams) -> None:
        self.params = params
        self.stop_words = {word for line in read_lines(params.stop_words) for word in [normalise_text(line)] if word}
        self._tokenizer: jieba.Tokenizer | None = None
        self._building = threading.Lock()
        if params.dictionary or params.user_dictionary:  # a bad one is an error now, not at the first Han run
            self._tokenizer = build_tokenizer(params.dictionary, params.user_dictionary)
        self._cut_han = lru_cache(LARGEST_CACHE)(self._cut)

    def __call__(self, queries: pa.Array) -> pa.Array:
        """Return each query's words, each once, in order of their first occurrence; a query may have none.

        Shape:
            queries: strings (n,); result: lists of strings (n,)
        """
        normalised = normalise(queries)
        runs = normalised.str.extract_all(RUN)
        has_han = normalised.str.contains(r"\p{Han}").to_numpy()
        if has_han.any():
            cut = pl.Series(list(self._words_of_runs(runs.filter(has_han))), dtype=pl.List(pl.String))
            order = np.argsort(np.r_[np.flatnonzero(~has_han), np.flatnonzero(has_han)])
            runs = pl.concat([runs.filter(~has_han), cut])[order]
        word = pl.element()
        if self.params.minimum_length > 1:
            runs = runs.list.filter(word.str.len_chars() >= self.params.minimum_length)
        if self.stop_words:
            runs = runs.list.filter(~word.is_in(sorted(self.stop_words)))
        return runs.list.unique(maintain_order=True).to_arrow().cast(pa.list_(pa.string()))

    def _words_of_runs(self, runs: pl.Series) -> Iterable[list[str]]:
        flat = runs.explode()
        is_han = flat.str.contains(r"^\p{Han}")
        marked = zip(flat, is_han, strict=True)
        for num_runs in runs.list.len():
            yield [word for run, han in islice(marked, num_runs) for word in (self._cut_han(run) if han else (run,))]

    def _cut(self, run: str) -> tuple[str, ...]:
        with self._building:
            if self._tokenizer is None:
                self._tokenizer = build_tokenizer(self.params.dictionary, self.params.user_dictionary)
        return tuple(self._tokenizer.cut(run))


@lru_cache(maxsize=1)
def segmenter_of(params: SegmentParams) -> Segmenter:
    """Return this process's segmenter for the parameters; built once, however many bundles a worker gets."""
    return Segmenter(params)


def normalise(queries: pa.Array) -> pl.Series:
    """Normalise queries: the ASCII ones all at once, the others one by one.

    Shape:
        queries: strings (n,); result: strings (n,)
    """
    lowered = pl.Series(queries, dtype=pl.String).str.to_lowercase()
    others = np.flatnonzero(~np.asarray(pc.string_is_ascii(queries)))
    if len(others):
        lowered[others] = pl.Series([normalise_text(text) for text in queries.take(pa.array(others)).to_pylist()])
    return lowered


def normalise_text(text: str) -> str:
    """Return a text in the form in which words are compared.

    >>> normalise_text("Ｇｏｌｄｅｎ Straße")
    'golden strasse'
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def read_lines(path: str | None) -> list[str]:
    """Return a UTF-8 file's lines, stripped; of no file, none.

    Raises:
        UserError: no such file, or not UTF-8.
    """
    if path is None:
        return []
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a UTF-8 file with one word a line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); convert it first") from None


def build_tokenizer(dictionary: str | None, user_dictionary: str | None) -> jieba.Tokenizer:
    """Return a jieba tokenizer of its own.

    Its dictionary is read directly: jieba's own loading goes through a cache in the system's temporary folder, which
    it trusts by date, so that a dictionary replaced by an older file would go unseen.

    Raises:
        UserError: a dictionary is missing, not UTF-8, or has a line that jieba cannot read.
    """
    for path in (dictionary, user_dictionary):
        read_lines(path)
    tokenizer = jieba.Tokenizer(dictionary)
    try:
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
        tokenizer.initialized = True
        if user_dictionary is not None:
            tokenizer.load_userdict(user_dictionary)
    except ValueError as error:
        raise UserError(f"{dictionary or user_dictionary}: not a jieba dictionary: {error}") from None
    return tokenizer
