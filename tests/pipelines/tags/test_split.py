"""Splits of posts, and histories: nothing of a test post is in a history."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.artifacts import read_tables
from base.schemas import POST_SPLITS, POSTS, TAG_HISTORIES
from pipelines.tags.split import TagSplitParams, histories_of, main, split_posts

SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}


def params(by: str, **shares: float) -> TagSplitParams:
    return TagSplitParams.model_validate({"by": by, "shares": shares or SHARES})


def posts(number: int = 300, users: int = 23, images: int = 80) -> pl.DataFrame:
    rows = {
        (f"i{n * 7 % images}", f"u{n * n % users}"): (n * 37 % 211, sorted({n % 5, n % 7, n % 3}))
        for n in range(number)
    }
    table = [(*key, time, tags) for key, (time, tags) in rows.items()]
    return pl.DataFrame(table, schema=pl.Schema(POSTS), orient="row")


@pytest.mark.parametrize("by", ["image", "user"])
def test_all_posts_of_an_image_or_user_are_in_one_split(by) -> None:
    found = split_posts(posts(), 3, params(by)).with_columns(pl.col("split").replace("history", "test"))
    if by == "user":  # a history may also be of a validation user
        found = found.filter(pl.col("split") != "test")
    assert found.group_by(f"{by}_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert found.columns[:2] == ["image_id", "user_id"]


@pytest.mark.parametrize("by", ["image", "user"])
def test_shares_are_those_of_images_or_users(by) -> None:
    found = split_posts(posts(), 3, params(by)).filter(pl.col("split") != "history")
    names = found.select(f"{by}_id", "split").unique()["split"].value_counts()
    total = posts()[f"{by}_id"].n_unique()
    counts = dict(names.iter_rows())
    assert counts["train"] == round(total * 0.6)
    assert counts["test"] == round(total * 0.25)
    assert sum(counts.values()) == total


def test_seeds_differ_and_a_split_depends_on_names_alone() -> None:
    one, other = (split_posts(posts(), seed, params("image"))["split"] for seed in (0, 1))
    assert not one.equals(other)
    shuffled = posts().sample(fraction=1, shuffle=True, seed=5)
    assert split_posts(shuffled, 0, params("image"))["split"].equals(one)


def test_by_time_the_last_posts_are_tested() -> None:
    found = split_posts(posts(), 0, params("time"))
    borders = {split: (part["time"].min(), part["time"].max()) for (split,), part in found.group_by("split")}
    assert borders["train"][1] <= borders["validation"][0]
    assert borders["validation"][1] <= borders["test"][0]
    assert found["split"].value_counts().filter(split="test")["count"].item() == round(len(found) * 0.25)
    assert split_posts(posts(), 1, params("time")).equals(found)


def test_by_user_the_first_half_of_a_test_users_posts_is_history() -> None:
    found = split_posts(posts(), 3, params("user"))
    tested = found.filter(pl.col("split") == "test")["user_id"].unique().to_list()
    assert tested
    for user in tested:
        mine = found.filter(user_id=user)
        early, late = mine.filter(split="history"), mine.filter(split="test")
        assert len(early) == len(mine) // 2
        assert len(early) + len(late) == len(mine)
        assert early.is_empty() or early["time"].max() <= late["time"].min()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["image", "user", "time"]), st.integers(0, 2**40))
def test_histories_are_the_counts_of_training_and_history_posts(by, seed) -> None:
    found = split_posts(posts(), seed, params(by))
    counted = Counter(
        (user, tag) for _, user, _, tags, split in found.rows() if split in ("train", "history") for tag in tags
    )
    assert {(user, tag): count for user, tag, count in histories_of(found).rows()} == counted


def test_a_split_that_would_be_empty_is_refused() -> None:
    with pytest.raises(ValueError, match=r"none is left for test \(share 0.05\)"):
        split_posts(posts(9, 3, 4), 0, params("image", train=0.7, validation=0.25, test=0.05))
    with pytest.raises(ValueError, match="2 of 282 posts have no time"):
        split_posts(_without_times(2), 0, params("time"))


def _without_times(number: int) -> pl.DataFrame:
    table = posts()
    time = pl.when(pl.int_range(pl.len()) < number).then(None).otherwise("time").alias("time")
    return table.with_columns(time)


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match=r"the shares sum to 0\.9, not to 1"):
        params("image", train=0.5, validation=0.1, test=0.3)


def test_the_command_writes_splits_and_histories_of_every_seed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    (tmp_path / "tags/posts").mkdir(parents=True)
    posts().write_parquet("tags/posts/part-00000.parquet")
    Path("params.yaml").write_text(json.dumps({"seeds": [4, 2], "tag_splits": {"by": "image", "shares": SHARES}}))
    main(["--tags", "tags", "--output", "out"])
    for seed in (4, 2):
        found = split_posts(posts(), seed, params("image"))
        splits, histories = (read_tables(Path(f"out/{name}/seed-{seed}.parquet")) for name in ("splits", "histories"))
        assert splits.schema.equals(POST_SPLITS)
        assert histories.schema.equals(TAG_HISTORIES)
        assert pl.DataFrame(splits).equals(found.select("image_id", "user_id", "split"))
        assert pl.DataFrame(histories).equals(histories_of(found))
    summary = json.loads(Path("out/summary.json").read_text())["seed-4"]
    assert sum(summary["posts"].values()) == len(posts())
    assert summary["test posts"]["of an image that trains"] == 0
