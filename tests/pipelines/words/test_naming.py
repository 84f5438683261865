"""Votes and reliabilities by hand, and against loops over names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pipelines.words.category_names import Name
from pipelines.words.lexicon import build_lexicon
from pipelines.words.naming import (
    NOTHING,
    ONE,
    PART,
    SEVERAL,
    UNITS,
    distinct_patterns,
    match_names,
    rests,
    votes,
    whole_names,
)
from pipelines.words.segmentation import Segmenter, SegmentParams

NAMES = {"tern": "tern", "arctic tern": "arctic tern", "big black dog": "dog", "dog": "dog", "black cat": "cat"}
LEXICON = build_lexicon(
    sorted((Name(text, category) for text, category in NAMES.items()), key=lambda name: (name.category, name.text)),
    Segmenter(SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)),
    variants=True,
)
WORDS = LEXICON.words.to_pylist()


def matrix(*patterns: str) -> sparse.csr_array:
    rows = np.array([[word in pattern.split() for word in WORDS] for pattern in patterns], np.int8)
    return sparse.csr_array(rows)


def voted(*patterns: str, reliability: dict[str, float] | None = None, least: float = 0.3) -> list[tuple]:
    reliabilities = np.array([(reliability or {}).get(word, 1.0) for word in WORDS])
    found, kinds = votes(matrix(*patterns), reliabilities, least, LEXICON)
    rows = found.toarray().tolist()
    return [
        (kind, {name: units for name, units in zip(LEXICON.categories, row, strict=True) if units})
        for kind, row in zip(kinds.tolist(), rows, strict=True)
    ]


def test_votes_by_hand():
    half = UNITS // 2
    assert voted("arctic tern", "tern", "tern dog", "black", "black dog", "", "arctic") == [
        (ONE, {"arctic tern": UNITS}),  # which has a tern
        (ONE, {"tern": UNITS}),
        (SEVERAL, {"tern": half, "dog": half}),
        (PART, {"cat": half, "dog": half}),
        (ONE, {"dog": UNITS}),
        (NOTHING, {}),
        (PART, {"arctic tern": UNITS}),
    ]


def test_part_of_a_name_votes_as_reliably_as_its_best_word():
    reliability = {"big": 0.25, "black": 0.5}
    assert voted("big black", "big", "black", reliability=reliability) == [
        (PART, {"dog": UNITS // 2}),
        (NOTHING, {}),
        (PART, {"cat": UNITS // 4, "dog": UNITS // 4}),
    ]
    assert voted("big", reliability=reliability, least=0.25) == [(PART, {"dog": UNITS // 4})]
    assert voted("big", reliability={"big": 0.0}, least=0.0) == [(NOTHING, {})]


def test_rests_by_hand():
    patterns = matrix("black", "big black", "black cat", "tern")
    rows, words, units = rests(match_names(patterns, LEXICON), LEXICON)
    weight = dict(zip(WORDS, LEXICON.weights, strict=True))
    found = {(row, WORDS[word]): unit / UNITS for row, word, unit in zip(rows, words, units, strict=True)}
    assert found == pytest.approx(
        {
            (0, "black"): 0.0,
            (1, "big"): weight["black"] / (weight["black"] + weight["dog"]),
            (1, "black"): weight["big"] / (weight["big"] + weight["dog"]),
            (2, "black"): 1.0,
            (2, "cat"): 1.0,
            (3, "tern"): 1.0,
        },
        abs=1 / UNITS,
    )


def test_no_patterns_and_empty_patterns():
    empty = sparse.csr_array((0, len(WORDS)), dtype=np.int8)
    found, kinds = votes(empty, np.ones(len(WORDS)), 0.3, LEXICON)
    assert (found.shape, kinds.tolist()) == ((0, len(LEXICON.categories)), [])
    assert all(len(part) == 0 for part in rests(match_names(matrix("", ""), LEXICON), LEXICON))


patterns = st.lists(st.sets(st.sampled_from(WORDS)).map(sorted).map(" ".join), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(patterns)
def test_distinct_patterns_are_the_rows(queries):
    rows = matrix(*queries)
    distinct, codes = distinct_patterns(rows)
    assert (distinct[codes] != rows).nnz == 0
    assert distinct.shape[0] == len(set(queries))


@settings(max_examples=50, deadline=None)
@given(patterns, st.lists(st.floats(0, 1), min_size=len(WORDS), max_size=len(WORDS)), st.floats(0, 1))
def test_votes_equal_loops_over_names(queries, reliabilities, least):
    r = dict(zip(WORDS, np.round(reliabilities, 3), strict=True))
    found = voted(*queries, reliability=r, least=round(least, 3))
    weight = dict(zip(WORDS, LEXICON.weights, strict=True))
    for query, (kind, units) in zip(queries, found, strict=True):
        words = set(query.split())
        names = {name: set(name.split()) for name in NAMES}
        whole = {name for name, some in names.items() if some <= words}
        whole -= {name for name in whole if any(names[name] < names[other] for other in whole)}
        if whole:
            meant = {NAMES[name] for name in whole}
            assert kind == (ONE if len(meant) == 1 else SEVERAL)
            strength = 1.0
        else:
            score = {name: round(sum(weight[w] * r[w] for w in some & words), 9) for name, some in names.items()}
            best = {name for name in names if score[name] == max(score.values()) and score[name] > 0}
            strength = max((r[word] for name in best for word in names[name] & words), default=0.0)
            meant = {NAMES[name] for name in best} if strength >= round(least, 3) else set()
            assert kind == (PART if meant else NOTHING)
        expected = {name: round(UNITS * strength / len(meant)) for name in meant}
        assert {name: expected.get(name, 0) for name in {*expected, *units}} == pytest.approx(
            {name: units.get(name, 0) for name in {*expected, *units}}, abs=1
        )


@settings(max_examples=50, deadline=None)
@given(patterns)
def test_whole_names_never_hold_each_other(queries):
    rows, _ = distinct_patterns(matrix(*queries))
    whole = whole_names(match_names(rows, LEXICON), rows.shape[0], LEXICON)
    assert (whole.data == 1).all()
    for row in whole.toarray():
        names = [set(LEXICON.name_words[n]) for n in np.flatnonzero(row)]
        assert not any(a < b for a in names for b in names)
