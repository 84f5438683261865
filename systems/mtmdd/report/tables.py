"""The report's tables as data frames: our results with intervals, and the paper's in separate columns."""

import statistics
from typing import Any

import polars as pl

from base.console import UserError
from report.intervals import Interval, accuracy_interval, paired_interval
from systems.mtmdd.published import CLAIMS, TABLE_VIII, Claim
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.runs import Point

DOMAINS = ("source", "target")
TRANSFERRED = ("VGGsrc", "TDL")  # the methods of Fig. 13 and 14 that learn from the source, except MTMDD-VM
VERDICTS = {1: "holds", 0: "open", -1: "contradicted"}  # by the sign of an interval; 0: it contains 0


def accuracy(runs: Runs, point: Point, domain: str) -> dict[str, Any]:
    """Return a point's test accuracy in percent: mean over seeds, interval, standard deviation, images per seed.

    All values are None if the method doesn't recognise the domain; the deviation is also None for a single seed.
    """
    correct = runs.of(point, domain)
    names = [f"{name}_{domain}" for name in ("accuracy", "low", "high", "deviation", "images")]
    if correct.is_empty():
        return dict.fromkeys(names)
    per_seed = [rows["correct"] for _, rows in correct.sort("seed").group_by("seed", maintain_order=True)]
    shares = [100 * int(rows.sum()) / len(rows) for rows in per_seed]
    deviation = round(statistics.stdev(shares), 2) if len(shares) > 1 else None
    interval = [round(100 * value, 2) for value in accuracy_interval(correct)]
    return dict(zip(names, [*interval, deviation, max(map(len, per_seed))], strict=True))


def paired(runs: Runs, better: Point, worse: Point, domain: str = "target") -> Interval:
    """Return the difference in accuracy, in percentage points, on the test images of both points.

    Raises:
        UserError: the two points were not tested on the same images.
    """
    return _interval_of(_joined(runs, better, worse, domain), better, worse)


def paired_rmse(runs: Runs, better: Point, worse: Point) -> Interval | None:
    """Return RMSE-S of `worse` minus RMSE-S of `better`, in hundredths; None if one of them predicts no clicks.

    The error of the root of a mean is approximated to first order (delta method): with R the RMSE-S of a run, an image
    with the squared error e has the value (e / R + R) / 2, whose mean over the run's images is R.

    Raises:
        UserError: as in :func:`paired`.
    """
    shares = [_rmse_shares(runs.click_errors(point)) for point in (better, worse)]
    if any(of_point.is_empty() for of_point in shares):
        return None
    return _interval_of(_subtracted(shares[1], shares[0], worse, better, "source"), better, worse)


def _rmse_shares(errors: pl.DataFrame) -> pl.DataFrame:
    rmse = pl.col("click_error").mean().sqrt().over("seed")
    share = pl.when(rmse > 0).then((pl.col("click_error") / rmse + rmse) / 2).otherwise(0.0)
    return errors.select("seed", "image_id", share.alias("value"))


def _joined(runs: Runs, better: Point, worse: Point, domain: str) -> pl.DataFrame:
    one, other = (
        runs.of(point, domain).select("seed", "image_id", pl.col("correct").cast(pl.Int8).alias("value"))
        for point in (better, worse)
    )
    return _subtracted(one, other, better, worse, domain)


def _subtracted(one: pl.DataFrame, other: pl.DataFrame, of_one: Point, of_other: Point, domain: str) -> pl.DataFrame:
    both = one.join(other, on=["seed", "image_id"], suffix="_other", how="inner", validate="1:1")
    if not len(both) == len(one) == len(other):
        raise UserError(
            f"{of_one.name} and {of_other.name} were tested on different {domain} images: {len(one)} and "
            f"{len(other)}, with {len(both)} in common; evaluate both again on the same splits"
        )
    return both.select("seed", "image_id", (pl.col("value") - pl.col("value_other")).alias("difference"))


def _interval_of(differences: pl.DataFrame, better: Point, worse: Point) -> Interval:
    if differences["image_id"].n_unique() < 2:
        raise UserError(f"{better.name} and {worse.name}: an interval needs at least two test images")
    return Interval(*(100 * value for value in paired_interval(differences)))


def mean_metric(runs: Runs, point: Point, name: str, digits: int) -> float | None:
    """Return the mean over seeds of a value in ``metrics.json``; None if it is null for any seed."""
    values = [runs.metrics[point, seed][name] for seed in runs.seeds]
    return None if None in values else round(sum(values) / len(values), digits)


def table_viii(runs: Runs) -> pl.DataFrame:
    """Return Table VIII: our accuracies and RMSE-S by method, the paper's, and the differences (ours minus published).

    Accuracies are in percent, RMSE-S is unscaled (the paper prints it times 100).
    """
    rows = []
    for point in runs.points:
        if point.study != "methods":
            continue
        row = {"method": point.method, "seeds": len(runs.seeds)}
        for domain in DOMAINS:
            row |= accuracy(runs, point, domain)
        row["rmse_source"] = mean_metric(runs, point, "rmse_source", 4)
        published = TABLE_VIII.get(point.method)
        for domain in DOMAINS:
            theirs = getattr(published, domain) if published else None
            ours = row[f"accuracy_{domain}"]
            row[f"published_{domain}"] = theirs
            row[f"difference_{domain}"] = None if theirs is None or ours is None else round(ours - theirs, 2)
        rows.append(row)
    floats = ["accuracy", "low", "high", "deviation", "published", "difference"]
    return pl.DataFrame(
        rows,
        schema_overrides={
            **{f"{name}_{domain}": pl.Float64 for name in floats for domain in DOMAINS},
            **{f"images_{domain}": pl.Int64 for domain in DOMAINS},
            "rmse_source": pl.Float64,
        },
    )


def sweep_table(runs: Runs, study: str, whole: float) -> pl.DataFrame:
    """Return a sweep's target accuracies by method and point, with the whole-data runs as its last point.

    Args:
        runs: the evaluated runs.
        study: ``out_of_class`` (Fig. 13) or ``one_shot`` (Fig. 14).
        whole: the whole data's value on the sweep's axis: the number of source categories, or a share of 1.

    Returns:
        `method`, `reduced` (the domain with fewer images), `value`, the accuracy's columns, and `decline` with its
        interval: percentage points lost against the whole data, on the same test images; null if the method was not
        run on the whole data.
    """
    rows = []
    for point in [point for point in runs.points if point.study == study]:
        full = Point("methods", point.method)
        row: dict[str, Any] = {"method": point.method, "reduced": point.domain or "source", "value": point.value}
        row |= accuracy(runs, point, "target")
        decline = paired(runs, full, point) if full in runs.points else None
        rows.append(row | _decline(decline))
    for method, reduced in dict.fromkeys((row["method"], row["reduced"]) for row in rows):
        full = Point("methods", method)
        if full in runs.points:
            row = {"method": method, "reduced": reduced, "value": whole} | accuracy(runs, full, "target")
            rows.append(row | _decline(None))
    floats = ["value", "accuracy_target", "low_target", "high_target", "deviation_target"]
    order = list(dict.fromkeys((row["method"], row["reduced"]) for row in rows))
    rows.sort(key=lambda row: (order.index((row["method"], row["reduced"])), row["value"]))
    return pl.DataFrame(
        rows,
        schema_overrides=dict.fromkeys([*floats, "decline", "decline_low", "decline_high"], pl.Float64),
    )


def _decline(interval: Interval | None) -> dict[str, float | None]:
    values = (None, None, None) if interval is None else tuple(round(value, 2) for value in interval)
    return dict(zip(("decline", "decline_low", "decline_high"), values, strict=True))


def declines_compared(runs: Runs, ours: str, baseline: str) -> list[dict[str, Any]]:
    """Return the baseline's decline minus ours, for each point of the sweeps that both methods have.

    The difference of the two declines is paired image by image, because all four runs are tested on the same images.
    """
    rows = []
    for point in runs.points:
        other = Point(point.study, baseline, point.value, point.domain)
        wholes = Point("methods", ours), Point("methods", baseline)
        if (
            point.study not in ("out_of_class", "one_shot")
            or point.method != ours
            or not {other, *wholes} <= set(runs.points)
        ):
            continue
        mine, theirs = _joined(runs, wholes[0], point, "target"), _joined(runs, wholes[1], other, "target")
        both = theirs.join(mine, on=["seed", "image_id"], suffix="_ours", validate="1:1")
        gained = both.with_columns((pl.col("difference") - pl.col("difference_ours")).alias("difference"))
        if point.study == "out_of_class":
            what = f"with {point.value} source categories"
        else:
            what = f"with {point.value:g} of the {point.domain}'s training images"
        rows.append({"what": what, "interval": _interval_of(gained, point, other)})
    return rows


def claims_table(runs: Runs) -> pl.DataFrame:
    """Return the paper's claims with the published difference, our difference and a verdict.

    Differences are in percentage points of target accuracy, or in hundredths of RMSE-S, by `measure`; a positive one
    supports the claim. The verdict is ``holds`` or ``contradicted`` if the paired 95 % interval lies on one side of 0
    (or of `Claim.at_most`, if given), ``open`` if the interval contains that value, and ``not run`` if one of the two
    runs is missing.
    """
    rows = []
    for claim in CLAIMS:
        better, worse = runs.find(claim.better), runs.find(claim.worse)
        compare = paired_rmse if claim.measure == "RMSE-S" else paired
        interval = None if better is None or worse is None else compare(runs, better, worse)
        rows.append(_row_of(claim, interval))
    for baseline in TRANSFERRED:
        for row in declines_compared(runs, "MTMDD-VM", baseline):
            statement = f"ours declines less than {baseline} {row['what']}"
            rows.append(_row_of(Claim(7, statement, "MTMDD-VM", baseline, None), row["interval"]))
    rows.sort(key=lambda row: row["claim"])
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(("published", "difference", "low", "high"), pl.Float64))


def _row_of(claim: Claim, interval: Interval | None) -> dict[str, Any]:
    verdict = "not run"
    if interval is not None:
        least = interval if claim.at_most is None else Interval(*(claim.at_most - interval[i] for i in (0, 2, 1)))
        verdict = VERDICTS[least.sign]
    values = (None, None, None) if interval is None else tuple(round(value, 2) for value in interval)
    return {
        "claim": claim.number,
        "says": claim.statement,
        "better": claim.better,
        "worse": claim.worse,
        "measure": claim.measure,
        "published": claim.published,
        **dict(zip(("difference", "low", "high"), values, strict=True)),
        "verdict": verdict,
    }


def chosen_epochs(runs: Runs) -> list[str]:
    """Return the distinct criteria by which the runs' epochs were chosen, such as `target validation accuracy`."""
    return sorted({phase["chosen_on"] for metrics in runs.metrics.values() for phase in metrics["chosen"].values()})
