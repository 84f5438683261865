"""Train and measure all runs with a frozen ConvNet: a small head on its features recognises the target's test images.

    python -m systems.siamese.frozen --features data/siamese/labels/embedded --recipes data/siamese/recipes \\
        --output data/siamese/evaluations/frozen

In: the parameter file's sections siamese.plan and siamese.frozen, frozen features of all images (`schemas.EMBEDDED`),
and each run's images for each seed.
Out: for each run and seed ``RUN/seed-N/metrics.json`` and ``units.parquet``, as `systems.siamese.evaluate` writes them
for the phase ``frozen``; there g is an image's principal components, scaled to length 1. ``summary.json`` has the mean
accuracy of each run.

A head trains on all the source's images, with the run's labels, and on the run's target images. No epoch is chosen, so
no image validates. The principal components are those of the source's images. Runs with the same seed differ in their
labels alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.preprocessing import normalize

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError, progress, stage
from base.params import DEFAULT_PATH, load_section, read_seeds
from base.seeding import derive_seed
from model.heads import HeadParams, logits_of, principal_components, read_features, train_head
from systems.siamese.config import FROZEN, LEFT_OUT, PlanParams
from systems.siamese.measures import Outputs, metrics_of, nearest_mean, phase_units
from systems.siamese.soft_labels import label_matrix


def read_components(features: Path, num: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Return all images and their principal components, which are those of the source's images.

    Returns:
        The columns `domain`, `image_id` and `place`, an image's row in the components.

    Shape:
        components: float32 (images, num)
    """
    images = pl.DataFrame(read_tables(features, ["domain", "image_id"])).sort("domain", "image_id")
    is_source = (images["domain"] == "source").to_numpy()
    components = principal_components(read_features(features, images), num, is_source)
    return images.with_row_index("place"), components


def evaluate_run(
    rows: pl.DataFrame, x: np.ndarray, seed: int, params: HeadParams
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Train a head on a run's images; return the content of metrics.json, and the units.

    Args:
        rows: the run's images, `schemas.RUN_IMAGES` with the column `place`, a row of `x`.
        x: principal components of all images.
        seed: of the head.
        params: of the head.

    Raises:
        UserError: no test image is of a category of the source.
    """
    trained = rows.filter((pl.col("domain") == "source") | (pl.col("split") == "train"))
    categories = sorted(trained["category"].unique())
    every = rows.filter(domain="target", split="test")
    tested = every.filter(pl.col("category").is_in(categories))
    if tested.is_empty():
        raise UserError("no test image of the target is of a category that the source has")
    x_trained, x_tested = x[trained["place"].to_numpy()], x[tested["place"].to_numpy()]
    head = train_head(x_trained, label_matrix(trained, categories), params, derive_seed(seed, "frozen head"))
    labels, own = (np.searchsorted(categories, part["category"].to_numpy()) for part in (tested, trained))
    g, g_trained = (normalize(part) for part in (x_tested, x_trained))
    nearest = nearest_mean(g, g_trained, own, len(categories))
    outputs = Outputs(logits_of(head, x_tested), g)
    units = phase_units(FROZEN, tested["image_id"].to_list(), labels, outputs, nearest, categories)
    units = units.sort("metric", "unit")
    counted = trained["domain"].value_counts().sort("domain").iter_rows()
    seen = {f"{domain} train": number for domain, number in counted}
    metrics = metrics_of(units, len(tested), len(every) - len(tested), seen)
    metrics["chosen"] = {}
    return metrics, units


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="frozen features, from systems.cleaning.embed")
    parser.add_argument("--recipes", type=Path, required=True, help="folder with each run's images")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("siamese frozen") as closing:
        plan = load_section(PlanParams, "siamese.plan", arguments.params)
        params = load_section(HeadParams, "siamese.frozen", arguments.params)
        seeds = read_seeds(arguments.params)
        jobs = [(run, seed) for run in plan.frozen for seed in seeds]
        accuracies: dict[str, list[float]] = {run: [] for run in plan.frozen}
        images, x = read_components(arguments.features, params.components) if jobs else (None, None)
        with whole_directory(arguments.output) as folder:
            for run, seed in progress(jobs, "frozen", "heads", len(jobs)):
                assert images is not None
                assert x is not None
                rows = pl.DataFrame(read_tables(arguments.recipes / run / f"seed-{seed}.parquet"))
                rows = rows.filter(pl.col("split") != LEFT_OUT)
                placed = rows.join(images, on=["domain", "image_id"], how="left", maintain_order="left")
                missing = placed.filter(pl.col("place").is_null())
                if len(missing):
                    raise UserError(
                        f"{arguments.features}: image {missing['image_id'][0]!r} of run {run} has no features; run the "
                        "stage siamese:embed again"
                    )
                metrics, units = evaluate_run(placed, x, seed, params)
                write_json(metrics, folder / run / f"seed-{seed}" / "metrics.json")
                write_table(units.to_arrow().cast(schemas.UNITS), folder / run / f"seed-{seed}" / "units.parquet")
                accuracies[run].append(metrics[f"accuracy_{FROZEN}"])
            means = {run: round(float(np.mean(values)), 4) for run, values in accuracies.items()}
            write_json(means, folder / "summary.json")
        closing.counts = {f"accuracy, {run}": mean for run, mean in means.items()}
        closing.wrote[str(arguments.output)] = f"evaluations of {len(jobs)} heads"
        closing.next_command = "python -m systems.siamese.report (see stages/siamese/dvc.yaml)"


if __name__ == "__main__":
    main()
