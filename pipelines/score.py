"""Score every source image: how probable the cleaner finds the image's own category.

    python -m pipelines.score --images data/ingested/images --model data/cleaner --output data/scores

In: the ingested images (`schemas.IMAGES`; the source domain is scored) and the cleaner's model folder.
Out: shards of `schemas.SCORES`, one row per source image, null where the cleaner does not know the category.

Any Beam option may follow, as in ``--direct_num_workers 2 --direct_running_mode multi_processing``. Batches are cut
from the shards before they are distributed, so that no probability depends on who runs which batch.
"""

import argparse
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import ModelHandler, RunInference
from pydantic import Field

from pipelines import runner
from pipelines.artifacts import read_tables, whole_directory
from pipelines.console import UserError, stage
from pipelines.params import DEFAULT_PATH, Params, load_section
from pipelines.schemas import SCORES
from pipelines.shards import WriteShards, shard_files

if TYPE_CHECKING:
    from model.predict import LoadedRecogniser

COLUMNS = ["image_id", "domain", "category", "image"]
SECONDS_BETWEEN_LINES = 10.0

log = logging.getLogger("clicksight")


class ScoreParams(Params):
    """How the cleaner is run."""

    batch_size: int = Field(description="most images in a batch", ge=1)
    threads: int | None = Field(description="CPU threads of a worker; null: as many as the machine has", ge=1)


def read_source_batches(shard: Path, batch_size: int) -> Iterator[pa.RecordBatch]:
    """Yield a shard's source images in batches of at most that many, in the shard's order.

    Shape:
        batches: `image_id`, `domain`, `category`, `image`; no batch is empty.
    """
    with pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(batch_size=batch_size, columns=COLUMNS):
            source = batch.filter(pc.equal(batch["domain"], "source"))
            if source.num_rows:
                yield source


def own_category_probabilities(
    categories: Sequence[str], known: Sequence[str], probabilities: np.ndarray
) -> np.ndarray:
    """Return p(own category) of each image.

    Args:
        categories: of the images, as labelled.
        known: the classifier's, in the order of its outputs; every image's category is among them.
        probabilities: of all known categories.

    Shape:
        probabilities: float32 (images, known); result: float32 (images,)
    """
    place = {name: number for number, name in enumerate(known)}
    return probabilities[np.arange(len(categories)), [place[name] for name in categories]]


def score_batch(batch: pa.RecordBatch, recogniser: "LoadedRecogniser") -> pa.RecordBatch:
    """Return a batch's rows of `schemas.SCORES`; images of categories that the classifier does not know get null."""
    known = pc.is_in(batch["category"], value_set=pa.array(recogniser.categories, pa.string()))
    judged = batch.filter(known)
    images = pc.struct_field(judged["image"], "bytes").to_pylist()
    mine = own_category_probabilities(
        judged["category"].to_pylist(), recogniser.categories, recogniser.probabilities(images)
    )
    probabilities = np.zeros(batch.num_rows, np.float32)
    is_known = known.to_numpy(zero_copy_only=False)
    probabilities[is_known] = mine
    columns = [batch["image_id"], batch["category"], pa.array(probabilities, mask=~is_known)]
    return pa.RecordBatch.from_arrays(columns, schema=SCORES)


class CleanerHandler(ModelHandler):
    """RunInference's handler of a PyTorch model folder: a record batch of images in, one of scores out.

    Args:
        model: the cleaner's folder.
        threads: CPU threads; None leaves them alone.
        images_in_all: for the time left, which is told as if this worker had all of them to do.
    """

    def __init__(self, model: Path, threads: int | None, images_in_all: int) -> None:
        super().__init__()
        self._images_in_all = images_in_all
        self._model = model
        self._threads = threads
        self._num_images = 0
        self._started = self._told = 0.0

    def load_model(self) -> "LoadedRecogniser":
        """Load the recogniser of the source domain, on the GPU if there is one; once per worker."""
        import torch

        from model.predict import load_recogniser

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        self._started = self._told = time.monotonic()
        return load_recogniser(self._model, "source")

    def run_inference(
        self,
        batch: Sequence[pa.RecordBatch],
        model: "LoadedRecogniser",
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[pa.RecordBatch]:
        """Score record batches, each by itself."""
        for images in batch:
            yield score_batch(images, model)
            self._tell(images.num_rows)

    def batch_elements_kwargs(self) -> dict[str, int]:
        """An element is a batch already: don't let its company depend on timing."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch: Sequence[pa.RecordBatch]) -> int:
        """Return the size of the batches; the default would pickle them to know."""
        return sum(images.nbytes for images in batch)

    def get_metrics_namespace(self) -> str:
        """Return the heading of RunInference's counters."""
        return "cleaner"

    def _tell(self, num_images: int) -> None:
        self._num_images += num_images
        now = time.monotonic()
        if now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            rate = self._num_images / (now - self._started)
            left_s = (self._images_in_all - self._num_images) / rate
            done = f"{self._num_images:,} of {self._images_in_all:,} images"
            log.info("score: %s, %.0f a second, %.0f s left", done, rate, left_s)


def run(images: Path, model: Path, output: Path, params: ScoreParams, beam_arguments: Sequence[str] = ()) -> pa.Table:
    """Score all source images and write the shards; return their rows.

    Raises:
        UserError: there is no source image, no image shard, or no model folder.
    """
    shards = shard_files(images)
    if not (model / "run.json").is_file():
        raise UserError(f"{model}: not a model folder (no run.json); run the stage `train_cleaner`")
    num_images = pc.sum(pc.equal(read_tables(images, columns=["domain"])["domain"], "source")).as_py()
    if not num_images:
        raise UserError(f"{images}: no image of the source domain; see the closing lines of `ingest`")
    with whole_directory(output) as folder:
        with runner.pipeline(beam_arguments) as pipeline:
            (
                pipeline
                | "ImageShards" >> beam.Create(shards)
                | "SourceBatches"
                >> beam.FlatMap(read_source_batches, params.batch_size).with_output_types(pa.RecordBatch)
                | "Scores"
                >> RunInference(CleanerHandler(model, params.threads, num_images)).with_output_types(pa.RecordBatch)
                | "ScoreShards" >> WriteShards(folder, SCORES, "image_id", len(shards), ("image_id",))
            )
        scores = read_tables(folder)
        if scores.num_rows != num_images:
            raise RuntimeError(f"{num_images} source images, {scores.num_rows} scores")
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--model", type=Path, required=True, help="the cleaner's model folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("score") as closing:
        params = load_section(ScoreParams, "score", arguments.params)
        scores = run(arguments.images, arguments.model, arguments.output, params, beam_arguments)
        unknown = scores["probability"].null_count
        closing.counts = {
            "source images": scores.num_rows,
            "scored": scores.num_rows - unknown,
            "not scored, category too small for the cleaner": unknown,
            "mean p(own category)": pc.mean(scores["probability"]).as_py() or 0.0,
        }
        closing.wrote[str(arguments.output)] = f"{scores.num_rows:,} rows"
        closing.next_command = "python -m pipelines.clean"


if __name__ == "__main__":
    main()
