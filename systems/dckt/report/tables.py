"""The report's tables: the paper's Tables 2 and 3 with our results, and the claims."""

import polars as pl

from report import pages
from report.claims import judged_table
from report.training_noise import TrainingNoise
from systems.dckt.config import BASELINES, BEFORE, FULL
from systems.dckt.evaluate import BOTH, IMAGE_TO_TEXT, METRICS, TEXT_TO_IMAGE
from systems.dckt.report.claims import claims_of
from systems.dckt.report.published import DATA_SETS, TABLE_2, TABLE_3
from systems.dckt.report.results import Results, with_pairs

MEANINGS = {
    FULL: "DCKT, all of it",
    BEFORE: "before the transfer, Model_t(0)",
    "media": "media level alone, Transfer_1",
    "correlation": "correlation level alone, Transfer_2",
    "all": "all target pairs in each iteration",
    "random": "random target pairs",
    "no_mmd": "control: the same without MMD",
    "no_shared": "without shared categories",
    "texts_shuffled": "control: the source's texts shuffled",
    "fine_tuned": "target network started from the source's",
    "rule=released": "selection as in the released code",
    "estimator=quadruples": "MMD from quadruples, as released",
}


def results_table(results: Results) -> pl.DataFrame:
    """Return every metric of every run: mean over seeds and 95 % interval, percent."""
    rows = [
        (run, metric, *(round(value, 3) for value in results.interval(run, metric)))
        for run in results.runs
        for metric in METRICS
    ]
    schema = {"run": pl.String, "metric": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def table_2(results: Results, pairs: int | None) -> pages.Table:
    """Return the comparison of methods, with the published averages.

    Args:
        results: the evaluations.
        pairs: the limit of target training pairs.
    """
    columns = [
        pages.Column("method", number=False, name=True),
        *(pages.Column(heading, group="ours, MAP, %") for heading in ("image → text", "text → image", "mean")),
        pages.Column("95 %", group="ours, MAP, %"),
        *(pages.Column(name, group="published") for name in DATA_SETS),
    ]
    rows = []
    names = with_pairs(list(dict.fromkeys([*TABLE_2, *BASELINES])), pairs)
    for method, run in names.items():
        cells = [pages.NOTHING] * 4
        if run in results.runs:
            found = results.interval(run, BOTH)
            means = [results.interval(run, metric).mean for metric in (IMAGE_TO_TEXT, TEXT_TO_IMAGE)]
            cells = [*map(pages.number, (*means, found.mean)), pages.interval(found.low, found.high)]
        published = [pages.number(one.average) for one in TABLE_2[method]] if method in TABLE_2 else [pages.NOTHING] * 3
        rows.append([method, *cells, *published])
    return pages.Table(columns, rows)


def table_3(results: Results, pairs: int | None, noise: TrainingNoise | None) -> pages.Table:
    """Return the parts of the model, each with its difference from all of it.

    Args:
        results: the evaluations.
        pairs: the limit of target training pairs.
        noise: of training.
    """
    columns = [
        pages.Column("run", number=False, name=True),
        pages.Column("mean MAP, %", group="ours"),
        pages.Column("95 %", group="ours"),
        pages.Column("less than DCKT", group="ours"),
        pages.Column("95 %", group="ours"),
        pages.Column("iteration", group="ours"),
        *(pages.Column(name, group="published") for name in DATA_SETS),
    ]
    rows = []
    names = with_pairs(list(MEANINGS), pairs)
    for name, run in names.items():
        if run not in results.runs and name not in TABLE_3:
            continue
        cells = [pages.NOTHING] * 5
        if run in results.runs:
            mean = results.interval(run)
            cells[:2] = pages.number(mean.mean), pages.interval(mean.low, mean.high)
            difference = None if name == FULL else results.difference(names[FULL], run, noise)
            if difference is not None:
                known = difference.interval()
                cells[2:4] = pages.number(known.mean, sign=True), pages.interval(known.low, known.high, sign=True)
            cells[4] = pages.number(results.chosen_iteration(run))
        published = map(pages.number, TABLE_3.get(name, [None] * 3))
        rows.append([MEANINGS[name], *cells, *published])
    return pages.Table(columns, rows)


def claims_table(results: Results, noise: TrainingNoise | None) -> pl.DataFrame:
    """Return the claims with our difference in points, its 95 % interval, p before and after Holm, and a verdict."""
    claims = claims_of(results)
    found = [results.difference(claim.better, claim.worse, noise) for claim in claims]
    return judged_table(claims, found, decimals=3).sort("claim", maintain_order=True)
