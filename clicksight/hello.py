"""A first look, in under a minute: from a click log to labels, click features, a recogniser, and a page with pictures.

    python -m clicksight.hello
    python -m clicksight.hello --output /tmp/hello

A program draws pictures of six invented breeds of dogs and a log of what people typed before they clicked them. The log
goes through the commands `pipelines.label_from_clicks` and `pipelines.build_click_features`, as any log does; a small
ConvNet learns from the labels that came out, and is measured on pictures that the log does not have. No label that
somebody gave is used for training. Output, the same bytes from each run on one machine, except for the seconds in
features/summary.json:

- ``index.html``: the page; needs no other file;
- ``log.tsv``, ``names.txt``, ``aliases.tsv``, ``images/``: the log, the breeds' names in English and Chinese, pictures;
- ``labels/``, ``features/``: what the two commands made of the log;
- ``shards/``, ``model/``: the pictures in Parquet, the trained recogniser;
- ``summary.json``: the figures of the page.
"""

import argparse
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import log, stage
from base.schemas import IMAGES
from model.classifier_params import ClassifierParams, TrainParams
from pipelines.toy.animals import ANIMALS, Animals
from pipelines.toy.synthesize import Picture, click_rows, draw

OUTPUT = Path("data/hello")
HOLDS = (
    "index.html", "log.tsv", "names.txt", "aliases.tsv", "images", "labels", "features", "shards", "model",
    "summary.json",
)  # fmt: skip
BREEDS = ("prairie hound", "castle terrier", "monsoon greyhound", "thunder mastiff", "glacier spitz", "meadow setter")
SEED = 7
IN_LOG, HELD_OUT = 60, 25  # pictures of each breed
PHASE = "recogniser"
NETWORK = {"backbone": "plain", "weights": "none", "image_size": 48, "resize": 54, "dropout": 0.5}
TRAIN: dict[str, Any] = {
    "epochs": 20, "batch_size": 32, "accumulation": 1, "learning_rate": 0.01, "recogniser_multiplier": 1.0,
    "momentum": 0.9, "weight_decay": 0.0005, "schedule": {"kind": "one-cycle", "warm_up": 0.3}, "ema": None,
    "early_stopping": None, "mixed_precision": "no", "compile": False, "channels_last": False, "workers": 0,
    "threads": 1, "cache_images": True,
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """The pictures and their log.

    Attributes:
        pictures: image_id, category (the truth), held_out, image (JPEG bytes); by image_id.
        rows: of the log: image_id, query, clicks.
    """

    pictures: pl.DataFrame
    rows: pl.DataFrame


def six_breeds() -> Animals:
    """Return the toy's dogs, the six breeds only."""
    dogs = ANIMALS["dogs"]
    return replace(dogs, categories=[one for one in dogs.categories if one.name in BREEDS])


def draw_all(animals: Animals, in_log: int, held_out: int) -> Drawn:
    """Draw the pictures of each breed: ``in_log`` with rows in the log, and ``held_out`` without."""
    pictures, lines = [], []
    for breed in animals.categories:
        for number in range(in_log + held_out):
            image_id = f"{breed.name.replace(' ', '-')}-{number:03d}"
            picture = Picture(image_id, breed, breed, number)
            drawn = draw(animals, picture, "source", SEED)
            pictures.append((image_id, breed.name, number >= in_log, drawn.jpeg))
            if number < in_log:
                lines += click_rows(animals, picture, drawn.look, SEED)
    rows = [line.decode().split("\t") for line in lines]
    return Drawn(
        pl.DataFrame(pictures, ["image_id", "category", "held_out", "image"], orient="row").sort("image_id"),
        pl.DataFrame(rows, ["image_id", "query", "clicks"], orient="row").with_columns(pl.col("clicks").cast(int)),
    )


def write_inputs(drawn: Drawn, animals: Animals, folder: Path) -> None:
    """Write the log, the names and the pictures, as people have them; and the pictures as the trainer reads them."""
    drawn.rows.write_csv(folder / "log.tsv", separator="\t", include_header=False)
    (folder / "names.txt").write_text("".join(f"{one.name}\n" for one in animals.categories), encoding="utf-8")
    aliases = "".join(f"{one.chinese}\t{one.name}\n" for one in animals.categories)
    (folder / "aliases.tsv").write_text(aliases, encoding="utf-8")
    (folder / "images").mkdir()
    for image_id, image in drawn.pictures.select("image_id", "image").iter_rows():
        (folder / "images" / f"{image_id}.jpg").write_bytes(image)


def commands(folder: str) -> dict[str, list[str]]:
    """Return the commands that read the log in a folder, by the name of what they write."""
    log_file = f"{folder}/log.tsv"
    labels = ["--categories", f"{folder}/names.txt", "--aliases", f"{folder}/aliases.tsv"]
    return {
        "labels": [
            "pipelines.label_from_clicks", "--clicks", log_file, *labels, "--output", f"{folder}/labels",
        ],
        "features": ["pipelines.build_click_features", "--clicks", log_file, "--output", f"{folder}/features"],
    }  # fmt: skip


def read_log(folder: Path) -> None:
    """Run both commands at once.

    Raises:
        RuntimeError: a command failed, with what it printed; this is a defect of the program.
    """
    running = {
        name: subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name, arguments in commands(str(folder)).items()
    }
    try:
        for name, process in running.items():
            printed, _ = process.communicate()
            if process.returncode:
                raise RuntimeError(f"{name}: exit code {process.returncode}\n{printed}")
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def write_shard(drawn: Drawn, labels: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write the pictures that have a label from clicks as one shard; return their rows for the trainer."""
    named = drawn.pictures.filter(~pl.col("held_out")).drop("category")
    rows = named.join(labels.filter(pl.col("margin") > 0).select("image_id", "category"), on="image_id").sort(
        "image_id"
    )
    width = height = 0  # unknown without decoding; the trainer does not read them
    records = [
        {
            "image_id": image_id, "domain": "source", "category": category, "width": width, "height": height,
            "image": {"bytes": image, "path": None},
        }
        for image_id, category, image in rows.select("image_id", "category", "image").iter_rows()
    ]  # fmt: skip
    folder.mkdir()
    write_table(pa.Table.from_pylist(records, schema=IMAGES), folder / "part-00000.parquet")
    return rows.select(pl.lit("source").alias("domain"), "image_id", "category", pl.lit("train").alias("split"))


@contextmanager
def without_lines() -> Iterator[None]:
    """Log only warnings: each epoch of the training has a line."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def train_recogniser(rows: pl.DataFrame, folder: Path) -> None:
    """Train a small ConvNet on the labels from clicks; write its model folder."""
    # imported here, because torch takes seconds to import, while the commands read the log
    from model.classification import LabelledImages, classifier_run
    from model.training.trainer import train

    network, params = ClassifierParams.model_validate(NETWORK), TrainParams.model_validate(TRAIN)
    images = LabelledImages.read(folder / "shards", rows, network.resize, params.cache_images)
    with without_lines():
        train(classifier_run("hello", PHASE, network, params, images, SEED), folder / "model")


def recognised(drawn: Drawn, folder: Path) -> pl.DataFrame:
    """Return what the recogniser says of the pictures that the log does not have.

    Returns:
        image_id, category (the truth), image, said (the most probable category), probability; by image_id.
    """
    from model.classification import load_classifier

    recogniser = load_classifier(folder / "model", PHASE)
    unseen = drawn.pictures.filter("held_out").drop("held_out")
    probabilities = recogniser.probabilities(unseen["image"].to_list())
    best = probabilities.argmax(axis=1)
    return unseen.with_columns(
        said=pl.Series([recogniser.categories[index] for index in best]),
        probability=pl.Series(probabilities.max(axis=1).astype(float)),
    )


def figures_of(drawn: Drawn, labels: pl.DataFrame, rows: pl.DataFrame, unseen: pl.DataFrame) -> dict[str, Any]:
    """Return the figures that the page shows."""
    truth = drawn.pictures.select("image_id", truth="category")
    named = rows.join(truth, on="image_id")
    right = int((unseen["said"] == unseen["category"]).sum())
    return {
        "log_rows": len(drawn.rows),
        "clicks": int(drawn.rows["clicks"].sum()),
        "queries": drawn.rows["query"].n_unique(),
        "pictures_in_log": len(labels),
        "pictures_named": len(named),
        "labels_right": int((named["category"] == named["truth"]).sum()),
        "pictures_held_out": len(unseen),
        "recognised": right,
        "accuracy_percent": round(100 * right / len(unseen), 1),
        "chance_percent": round(100 / len(BREEDS), 1),
    }


def hello(folder: Path, shown_as: Path, in_log: int = IN_LOG, held_out: int = HELD_OUT) -> Mapping[str, Any]:
    """Do everything in an empty folder; return the figures.

    Args:
        folder: where to write.
        shown_as: the folder's final name, for the commands on the page.
        in_log, held_out: pictures of each breed.
    """
    from clicksight.hello_page import Results, write_page

    animals = six_breeds()
    drawn = draw_all(animals, in_log, held_out)
    write_inputs(drawn, animals, folder)
    log.info("1. drew %d pictures, and a log of %d rows", len(drawn.pictures), len(drawn.rows))
    read_log(folder)
    labels = pl.DataFrame(read_tables(folder / "labels" / "labels"))
    features = pl.DataFrame(read_tables(folder / "features" / "click_features"))
    vocabulary = pl.DataFrame(read_tables(folder / "features" / "vocabulary.parquet"))
    rows = write_shard(drawn, labels, folder / "shards")
    log.info("2. named %d of %d pictures by the queries of their clicks", len(rows), len(labels))
    log.info("3. made click features (TF-IDF) of %d words", len(vocabulary))
    log.info("4. training a small ConvNet on the named pictures")
    train_recogniser(rows, folder)
    unseen = recognised(drawn, folder)
    figures = figures_of(drawn, labels, rows, unseen)
    log.info(
        "5. it recognises %.1f %% of %d pictures that are not in the log (chance: %.1f %%)",
        figures["accuracy_percent"], figures["pictures_held_out"], figures["chance_percent"],
    )  # fmt: skip
    write_json(figures, folder / "summary.json")
    shown = {name: " ".join(["python -m", *words]) for name, words in commands(str(shown_as)).items()}
    write_page(Results(drawn.pictures, drawn.rows, labels, features, vocabulary, unseen), figures, shown, folder)
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m clicksight.hello"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("hello", "under a minute on two cores") as closing:
        with whole_directory(arguments.output, holds=HOLDS) as folder:
            hello(folder, arguments.output)
        closing.wrote[str((arguments.output / "index.html").resolve())] = "the page: open it in a browser"
        closing.next_command = "your own log: docs/click_features.md"


if __name__ == "__main__":
    main()
