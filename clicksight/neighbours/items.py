"""What the formats are written from: pictures with their texts, pairs of texts and pictures, and users' tags."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from base.artifacts import reading
from base.console import UserError
from base.schemas import CLICK_FEATURES, CLICKS, IMAGES, PAIRS
from pipelines.beam.shards import shard_files
from pipelines.words.click_features import read_vocabulary

BATCH = 64  # pictures in memory at once
LONGEST_NAME = 180  # bytes of a file's name without suffix; file systems allow 255


class Item(NamedTuple):
    """A picture with its texts.

    Attributes:
        id: image_id or pair_id.
        path: below the written folder, ``images/SHARD/NAME.SUFFIX``, made of plain characters only.
        data: the picture's file.
        category: empty if it has none.
        texts: the best first; may be empty.
    """

    id: str
    path: str
    data: bytes
    category: str
    texts: list[str]


@dataclass(frozen=True)
class Source:
    """Where a format's content comes from; each format names the parts that it needs.

    Attributes:
        images: shards of `schemas.IMAGES`, or of `schemas.PAIRS`, which have a text.
        clicks: shards of `schemas.CLICKS`: the queries are the texts.
        features: folder of vocabulary.parquet and click_features/: the words are the texts.
        tags: folder of vocabulary.parquet and posts/, written by `pipelines.tags.tag_log`.
        texts: of a picture at most.
    """

    images: Path | None = None
    clicks: Path | None = None
    features: Path | None = None
    tags: Path | None = None
    texts: int = 5

    def items(self) -> Iterator[Item]:
        """Yield the pictures in the order of the shards.

        Raises:
            UserError: there are no pictures, a shard is damaged or of another kind, or a picture can't be read.
        """
        if self.images is None:
            raise UserError("--images: missing; this format has pictures: name a folder of shards, as ingested/images")
        for number, file in enumerate(shard_files(self.images)):
            with reading(file):
                shard = pq.ParquetFile(file)
                names = shard.schema_arrow.names
                if names not in (IMAGES.names, PAIRS.names):
                    raise UserError(f"{file}: expected the columns of ingested images or of pairs, found {names}")
                key = names[0]
                texts = {} if "text" in names else self._texts(shard.read([key])[key].to_pylist())
            for row in rows_of(shard, file):
                name, data = row[key], row["image"]["bytes"]
                path = f"images/{number:05d}/{safe_name(name)}.{suffix_of(data, name, file)}"
                yield Item(name, path, data, row["category"], [row["text"]] if "text" in row else texts.get(name, []))

    def _texts(self, ids: list[str]) -> dict[str, list[str]]:
        """Return the texts of some pictures; those of equal weight by code point."""
        if self.clicks is not None:
            rows = scan(self.clicks, CLICKS).select("image_id", text="query", weight="clicks")
            wanted = rows.filter(pl.col("image_id").is_in(ids))
        elif self.features is not None:
            features = scan(self.features / "click_features", CLICK_FEATURES).filter(pl.col("image_id").is_in(ids))
            flat = features.explode("word_ids", "clicks", "tfidf", empty_as_null=True).drop_nulls("word_ids")
            words = self.words().lazy().select(word_ids="word_id", text="word")
            wanted = flat.join(words, on="word_ids").select("image_id", "text", weight="tfidf")
        else:
            return {}
        best = wanted.sort("image_id", "weight", "text", descending=[False, True, False])
        grouped = best.group_by("image_id", maintain_order=True).agg(pl.col("text").head(self.texts)).collect()
        return dict(grouped.iter_rows())

    def words(self) -> pl.DataFrame:
        """Return the vocabulary of the click features; schemas.VOCABULARY."""
        assert self.features is not None
        return pl.DataFrame(pa.table(read_vocabulary(self.features / "vocabulary.parquet")))

    def judgements(self) -> Iterator[pl.DataFrame]:
        """Yield pairs of a text and a picture with their clicks, shard by shard: `text`, `image_id`, `clicks`.

        Raises:
            UserError: neither clicks nor features are named, or a shard is damaged or of another kind.
        """
        if self.clicks is not None:
            for file in shard_files(self.clicks):
                yield scan(file, CLICKS).select("image_id", "clicks", text="query").sort("text", "image_id").collect()
        elif self.features is not None:
            words = self.words().select("word_id", text="word").lazy()
            for file in shard_files(self.features / "click_features"):
                flat = scan(file, CLICK_FEATURES).explode("word_ids", "clicks", "tfidf", empty_as_null=True)
                pairs = flat.drop_nulls("word_ids").join(words, left_on="word_ids", right_on="word_id")
                yield pairs.select("image_id", "clicks", "text").sort("text", "image_id").collect()
        else:
            raise UserError("--clicks or --features: missing; this format has clicks of texts on pictures: name one")


def rows_of(shard: pq.ParquetFile, file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a shard, of which few are in memory.

    Raises:
        UserError: the file is damaged.
    """
    batches = shard.iter_batches(BATCH)
    while True:
        with reading(file):
            batch = next(batches, None)
        if batch is None:
            return
        yield from batch.to_pylist()


def scan(path: Path, schema: pa.Schema) -> pl.LazyFrame:
    """Scan a shard or a folder of shards.

    Raises:
        UserError: a shard is damaged, or its columns are not the schema's.
    """
    files = [path] if path.is_file() else shard_files(path)
    for file in files:
        with reading(file):
            found = pq.read_schema(file)
        if not set(schema.names) <= set(found.names):
            raise UserError(f"{file}: expected the columns {schema.names}, found {found.names}")
    return pl.scan_parquet(files)


def safe_name(name: str) -> str:
    """Return a file name for any id: ASCII, no dot, no separator, one for each id, at most 180 bytes.

    Characters other than ASCII's letters, digits, ``_`` and ``-`` are percent-encoded; a long name ends in its SHA-256.
    """
    encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(encoded) <= LONGEST_NAME:
        return encoded or "%"
    return f"{encoded[: LONGEST_NAME - 65]}-{sha256(name.encode()).hexdigest()}"


def suffix_of(data: bytes, name: str, file: Path) -> str:
    """Return the suffix of a picture's kind, from its content.

    Raises:
        UserError: it is no picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            kind = (picture.format or "").lower()
    except (UnidentifiedImageError, OSError):
        raise UserError(f"{file}: the picture {name!r} can't be read; ingest the data set again") from None
    return {"jpeg": "jpg", "mpo": "jpg"}.get(kind, kind)


def one_line(text: str) -> str:
    """Return a text with every run of white space, line ends among them, as one space."""
    return " ".join(text.split())


def write_picture(item: Item, folder: Path) -> Path:
    """Write a picture at its path below the folder; return the file."""
    path = folder / item.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(item.data)
    return path
