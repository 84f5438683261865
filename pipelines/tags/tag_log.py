"""Ingest a tag log: who gave which image which of the most used tags, in one Beam job.

    python -m pipelines.tags.tag_log --log data/raw/toy/tags.tsv --output data/sets/toy/tags

In: a log (section ``tags`` of the parameter file: pipelines/tags/layouts.py); with ``--images``, only the images of
that Parquet file or folder; with ``--leave-out``, a text with one user id in each line, whose rows are left out.
Out, whole or not at all:

- ``posts/part-*.parquet``: schemas.POSTS; a post is a user's tags of an image, each once;
- ``vocabulary.parquet``: schemas.TAG_VOCABULARY, the N tags with the most posts (ties: the first in code-point order);
- ``quarantine/part-*.parquet``: schemas.QUARANTINE; every row that could not be used, with the ids in it;
- ``summary.json``: counts that add up, without ids.

The same log and parameters give the same bytes, however the log is cut into files, on any runner and any number of
workers. (The quarantine names files and rows, so it depends on the cut.) No id of a user is logged, unless
``--show-users`` asks for an example of bad rows.
"""

import argparse
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import read_tables, shard_name, whole_directory, write_json, write_table
from base.console import UserError, as_counts, by_reason, log, rows_add_up, stage
from base.inputs import check_file
from base.params import DEFAULT_PATH, load_section
from base.schemas import POSTS, TAG_VOCABULARY
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts
from pipelines.beam.shuffle import GroupIntoShards, Packer, buckets_of, merge, packing, unpack
from pipelines.ingest.bad_rows import HARMLESS
from pipelines.ingest.click_log import find_logs, num_buckets
from pipelines.ingest.image_ids import composed, composed_ids
from pipelines.ingest.log_slices import LogFile
from pipelines.ingest.quarantine import WriteQuarantine, outliving
from pipelines.tags.layouts import TagLayout, TagLogParams, layout_of
from pipelines.tags.ranks import begins_run, counted, ranked
from pipelines.tags.read import ReadTagLog
from pipelines.tags.rows import TAG_ROWS

COUNTS_FILE, VOCABULARY_FILE = "counts", "vocabulary.parquet"
OUTPUT = ("posts", "quarantine", VOCABULARY_FILE, "summary.json")
# How many posts of each user have each tag, within the images of one shard.
USES = pa.schema([("tag", pa.string()), ("user_id", pa.string()), ("posts", pa.int64())])
NAMES = pa.schema([("tag", pa.string())])
MOST_USED = pa.schema([("tag", pa.string()), ("posts", pa.int64()), ("users", pa.int64())])


def read_users(path: Path | None) -> frozenset[str]:
    """Return the users that a text names, one in each line, in NFC.

    Raises:
        UserError: the file doesn't exist, or is not UTF-8.
    """
    if path is None:
        return frozenset()
    check_file(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); write one user id in each line") from None
    return frozenset(composed(line.strip()) for line in lines if line.strip())


def of_images(tags: pa.RecordBatch, image_ids: pa.Array) -> Iterable[beam.pvalue.TaggedOutput]:
    """Yield the tags of some images, and how many tags are of other ones."""
    kept = tags.filter(pc.is_in(tags.column("image_id"), image_ids))
    yield beam.pvalue.TaggedOutput("tags", kept)
    yield beam.pvalue.TaggedOutput("counts", ("tags: of other images", tags.num_rows - kept.num_rows))


def image_shard(
    shard: int, tags: pa.RecordBatch, packer: Packer, num_buckets: int
) -> Iterable[beam.pvalue.TaggedOutput]:
    """Merge equal tags of a shard's images into posts; yield the posts, packed, with the uses of tags and counts.

    A user's repeated tag of an image counts once, at its first time. The uses are in order of their tags' buckets.
    """
    images, users, times = (tags.column(name) for name in ("image_id", "user_id", "time"))
    names, codes = by_bucket(tags.column("tag"), num_buckets)
    begins = begins_run(images, users)  # rows of a post are mostly neighbours: only their first has its ids ranked
    image_ranks, image_ids = ranked(images.filter(pa.array(begins)), do_repeat=False)
    user_ranks, user_ids = ranked(users.filter(pa.array(begins)), do_repeat=True)
    keys = image_ranks * len(user_ids) + user_ranks
    post_keys, _ = counted(keys)
    posts = np.searchsorted(post_keys, keys)[np.cumsum(begins) - 1]

    tag_keys, _ = counted(posts * len(names) + codes)
    tag_posts, tag_codes = np.divmod(tag_keys, max(1, len(names)))
    post_images, post_users = np.divmod(post_keys, max(1, len(user_ids)))
    use_keys, numbers = counted(tag_codes * len(user_ids) + post_users[tag_posts])
    use_tags, use_users = np.divmod(use_keys, max(1, len(user_ids)))
    uses = [names.take(pa.array(use_tags)), user_ids.take(pa.array(use_users)), pa.array(numbers)]

    offsets = np.searchsorted(tag_posts, np.arange(len(post_keys) + 1)).astype(np.int32)
    columns = [  # POSTS, but with places in `names` for tag_ids: there is no vocabulary yet
        image_ids.take(pa.array(post_images)),
        user_ids.take(pa.array(post_users)),
        first_times(posts, times, len(post_keys)),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(tag_codes.astype(np.int32))),
    ]
    packed = packer.pack([pa.record_batch(columns, POSTS), pa.record_batch([names], NAMES)])
    yield beam.pvalue.TaggedOutput("shards", (shard, *packed))
    yield beam.pvalue.TaggedOutput("uses", pa.record_batch(uses, USES))
    for name, number in {"read": tags.num_rows, "repeated": tags.num_rows - len(tag_keys)}.items():
        yield beam.pvalue.TaggedOutput("counts", (f"tags: {name}", number))


def by_bucket(tags: pa.Array, num_buckets: int) -> tuple[pa.Array, np.ndarray]:
    """Return the different tags in order of their buckets, and the place of each row's tag among them.

    Shape:
        tags: strings (n,); results: strings (number of different tags,), int64 (n,)
    """
    encoded = tags.dictionary_encode()
    order = np.argsort(buckets_of(encoded.dictionary, num_buckets), kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return encoded.dictionary.take(pa.array(order)), places[encoded.indices.to_numpy()]


def first_times(posts: np.ndarray, times: pa.Array, number: int) -> pa.Array:
    """Return the first time of each post, null if all its times are unknown.

    Args:
        posts: the post of each row, 0 .. number - 1.
        times: of each row.
        number: of posts; each has a row.

    Shape:
        posts: integers (n,); times: int64 (n,); result: int64 (number,)
    """
    is_known = np.asarray(times.is_valid())
    first = np.full(number, np.iinfo(np.int64).max)
    np.minimum.at(first, posts[is_known], times.drop_null().to_numpy())
    return pa.array(first, mask=np.bincount(posts[is_known], minlength=number) == 0)


def as_batch(frame: pl.DataFrame, schema: pa.Schema) -> pa.RecordBatch:
    """Return a frame's columns of a schema as one batch."""
    return merge(frame.select(schema.names).to_arrow().to_batches(), schema)


def tag_shard(shard: int, uses: pa.RecordBatch, top: int, least_users: int) -> Iterable[pa.RecordBatch]:
    """Return the most used of a shard's tags; a tag's uses are all in one shard.

    Tags of few users are left out first: both steps commute, and fewer tags have to be ranked.
    """
    tags = uses.column("tag").dictionary_encode()
    users = uses.column("user_id").dictionary_encode()
    codes, num_users = tags.indices.to_numpy().astype(np.int64), max(1, len(users.dictionary))
    pairs, _ = counted(codes * num_users + users.indices.to_numpy())
    counts = {
        "posts": np.bincount(codes, uses.column("posts").to_numpy(), len(tags.dictionary)).astype(np.int64),
        "users": np.bincount(pairs // num_users, minlength=len(tags.dictionary)),
    }
    found = pa.record_batch([tags.dictionary, *map(pa.array, counts.values())], schema=MOST_USED)
    return [most_used([found.filter(pa.array(counts["users"] >= least_users))], top)]


def most_used(tags: Iterable[pa.RecordBatch], top: int) -> pa.RecordBatch:
    """Return the tags with the most posts, of equal ones the first in code-point order."""
    frame = pl.DataFrame(pa.Table.from_batches(list(tags), MOST_USED))
    return as_batch(frame.sort(["posts", "tag"], descending=[True, False]).head(top), MOST_USED)


def write_vocabulary(tags: pa.RecordBatch, folder: Path) -> pa.RecordBatch:
    """Write the vocabulary; return its tags."""
    ids = pa.array(np.arange(tags.num_rows, dtype=np.int32))
    write_table(pa.Table.from_arrays([ids, *tags.columns], schema=TAG_VOCABULARY), folder / VOCABULARY_FILE)
    return tags


def write_posts(shard: tuple[int, bytes, bytes], folder: Path, vocabulary: pa.RecordBatch) -> Iterable[tuple[str, int]]:
    """Write a shard of posts; return its counts."""
    number, *packed = shard
    posts, names = map(unpack, packed)
    tags = posts.column("tag_ids")
    ids = pc.fill_null(pc.index_in(names.column("tag"), vocabulary.column("tag")), -1).to_numpy()[
        tags.values.to_numpy()
    ]
    of_posts = np.repeat(np.arange(len(tags)), np.diff(tags.offsets.to_numpy()))
    top = max(1, vocabulary.num_rows)
    keys = np.sort((of_posts * top + ids)[ids >= 0])  # so a post's tags are in order of their numbers
    offsets = np.searchsorted(keys, np.arange(len(tags) + 1) * top).astype(np.int32)
    known = pa.ListArray.from_arrays(pa.array(offsets), pa.array((keys % top).astype(np.int32)))
    write_table(pa.Table.from_arrays([*posts.columns[:-1], known], schema=POSTS), folder / shard_name(number))
    yield "tags: kept", len(keys)
    yield "tags: not in the vocabulary", len(ids) - len(keys)
    yield "posts", len(tags)
    yield "images", int(begins_run(posts.column("image_id")).sum())
    yield "posts without a tag", int((np.diff(offsets) == 0).sum())


def summarise(counts: Mapping[str, int], vocabulary: pl.DataFrame, users: int) -> dict[str, Any]:
    """Return the contents of summary.json.

    Raises:
        RuntimeError: rows or tags do not add up; this is a defect of the program.
    """
    read, kept = counts.get("rows read", 0), counts.get("rows kept", 0)
    quarantined, left_out = by_reason("quarantined", counts), by_reason("left out", counts)
    rows_add_up(read, kept + sum(left_out.values()), quarantined, "the tag log")
    lost = {name: counts.get(f"tags: {name}", 0) for name in ("repeated", "not in the vocabulary")}
    rows_add_up(counts.get("tags: read", 0), counts.get("tags: kept", 0), lost, "the tags")
    return {
        "rows_read": read,
        "rows_kept": kept,
        "rows_quarantined": quarantined,
        "rows_left_out": left_out,
        "tags": {
            "kept": counts.get("tags: kept", 0),
            **lost,
            "of other images": counts.get("tags: of other images", 0),
        },
        "posts": {"total": counts["posts"], "without a tag": counts["posts without a tag"]},
        "images": counts["images"],
        "users": users,
        "vocabulary": {"tags": len(vocabulary), "posts of the last": int(vocabulary["posts"][-1])},
    }


@dataclass(frozen=True)
class TagLogJob:
    """One ingest of a log.

    Attributes:
        files: the log.
        layout: how it is written.
        params: section `tags`.
        left_out: users whose rows are left out.
        image_ids: the images to keep; None: all.
        shows_users: whether messages may have ids.
    """

    files: Sequence[LogFile]
    layout: TagLayout
    params: TagLogParams
    left_out: Collection[str]
    image_ids: pa.Array | None = None
    shows_users: bool = False

    def run(self, output: Path, beam_arguments: Sequence[str]) -> dict[str, Any]:
        """Write posts and vocabulary, whole or not at all; return the summary.

        Raises:
            UserError: too many rows are bad, no tag remains, or the folder holds something else.
        """
        with whole_directory(output, holds=OUTPUT) as folder, outliving(folder / "quarantine", output):
            for name in ("posts", "quarantine"):
                (folder / name).mkdir()
            with packing(beam_arguments, output) as packer, pipeline(beam_arguments) as job:
                self.wire(job, packer, folder)
            counts = read_counts(folder / COUNTS_FILE)
            self.check(counts, folder / "quarantine")
            vocabulary = pl.read_parquet(folder / VOCABULARY_FILE)
            if vocabulary.is_empty():
                raise UserError("no tag is used by tags.least_users users; lower it, or check the log and --images")
            users = pl.scan_parquet(folder / "posts").select(pl.col("user_id").n_unique()).collect().item()
            summary = summarise(counts, vocabulary, users)
            write_json(summary, folder / "summary.json")
        return summary

    def wire(self, job: beam.Pipeline, packer: Packer, folder: Path) -> None:
        """Add the steps that write everything but the summary into the folder."""
        read = job | "TagLog" >> ReadTagLog(self.files, self.layout, self.params.fold, self.left_out)
        _ = read.quarantine | "Quarantine" >> WriteQuarantine(folder / "quarantine", packer)
        tags, counts = read.tags, [read.counts]
        buckets = num_buckets(self.files)
        if self.image_ids is not None:
            chosen = tags | "OfImages" >> beam.FlatMap(of_images, self.image_ids).with_outputs("tags", "counts")
            tags, counts = chosen.tags, [*counts, chosen.counts]
        merged = tags | "MergedTags" >> GroupIntoShards(
            TAG_ROWS,
            "image_id",
            self.params.shards,
            partial(image_shard, packer=packer, num_buckets=buckets),
            packer,
            "merge",
            outputs=("shards", "uses", "counts"),
        )
        vocabulary = (
            merged.uses
            | "UsesByTag"
            >> GroupIntoShards(
                USES,
                "tag",
                buckets,
                partial(tag_shard, top=self.params.top_tags, least_users=self.params.least_users),
                packer,
                "count",
                buckets_of,
            )
            | "MostUsed" >> beam.CombineGlobally(most_used, top=self.params.top_tags).without_defaults()
            | "Vocabulary" >> beam.Map(write_vocabulary, folder)
        )
        posts = merged.shards | "Posts" >> concurrently(
            "write", write_posts, folder / "posts", beam.pvalue.AsSingleton(vocabulary)
        )
        every = (*counts, merged.counts, posts)
        _ = every | "AllCounts" >> beam.Flatten() | "Counts" >> WriteCounts(folder / COUNTS_FILE)

    def check(self, counts: Mapping[str, int], quarantine: Path) -> None:
        """Check that no more than `most_bad_rows` of the rows are bad; headers and empty lines are not.

        Raises:
            UserError: more are; the message has the reasons, and an example of each if ids may be shown.
        """
        bad = {reason: n for reason, n in by_reason("quarantined", counts).items() if reason not in HARMLESS}
        number, read = sum(bad.values()), counts.get("rows read", 0)
        if number <= self.params.most_bad_rows * read:
            return
        lines = [f"{number:,} of {read:,} rows are bad, more than tags.most_bad_rows: {self.params.most_bad_rows:g}"]
        records = pl.read_parquet(quarantine).sort("file", "row")
        for reason, of_reason in sorted(bad.items(), key=lambda item: (-item[1], item[0])):
            first = records.filter(reason=reason).row(0, named=True)
            shown = f": {first['raw'][:200]!r}" if self.shows_users else ""
            lines.append(f"  {of_reason:,} {reason}, as row {first['row']:,} of {first['file']}{shown}")
        hint = "" if self.shows_users else "; --show-users shows these rows"
        raise UserError("\n".join([*lines, f"check tags.layout and tags.columns{hint}"]))


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", nargs="+", action="extend", required=True, help="files, folders (whole) or globs")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--images", type=Path, help="Parquet with image_id, a file or folder: the images to keep (default: all)"
    )
    parser.add_argument("--leave-out", type=Path, metavar="FILE", help="text: users whose rows are left out")
    parser.add_argument("--show-users", action="store_true", help="messages may show rows with their users' ids")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    arguments, beam_arguments = build_parser().parse_known_args(argv)
    with stage("tag log") as closing:
        params = load_section(TagLogParams, "tags", arguments.params)
        left_out = read_users(arguments.leave_out)
        images = None
        if arguments.images:
            images = composed_ids(read_tables(arguments.images, ["image_id"])["image_id"].combine_chunks())
        job = TagLogJob(
            files=find_logs(arguments.log),
            layout=layout_of(params),
            params=params,
            left_out=left_out,
            image_ids=images,
            shows_users=arguments.show_users,
        )
        summary = job.run(arguments.output, beam_arguments)
        if left_out and not summary["rows_left_out"].get("of a user to leave out"):
            log.warning("%s: no row of the log is of one of its %d users", arguments.leave_out, len(left_out))
        closing.counts = {name.replace("_", " "): summary[name] for name in ("rows_read", "rows_kept")}
        closing.counts |= as_counts("quarantined", summary["rows_quarantined"])
        closing.counts |= as_counts("left out", summary["rows_left_out"])
        closing.counts |= as_counts("tags", summary["tags"]) | {"users": summary["users"]}
        tags, posts = summary["vocabulary"]["tags"], summary["posts"]["total"]
        closing.wrote[str(arguments.output)] = f"{posts:,} posts with {tags:,} different tags"
        closing.next_command = "python -m pipelines.tags.split"


if __name__ == "__main__":
    main()
