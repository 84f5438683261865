"""The Polya urn of votes, against SciPy's gamma functions and plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma, gammaln

from systems.cleaning.urn import FEW_CLICKS, blocks, log_rising, tables
from systems.cleaning.votes import Votes

CLICKS = st.one_of(st.integers(1, 3 * FEW_CLICKS).map(float), st.floats(0.3, 40.0))


@given(st.lists(st.tuples(CLICKS, st.floats(1e-2, 1e4)), min_size=1, max_size=8))
def test_a_vote_of_few_or_many_clicks_equals_the_gamma_functions(cases: list[tuple[float, float]]) -> None:
    clicks = np.array([[v] for v, _ in cases])
    a = np.array([[a, 2 * a] for _, a in cases])
    assert log_rising(a, clicks) == pytest.approx(gammaln(clicks + a) - gammaln(a), rel=1e-6, abs=1e-7)
    assert tables(a, clicks) == pytest.approx(a * (digamma(clicks + a) - digamma(a)), rel=1e-6)


def test_a_rare_name_is_one_independent_click_however_often_it_is_clicked() -> None:
    clicks = np.array([[1.0], [5.0], [50.0], [2.5]])
    assert tables(np.full((4, 1), 1e-9), clicks)[:3, 0] == pytest.approx(1.0, abs=1e-6)
    assert tables(np.full((4, 1), 1e9), clicks) == pytest.approx(clicks, rel=1e-4)  # all independent


@given(st.lists(st.sets(st.integers(0, 4), max_size=5), min_size=1, max_size=12), st.integers(1, 40), st.data())
def test_blocks_hold_every_vote_once_with_its_candidates_cells(
    named: list[set[int]], size: int, data: st.DataObject
) -> None:
    votes = Votes(
        np.cumsum([0, *map(len, named)]),
        np.array([c for names in named for c in sorted(names)], np.int32),
        np.arange(1.0, 1 + sum(map(len, named))),
    )
    category = np.array([data.draw(st.permutations(range(5)))[:2] for _ in named], np.int32)
    expected = [
        (image, votes.clicks[vote], [5 * int(z) + int(votes.category[vote]) for z in category[image]])
        for image in range(len(named))
        for vote in range(votes.starts[image], votes.starts[image + 1])
    ]
    found = list(blocks(votes, category, 5, size))
    seen = [
        (int(image), float(clicks), cells.tolist())
        for block in found
        for image, clicks, cells in zip(block.rows, block.clicks[:, 0], block.cells, strict=True)
    ]
    assert seen == expected
    for block in found:
        assert block.cells.size <= size or len(block.images) == 1
        sums = [block.clicks[block.rows == image].sum() for image in block.images]
        assert block.sums(block.clicks * np.ones((1, 2))).tolist() == [[total, total] for total in sums]
