"""Split posts into training, validation and test for each seed, and count each user's history from training posts.

    python -m pipelines.tags.split --tags data/sets/toy/tags --output data/sets/toy/tag_splits

In: the posts (`schemas.POSTS`), the parameter file's section ``tag_splits`` and ``seeds``.
Out: ``splits/seed-N.parquet`` (`schemas.POST_SPLITS`), ``histories/seed-N.parquet`` (`schemas.TAG_HISTORIES`) and
``summary.json``, for each seed:

- ``by: image``: all posts of an image are in one split, images at random;
- ``by: user``: all posts of a user are in one split, users at random. So that a test or validation user has a history,
  the first half of their posts (by time; at random where times are unknown) have the split ``history``;
- ``by: time``: the first posts train, the last ones test; equal for all seeds.

A history has training posts and ``history`` posts alone: nothing of a validation or test post is in it. It still has a
training post's own tags, which the reader subtracts (`model.data.histories`).
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from pipelines.tags.ranks import begins_run, counted, order_of, ranked

TRAIN, VALIDATION, TEST, HISTORY = NAMES = ("train", "validation", "test", "history")


class PostShares(Params):
    """The share of each split, of images, users or posts."""

    train: float = Field(description="of training", gt=0, lt=1)
    validation: float = Field(description="of the choice of epochs; 0: no validation", ge=0, lt=1)
    test: float = Field(description="of the evaluation", gt=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> "PostShares":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"the shares sum to {self.train + self.validation + self.test:g}, not to 1")
        return self


class TagSplitParams(Params):
    """Section `tag_splits` of a parameter file."""

    by: Literal["image", "user", "time"] = Field(description="what is in one split: pipelines/tags/split.py")
    shares: PostShares


def split_posts(posts: pl.DataFrame, seed: int, params: TagSplitParams) -> pl.DataFrame:
    """Return the posts, sorted by image and user, with their `split`.

    Args:
        posts: `image_id`, `user_id` and `time`.
        seed: of this split; not used by time.
        params: how to split.

    Raises:
        UserError: a split with a share above 0 gets nothing, or by time a post has no time.
    """
    order = order_of(as_array(posts["image_id"]), as_array(posts["user_id"]))
    if (order != np.arange(len(order))).any():
        posts = posts[order]
    if params.by == "time":
        if missing := posts["time"].null_count():
            raise UserError(
                f"tag_splits.by = time: {missing:,} of {len(posts):,} posts have no time; use image or user"
            )
        codes = _parts(np.argsort(posts["time"].to_numpy(), kind="stable"), params.shares)
    else:
        key = as_array(posts[f"{params.by}_id"])
        if params.by == "image":  # the posts are in the images' order
            begins = begins_run(key)
            places, names = np.cumsum(begins) - 1, key.filter(pa.array(begins))
        else:
            places, names = ranked(key, do_repeat=True)
        hashes = _hashes(seed, params.by, names)
        codes = _parts(np.argsort(hashes, kind="stable"), params.shares)[places]
    found = posts.with_columns(split=pl.Series(pa.array(NAMES, pa.string()).take(pa.array(codes))))
    if params.by == "user":
        found = _with_histories(found, seed)
    used = set(found["split"].unique())
    for split, share in params.shares.model_dump().items():
        if share > 0 and split not in used:
            raise UserError(f"tag_splits: {len(posts):,} posts are too few: none is left for {split} (share {share:g})")
    return found


def as_array(column: pl.Series) -> pa.Array:
    """Return a column of texts as Arrow's."""
    return column.to_arrow().cast(pa.string())


def _hashes(seed: int, purpose: str, names: pa.Array) -> np.ndarray:
    """Return an unsigned number of 64 bits for each name, which depends on seed, purpose and name alone.

    Shape:
        names: strings (n,); result: uint64 (n,)
    """
    begun = hashlib.blake2b(f"{seed}/tag split/{purpose}/".encode(), digest_size=8)
    digests = bytearray()
    for name in names.cast(pa.binary()).to_pylist():
        state = begun.copy()
        state.update(name)
        digests += state.digest()
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _parts(order: np.ndarray, shares: PostShares) -> np.ndarray:
    """Return the split of each of some things, as a place in NAMES: the first in order train, the last ones test.

    Shape:
        order: integers (n,), the things' places; result: int8 (n,)
    """
    number = len(order)
    codes = np.full(number, NAMES.index(VALIDATION), np.int8)
    codes[order[: round(number * shares.train)]] = NAMES.index(TRAIN)
    codes[order[number - round(number * shares.test) :]] = NAMES.index(TEST)
    return codes


def _with_histories(posts: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Give the first half of a validation or test user's posts the split `history`; of an odd number, less."""
    rows = posts.select(pl.concat_str("user_id", "image_id", separator="/")).to_series()
    hashes = pl.Series("hash", _hashes(seed, "history", as_array(rows)))
    place = pl.struct(pl.col("time").fill_null(0), "hash", "image_id").rank("ordinal").over("user_id")
    is_early = (pl.col("split") != TRAIN) & (place <= pl.len().over("user_id") // 2)
    split = pl.when(is_early).then(pl.lit(HISTORY)).otherwise("split").alias("split")
    return posts.with_columns(hashes).with_columns(split).drop("hash")


def histories_of(posts: pl.DataFrame) -> pl.DataFrame:
    """Return how often each user gave each tag in training and `history` posts: `schemas.TAG_HISTORIES`.

    Args:
        posts: `user_id`, `tag_ids` and `split`.
    """
    posts = posts.filter(pl.col("split").is_in([TRAIN, HISTORY]))
    users, names = ranked(as_array(posts["user_id"]), do_repeat=True)
    lists = posts["tag_ids"].to_arrow().cast(pa.list_(pa.int32()))
    tags = pc.list_flatten(lists).to_numpy()
    top = int(tags.max(initial=0)) + 1
    keys, numbers = counted(np.repeat(users, pc.list_value_length(lists).to_numpy()) * top + tags)
    return pl.DataFrame(
        {
            "user_id": pl.Series(names.take(pa.array(keys // top)), dtype=pl.String),
            "tag_id": (keys % top).astype(np.int32),
            "count": numbers,
        }
    )


def summarise(posts: pl.DataFrame) -> dict[str, Any]:
    """Return the numbers of a split, whose posts are in order."""
    names = as_array(posts["split"])
    is_of = {split: np.asarray(pc.equal(names, split)) for split in NAMES}
    images = np.cumsum(begins_run(as_array(posts["image_id"])))
    users = as_array(posts["user_id"]).dictionary_encode().indices.to_numpy()
    has_tags = posts["tag_ids"].list.len().to_numpy() > 0
    learned = np.bincount(users[(is_of[TRAIN] | is_of[HISTORY]) & has_tags], minlength=len(users) + 1) > 0
    trains = np.bincount(images[is_of[TRAIN]], minlength=len(images) + 1) > 0
    is_tested = is_of[TEST]
    return {
        "posts": {split: int(is_of[split].sum()) for split in sorted(NAMES) if is_of[split].any()},
        "test posts": {
            "without a history": int((~learned[users[is_tested]]).sum()),
            "without a tag": int((~has_tags[is_tested]).sum()),
            "of an image that trains": int(trains[images[is_tested]].sum()),
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tags", type=Path, required=True, help="the folder that pipelines.tags.tag_log wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("tag splits") as closing:
        params = load_section(TagSplitParams, "tag_splits", arguments.params)
        seeds = read_seeds(arguments.params)
        posts = pl.DataFrame(read_tables(arguments.tags / "posts"))
        summary = {}
        with whole_directory(arguments.output) as folder:
            for seed in seeds:
                found = split_posts(posts, seed, params)
                table = found.select(schemas.POST_SPLITS.names).to_arrow().cast(schemas.POST_SPLITS)
                write_table(table, folder / f"splits/seed-{seed}.parquet")
                histories = histories_of(found).to_arrow().cast(schemas.TAG_HISTORIES)
                write_table(histories, folder / f"histories/seed-{seed}.parquet")
                summary[f"seed-{seed}"] = summarise(found)
            write_json(summary, folder / "summary.json")
        first = summary[f"seed-{seeds[0]}"]
        closing.counts = {f"posts, {split}": number for split, number in first["posts"].items()}
        closing.counts |= {f"test posts {name}": number for name, number in first["test posts"].items()}
        closing.wrote[str(arguments.output)] = f"splits and histories for {len(seeds)} seeds, by {params.by}"


if __name__ == "__main__":
    main()
