"""The words of the categories' names, and the forms in which queries have them.

Names are segmented as queries are. Jieba may cut a Chinese name in another way within a query than alone, so the names
and their words are added to jieba's dictionary (:func:`write_dictionary`): a query then has the whole name as one word,
which is a joined form of the name's words.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from base.artifacts import whole_file
from base.console import UserError
from pipelines.words.category_names import Name
from pipelines.words.han import read_lines
from pipelines.words.segmentation import HAN_RUN, Segmenter, SegmentParams, normalise
from pipelines.words.word_forms import exact_forms, joined_words, number_forms, standard_spelling, without_accents


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The names of categories as words.

    Attributes:
        categories: in code-point order.
        names: by category; several may be of one category.
        name_words: each name's words in order, in standard spelling.
        words: all of these, each once, in code-point order.
        weights: ln(1 + categories / categories with the word in a name): words that many categories share weigh less.
        name_categories: the category of each name, as an index.
        of_word: 1 where a word is of a name.
        inside: 1 where the words of the second name are some but not all of the first one's.
        forms: what is taken for a word in queries, each once.
        form_words: 1 where a form is of a word.

    Shape:
        categories: C; names, name_words: N; words: (W,); weights: (W,); name_categories: (N,); of_word: int8 (W, N);
        inside: int8 (N, N); forms: (F,); form_words: int8 (F, W)
    """

    categories: tuple[str, ...]
    names: tuple[Name, ...]
    name_words: tuple[tuple[str, ...], ...]
    words: pa.Array
    weights: np.ndarray
    name_categories: np.ndarray
    of_word: sparse.csr_array
    inside: sparse.csr_array
    forms: pa.Array
    form_words: sparse.csr_array


def build_lexicon(names: Sequence[Name], segmenter: Segmenter, variants: bool) -> Lexicon:
    """Return the lexicon of names.

    Args:
        names: the result of :func:`pipelines.words.category_names.read_names`.
        segmenter: cuts the names as it cuts queries.
        variants: whether a word is also recognised in another number or spelling.

    Raises:
        UserError: a name has no word, or two categories have a name of the same words.
    """
    found = segmenter(pa.array([name.text for name in names], pa.string())).to_pylist()
    if empty := [name for name, words in zip(names, found, strict=True) if not words]:
        raise UserError(
            f"the name {empty[0].text!r} of the category {empty[0].category!r} has no word: stop words and signs are "
            "none; give it another name, or take the word off the list of stop words"
        )
    spelling = standard_spelling if variants else str
    name_words = [tuple(dict.fromkeys(map(spelling, words))) for words in found]
    owner: dict[frozenset[str], Name] = {}
    for name, words in zip(names, name_words, strict=True):
        other = owner.setdefault(frozenset(words), name)
        if other.category != name.category:
            raise UserError(
                f"the categories {other.category!r} and {name.category!r} have names of the same words: {other.text!r} "
                f"and {name.text!r}; no query can tell them apart: merge them, or give one another name"
            )
    kept = [number for number, words in enumerate(name_words) if owner[frozenset(words)] == names[number]]
    names, name_words = tuple(names[number] for number in kept), [name_words[number] for number in kept]

    categories = tuple(sorted({name.category for name in names}))
    every_word = sorted({word for some in name_words for word in some})
    word_id, category_id = ({text: n for n, text in enumerate(texts)} for texts in (every_word, categories))
    of_word = _ones(
        [(word_id[word], n) for n, some in enumerate(name_words) for word in some], (len(every_word), len(names))
    )
    name_categories = np.array([category_id[name.category] for name in names], np.int32)
    of_category = _ones(list(zip(range(len(names)), name_categories, strict=True)), (len(names), len(categories)))
    num_categories = np.diff((of_word.astype(np.int64) @ of_category).tocsr().indptr)
    forms = _forms(name_words, [found[number] for number in kept], variants)
    return Lexicon(
        categories=categories,
        names=names,
        name_words=tuple(name_words),
        words=pa.array(every_word, pa.string()),
        weights=np.array([math.log1p(len(categories) / number) for number in num_categories.tolist()]),
        name_categories=name_categories,
        of_word=of_word,
        inside=_inside(of_word),
        forms=pa.array(list(forms), pa.string()),
        form_words=_ones(
            [(n, word_id[word]) for n, some in enumerate(forms.values()) for word in sorted(some)],
            (len(forms), len(every_word)),
        ),
    )


def _forms(name_words: Sequence[Sequence[str]], found: Sequence[Sequence[str]], variants: bool) -> dict[str, set[str]]:
    """Return the words of each form; an exact form is no other one, and a joined form is no other number."""
    exact: dict[str, set[str]] = {}
    joined: dict[str, set[str]] = {}
    numbers: dict[str, set[str]] = {}
    for words, as_written in zip(name_words, found, strict=True):
        for word in words:
            for form in exact_forms(word) if variants else [word]:
                exact.setdefault(form, set()).add(word)
        for spelled in (words, [without_accents(word) for word in as_written] if variants else words):
            for form, parts in joined_words(spelled):
                joined.setdefault(form, set()).update(map(standard_spelling, parts) if variants else parts)
    for forms in (exact, joined) if variants else ():
        for form, some in forms.items():
            for number in number_forms(form):
                numbers.setdefault(number, set()).update(some)
    return dict(sorted({**numbers, **joined, **exact}.items()))


def _ones(places: Sequence[tuple[int, int]], shape: tuple[int, int]) -> sparse.csr_array:
    rows, columns = np.array(places, np.int32).reshape(-1, 2).T
    matrix = sparse.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix


def _inside(of_word: sparse.csr_array) -> sparse.csr_array:
    """Return 1 where all words of the second name, and some more, are those of the first.

    Shape:
        of_word: (W, N); result: (N, N)
    """
    shared = (of_word.T.astype(np.int32) @ of_word.astype(np.int32)).tocoo()
    sizes = np.bincount(of_word.indices, minlength=of_word.shape[1])
    is_inside = (shared.data == sizes[shared.col]) & (sizes[shared.row] > sizes[shared.col])
    return _ones(list(zip(shared.row[is_inside], shared.col[is_inside], strict=True)), shared.shape)


def forms_in(queries: pa.Array, segmenter: Segmenter, lexicon: Lexicon) -> sparse.csr_array:
    """Return which forms are words of which queries, 1 or 0.

    Shape:
        queries: strings (m,); result: int8 (m, F)
    """
    words = segmenter(queries)
    flat = words.flatten().dictionary_encode()
    form_of = _form_ids(flat.dictionary, lexicon.forms)
    forms = form_of[flat.indices.to_numpy()]
    starts = np.r_[0, np.cumsum(pc.list_value_length(words).to_numpy())]
    is_form = forms >= 0
    kept = np.r_[0, np.cumsum(is_form)][starts].astype(np.int32)
    matrix = sparse.csr_array(
        (np.ones(kept[-1], np.int8), forms[is_form].astype(np.int32), kept), shape=(len(queries), len(lexicon.forms))
    )
    matrix.sum_duplicates()  # frise and frisé are one form
    matrix.data[:] = 1
    return matrix


def _form_ids(words: pa.Array, forms: pa.Array) -> np.ndarray:
    """Return the index of each word among the forms, with or without its accents; -1 for none.

    Shape:
        words: (k,); result: integers (k,)
    """
    ids = pc.fill_null(pc.index_in(words, value_set=forms), -1).to_numpy(zero_copy_only=False).copy()
    accented = np.flatnonzero(~np.asarray(pc.string_is_ascii(words)) & (ids < 0))
    if len(accented):
        texts = pl.Series(words.take(pa.array(accented)), dtype=pl.String)
        is_latin = texts.str.contains(r"\p{Latin}").to_numpy()
        plain = pa.array([without_accents(text) for text in texts.filter(is_latin)], pa.string())
        ids[accented[is_latin]] = pc.fill_null(pc.index_in(plain, value_set=forms), -1).to_numpy(zero_copy_only=False)
    return ids


def write_dictionary(names: Sequence[Name], segmenter: Segmenter, folder: Path) -> SegmentParams:
    """Write the user dictionary with the Han words of names in addition; return the parameters of queries' segmenter.

    Args:
        names: of categories.
        segmenter: cuts the names.
        folder: an existing folder, which all workers can reach.
    """
    texts = pa.array([name.text for name in names], pa.string())
    whole = [run for text in normalise(texts) for run in re.findall(r"[\u4e00-\u9fd5々〻]+", text)]
    pieces = [word for words in segmenter(texts).to_pylist() for word in words]
    is_han = pl.Series(whole + pieces, dtype=pl.String).str.contains(rf"^{HAN_RUN}$")
    more = sorted({word for word in pl.Series(whole + pieces, dtype=pl.String).filter(is_han) if len(word) > 1})
    if not more:
        return segmenter.params
    own = read_lines(segmenter.params.user_dictionary)
    known = {line.split()[0] for line in own if line}
    text = "".join(f"{line}\n" for line in [*own, *(word for word in more if word not in known)])
    path = folder / f"names-{hashlib.sha256(text.encode()).hexdigest()[:16]}.txt"  # a new name for a new content
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return segmenter.params.model_copy(update={"user_dictionary": str(path)})
