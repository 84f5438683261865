"""The images that the methods have seen in training, and their results with equally many (`systems.mtmdd.budgets`)."""

from collections import Counter
from functools import partial
from statistics import fmean
from typing import Any

import polars as pl

from base.console import UserError
from report.pages import NOTHING, Column, Table, interval, number, with_deviation
from systems.mtmdd.published import label
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.report.tables import DIGITS, accuracy, paired, with_interval
from systems.mtmdd.runs import Point

DOMAINS = ("source", "target")
BASELINE = "VGGimg"  # trained on the target alone


def budgets_table(runs: Runs) -> pl.DataFrame:
    """Return the methods' results with the images behind them, by budget and method.

    Returns:
        `budget`: epochs of the joint network whose images the run may see; null: the run ends by its own parameters;
        `method`, `run`; the accuracies' columns of both domains; `seen_source`, `seen_target`: images (draws) in all
        phases behind the domain's recogniser, mean over seeds, null without one; `seen_target_of_source`,
        `seen_target_of_target`: the same for the target's recogniser, by the domain of the images; `epochs`: number of
        trained epochs by phase, mean over seeds; `ended_by`: what ended the phases of all seeds, with their numbers;
        `gain` with its interval: percentage points of target accuracy above VGGimg within the same budget; null without
        that run.
    """
    points: dict[tuple[int | None, str], Point] = {
        (None, point.method): point for point in runs.points if point.study == "methods"
    }
    points |= {_budget_of(value): point for value, point in runs.studies.get("equal_images", {}).items()}
    rows = []
    for (budget, method), point in points.items():
        row: dict[str, Any] = {"budget": budget, "method": method, "run": point.name}
        for domain in DOMAINS:
            row |= accuracy(runs, point, domain)
        row |= _training(runs, point)
        baseline = points.get((budget, BASELINE))
        gain = paired(runs, point, baseline) if baseline is not None and method != BASELINE else None
        row |= with_interval(gain, ("gain", "gain_low", "gain_high"))
        rows.append(row)
    if not rows:
        return pl.DataFrame()
    floats = [f"{name}_{domain}" for name in ("accuracy", "low", "high", "deviation", "seen") for domain in DOMAINS]
    floats += [f"seen_target_of_{domain}" for domain in DOMAINS]
    return pl.DataFrame(
        rows,
        schema_overrides={
            "budget": pl.Int64,
            **{f"images_{domain}": pl.Int64 for domain in DOMAINS},
            **dict.fromkeys([*floats, "gain", "gain_low", "gain_high"], pl.Float64),
        },
    )


def _budget_of(value: str) -> tuple[int, str]:
    method, _, epochs = value.rpartition("-")
    return int(epochs), method


def _training(runs: Runs, point: Point) -> dict[str, Any]:
    """Return a point's images and epochs, means over seeds, and what ended its phases.

    Raises:
        UserError: an evaluation is of an earlier version, which did not count images.
    """
    metrics = [runs.metrics[point, seed] for seed in runs.seeds]
    if any("seen" not in one for one in metrics):
        raise UserError(
            f"{point.name}: its metrics.json has no numbers of images; run the stage `mtmdd:evaluate` again"
        )
    row: dict[str, Any] = {}
    for domain in DOMAINS:
        seen = [one["seen"][domain] for one in metrics if domain in one["seen"]]
        row[f"seen_{domain}"] = _mean([sum(images.values()) for images in seen])
        if domain == "target":
            row |= {f"seen_target_of_{of}": _mean([images[of] for images in seen]) for of in DOMAINS}
    phases = metrics[0]["chosen"]
    epochs = {name: fmean(one["chosen"][name]["of"] for one in metrics) for name in phases}
    row["epochs"] = ", ".join(f"{name} {round(mean, 1):g}" for name, mean in epochs.items())
    ended = Counter(phase["ended_by"] for one in metrics for phase in one["chosen"].values())
    row["ended_by"] = (
        next(iter(ended)) if len(ended) == 1 else ", ".join(f"{n} {what}" for what, n in sorted(ended.items()))
    )
    return row


def _mean(numbers: list[float]) -> float | None:
    return round(fmean(numbers), DIGITS) if numbers else None


def budgets_texts(table: pl.DataFrame) -> Table:
    """Return the table as texts: a row per method, its own training beside each budget."""
    budgets = table["budget"].unique(maintain_order=True).to_list()
    rows = {(row["budget"], row["method"]): row for row in table.iter_rows(named=True)}
    methods = list(dict.fromkeys(method for _, method in rows))
    columns = [Column("method", number=False, name=True)]
    for budget in budgets:
        group = "as the parameters say" if budget is None else f"equal images: {budget} epochs of the joint network"
        columns += [Column("epochs", number=False, group=group)] + [
            Column(heading, group=group)
            for heading in ("images behind Acc-S", "Acc-S, %", "images behind Acc-T", "Acc-T, %", "− VGGimg", "95 %")
        ]
        if budget is None:
            columns.append(Column("ended by", number=False, group=group))
    signed, span = partial(number, sign=True), partial(interval, sign=True)
    texts = []
    for method in methods:
        cells = [label(method)]
        for budget in budgets:
            row = rows.get((budget, method))
            if row is None:
                cells += [NOTHING] * (8 if budget is None else 7)
                continue
            cells += [
                row["epochs"],
                number(row["seen_source"], 0),
                with_deviation(row["accuracy_source"], row["deviation_source"]),
                number(row["seen_target"], 0),
                with_deviation(row["accuracy_target"], row["deviation_target"]),
                signed(row["gain"]),
                span(row["gain_low"], row["gain_high"]),
            ]
            cells += [row["ended_by"]] * (budget is None)
        texts.append(cells)
    return Table(columns, texts)
