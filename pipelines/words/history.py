"""Keep what is needed to add a later log to a build of click features, and add it.

The features of two logs are not the sum of theirs: words change their ranks, enter the vocabulary and leave it, and
every weight depends on the number of images. But C' is a sum. The features contain C' for the words of the vocabulary.
Beside them a build keeps

- ``history/words/part-NNNNN.parquet``: the clicks of *all* words (word, clicks), most clicked first in each file;
- ``history/log-NNNN/``: the segmented log, added up, in buckets by query, one folder for each log that was added:

  - ``queries-NNNNN.arrow``: query, words (each once); a row for each distinct query of the bucket;
  - ``clicks-NNNNN.arrow``: image_id, query (its row in the file of queries), clicks;

- ``history/log-NNNN/files.json``: name and SHA-256 of each of its files, so that no file is added twice;
- ``history/options.json``: the options that decide on words and images; a log can be added only with the same options.

The old log is read only for its queries' names (to count the new ones) and, if a word enters the vocabulary, for this
word's clicks. Otherwise it costs nothing, and the old features cost only the time to read and write them. The files are
in Arrow's own format, quick to write and to read in part; ``polars.read_ipc`` and ``pyarrow.feather.read_table`` read
them too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from base.artifacts import read_tables, shard_name, whole_file, write_json
from base.console import UserError
from base.schemas import CLICK_FEATURES, CLICK_MATRIX, QUARANTINE, VOCABULARY
from base.stores import Location, copy, location, sorted_glob
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import read_shard, shard_files
from pipelines.beam.shuffle import IPC_OPTIONS, GroupIntoShards, Packer, merge
from pipelines.ingest.click_log import check_block
from pipelines.ingest.log_format import LogFormat
from pipelines.ingest.log_slices import TSV, LogFile, plan_slices, read_slice
from pipelines.ingest.sums import check_sums
from pipelines.words.about import check_version, file_digest, read_about, segment_options
from pipelines.words.click_matrix import IMAGE_SHARDS, matrix_batch
from pipelines.words.query_buckets import QueryBucket
from pipelines.words.segmentation import SegmentParams

HISTORY = "history"
FILES = "files.json"
NOTHING = hashlib.sha256().hexdigest()  # the digest of an empty file
QUERY = pa.schema([pa.field("query", pa.string(), nullable=False)])


def fingerprint(segment: SegmentParams, images: Location | None) -> dict[str, Any]:
    """Return the options that decide on a row's words and on whether its image counts.

    Args:
        segment: section ``segment``; files that it names are replaced by their digests.
        images: the file of the images to keep, if not all.
    """
    return {**segment_options(segment), "images": None if images is None else file_digest(images)}


@dataclass(frozen=True)
class History:
    """The options and files that a build records for later builds.

    Attributes:
        options: the result of :func:`fingerprint`.
        files: the result of :func:`digests_of` for the log.
    """

    options: Mapping[str, Any]
    files: Mapping[str, str]

    def start(self, build: Location, previous: "Previous | None") -> None:
        """Create the history's folders in a build, with the logs of the previous build.

        The files are never changed, so links are as good as copies.
        """
        (build / HISTORY / "words").mkdir(parents=True)
        for log in [] if previous is None else previous.logs():
            (build / HISTORY / log.name).mkdir()
            for file in log.iterdir():
                copy(file, build / HISTORY / log.name / file.name)
        log = log_of(build, len(logs_of(build)))
        log.mkdir()
        write_json(self.files, log / FILES)
        write_json(self.options, build / HISTORY / "options.json")

    def folders(self, build: Location) -> tuple[Location, Location]:
        """Return the folders for the log that is being added and for the words."""
        return logs_of(build)[-1], build / HISTORY / "words"


def digests_of(files: Sequence[LogFile], form: LogFormat = TSV) -> dict[str, str]:
    """Return the SHA-256 of each file of a log, by the file's name.

    Args:
        files: the log.
        form: how its text is written.

    Raises:
        UserError: two files have the same content. Files without clicks may, as empty ones and those with a header
            only.
    """
    digests: dict[str, str] = {}
    names: dict[str, str] = {}
    for file in files:
        digest = file_digest(location(file.path))
        if digest != NOTHING and digest in names and has_clicks(file, form):
            raise UserError(
                f"{file.path}: has the content of {names[digest]}: its clicks would count twice; leave one out"
            )
        digests[file.name], names[digest] = digest, file.path
    return digests


def has_clicks(file: LogFile, form: LogFormat) -> bool:
    """Return whether any row of a file is kept; rows are read until one is."""
    blocks = chain.from_iterable(read_slice(part, form) for part in plan_slices(file, form))
    return any(checked.clicks.num_rows for block in blocks for checked in check_block(block, form.longest))


def known_files(build: Location) -> dict[str, str]:
    """Return the files that a build has already counted: each file's name by its SHA-256.

    Empty files are left out, because they add no clicks; builds without a history have none.
    """
    return {
        digest: name
        for log in logs_of(build)
        if (log / FILES).is_file()
        for name, digest in _read_json(log / FILES).items()
        if digest != NOTHING
    }


def _read_json(path: Location) -> dict[str, Any]:
    """Return the contents of a JSON file of a build.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); build anew from all logs") from None


def logs_of(build: Location) -> Sequence[Location]:
    """Return the folders of a build's logs, the oldest first."""
    return sorted_glob(build / HISTORY, "log-*")


def log_of(build: Location, number: int) -> Location:
    """Return the folder of a log by its number, from 0."""
    return build / HISTORY / f"log-{number:04d}"


@dataclass(frozen=True)
class Previous:
    """An existing build, to which a log is added.

    Attributes:
        build: folder that ``build_click_features`` wrote; of an output in a store the current build's.
    """

    build: Location

    def check(self, history: History, files: Sequence[LogFile], form: LogFormat) -> None:
        """Check that the build is whole, has a history and the same options, and lacks the log's files.

        Args:
            history: the options and files of the log that is added.
            files: that log.
            form: how it is written.

        Raises:
            UserError: one of these does not hold.
        """
        if not (self.build / "summary.json").is_file():
            raise UserError(f"{self.build}: no build of click features here (no summary.json)")
        path = self.build / HISTORY / "options.json"
        if not path.is_file():
            raise UserError(f"{self.build}: was built with --no-history; build it anew without, from all of its logs")
        num_shards = len(shard_files(self.build / "click_features"))
        if num_shards != IMAGE_SHARDS:
            raise UserError(
                f"{self.build}: has {num_shards} shards of features, builds now have {IMAGE_SHARDS}; "
                "build anew from all logs"
            )
        check_version(self.about(), self.build / "vocabulary.parquet")
        self.summary()
        built = _read_json(path)
        for name, value in history.options.items():
            if built.get(name) != value:
                raise UserError(
                    f"{self.build}: was built with another {name.replace('_', ' ')} ({built.get(name)}, now {value}); "
                    "use the same options for words and images, or build anew from all logs"
                )
        known = known_files(self.build)
        for file in files:
            digest = history.files[file.name]
            if digest in known and has_clicks(file, form):
                raise UserError(
                    f"{file.name}: {self.build} has this file already, as {known[digest]}: its clicks would count "
                    "twice; leave it out"
                )

    def summary(self) -> dict[str, Any]:
        """Return the contents of summary.json."""
        return _read_json(self.build / "summary.json")

    def about(self) -> dict[str, str]:
        """Return what the vocabulary's metadata say of the build."""
        return read_about(self.build / "vocabulary.parquet")

    def logs(self) -> Sequence[Location]:
        """Return the folders of the logs, the oldest first."""
        return logs_of(self.build)

    def word_files(self) -> Sequence[Location]:
        """Return the files of all words' clicks."""
        return shard_files(self.build / HISTORY / "words")

    def quarantine(self, job: beam.Pipeline) -> beam.PCollection:
        """Return the quarantined rows, in batches; schemas.QUARANTINE."""
        return (
            job
            | "OldQuarantine" >> beam.Create(shard_files(self.build / "quarantine"), reshuffle=False)
            | "OldRefused" >> beam.Map(read_quarantine).with_output_types(pa.RecordBatch)
        )

    def words(self) -> pa.Array:
        """Return the vocabulary's words by word_id."""
        return read_shard(self.build / "vocabulary.parquet", VOCABULARY).column("word")

    def rows(self, shard: int, words: pa.RecordBatch) -> pa.RecordBatch:
        """Return a shard of the click matrix under the word_ids of a new vocabulary; see :func:`with_new_ids`."""
        features = read_shard(self.build / "click_features" / shard_name(shard), CLICK_FEATURES)
        return with_new_ids(features, self.words(), words)

    def entering(self, job: beam.Pipeline, words: beam.PCollection) -> beam.PCollection:
        """Return the old logs' clicks on words that enter the vocabulary; schemas.CLICK_MATRIX.

        Args:
            job: the pipeline.
            words: the new vocabulary, a collection of one record batch.
        """
        return (
            job
            | "OldLogs" >> beam.Create(self._query_files())
            | "EnteringWords"
            >> concurrently(
                "history", clicks_of_entering_words, self.words(), beam.pvalue.AsSingleton(words)
            ).with_output_types(pa.RecordBatch)
        )

    def queries(self, job: beam.Pipeline, names: beam.PCollection, packer: Packer) -> beam.PCollection:
        """Return the number of distinct queries of all logs, as one count.

        Args:
            job: the pipeline.
            names: the new log's queries, each once, in batches (QUERY). Together they must fit into memory.
            packer: how names travel.
        """
        together = names | "Names" >> GroupIntoShards(
            QUERY, "query", 1, lambda _, batch: [batch], packer, "history"
        ).with_output_types(pa.RecordBatch)
        new = beam.pvalue.AsSingleton(together)
        return (
            job
            | "OldQueryFiles" >> beam.Create(self._query_files())
            | "Known" >> concurrently("history", which_are_known, new).with_output_types(bytes)
            | "KnownInAny" >> beam.CombineGlobally(any_of)
            | "NumQueries" >> beam.Map(num_queries, new, self.summary()["queries"]).with_output_types(tuple[str, int])
        )

    def _query_files(self) -> list[str]:
        return [str(file) for log in self.logs() for file in sorted_glob(log, "queries-*.arrow")]


def read_quarantine(path: Location) -> pa.RecordBatch:
    """Read a file of the quarantine; files of an earlier version lack the column ``rows``: each record is one row."""
    table = read_tables(path)
    if "rows" not in table.column_names:
        table = table.append_column("rows", pa.repeat(pa.scalar(1, pa.int64()), len(table)))
    return merge(table.to_batches(), QUARANTINE)


def which_are_known(path: str, names: pa.RecordBatch) -> Iterable[bytes]:
    """Return as bits which of some queries a file of the history has."""
    (old,) = _read(location(path), ["query"])
    rows = pc.index_in(old, value_set=names.column("query")).drop_null().to_numpy()
    is_known = np.zeros(names.num_rows, bool)
    is_known[rows] = True
    return [np.packbits(is_known).tobytes()]


def any_of(masks: Iterable[bytes]) -> bytes:
    """Return the bits that are set in any of some masks; no bits if there is no mask."""
    arrays = [np.frombuffer(mask, np.uint8) for mask in masks if mask]
    return np.bitwise_or.reduce(arrays).tobytes() if arrays else b""


def num_queries(known: bytes, names: pa.RecordBatch, num_old: int) -> tuple[str, int]:
    """Return the number of queries of the old logs and a new log together, where some of the new are known."""
    return "queries", num_old + names.num_rows - int.from_bytes(known, "big").bit_count()


def write_bucket(bucket: int, segmented: QueryBucket, queries: pa.Array, directory: Location) -> None:
    """Write a bucket of the segmented log.

    Args:
        bucket: its number.
        segmented: its matrices.
        queries: its queries, in the matrices' order.
        directory: the log's folder in the history.
    """
    clicks, words = segmented.query_clicks, segmented.query_words
    images = np.repeat(np.arange(clicks.shape[0], dtype=np.int32), np.diff(clicks.indptr))
    tables = {
        "clicks": {
            "image_id": pa.DictionaryArray.from_arrays(pa.array(images), segmented.image_ids),
            "query": pa.array(clicks.indices, pa.int32()),
            "clicks": pa.array(clicks.data, pa.int64()),
        },
        "queries": {
            "query": queries,
            "words": pa.ListArray.from_arrays(
                pa.array(words.indptr, pa.int32()),
                pa.DictionaryArray.from_arrays(pa.array(words.indices, pa.int32()), segmented.words),
            ),
        },
    }
    for name, columns in tables.items():
        batch = pa.record_batch(columns)
        with (
            whole_file(directory / f"{name}-{bucket:05d}.arrow") as path,
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, batch.schema, options=IPC_OPTIONS) as stream,
        ):
            stream.write_batch(batch)


def _read(path: Location, columns: Sequence[str]) -> list[pa.Array]:
    """Read some columns of a file of the history."""
    with pa.OSFile(str(path)) if isinstance(path, Path) else path.open("rb") as file:
        names = pa.ipc.open_file(file).schema.names
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(column) for column in columns])
        batch = pa.ipc.open_file(file, options=options).get_batch(0)
        return [batch.column(column) for column in columns]


def clicks_of_entering_words(path: str, old_words: pa.Array, words: pa.RecordBatch) -> Iterable[pa.RecordBatch]:
    """Return a bucket's share of C' in the columns of the words that enter the vocabulary; schemas.CLICK_MATRIX.

    Args:
        path: the bucket's file of queries; the file of its clicks is in the same folder.
        old_words: the words of the vocabulary so far.
        words: the new vocabulary by word_id, column word.
    """
    entering = np.flatnonzero(~np.asarray(pc.is_in(words.column("word"), value_set=old_words)))
    if not len(entering):
        return
    (lists,) = _read(location(path), ["words"])
    flat = lists.flatten()
    columns = pc.fill_null(pc.index_in(flat.dictionary, value_set=words.column("word").take(entering)), -1).to_numpy()
    found = np.flatnonzero(columns[flat.indices.to_numpy()] >= 0)
    if not len(found):
        return
    query_of_word = np.searchsorted(lists.offsets.to_numpy(), found, side="right") - 1
    word_ids = entering[columns[flat.indices.to_numpy()[found]]]
    contains = sparse.csr_array(
        (np.ones(len(found), np.int64), (query_of_word, word_ids)), shape=(len(lists), len(words))
    )
    images, queries, clicks = _read(clicks_file(location(path)), ["image_id", "query", "clicks"])
    rows = np.flatnonzero((np.diff(contains.indptr) > 0)[queries.to_numpy()])
    codes, image_of_row = np.unique(images.indices.to_numpy()[rows], return_inverse=True)
    clicked = sparse.csr_array(
        (clicks.to_numpy()[rows], (image_of_row, queries.to_numpy()[rows])), shape=(len(codes), len(lists))
    )
    check_sums(
        clicked.data,
        lambda numbers: (
            (sparse.csr_array((numbers, clicked.indices, clicked.indptr), shape=clicked.shape) @ contains).data
        ),
    )
    yield matrix_batch(images.dictionary.take(pa.array(codes)), clicked @ contains)


def clicks_file(queries_file: Location) -> Location:
    """Return the file of clicks that belongs to a file of queries."""
    return queries_file.with_name(queries_file.name.replace("queries", "clicks"))


def with_new_ids(features: pa.RecordBatch, old_words: pa.Array, words: pa.RecordBatch) -> pa.RecordBatch:
    """Return features as clicks under a new vocabulary's word_ids; schemas.CLICK_MATRIX, ids in any order.

    Every image keeps its row; words that leave the vocabulary are removed from the rows.

    Args:
        features: schemas.CLICK_FEATURES.
        old_words: the words by the features' word_ids.
        words: the new vocabulary by word_id, column word.
    """
    new_ids = pc.fill_null(pc.index_in(old_words, value_set=words.column("word")), -1).to_numpy()
    ids = new_ids[features.column("word_ids").flatten().to_numpy()]
    clicks = features.column("clicks").flatten().to_numpy()
    starts = np.r_[0, np.cumsum(pc.list_value_length(features.column("word_ids")).to_numpy())]
    if (new_ids < 0).any():
        is_kept = ids >= 0
        starts = np.r_[0, np.cumsum(is_kept)][starts]
        ids, clicks = ids[is_kept], clicks[is_kept]
    offsets = pa.array(starts, pa.int32())
    return pa.record_batch(
        [
            features.column("image_id"),
            pa.ListArray.from_arrays(offsets, pa.array(ids, pa.int32())),
            pa.ListArray.from_arrays(offsets, pa.array(clicks, pa.int64())),
        ],
        schema=CLICK_MATRIX,
    )
