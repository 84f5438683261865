"""Numbers that stand for texts: beside sorted lists and counters, for ties, runs and no rows at all."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tags.ranks import begins_run, counted, order_of, ranked

TEXTS = st.lists(st.text(alphabet="ab\u00e9\U0001f600", max_size=3), max_size=12)
PAIRS = st.lists(st.tuples(st.sampled_from(["b", "", "a", "\u00e9", "\U0001f600"]), st.text("xyz", max_size=2)))


def strings(texts) -> pa.Array:
    return pa.array(list(texts), pa.string())


@given(TEXTS, st.booleans())
def test_ranks_are_places_among_the_different_texts_in_code_point_order(texts, do_repeat) -> None:
    ranks, different = ranked(strings(texts), do_repeat)
    assert different.to_pylist() == sorted(set(texts))
    assert [different[rank].as_py() for rank in ranks] == texts


@given(PAIRS)
def test_rows_are_ordered_by_the_first_text_and_equal_ones_by_the_second(pairs) -> None:
    different = list(dict.fromkeys(pairs))
    order = order_of(strings(first for first, _ in different), strings(second for _, second in different))
    assert [different[place] for place in order] == sorted(different)


@given(st.lists(st.integers(-4, 2**62)))
def test_keys_are_counted(keys) -> None:
    found, numbers = counted(np.array(keys, np.int64))
    assert list(zip(found.tolist(), numbers.tolist(), strict=True)) == sorted(Counter(keys).items())


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((["a", "a", "b", "a"],), [True, False, True, True]),
        ((["a", "a", "a"], ["x", "y", "y"]), [True, True, False]),
        (([],), []),
    ],
)
def test_a_run_begins_where_any_column_changes(columns, expected) -> None:
    assert begins_run(*map(strings, columns)).tolist() == expected
