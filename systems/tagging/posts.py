"""The posts that a run learns from or is tested on, with their pictures, tags and histories."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from base.artifacts import read_tables
from base.console import UserError, log
from base.seeding import derive_seed
from model.data.histories import Histories, ragged_places, relative
from model.data.images import ImageStore
from model.frozen_features import Frozen, read_frozen
from model.heads import read_features
from systems.tagging.config import HistoryMode


@dataclass(frozen=True)
class Sources:
    """Where posts come from.

    Attributes:
        tags: the folder that `pipelines.tags.tag_log` wrote.
        splits: the folder that `pipelines.tags.split` wrote.
        seed: of the split.
        images: folder of the ingested images; None: a log without pictures, for recommenders that need none.
        features: frozen features of every image; read with features as input.
    """

    tags: Path
    splits: Path
    seed: int
    images: Path | None
    features: Path | None = None

    def vocabulary(self) -> list[str]:
        """Return the tags, in the order of their ids."""
        return list(read_tables(self.tags / "vocabulary.parquet", ["tag"])["tag"].to_pylist())

    def every_post(self) -> pl.DataFrame:
        """Return all posts: schemas.POSTS with the column `split`.

        Raises:
            UserError: the split is not of these posts.
        """
        posts = pl.DataFrame(read_tables(self.tags / "posts"))
        splits = pl.DataFrame(read_tables(self.splits / f"splits/seed-{self.seed}.parquet"))
        joined = posts.join(splits, on=["image_id", "user_id"], how="inner")
        if len(joined) != len(posts) or len(splits) != len(posts):
            raise UserError(
                f"{self.splits}: its {len(splits):,} posts are not the {len(posts):,} of {self.tags}; split again"
            )
        return joined

    def posts(self) -> pl.DataFrame:
        """Return the posts with pictures (all, of a log without any) by image and user, with `split` and `domain`.

        Raises:
            UserError: the split is not of these posts, or no post has a picture.
        """
        posts = self.every_post()
        if self.images is None:
            return posts.with_columns(domain=pl.lit("source")).sort("image_id", "user_id")
        pictures = pl.DataFrame(read_tables(self.images, ["image_id", "domain"]))
        with_pictures = posts.join(pictures, on="image_id", how="inner").sort("image_id", "user_id")
        if with_pictures.is_empty():
            raise UserError(f"{self.images}: no picture of any of the {len(posts):,} posts; do the ids agree?")
        if lacking := len(posts) - len(with_pictures):
            log.warning(
                "%s: %s of %s posts have no picture and are left out", self.images, f"{lacking:,}", f"{len(posts):,}"
            )
        return with_pictures

    def histories(self, num_tags: int) -> Histories:
        """Return the users' histories, which have training posts alone."""
        table = pl.DataFrame(read_tables(self.splits / f"histories/seed-{self.seed}.parquet"))
        return Histories(table, num_tags)


@dataclass(frozen=True)
class Posts:
    """Some posts of a split, ready to be loaded. P posts, N tags.

    Attributes:
        rows: `image_id`, `user_id`, `split`, ...; one row per post.
        tags: the vocabulary.
        histories: of all users.
        users: the row of each post's user in the histories; -1: none.
        image_rows: the row of each post's picture in `pictures`.
        pictures: the pictures, or their frozen features, one of each image; features without columns of a log without
            pictures.
        fingerprint: changes if posts, histories or pictures change.
        frozen: what made the features; None: there are none, or they don't say.
    """

    rows: pl.DataFrame
    tags: list[str]
    histories: Histories
    users: np.ndarray
    image_rows: np.ndarray
    pictures: ImageStore | np.ndarray
    fingerprint: str
    frozen: Frozen | None = None

    @classmethod
    def read(
        cls, sources: Sources, splits: Sequence[str], pixels: int | None, cache: bool, read: bool = True
    ) -> "Posts":
        """Read the posts of some splits; those that train or validate must have a tag of the vocabulary.

        Args:
            sources: where they are.
            splits: the splits.
            pixels: shorter side of the pictures; None: read features instead.
            cache: whether to keep decoded pictures in memory.
            read: see `ImageStore`; a training reads what its process needs.

        Raises:
            UserError: files are missing or don't fit together, or `features` is needed and not given.
        """
        tags = sources.vocabulary()
        has_tag = (pl.col("tag_ids").list.len() > 0) | (pl.col("split") == "test")
        rows = sources.posts().filter(pl.col("split").is_in(list(splits)) & has_tag)
        histories = sources.histories(len(tags))
        shown = rows.select("domain", "image_id").unique().sort("domain", "image_id")
        places = shown.with_row_index("place")
        joined = rows.join(places, on=["domain", "image_id"], how="left", maintain_order="left")
        pictures: ImageStore | np.ndarray
        files: list[Path] = []
        frozen: Frozen | None = None
        if sources.images is None:
            if pixels is not None or sources.features is not None:
                raise UserError("pictures are needed: name the folder of the ingested images by --images")
            pictures = np.zeros((len(shown), 0), np.float32)
        elif pixels is not None:
            pictures = ImageStore(sources.images, shown, pixels, cache, read)
            files = sorted(sources.images.glob("*.parquet"))
        else:
            if sources.features is None:
                raise UserError("features are needed: name the folder of frozen features by --features")
            pictures = read_features(sources.features, shown)
            frozen = read_frozen(sources.features)
            files = sorted(sources.features.glob("*.parquet"))
        digest = hashlib.blake2b(rows.write_json().encode(), digest_size=16)
        digest.update(histories.counts.data.tobytes() + histories.counts.indices.tobytes())
        digest.update("\n".join([*tags, *histories.user_ids]).encode())
        for file in files:
            digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
        return cls(
            rows,
            tags,
            histories,
            histories.rows_of(rows["user_id"]),
            joined["place"].to_numpy().astype(np.int64),
            pictures,
            digest.hexdigest(),
            frozen,
        )

    def row_numbers(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, ascending."""
        return (self.rows["split"] == split).arg_true().to_numpy()

    @cached_property
    def tag_lists(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each post's tags begin in the tags of all posts, and these: int64 (P + 1,), int64."""
        lists = self.rows["tag_ids"]
        return np.r_[
            0, np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)
        ], lists.explode().drop_nulls().to_numpy().astype(np.int64)

    @cached_property
    def trains(self) -> np.ndarray:
        """Whether each post trains: bool (P,)."""
        return (self.rows["split"] == "train").to_numpy()

    def tags_of(self, rows: np.ndarray, is_wanted: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the tags of some posts as pairs: the place of a post in `rows`, and a tag.

        Args:
            rows: of the posts.
            is_wanted: of which of them tags are returned; None: of all.
        """
        offsets, tags = self.tag_lists
        posts, places = ragged_places(offsets, rows, is_wanted)
        return posts, tags[places]

    def tag_ids(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Return the tags of some posts."""
        offsets, tags = self.tag_lists
        return [tags[offsets[row] : offsets[row + 1]] for row in rows]

    def labels(self, rows: Sequence[int] | np.ndarray, kind: type = np.bool_) -> np.ndarray:
        """Return whether each post has each tag, as numbers of a kind: (B, N)."""
        found: np.ndarray = np.zeros((len(rows), len(self.tags)), kind)
        found[self.tags_of(np.asarray(rows, np.int64))] = 1
        return found

    def relative_history(
        self, rows: np.ndarray, mode: HistoryMode, seed: int = 0, passes: Sequence[int | None] | None = None
    ) -> np.ndarray:
        """Return u_h of each post, which is `relative` of `history` with the same arguments, without making that.

        Shape:
            result: float32 (B, N), in [0, 1]
        """
        if mode == "leave-one-out":
            return self.histories.relative_of(self.users[rows], self.tags_of(rows, self.trains[rows]))
        if mode == "whole":
            return self.histories.relative_of(self.users[rows])
        return relative(self.history(rows, mode, seed, passes))

    def history(
        self,
        rows: Sequence[int] | np.ndarray,
        mode: HistoryMode,
        seed: int = 0,
        passes: Sequence[int | None] | None = None,
    ) -> np.ndarray:
        """Return the history of each post's user, as counts.

        Args:
            rows: of the posts.
            mode: ``leave-one-out``: a training post's own tags are left out (no other post's are in the history);
                ``whole``: they are not; ``shuffled``: that of another user; ``none``: zeros; ``thinned``: as
                leave-one-out, and of what remains for a training post a random share is kept: see `_thinned`.
            seed: of the shuffling and thinning.
            passes: the pass in which each post is drawn, for thinning; None: outside of training, where it isn't done.

        Shape:
            result: int64 (B, N)
        """
        users = self.users[rows]
        if mode == "none":
            return self.histories.of(np.full(len(users), -1))
        if mode == "shuffled":
            return self.histories.of(np.where(users >= 0, self._others(seed)[users], -1))
        if mode == "whole":
            return self.histories.of(users)
        own = [ids if trains else ids[:0] for ids, trains in zip(self.tag_ids(rows), self.trains[rows], strict=True)]
        counts = self.histories.of(users, own)
        return self._thinned(counts, rows, seed, passes) if mode == "thinned" and passes is not None else counts

    def _thinned(
        self, counts: np.ndarray, rows: Sequence[int] | np.ndarray, seed: int, passes: Sequence[int | None]
    ) -> np.ndarray:
        """Keep each of a history's tags with a probability that is drawn from [0, 1) for each post in each pass.

        Leaving a post's own tags out lowers just their counts by one. A network that knows each user's whole counts can
        see that, and learns that a low count means the tag, which is wrong of test posts. With random counts it can't.
        """
        found = counts.copy()
        for number, (row, pass_number) in enumerate(zip(rows, passes, strict=True)):
            if pass_number is not None:
                random = np.random.default_rng(derive_seed(seed, "history thinned", pass_number, int(row)))
                found[number] = random.binomial(counts[number], random.random())
        return found

    def _others(self, seed: int) -> np.ndarray:
        """Return another user for each user with a history; every user is another's other."""
        number = len(self.histories.user_ids)
        order = np.random.default_rng(derive_seed(seed, "histories shuffled")).permutation(number)
        others = np.zeros(number, np.int64)
        others[order] = np.roll(order, 1)
        return others

    def names(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Return a name of each post that shows neither its user nor its image: a hash of both."""
        pairs = self.rows.select("image_id", "user_id")[list(rows)].iter_rows()
        return [hashlib.blake2b("\0".join(pair).encode(), digest_size=8).hexdigest() for pair in pairs]
