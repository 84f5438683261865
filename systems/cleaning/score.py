"""Score every source image: compute the probability that the cleaner gives to the image's own category.

    python -m systems.cleaning.score --images data/sets/toy/ingested/images --model data/sets/toy/cleaner \\
        --output data/sets/toy/scores

In: the ingested images (`schemas.IMAGES`; the source domain is scored) and the cleaner's folder. Each image is scored
by the network of its fold (`schemas.FOLDS`).
Out: shards of `schemas.SCORES`, one row per source image; the probability is null where the cleaner was not trained on
the category.

Beam options may follow, for example ``--direct_num_workers 2 --direct_running_mode multi_processing``. Batches are cut
from the shards before they are distributed, so a probability doesn't depend on the worker that computes it. With the
in-process runner a repeated call continues an interrupted one: scored batches are kept under ``.state/scores``.
"""

import argparse
import hashlib
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from pydantic import Field

from base.artifacts import read_tables, whole_directory, write_table
from base.console import STATE, UserError, stage
from base.params import DEFAULT_PATH, Params, load_section
from base.schemas import SCORES
from pipelines.beam import runner
from pipelines.beam.shards import WriteShards, read_shard, shard_files

if TYPE_CHECKING:
    from model.classification import LoadedClassifier

PHASE = "cleaner"  # the phase in the cleaner's model folders
COLUMNS = ["image_id", "domain", "category", "image"]
NAMES = {"image_id": pl.String, "category": pl.String}
SECONDS_BETWEEN_LINES = 10.0

log = logging.getLogger("clicksight")


class ScoreParams(Params):
    """The parameters of scoring."""

    batch_size: int = Field(description="largest number of images in a batch", ge=1)
    threads: int | None = Field(description="CPU threads of a worker; null: as many as the machine has", ge=1)


def read_source_batches(
    shard: Path, folds: pl.DataFrame, batch_size: int, done: frozenset[str] = frozenset()
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield a shard's source images in named batches, each of one fold, in an order that depends on the shard alone.

    Args:
        shard: of ingested images.
        folds: `schemas.FOLDS`.
        batch_size: largest number of images in a batch.
        done: names of batches to skip.

    Shape:
        batches: `image_id`, `domain`, `category`, `image`, `fold` (null where the category was not trained on); no
        batch is empty.

    Raises:
        UserError: an image of a category that was trained on has no fold.
    """
    fold_numbers = [*range(num_folds(folds)), None]
    number = 0
    with pq.ParquetFile(shard) as file:
        # roughly one full batch for each fold
        for rows in file.iter_batches(batch_size=batch_size * num_folds(folds), columns=COLUMNS):
            source = with_fold(rows.filter(pc.equal(rows["domain"], "source")), folds)
            for fold in fold_numbers:
                column = source["fold"]
                mine = source.filter(pc.is_null(column) if fold is None else pc.equal(column, fold))
                for start in range(0, mine.num_rows, batch_size):
                    name = f"{shard.stem}-{number:06d}"
                    number += 1
                    if name not in done:
                        yield name, mine.slice(start, batch_size)


def num_folds(folds: pl.DataFrame) -> int:
    """Return the number of folds."""
    return folds["fold"].n_unique()


def with_fold(images: pa.RecordBatch, folds: pl.DataFrame) -> pa.RecordBatch:
    """Append the column `fold`: int32, null where the category was not trained on.

    Raises:
        UserError: the category was trained on, but this image is not among its images.
    """
    names = pl.DataFrame({name: images[name].to_pylist() for name in ("image_id", "category")}, schema=NAMES)
    found = names.join(folds, on=["image_id", "category"], how="left", maintain_order="left", validate="m:1")
    without_fold = found.filter(pl.col("fold").is_null()).join(folds, on="category", how="semi")
    if len(without_fold):
        raise UserError(
            f"image {without_fold['image_id'][0]!r} of {without_fold['category'][0]!r} is not among the images that "
            "the cleaner was trained on; run the stage `cleaning:train` again"
        )
    return images.append_column("fold", pa.array(found["fold"].to_list(), pa.int32()))


def own_category_probabilities(
    categories: Sequence[str], known: Sequence[str], probabilities: np.ndarray
) -> np.ndarray:
    """Return p(own category) of each image.

    Args:
        categories: the images' labels.
        known: the classifier's categories in the order of its outputs; every image's category is among them.
        probabilities: of all known categories.

    Shape:
        probabilities: float32 (images, known); result: float32 (images,)
    """
    output_of = {name: number for number, name in enumerate(known)}
    return probabilities[np.arange(len(categories)), [output_of[name] for name in categories]]


def score_batch(batch: pa.RecordBatch, recogniser: "LoadedClassifier | None") -> pa.RecordBatch:
    """Return a batch's rows of `schemas.SCORES`; the probabilities are null if `recogniser` is None.

    A recogniser must know the category of every image in the batch.

    Raises:
        UserError: a probability is NaN.
    """
    if recogniser is None:
        probabilities = pa.nulls(batch.num_rows, pa.float32())
    else:
        of_all = recogniser.probabilities(pc.struct_field(batch["image"], "bytes").to_pylist())
        categories = batch["category"].to_pylist()
        own = own_category_probabilities(categories, recogniser.categories, of_all)
        if np.isnan(own).any():
            name = batch["image_id"][int(np.isnan(own).argmax())].as_py()
            raise UserError(
                f"image {name!r}: p(own category) is NaN, so the cleaner's weights are unusable; "
                "run the stage `cleaning:train` again, with a lower learning rate (section `cleaning.train`)"
            )
        probabilities = pa.array(own)
    return pa.RecordBatch.from_arrays([batch["image_id"], batch["category"], probabilities], schema=SCORES)


@dataclass(frozen=True)
class FoldRecognisers:
    """The cleaner's networks by fold; not a plain list, because RunInference keeps a weak reference to the model."""

    by_fold: "Sequence[LoadedClassifier]"


class CleanerHandler(ModelHandler):
    """RunInference's handler of the cleaner's networks: it turns a record batch of one fold's images into scores.

    Args:
        model: the cleaner's folder.
        folds: number of folds; the networks of all folds are loaded.
        threads: CPU threads; None keeps torch's default.
        total_images: number of images to score; the logged time left assumes that this worker scores all of them.
    """

    def __init__(self, model: Path, folds: int, threads: int | None, total_images: int) -> None:
        super().__init__()
        self._folds = folds
        self._total_images = total_images
        self._model = model
        self._threads = threads
        self._num_images = 0
        self._started = self._last_logged = 0.0

    def load_model(self) -> FoldRecognisers:
        """Load every fold's recogniser of the source domain, on the GPU if there is one; called once per worker."""
        import torch

        from model.classification import load_classifier

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        self._started = self._last_logged = time.monotonic()
        return FoldRecognisers([load_classifier(self._model / f"fold-{fold}", PHASE) for fold in range(self._folds)])

    def run_inference(
        self,
        batch: Sequence[pa.RecordBatch],
        model: FoldRecognisers,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[pa.RecordBatch]:
        """Score each record batch separately by its fold's recogniser."""
        for images in batch:
            fold = images["fold"][0].as_py()
            yield score_batch(images, None if fold is None else model.by_fold[fold])
            self._log_progress(images.num_rows)

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Return batch sizes of 1: an element is a batch already, and RunInference would group elements by timing."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch: Sequence[pa.RecordBatch]) -> int:
        """Return the size of the batches; the default implementation would pickle them to measure it."""
        return sum(images.nbytes for images in batch)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of RunInference's counters."""
        return "cleaner"

    def _log_progress(self, num_images: int) -> None:
        self._num_images += num_images
        now = time.monotonic()
        if now - self._last_logged >= SECONDS_BETWEEN_LINES:
            self._last_logged = now
            rate = self._num_images / (now - self._started)
            left_s = (self._total_images - self._num_images) / rate
            done = f"{self._num_images:,} of {self._total_images:,} images"
            log.info("score: %s, %.0f a second, %.0f s left", done, rate, left_s)


def fingerprint(images: Sequence[Path], cleaner: Path, params: ScoreParams) -> str:
    """Return the digest that names the folder of scored batches; it covers everything that a score depends on."""
    import model.classification  # noqa: F401  the code that scores: code_digest covers the modules that are loaded
    from model.training.checkpoints import code_digest

    digest = hashlib.blake2b(f"{params.model_dump_json()} {code_digest()} {version('torch')}".encode(), digest_size=8)
    for file in [*images, *sorted(path for path in cleaner.rglob("*") if path.is_file())]:
        state = file.stat()
        digest.update(f"{file.name} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


def keep_scores(name: str, scores: pa.RecordBatch, folder: Path | None) -> pa.RecordBatch:
    """Write a batch's scores into the folder, unless `folder` is None, and return them."""
    if folder is not None:
        write_table(pa.Table.from_batches([scores]), folder / f"{name}.parquet")
    return scores


def run(images: Path, model: Path, output: Path, params: ScoreParams, beam_arguments: Sequence[str] = ()) -> pa.Table:
    """Score all source images and write the shards; return their rows.

    Raises:
        UserError: there is no source image, no image shard or no cleaner; the cleaner was trained on other images; or
            its probabilities are NaN.
    """
    shards = shard_files(images)
    if not (model / "folds.parquet").is_file():
        raise UserError(f"{model}: not the cleaner's folder (no folds.parquet); run the stage `cleaning:train`")
    folds = pl.DataFrame(read_tables(model / "folds.parquet"))
    num_images = pc.sum(pc.equal(read_tables(images, columns=["domain"])["domain"], "source")).as_py()
    if not num_images:
        raise UserError(f"{images}: no image of the source domain; check the closing lines of `ingest`")
    kept, files = None, []
    if runner.is_in_process(beam_arguments):  # the in-process runner's workers share this machine's files
        kept = (STATE / "scores" / fingerprint(shards, model, params)).resolve()
        kept.mkdir(parents=True, exist_ok=True)
        files = sorted(kept.glob("*.parquet"))
    num_kept = sum(pq.read_metadata(file).num_rows for file in files)
    if num_kept:
        log.info("score: continuing, %s of %s images are already scored", f"{num_kept:,}", f"{num_images:,}")
    done = frozenset(file.stem for file in files)
    handler = CleanerHandler(model, num_folds(folds), params.threads, num_images - num_kept)
    with whole_directory(output) as folder:
        with runner.pipeline(beam_arguments) as pipeline:
            new = (
                pipeline
                | "ImageShards" >> beam.Create(shards)
                | "SourceBatches"
                >> beam.FlatMap(read_source_batches, folds, params.batch_size, done).with_output_types(
                    tuple[str, pa.RecordBatch]
                )
                | "Scores" >> RunInference(KeyedModelHandler(handler)).with_output_types(tuple[str, pa.RecordBatch])
                | "KeptScores" >> beam.MapTuple(partial(keep_scores, folder=kept)).with_output_types(pa.RecordBatch)
            )
            old = (
                pipeline
                | "EarlierFiles" >> beam.Create(files)
                | "EarlierScores" >> beam.Map(read_shard, SCORES).with_output_types(pa.RecordBatch)
            )
            (
                (new, old)
                | "EveryScore" >> beam.Flatten()
                | "ScoreShards" >> WriteShards(folder, SCORES, "image_id", len(shards), ("image_id",))
            )
        scores = read_tables(folder)
        if scores.num_rows != num_images:
            raise RuntimeError(f"{num_images} source images, {scores.num_rows} scores")
    if kept is not None:
        shutil.rmtree(kept, ignore_errors=True)
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--model", type=Path, required=True, help="the cleaner's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("score") as closing:
        params = load_section(ScoreParams, "cleaning.score", arguments.params)
        scores = run(arguments.images, arguments.model, arguments.output, params, beam_arguments)
        unknown = scores["probability"].null_count
        closing.counts = {
            "source images": scores.num_rows,
            "scored": scores.num_rows - unknown,
            "not scored, category too small for the cleaner": unknown,
            "mean p(own category)": pc.mean(scores["probability"]).as_py() or 0.0,
        }
        closing.wrote[str(arguments.output)] = f"{scores.num_rows:,} rows"
        closing.next_command = "python -m systems.cleaning.clean (see stages/cleaning/dvc.yaml)"


if __name__ == "__main__":
    main()
