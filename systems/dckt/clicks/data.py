"""A click log as pairs of an image and a query, with their features and splits.

Shapes: N images, Q queries, P pairs, D features of images, T of queries.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from base.artifacts import read_tables
from base.console import UserError
from base.seeding import derive_seed
from model.heads import read_features
from systems.dckt.clicks.config import TRAIN, VALIDATION


@dataclass(frozen=True)
class Clicks:
    """The clicked pairs of a log whose image is selected and whose query has a known word.

    Attributes:
        images, queries: ids and texts, sorted.
        image_split, query_split: (N,) and (Q,): train, validation or test.
        image_features, query_features: float32 (N, D) and (Q, T).
        image, query: int64 (P,), the number of each pair's image and query; by query, then image.
        clicks: int64 (P,).
    """

    images: list[str]
    queries: list[str]
    image_split: np.ndarray
    query_split: np.ndarray
    image_features: np.ndarray
    query_features: np.ndarray
    image: np.ndarray
    query: np.ndarray
    clicks: np.ndarray

    def pairs(self, query_split: str, image_split: str) -> np.ndarray:
        """Return the numbers of the pairs whose query and image are in these splits, ascending."""
        chosen = (self.query_split[self.query] == query_split) & (self.image_split[self.image] == image_split)
        return np.flatnonzero(chosen)

    def matrix(self) -> sparse.csr_array:
        """Return the clicks of each query on each image: int64 (Q, N)."""
        return sparse.csr_array((self.clicks, (self.query, self.image)), shape=(len(self.queries), len(self.images)))

    def shuffled(self, seed: int) -> "Clicks":
        """Return the log with images exchanged among those of the same split; test images keep their clicks."""
        moved = np.arange(len(self.images))
        for split in (TRAIN, VALIDATION):
            rows = np.flatnonzero(self.image_split == split)
            moved[rows] = np.random.default_rng(derive_seed(seed, "shuffled clicks", split)).permutation(rows)
        image = moved[self.image]
        order = np.lexsort((image, self.query))
        return replace(self, image=image[order], query=self.query[order], clicks=self.clicks[order])

    @property
    def fingerprint(self) -> str:
        """A digest of everything."""
        digest = hashlib.blake2b(digest_size=16)
        for names in (self.images, self.queries, self.image_split.tolist(), self.query_split.tolist()):
            digest.update("\n".join(names).encode())
        for values in (self.image_features, self.query_features, self.image, self.query, self.clicks):
            digest.update(values.tobytes())
        return digest.hexdigest()


def read_clicks(data: Path, embedded: Path, queries: Path, seed: int) -> tuple[Clicks, dict[str, int]]:
    """Return the clicks of a data set, and how many rows of the log are used, or why not; they add up.

    Args:
        data: the data set's folder.
        embedded: frozen features of its images, `schemas.EMBEDDED`.
        queries: `schemas.QUERY_FEATURES`.
        seed: of the split of images.

    Raises:
        UserError: a file is missing or damaged, an image has no features, or no row of the log can be used.
    """
    split = data / "splits" / f"seed-{seed}.parquet"
    images = pl.DataFrame(read_tables(split, ["image_id", "domain", "split"]))
    images = images.filter(domain="source").sort("image_id").with_row_index("image")
    known = pl.DataFrame(read_tables(queries, ["query", "split", "feature"])).sort("query").with_row_index("asked")
    log = pl.DataFrame(read_tables(data / "ingested" / "clicks"))
    of_images = log.join(images.select("image_id", "image"), on="image_id", how="inner")
    used = of_images.join(known.select("query", "asked"), on="query", how="inner").sort("asked", "image")
    counts = {
        "rows of the log": len(log),
        "rows of images that are not selected": len(log) - len(of_images),
        "rows of queries without a known word": len(of_images) - len(used),
        "rows used": len(used),
    }
    if used.is_empty():
        raise UserError(f"{data}: no row of the log has both a selected image and a query with a known word: {counts}")
    numbers = {name: used[name].cast(pl.Int64).to_numpy() for name in ("image", "asked", "clicks")}
    features = np.stack(list(known["feature"].to_numpy())).astype(np.float32)
    clicks = Clicks(
        images=images["image_id"].to_list(),
        queries=known["query"].to_list(),
        image_split=images["split"].to_numpy(),
        query_split=known["split"].to_numpy(),
        image_features=read_features(embedded, images.select("domain", "image_id")),
        query_features=features,
        image=numbers["image"],
        query=numbers["asked"],
        clicks=numbers["clicks"],
    )
    return clicks, counts
