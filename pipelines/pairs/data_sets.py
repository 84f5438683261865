"""Read image-text pairs from click data sets: raw ones with captions, or ingested ones with captions or clicks.

An image of a chosen domain is a pair with its category; its text are its captions, or the queries clicked for it
(:mod:`pipelines.pairs.captions`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from base.artifacts import read_tables, reading
from pipelines.beam.shards import shard_files
from pipelines.ingest.image_catalogue import Refused, list_images
from pipelines.pairs.captions import Texts, read_captions, read_queries
from pipelines.pairs.records import Piece, RawPair

MOST_ROWS = 64  # of a piece, and of Parquet read at once
CAPTIONS = "captions.tsv"  # of a raw data set
DOMAINS = ("source", "target")


@dataclass(frozen=True)
class ListedPiece(Piece):
    """Some pairs that are known but for their images.

    Attributes:
        root: the raw data set's folder.
        pairs: the pairs.
    """

    root: Path
    pairs: tuple[RawPair, ...]

    def read(self) -> Iterator[RawPair]:
        """Yield the pairs."""
        yield from self.pairs


@dataclass(frozen=True)
class ShardPiece(Piece):
    """A shard of ingested images.

    Attributes:
        root: the folder of the shards.
        name: the shard's file.
        domains: those whose images are taken.
        texts: by image id.
    """

    root: Path
    name: str
    domains: tuple[str, ...]
    texts: dict[str, str]

    def read(self) -> Iterator[RawPair]:
        """Yield the pairs."""
        number = 0
        with reading(self.root / self.name), pq.ParquetFile(self.root / self.name) as file:
            for batch in file.iter_batches(MOST_ROWS, columns=["image_id", "domain", "category", "image"]):
                for row in batch.to_pylist():
                    number += 1
                    if row["domain"] in self.domains:
                        image_id = row["image_id"]
                        text = self.texts.get(image_id, "")
                        yield RawPair(self.name, number, image_id, row["category"], None, text, row["image"]["bytes"])


def raw_pieces(
    raw: Path, domains: Sequence[str], captions: Path | None, languages: Sequence[str] | None, most: int | None
) -> tuple[list[ListedPiece], Texts]:
    """Return the pieces of a raw data set, and what became of its captions.

    Args:
        raw: the data set's folder, as for :mod:`pipelines.ingest.click_data`.
        domains: source, target, or both.
        captions: the table of captions; by default the data set's own.
        languages: see :func:`pipelines.pairs.captions.read_captions`.
        most: see there.

    Raises:
        UserError: the folder does not have the layout of a click data set, or there are no captions.
    """
    catalogue = list_images(raw)
    entries = [entry for entry in catalogue.entries if entry.domain in domains]
    path = captions if captions is not None else raw / CAPTIONS
    texts = read_captions(path, {entry.image_id for entry in entries}, languages, most)
    pairs = [
        RawPair(
            entry.place.file, entry.place.row, entry.image_id, entry.category,
            text=texts.by_image.get(entry.image_id, ""), image=entry.place,
        )
        for entry in entries
    ]  # fmt: skip
    pairs += [
        RawPair(refused.file, refused.row, reason=refused.reason, raw=refused.raw)
        for refused in catalogue.refused
        if domain_of(refused) in domains
    ]
    return [ListedPiece(raw, tuple(pairs[at : at + MOST_ROWS])) for at in range(0, len(pairs), MOST_ROWS)], texts


def domain_of(refused: Refused) -> str:
    """Return the domain of a row or file that the catalogue refused."""
    return "target" if refused.file.startswith("target") else "source"


def ingested_pieces(
    ingested: Path, domains: Sequence[str], captions: Path | None, languages: Sequence[str] | None, most: int | None
) -> tuple[list[ShardPiece], Texts]:
    """Return the pieces of an ingested data set, and what became of its captions or clicks.

    Args:
        ingested: the folder that :mod:`pipelines.ingest.click_data` writes.
        domains: source, target, or both.
        captions: the table of captions; None: the texts are the queries clicked for an image.
        languages: see :func:`pipelines.pairs.captions.read_captions`.
        most: sentences or queries of an image that are taken at most.

    Raises:
        UserError: there are no images, or no captions or clicks.
    """
    files = shard_files(ingested / "images")
    listed = read_tables(ingested / "images", ["image_id", "domain"])
    listed = listed.filter(pc.is_in(listed["domain"], value_set=pl.Series(domains).to_arrow().cast("string")))
    images = set(listed["image_id"].to_pylist())
    if captions is not None:
        texts = read_captions(captions, images, languages, most)
    else:
        texts = read_queries(ingested / "clicks", images, most)
    pieces = []
    for file in files:
        here = read_tables(file, ["image_id"])["image_id"].to_pylist()
        mine = {image_id: texts.by_image[image_id] for image_id in here if image_id in texts.by_image}
        pieces.append(ShardPiece(file.parent, file.name, tuple(domains), mine))
    return pieces, texts
