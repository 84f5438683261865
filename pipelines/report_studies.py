"""The component studies in the report: their tables, and the words about them (Fig. 9 and 12, Tables III to VII)."""

from dataclasses import dataclass

import polars as pl

from model.studies import STUDIES, split_value
from pipelines import published
from pipelines.report_runs import Runs
from pipelines.report_tables import accuracy, mean_metric, paired

DOMAINS = ("source", "target")


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the page says of a study.

    Attributes:
        title: without the reference to the paper.
        text: what is compared.
        axis: what the values are.
        baseline: what each value's target accuracy is compared with: a method, or a point of a study; ``{series}``
            stands for the value's own series.
    """

    title: str
    text: str
    axis: str
    baseline: str


CLICK_ONLY = "TDL, its recognisers seeing the predicted click feature alone"
WORDS = {
    "kernels": Words(
        title="Kernels of the word embedding",
        text=f"{CLICK_ONLY}, count loss, by side and number of E1's kernels. biFC has no E1.",
        axis="number of kernels",
        baseline="embedding=biFC",
    ),
    "embedding": Words(
        title="Word embedding",
        text=f"{CLICK_ONLY}, count loss.",
        axis="word embedding",
        baseline="embedding=FC",
    ),
    "bandwidth": Words(
        title="Bandwidth of the position function",
        text=f"{CLICK_ONLY}; τ = T = 0.1.",
        axis="B",
        baseline="tau=0",
    ),
    "tau": Words(
        title="Weight of the position loss",
        text=f"{CLICK_ONLY}. τ = 0 is the count loss alone, τ = 1 the position loss alone.",
        axis="τ",
        baseline="tau=0",
    ),
    "features": Words(
        title="Visual and click feature",
        text="V is the visual feature (VGGimg); the click feature comes from TDL: C [7] with linear word embedding and count loss, "
        "C_E with nonlinear word embedding and count loss, C with nonlinear word embedding and position loss.",
        axis="what the recognisers see",
        baseline="features=V",
    ),
    "lambda": Words(
        title="One task or two",
        text="MTMDD-VM (separate heads) and MTMDD-VM* (shared head) with µ = 1. λ = 0 trains no click prediction; λ = 1, MDD-VM "
        "and MDD-VM*, trains the source on nothing else, so that what recognises its images has not learned from them.",
        axis="λ",
        baseline="lambda={series}-1",
    ),
    "mu": Words(
        title="Weight of the target domain",
        text="MTMDD-VM (separate heads) and MTMDD-VM* (shared head) against MTTDL, which trains one domain after the other.",
        axis="µ",
        baseline="MTTDL",
    ),
}


def reported(runs: Runs) -> list[str]:
    """Return the component studies that the report has: two values to compare, a run that is no method's among them."""
    return [
        name
        for name, values in runs.studies.items()
        if len(values) > 1 and any(point.study == "components" for point in values.values())
    ]


def study_table(runs: Runs, name: str) -> pl.DataFrame:
    """Return a component study's measures by value, the paper's beside them.

    Returns:
        `series` and `value`; `run`, where the numbers are from; both accuracies' columns; `rmse_source`, mean over
        seeds; `baseline`, and `gain` with its interval: percentage points of target accuracy above the baseline, on the
        same test images, null for the baseline itself and where it was not run; `published_source`, `published_target`
        (percent) and `published_rmse`.
    """
    rows = []
    for value, point in runs.studies[name].items():
        series, place = split_value(value)
        baseline = WORDS[name].baseline.format(series=series)
        below = runs.find(baseline)
        gain = (None, None, None) if below is None or below == point else paired(runs, point, below)
        theirs = published.STUDIES.get(name, {}).get(value)
        rows.append(
            {"series": series, "value": place, "run": point.folder.as_posix()}
            | accuracy(runs, point, "source")
            | accuracy(runs, point, "target")
            | {"rmse_source": mean_metric(runs, point, "rmse_source", 4), "baseline": baseline}
            | {
                column: None if number is None else round(number, 2)
                for column, number in zip(("gain", "gain_low", "gain_high"), gain, strict=True)
            }
            | {
                "published_source": theirs and theirs.source,
                "published_target": theirs and theirs.target,
                "published_rmse": theirs and theirs.rmse_source,
            }
        )
    texts = {"series", "value", "run", "baseline"}
    whole = {f"images_{domain}" for domain in DOMAINS}
    types = {c: pl.String if c in texts else pl.Int64 if c in whole else pl.Float64 for c in rows[0]}
    return pl.DataFrame(rows, schema_overrides=types)


def reference_of(name: str) -> str:
    """Return where the paper has a study."""
    return STUDIES[name].reference
