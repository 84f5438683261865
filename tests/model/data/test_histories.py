"""Histories: leave one out, users without one, and no dense matrix of all users."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.console import UserError
from base.schemas import TAG_HISTORIES
from model.data.histories import Histories, relative

NUM_TAGS = 6


def table(counts: dict[tuple[str, int], int]) -> pl.DataFrame:
    rows = [(user, tag, count) for (user, tag), count in counts.items()]
    return pl.DataFrame(rows, schema=pl.Schema(TAG_HISTORIES), orient="row")


COUNTS = {("v", 4): 3, ("u", 0): 2, ("u", 5): 4, ("é", 1): 1}


def test_counts_are_those_of_the_table_whatever_its_order() -> None:
    histories = Histories(table(COUNTS), NUM_TAGS)
    rows = histories.rows_of(pl.Series(["é", "nobody", "u", "v", "zz", "a"]))
    assert rows.tolist() == [2, -1, 0, 1, -1, -1]
    expected = [[0, 1, 0, 0, 0, 0], [0] * 6, [2, 0, 0, 0, 0, 4], [0, 0, 0, 0, 3, 0], [0] * 6, [0] * 6]
    assert histories.of(rows).tolist() == expected
    assert histories.lengths(rows).tolist() == [1, 0, 6, 3, 0, 0]


def test_a_posts_own_tags_are_left_out_once() -> None:
    histories = Histories(table(COUNTS), NUM_TAGS)
    rows = histories.rows_of(pl.Series(["u", "u", "é"]))
    left = histories.of(rows, [np.array([0, 5]), np.array([], np.int64), np.array([1])])
    assert left.tolist() == [[1, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0]]
    assert histories.of(rows[:1]).tolist() == [[2, 0, 0, 0, 0, 4]]  # the counts themselves stay


def test_a_post_that_the_history_does_not_have_is_a_defect() -> None:
    with pytest.raises(ValueError, match="is not in its user's history"):
        Histories(table(COUNTS), NUM_TAGS).of(np.array([0]), [np.array([1])])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.integers(0, NUM_TAGS - 1), min_size=1)), min_size=1))
def test_leaving_a_post_out_is_counting_the_others(posts) -> None:
    def counted(some) -> dict[tuple[str, int], int]:
        counts: dict[tuple[str, int], int] = {}
        for user, tags in some:
            for tag in tags:
                counts[user, tag] = counts.get((user, tag), 0) + 1
        return counts

    histories = Histories(table(counted(posts)), NUM_TAGS)
    rows = histories.rows_of(pl.Series([user for user, _ in posts]))
    found = histories.of(rows, [np.array(sorted(tags)) for _, tags in posts])
    for number, (user, _) in enumerate(posts):
        others = counted(posts[:number] + posts[number + 1 :])
        assert found[number].tolist() == [others.get((user, tag), 0) for tag in range(NUM_TAGS)]
    own = [(number, tag) for number, (_, tags) in enumerate(posts) for tag in tags]
    left = histories.relative_of(rows, tuple(np.array(own).T))
    assert left.dtype == np.float32
    assert np.array_equal(left, relative(found))
    assert np.array_equal(histories.relative_of(np.append(rows, -1))[:-1], relative(histories.of(rows)))


def test_relative_counts_have_the_largest_at_one() -> None:
    found = relative(np.array([[2, 0, 4], [0, 0, 0]]))
    assert found.dtype == np.float32
    assert found.tolist() == [[0.5, 0, 1], [0, 0, 0]]


def test_no_user_and_broken_tables() -> None:
    nobody = Histories(table({}), NUM_TAGS)
    assert nobody.of(nobody.rows_of(pl.Series(["u"]))).tolist() == [[0] * NUM_TAGS]
    assert nobody.lengths(np.array([-1])).tolist() == [0]
    with pytest.raises(UserError, match="the histories have tag 6, but there are 6 tags"):
        Histories(table({("u", 6): 1}), NUM_TAGS)
    with pytest.raises(UserError, match="a tag of a user twice"):
        Histories(pl.concat([table(COUNTS)] * 2), NUM_TAGS)


def test_memory_grows_with_counts_and_not_with_users_times_tags() -> None:
    users, tags = 20_000, 1_500
    many = pl.DataFrame({"user_id": [f"u{n:06}" for n in range(users)], "tag_id": [n % tags for n in range(users)]})
    histories = Histories(many.with_columns(count=pl.lit(1, pl.Int64)), tags)
    counts = histories.counts
    assert counts.data.nbytes + counts.indices.nbytes + counts.indptr.nbytes < 64 * users
