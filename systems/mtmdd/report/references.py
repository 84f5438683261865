"""The lines of reference of RMSE-S, which every table and plot of RMSE-S shows."""

from collections.abc import Mapping
from statistics import fmean

import polars as pl

from base.console import UserError
from report.pages import NOTHING, number
from systems.mtmdd.report.runs import Runs

LABELS = {
    "zero": "predicting nothing",
    "untrained": "an untrained v^",
    "constant": "the mean click feature",
    "category_means": "the category means",
}
NOTE = (
    "Lines of reference, on the same test images: predicting nothing (1 if all images have clicks); an untrained v^, "
    "which is at right angles to v (√2 = 1.41); the mean click feature of the training images; and the category means, "
    "the mean click feature of those training images that have the image's true category."
)


def references_table(runs: Runs) -> pl.DataFrame:
    """Return the lines of reference on the whole data's test images: `seed`, and a column per line.

    Methods and component studies are tested on the same images, so any run that predicts clicks has the same lines.
    There is no row if no run predicts clicks.

    Raises:
        UserError: two runs with the same seed have different lines.
    """
    of_seed: dict[int, dict[str, float]] = {}
    for point in runs.points:
        for seed in runs.seeds if point.study in ("methods", "components") else ():
            if runs.metrics[point, seed]["rmse_source"] is None:
                continue
            found = runs.metrics[point, seed]["rmse_references"]
            first = of_seed.setdefault(seed, found)
            if any(abs(first[name] - found[name]) > 1e-4 for name in LABELS):
                raise UserError(
                    f"{point.name}, seed {seed}: its lines of reference of RMSE-S, {found}, are not those of "
                    f"another run, {first}; run the stage `mtmdd:evaluate` again"
                )
    rows = [{"seed": seed, **{name: of_seed[seed][name] for name in LABELS}} for seed in runs.seeds if seed in of_seed]
    return pl.DataFrame(rows, schema={"seed": pl.Int64, **dict.fromkeys(LABELS, pl.Float64)})


def reference_lines(table: pl.DataFrame) -> dict[str, float]:
    """Return each line's label and its mean over seeds; nothing for an empty table."""
    return {LABELS[name]: fmean(table[name]) for name in LABELS} if len(table) else {}


def reference_rows(lines: Mapping[str, float], width: int, label: int, value: int) -> list[list[str]]:
    """Return the lines as rows of a table of texts.

    Args:
        lines: from :func:`reference_lines`.
        width: number of columns.
        label, value: index of the column for the line's name and of the one for RMSE-S.
    """
    rows = []
    for name, rmse in lines.items():
        row = ["" if column < label else NOTHING for column in range(width)]
        row[label], row[value] = f"reference: {name}", number(rmse, 3)
        rows.append(row)
    return rows
