"""Which categories a query speaks for, and how strongly: the votes of queries.

Only a query's name words matter, so all is computed once for each distinct set of them, a *pattern*. With w a word, n a
name with the words W_n, a_w the word's weight (:class:`~pipelines.words.lexicon.Lexicon`) and P a pattern:

1. A name is *whole* in P if all of its words are in P, and no longer whole name has them all (``mangrove cuckoo`` is
   not also ``cuckoo``). A query with whole names votes for their categories, with 1 in equal parts.
2. Otherwise P may have *part* of a name. A word's reliability says how much of the rest of a name comes with it:

       r_w = sum over queries with w of clicks * max over names n with w of rest(n, w)  /  clicks of queries with w,
       rest(n, w) = (sum of a over W_n and P, without w) / (sum of a over W_n, without w);  1 if n is whole

   So ``cuckoo``, which mostly comes with ``mangrove`` or ``yellow billed``, is reliable; ``black``, which comes with
   anything, is not. The names with the largest sum of a_w r_w over the words in P are meant, equally: a shared word
   is spread over its categories. The vote is the largest r_w of these words, and none if that is below
   ``least_reliability``.

Votes are whole numbers of 1/UNITS, so that sums don't depend on their order.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import sparse

from pipelines.words.lexicon import Lexicon

UNITS = 1 << 16
DECIMALS = 9  # in which sums of weights are compared: equal sums may be added up in another order
NOTHING, PART, ONE, SEVERAL = range(4)
KINDS = ("nothing", "part of a name", "one category", "several categories")  # what a query names


@dataclass(frozen=True, eq=False)
class Matches:
    """The names with words in patterns.

    Attributes:
        patterns, words, names: each (pattern, word, name with the word), by pattern and word.
        pairs: of each of these, its (pattern, name).
        pair_patterns, pair_names: by pattern, then name.
        matched: the sum of the weights of the name's words in the pattern.
        whole: whether all of the name's words are in the pattern.

    Shape:
        patterns, words, names, pairs: (t,); pair_patterns, pair_names, matched, whole: (p,)
    """

    patterns: np.ndarray
    words: np.ndarray
    names: np.ndarray
    pairs: np.ndarray
    pair_patterns: np.ndarray
    pair_names: np.ndarray
    matched: np.ndarray
    whole: np.ndarray


def distinct_patterns(words: sparse.csr_array) -> tuple[sparse.csr_array, np.ndarray]:
    """Return the distinct rows of a matrix of ones, in order of their first occurrence, and the number of each row.

    Shape:
        words: (m, W); results: (P, W), integers (m,)
    """
    words.sort_indices()
    rows = pa.Array.from_buffers(
        pa.binary(),
        words.shape[0],
        [None, pa.py_buffer(words.indptr.astype(np.int32) * 4), pa.py_buffer(words.indices.astype(np.int32))],
    )
    codes = rows.dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return words[first], codes


def match_names(patterns: sparse.csr_array, lexicon: Lexicon) -> Matches:
    """Find the names that share words with patterns.

    Shape:
        patterns: (P, W), ones, indices sorted
    """
    num_names = np.diff(lexicon.of_word.indptr)
    words = patterns.indices
    repeats = num_names[words]
    names = lexicon.of_word.indices[_ranges(lexicon.of_word.indptr[words], repeats)]
    rows = np.repeat(np.repeat(np.arange(patterns.shape[0]), np.diff(patterns.indptr)), repeats)
    words = np.repeat(words, repeats)
    keys, pairs = np.unique(rows * np.int64(len(lexicon.names)) + names, return_inverse=True)
    pair_names = keys % len(lexicon.names)
    sizes = np.bincount(lexicon.of_word.indices, minlength=len(lexicon.names))
    return Matches(
        patterns=rows,
        words=words,
        names=names,
        pairs=pairs,
        pair_patterns=keys // len(lexicon.names),
        pair_names=pair_names,
        matched=np.bincount(pairs, lexicon.weights[words], len(keys)),
        whole=np.bincount(pairs, minlength=len(keys)) == sizes[pair_names],
    )


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return start, start + 1, .. of each range, one range after the other.

    >>> _ranges(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


def whole_names(matches: Matches, num_patterns: int, lexicon: Lexicon) -> sparse.csr_array:
    """Return which names are whole in which patterns and not inside of a longer whole name.

    Shape:
        result: (P, N), ones
    """
    shape = num_patterns, len(lexicon.names)
    places = matches.pair_patterns[matches.whole], matches.pair_names[matches.whole]
    whole = sparse.csr_array((np.ones(len(places[0]), np.int32), places), shape=shape)
    covered = whole @ lexicon.inside.astype(np.int32)
    result = whole - whole.multiply(covered > 0)
    result.eliminate_zeros()
    result.sort_indices()
    return result


def rests(matches: Matches, lexicon: Lexicon) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each word of each pattern, by pattern and word: pattern, word, the largest rest in units.

    Shape:
        results: integers (k,)
    """
    totals = lexicon.of_word.T @ lexicon.weights
    own = lexicon.weights[matches.words]
    # a name of one word is whole, so that its rest, 0 of 0, has no use
    others = np.maximum(totals[matches.names] - own, np.finfo(float).tiny)
    rest = np.where(matches.whole[matches.pairs], 1.0, (matches.matched[matches.pairs] - own) / others)
    keys = matches.patterns * np.int64(len(lexicon.words)) + matches.words
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    largest = np.maximum.reduceat(rest, starts) if len(starts) else rest
    units = np.rint(np.round(largest, DECIMALS) * UNITS).astype(np.int64)
    return matches.patterns[starts], matches.words[starts], units


def votes(
    patterns: sparse.csr_array, reliability: np.ndarray, least_reliability: float, lexicon: Lexicon
) -> tuple[sparse.csr_array, np.ndarray]:
    """Return the votes of patterns in units, and what each pattern names, an index into KINDS.

    Args:
        patterns: distinct sets of words.
        reliability: r_w of each word.
        least_reliability: of a word by which part of a name is recognised.
        lexicon: of the names.

    Shape:
        patterns: (P, W); reliability: (W,); results: int64 (P, C), integers (P,)
    """
    num_patterns = patterns.shape[0]
    matches = match_names(patterns, lexicon)
    whole = whole_names(matches, num_patterns, lexicon).tocoo()
    has_whole = np.bincount(whole.row, minlength=num_patterns) > 0

    is_part = ~has_whole[matches.pair_patterns]
    scores = np.bincount(matches.pairs, (lexicon.weights * reliability)[matches.words], len(is_part))
    scores = np.round(scores, DECIMALS)
    highest = np.zeros(num_patterns)
    np.maximum.at(highest, matches.pair_patterns, scores)
    is_best = is_part & (scores == highest[matches.pair_patterns]) & (scores > 0)
    in_best = is_best[matches.pairs]
    strength = np.zeros(num_patterns)
    np.maximum.at(strength, matches.patterns[in_best], reliability[matches.words[in_best]])
    is_best &= strength[matches.pair_patterns] >= least_reliability
    strength[has_whole] = 1.0

    rows = np.r_[whole.row, matches.pair_patterns[is_best]].astype(np.int64)
    categories = lexicon.name_categories[np.r_[whole.col, matches.pair_names[is_best]].astype(np.int64)]
    shape = num_patterns, len(lexicon.categories)
    chosen = sparse.csr_array((np.ones(len(rows), np.int8), (rows, categories)), shape=shape)
    chosen.sum_duplicates()  # two names of a category
    numbers = np.diff(chosen.indptr)
    row_of = np.repeat(np.arange(num_patterns), numbers)
    units = np.rint(strength[row_of] * UNITS / numbers[row_of]).astype(np.int64)
    kinds = np.where(has_whole, np.where(numbers > 1, SEVERAL, ONE), np.where(numbers > 0, PART, NOTHING))
    return sparse.csr_array((units, chosen.indices, chosen.indptr), shape=shape), kinds
