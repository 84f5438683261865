"""Posts with their histories: leave one out, other users, pictures, names without users."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from tagging_data import TAGS, posts_table, read_posts, write_data

from base.console import UserError
from model.data.histories import relative


def counted(rows: pl.DataFrame, user: str, but: str = "") -> list[int]:
    """Count a user's tags in training posts, by a loop."""
    counts = [0] * len(TAGS)
    for image, owner, tags, split in rows.select("image_id", "user_id", "tag_ids", "split").iter_rows():
        if owner == user and split == "train" and image != but:
            for tag in tags:
                counts[tag] += 1
    return counts


def test_a_posts_own_tags_are_not_in_its_history_and_no_test_post_is(sources) -> None:
    posts = read_posts(sources, "train", "validation", "test")
    every = sources.every_post()
    rows = np.arange(len(posts.rows))
    found = posts.history(rows, "leave-one-out")
    whole = posts.history(rows, "whole")
    for row, (image, user, split) in enumerate(posts.rows.select("image_id", "user_id", "split").iter_rows()):
        assert found[row].tolist() == counted(every, user, image if split == "train" else "")
        assert whole[row].tolist() == counted(every, user)
    trained = posts.row_numbers("train")
    assert ((whole - found)[trained] == posts.labels(trained)).all()
    for mode in ("leave-one-out", "whole", "none", "shuffled", "thinned"):
        expected = relative(posts.history(rows, mode, 5, [2] * len(rows)))
        assert np.array_equal(posts.relative_history(rows, mode, 5, [2] * len(rows)), expected)


def test_shuffled_histories_are_those_of_other_users(sources) -> None:
    posts = read_posts(sources)
    rows = np.arange(len(posts.rows))
    found = posts.history(rows, "shuffled", seed=3)
    by_user = {user: counted(sources.every_post(), user) for user in posts.rows["user_id"].unique()}
    others = {}
    for row, user in enumerate(posts.rows["user_id"]):
        [other] = [name for name, counts in by_user.items() if counts == found[row].tolist()]
        assert others.setdefault(user, other) == other
    assert set(others.values()) == set(by_user)
    assert all(user != other for user, other in others.items())
    assert (posts.history(rows, "none") == 0).all()


def test_thinned_histories_are_parts_of_the_others_and_change_with_the_pass(sources) -> None:
    posts = read_posts(sources, "train", "validation", "test")
    rows = np.arange(len(posts.rows))
    whole = posts.history(rows, "leave-one-out")
    assert (posts.history(rows, "thinned", 1) == whole).all()  # outside of training nothing is thinned
    assert (posts.history(rows, "thinned", 1, [None] * len(rows)) == whole).all()
    passes = [posts.history(rows, "thinned", 1, [number] * len(rows)) for number in range(40)]
    assert all((found >= 0).all() and (found <= whole).all() for found in passes)
    assert (passes[0] != passes[1]).any()
    assert (posts.history(rows, "thinned", 1, [0] * len(rows)) == passes[0]).all()
    # the kept share is uniform in [0, 1): its mean is a half, and its variance, 1/12, is far above a fixed share's
    shares = np.array([found.sum() / whole.sum() for found in passes])
    assert shares.mean() == pytest.approx(0.5, abs=0.05)
    longest = whole.sum(axis=1).argmax()
    of_one = np.array([found[longest].sum() / whole[longest].sum() for found in passes])
    assert of_one.std() == pytest.approx(12**-0.5, abs=0.1)


def test_training_posts_without_a_tag_are_left_out_and_test_posts_stay(sources) -> None:
    posts = read_posts(sources, "train", "test")
    bare = posts.rows.filter(pl.col("tag_ids").list.len() == 0)["split"].to_list()
    assert bare
    assert set(bare) == {"test"}


def test_each_post_has_its_own_picture(sources) -> None:
    features, pictures = read_posts(sources), read_posts(sources, pixels=18)
    table = dict(pl.read_parquet(sources.features).select("image_id", "feature").iter_rows())
    for row, image in enumerate(features.rows["image_id"]):
        assert features.pictures[features.image_rows[row]] == pytest.approx(table[image])
        assert pictures.pictures.names[pictures.image_rows[row]] == ("source", image)
    assert len(features.pictures) == features.rows["image_id"].n_unique()


def test_names_show_neither_user_nor_image_and_differ(sources) -> None:
    posts = read_posts(sources)
    names = posts.names(range(len(posts.rows)))
    assert len(set(names)) == len(names)
    assert not any("user" in name or "i0" in name for name in names)


def test_a_split_of_other_posts_and_posts_without_pictures_are_refused(tmp_path, caplog) -> None:
    sources = write_data(tmp_path)
    images = pl.read_parquet(sources.images / "part-00000.parquet")
    images.filter(pl.col("image_id") != "i03").write_parquet(sources.images / "part-00000.parquet")
    lacking = len(posts_table().filter(image_id="i03"))
    assert "i03" not in read_posts(sources, "train", "validation", "test").rows["image_id"]
    assert f"{lacking} of {len(posts_table())} posts have no picture" in caplog.text
    images.with_columns(image_id=pl.lit("x")).head(1).write_parquet(sources.images / "part-00000.parquet")
    with pytest.raises(UserError, match="do the ids agree"):
        read_posts(sources)
    posts_table().head(9).write_parquet(sources.tags / "posts/part-00000.parquet")
    with pytest.raises(UserError, match="are not the 9 of"):
        read_posts(sources)


def test_the_fingerprint_changes_with_histories(tmp_path) -> None:
    sources = write_data(tmp_path)
    before = read_posts(sources).fingerprint
    assert read_posts(sources).fingerprint == before
    path = sources.splits / "histories/seed-0.parquet"
    pl.read_parquet(path).with_columns(pl.col("count") + 1).write_parquet(path)
    assert read_posts(sources).fingerprint != before


def test_a_log_without_pictures_has_all_posts_and_no_features(sources) -> None:
    alone = dataclasses.replace(sources, images=None, features=None)
    posts = read_posts(alone, "train", "validation", "test")
    assert posts.rows.drop("domain").equals(read_posts(sources, "train", "validation", "test").rows.drop("domain"))
    assert posts.pictures.shape == (posts.rows["image_id"].n_unique(), 0)
    with pytest.raises(UserError, match="pictures are needed"):
        read_posts(alone, pixels=18)
