"""Resolve the runs into recipes, and select and split the images of each: what its training depends on.

    python -m systems.siamese.recipes --data data/sets/toy --labels data/siamese/labels --output data/siamese/recipes

In: the parameter file's sections siamese.plan, .network, .train and .fine_tuning; the data set's folder (images,
duplicates, splits, and the labels that the runs need), and the folder of denoised labels.
Out, for each run: ``<run>.json``, its recipe, and ``<run>/seed-N.parquet`` (`schemas.RUN_IMAGES`), its images and
labels for each seed. They have the same bytes as before unless something changed that the run uses, so a training isn't
stale because of another run's labels. A run with a frozen ConvNet has no recipe: all have the parameters
`siamese.frozen`.

The source is selected and split by the section `select`, with the run's labels as categories. The target's test images
are those of the data set's split of the same seed; no run trains on them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import stage
from base.params import DEFAULT_PATH, load_section, read_seeds
from model.classifier_params import ClassifierParams, TrainParams
from pipelines.splits.select import SelectParams
from systems.siamese.config import FineTuningParams, PlanParams, recipe_of
from systems.siamese.labels import read_labels, select_rows, soft_labels, split_rows
from systems.siamese.soft_labels import with_soft_labels


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--labels", type=Path, required=True, help="folder with folders such as denoised-given")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("siamese recipes") as closing:
        plan = load_section(PlanParams, "siamese.plan", arguments.params)
        network = load_section(ClassifierParams, "siamese.network", arguments.params)
        train = load_section(TrainParams, "siamese.train", arguments.params)
        fine_tuning = load_section(FineTuningParams, "siamese.fine_tuning", arguments.params)
        select = load_section(SelectParams, "select", arguments.params)
        seeds = read_seeds(arguments.params)
        recipes = [recipe_of(point, network, train, fine_tuning) for point in plan.points]
        points = plan.every_point
        truth = None if plan.truth is None else Path(plan.truth)
        data: Path = arguments.data
        images = pl.DataFrame(read_tables(data / "ingested/images", ["image_id", "domain"]))
        source_ids = images.filter(domain="source")["image_id"]
        duplicates = pl.DataFrame(read_tables(data / "ingested/duplicates.parquet"))
        target = pl.DataFrame(read_tables(data / "splits/images.parquet")).filter(domain="target")
        splits = {
            seed: pl.DataFrame(read_tables(data / f"splits/seed-{seed}.parquet")).filter(domain="target")
            for seed in seeds
        }
        labels: Path = arguments.labels
        selected = {
            kind: select_rows(read_labels(kind, data, labels, truth), source_ids, target, duplicates, select)
            for kind in dict.fromkeys(point.labels for point in points)
        }
        soft = {kind: soft_labels(kind, labels) for kind in dict.fromkeys(one.labels for one in points if one.soft)}
        with whole_directory(arguments.output) as folder:
            for recipe in recipes:
                write_json(recipe.model_dump(mode="json"), folder / f"{recipe.run}.json")
            for point in points:
                for seed in seeds:
                    rows = split_rows(*selected[point.labels], splits[seed], seed, select, point.targets)
                    rows = with_soft_labels(rows, soft[point.labels] if point.soft else None)
                    write_table(rows.to_arrow().cast(schemas.RUN_IMAGES), folder / point.name / f"seed-{seed}.parquet")
        for kind, (rows, _) in selected.items():
            closing.counts[f"source images selected, labels {kind}"] = len(rows)
        closing.wrote[str(arguments.output)] = f"{len(recipes)} recipes, images of {len(points)} runs"
        first = f"{recipes[0].run}.json" if recipes else "RUN.json"
        closing.next_command = f"python -m systems.siamese.train --recipe {arguments.output}/{first} ..."


if __name__ == "__main__":
    main()
