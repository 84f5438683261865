"""Split queries into words, the same way for every script, each query's words once.

A query is brought into the normal form of :mod:`pipelines.words.normal_form`, with emoji replaced by spaces. A word is
then a maximal run of Unicode letters and digits. A combining mark belongs to the letter before it, so that vowel signs
do not break words of Hindi, Thai or vocalised Arabic apart. A run ends where Han begins and begins where Han ends;
jieba cuts runs of Han (in its defaults: precise mode with the hidden Markov model for names).

The results, script by script:

- Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic, Devanagari, ...: the text between spaces and punctuation
  (``don't`` is ``don``, ``t``; ``golden-retriever`` is two words; ``naïve`` and ``ＮＡÏＶＥ`` are the same word);
- Chinese: jieba's words, ``iphone手机壳`` is ``iphone``, ``手机``, ``壳``;
- Japanese: kanji runs go to jieba, hiragana and katakana runs are one word each (``東京タワー``: ``東京``, ``タワー``);
  the mark 々 is cut as the character that it repeats, and stays in the word (``人々``, ``佐々木``);
- Korean: the text between spaces, with its particles;
- Thai, Lao, Khmer: the text between spaces and zero-width spaces, because there is no dictionary for them here;
- emoji, punctuation, ``_``: never words; they separate words. An emoji is also what its presentation makes one: a digit
  with a keycap, or a letter with a variation selector, as in ``1️⃣`` and ``ℹ️``;
- invisible characters: removed, so that a soft hyphen in ``cooperate``, and a joiner in a Persian or Sinhala word, make
  no difference. Only the zero-width space separates words.

docs/click_features.md has the sources of these rules, and where they differ from Unicode's default word boundaries.

With ``lemmas``, words are replaced by their lemmas (``dogs``, ``geese``: ``dog``, ``goose``) from simplemma's
dictionary of the language; stop words are left out before and after. The dictionaries are not folded, and folding
removes ``ß`` and ``ς``. So words are looked up in lower case and folded afterwards (``σκύλοι``: ``σκύλος``, which is
``σκύλοσ``).

Stop words are segmented as queries are. An entry of several words, as ``don't`` or ``t-shirt``, is a phrase: its words
are left out where they follow each other, so ``shirt`` alone stays. With lemmas, phrases are looked for before them.

Everything but Han and phrases is done for all queries at once; only queries with these are processed one by one.

Reference: Tan et al. 2019, section III-A, step 1. The authors' script keeps English tokens only, as WordNet's lemmas.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from base.console import UserError
from base.params import Params, validate_section
from pipelines.words.han import cut_runs, read_lines
from pipelines.words.normal_form import INVISIBLE, compatible_text, normalise_text

OTHER_RUN = r"[[\p{L}\p{N}]--\p{Han}][[\p{L}\p{N}\p{M}]--\p{Han}]*"
HAN_RUN = r"[\p{Han}&&[\p{L}\p{N}]]+"
RUN = f"{OTHER_RUN}|{HAN_RUN}"
# Emoji that the normal form would turn into letters, digits or Han: keycaps, ℹ with an emoji's variation selector, 🈚.
EMOJI = r"[0-9#*]\x{FE0F}?\x{20E3}|[\p{Emoji}--[0-9#*]]\x{FE0F}|\p{Emoji_Presentation}"

LARGEST_CACHE = 1 << 20  # Han runs whose words are cached, because queries repeat them


class SegmentParams(Params):
    """Section ``segment`` of a parameter file."""

    stop_words: str | None = Field(
        description="file of words or phrases to leave out, one per line, UTF-8; null keeps all"
    )
    dictionary: str | None = Field(description="jieba dictionary (word, frequency, tag per line), replaces jieba's own")
    user_dictionary: str | None = Field(description="jieba dictionary in addition (word, optional frequency and tag)")
    minimum_length: int = Field(ge=1, le=100, description="fewest characters of a word; 1 .. 100")
    lemmas: str | None = Field(description="language whose words are replaced by lemmas, as in en; null keeps words")


class Segmenter:
    """Turns queries into words.

    Args:
        params: section ``segment``.

    Raises:
        UserError: a file of the parameters is missing, not UTF-8, or not a jieba dictionary; or a language is unknown.

    Attributes:
        stop_words: the words to leave out, in normal form.
        stop_phrases: the phrases to leave out, by their first word, the longest first.
    """

    def __init__(self, params: SegmentParams) -> None:
        self.params = params
        if params.lemmas is not None:
            import simplemma  # takes a twelfth of a second, which other logs need not wait

            try:
                simplemma.lemmatize("dogs", lang=params.lemmas)
            except ValueError:
                raise UserError(f"lemmas: simplemma has no language {params.lemmas!r}; English is 'en'") from None
        if params.dictionary or params.user_dictionary:  # report a bad one now, not at the first Han run
            cut_runs([], params.dictionary, params.user_dictionary)
        self._known: dict[str, str] = {}
        lines = pa.array(read_lines(params.stop_words), pa.string())
        entries = self.split(lines).to_list()
        # jieba sometimes finds an entry whole in a query, but cuts it where it stands alone: so both forms are used.
        self.stop_words = {entry[0] for entry in entries if len(entry) == 1} | {*normalise(lines)}
        self.stop_phrases: dict[str, list[list[str]]] = {}
        for entry in sorted((entry for entry in entries if len(entry) > 1), key=len, reverse=True):
            self.stop_phrases.setdefault(entry[0], []).append(entry)

    def __call__(self, queries: pa.Array) -> pa.Array:
        """Return each query's words, each once, in order of their first occurrence; a query may have none.

        Shape:
            queries: strings (n,); result: lists of strings (n,)
        """
        with_lemmas = self.params.lemmas is not None
        words = self._without_stop_phrases(self.split(queries, compatible_text if with_lemmas else normalise_text))
        words = self._lemmatised(words) if with_lemmas else self._without_stop_words(words)
        if self.params.minimum_length > 1:
            words = words.list.filter(pl.element().str.len_chars() >= self.params.minimum_length)
        return words.list.unique(maintain_order=True).to_arrow().cast(pa.list_(pa.string()))

    def split(self, queries: pa.Array, form: Callable[[str], str] = normalise_text) -> pl.Series:
        """Return all words of each query, in order; none is left out.

        Args:
            queries: any.
            form: returns the form of a text in which words are wanted.

        Shape:
            queries: strings (n,); result: lists of strings (n,)
        """
        normalised = normalise(queries, form)
        words = normalised.str.extract_all(RUN)
        return _changed_where(normalised.str.contains(HAN_RUN).to_numpy(), words, self._cut_han)

    def _without_stop_phrases(self, words: pl.Series) -> pl.Series:
        """Leave out stop phrases; the words may be not folded yet.

        Shape:
            words: lists of strings (n,); result: the same
        """
        if not self.stop_phrases:
            return words
        folded = pl.element()
        if self.params.lemmas is not None:
            distinct = words.explode().drop_nulls().unique()
            folded = folded.replace(distinct, pl.Series([normalise_text(word) for word in distinct], dtype=pl.String))
        marked = words.list.eval(pl.format(" {} ", folded)).list.join("")
        patterns = ["".join(f" {word} " for word in phrase) for same in self.stop_phrases.values() for phrase in same]
        has_phrase = marked.str.contains_any(patterns).to_numpy()
        return _changed_where(
            has_phrase,
            words,
            lambda some: pl.Series(
                [without_phrases(query, self.stop_phrases) for query in some.to_list()], dtype=pl.List(pl.String)
            ),
        )

    def _without_stop_words(self, words: pl.Series) -> pl.Series:
        return words.list.filter(~pl.element().is_in(sorted(self.stop_words))) if self.stop_words else words

    def _lemmatised(self, words: pl.Series) -> pl.Series:
        """Replace words that are not folded yet by their folded lemmas; leave out stop words.

        Shape:
            words: lists of strings (n,); result: the same
        """
        distinct = words.explode().drop_nulls().unique()
        lemmas = pl.Series([self._lemma_of(word) for word in distinct], dtype=pl.String)
        changed = distinct.ne_missing(lemmas)
        if not changed.any():
            return words
        lemma = pl.element().replace(distinct.filter(changed), lemmas.filter(changed))
        return words.list.eval(lemma.drop_nulls())

    def _lemma_of(self, word: str) -> str | None:
        """Return a word's folded lemma, or the folded word if the language's dictionary and rules do not know it.

        Return None for a stop word, and for a word whose lemma is a stop word.
        """
        if normalise_text(word) in self.stop_words:
            return None
        import simplemma

        lemma = normalise_text(simplemma.lemmatize(word.lower(), lang=str(self.params.lemmas)))
        return None if lemma in self.stop_words else lemma

    def _cut_han(self, runs: pl.Series) -> pl.Series:
        """Replace runs of Han by their words.

        Shape:
            runs: lists of strings (n,), none empty; result: the same
        """
        run = pl.col("run")
        flat = pl.DataFrame({"query": np.arange(len(runs)), "run": runs}).explode("run")
        han = flat.filter(run.str.contains(rf"^{HAN_RUN}"))["run"].unique().to_list()
        cut = pl.DataFrame({"run": han, "words": self._words_of(han)}).with_columns(pl.col("words").str.split(" "))
        words = flat.join(cut, on="run", how="left", maintain_order="left").with_columns(
            pl.col("words").fill_null(pl.concat_list(run))
        )
        return words.explode("words").group_by("query", maintain_order=True).agg("words")["words"]

    def _words_of(self, runs: list[str]) -> list[str]:
        """Return the words of distinct Han runs; keep them in a cache, because queries repeat the runs."""
        words = {run: self._known.get(run) for run in runs}
        unknown = [run for run, found in words.items() if found is None]
        cut = dict(zip(unknown, cut_runs(unknown, self.params.dictionary, self.params.user_dictionary), strict=True))
        if len(self._known) + len(cut) > LARGEST_CACHE:
            self._known.clear()
        self._known.update(cut)
        return [found if found is not None else cut[run] for run, found in words.items()]


def _changed_where(mask: np.ndarray, words: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Return the words of queries, changed for some of the queries.

    Shape:
        mask: (n,); words: lists of strings (n,); result: the same
    """
    if not mask.any():
        return words
    order = np.argsort(np.r_[np.flatnonzero(~mask), np.flatnonzero(mask)])
    return pl.concat([words.filter(~mask), change(words.filter(mask))])[order]


def without_phrases(words: Sequence[str], phrases: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """Return a query's words without the phrases in it; where several begin, the first of the list is left out.

    >>> without_phrases(["I", "don", "t", "know", "t"], {"don": [["don", "t"]]})
    ['I', 'know', 't']

    Args:
        words: in order; they may be not folded yet.
        phrases: folded words, by the first word.
    """
    folded = [normalise_text(word) for word in words]
    kept, position = [], 0
    while position < len(words):
        candidates = phrases.get(folded[position], ())
        length = next((len(phrase) for phrase in candidates if folded[position:][: len(phrase)] == [*phrase]), 0)
        if not length:
            kept.append(words[position])
        position += length or 1
    return kept


@lru_cache(maxsize=1)
def segmenter_of(params: SegmentParams) -> Segmenter:
    """Return this process's segmenter for the parameters; it is built once, however many bundles a worker gets."""
    return Segmenter(params)


def normalise(queries: pa.Array, form: Callable[[str], str] = normalise_text) -> pl.Series:
    """Normalise queries: all ASCII queries at once by lower-casing them, the others one by one.

    The others lose their emoji and their invisible characters first.

    Args:
        queries: any.
        form: returns the normal form of a text.

    Shape:
        queries: strings (n,); result: strings (n,)
    """
    lowered = pl.Series(queries, dtype=pl.String).str.to_lowercase()
    others = np.flatnonzero(~np.asarray(pc.string_is_ascii(queries)))
    if len(others):
        texts = pl.Series(queries.take(pa.array(others)), dtype=pl.String)
        texts = texts.str.replace_all(EMOJI, " ").str.replace_all(INVISIBLE, "")
        lowered[others] = pl.Series([form(text) for text in texts])
    return lowered


def add_segment_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each parameter of section ``segment``."""
    parser.add_argument("--stop-words", metavar="FILE", help="words or phrases to leave out, one per line, UTF-8")
    parser.add_argument(
        "--dictionary", metavar="FILE", help="jieba dictionary in place of jieba's own: word, frequency"
    )
    parser.add_argument(
        "--user-dictionary", metavar="FILE", help="more Han words, one per line; a frequency may follow"
    )
    parser.add_argument("--minimum-length", type=int, default=1, metavar="N", help="fewest characters of a word (1)")
    parser.add_argument("--lemmas", metavar="LANGUAGE", help="replace a language's words by their lemmas, as in en")


def segment_params_of(arguments: argparse.Namespace) -> SegmentParams:
    """Return the parameters of section ``segment`` that a command line has.

    Raises:
        UserError: a value is impossible.
    """
    values = {name: getattr(arguments, name) for name in SegmentParams.model_fields}
    return validate_section(SegmentParams, "segment", values, where="command line")
