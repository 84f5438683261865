"""The report's tables as data frames: our results with intervals, and the paper's in separate columns."""

import statistics
from typing import Any, Literal

import polars as pl

from base.console import UserError
from report.claims import COLUMNS, sample_columns
from report.intervals import Estimate, accuracy_interval, estimate, subtracted
from report.training_noise import moderated
from report.verdicts import Claimed, Verdict, verdicts
from systems.mtmdd.published import CLAIMS, METHOD_ROWS, Claim
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.runs import Point

DOMAINS = ("source", "target")
DIGITS = 4  # decimals of accuracies and differences: more than the page shows, which rounds once
OBJECTIVES = (
    "lambda",
    "mu",
    "click_gradient",
    "recogniser_gradient",
)  # component studies of the joint network's losses
TRANSFERRED = ("VGGsrc", "TDL")  # the methods of Fig. 13 and 14 that learn from the source, except MTMDD-VM


def accuracy(runs: Runs, point: Point, domain: str) -> dict[str, Any]:
    """Return a point's test accuracy in percent: mean over seeds, interval, standard deviation, images per seed.

    All values are None if the method doesn't recognise the domain; the deviation is also None for a single seed, whose
    interval covers the choice of images alone.
    """
    correct = runs.of(point, domain)
    names = [f"{name}_{domain}" for name in ("accuracy", "low", "high", "deviation", "images")]
    if correct.is_empty():
        return dict.fromkeys(names)
    per_seed = [rows["value"] for _, rows in correct.sort("seed").group_by("seed", maintain_order=True)]
    shares = [100 * int(rows.sum()) / len(rows) for rows in per_seed]
    deviation = round(statistics.stdev(shares), DIGITS) if len(shares) > 1 else None
    interval = [round(100 * value, DIGITS) for value in accuracy_interval(correct)]
    return dict(zip(names, [*interval, deviation, max(map(len, per_seed))], strict=True))


def paired(runs: Runs, better: Point, worse: Point) -> Estimate:
    """Return the difference in target accuracy, in percentage points, on the test images of both points.

    Its variance over seeds is moderated by the noise that all runs show.

    Raises:
        UserError: the two points were not tested on the same images.
    """
    return moderated(_estimate_of(_differences(runs, better, worse), better, worse), runs.noise)


def paired_rmse(runs: Runs, better: Point, worse: Point) -> Estimate | None:
    """Return RMSE-S of `worse` minus RMSE-S of `better`, in hundredths; None if one of them predicts no clicks.

    The error of the root of a mean is approximated to first order (delta method): with R the RMSE-S of a run, an image
    with the squared error e has the value (e / R + R) / 2, whose mean over the run's images is R.

    Raises:
        UserError: as in :func:`paired`.
    """
    shares = [_rmse_shares(runs.click_errors(point)) for point in (better, worse)]
    if any(of_point.is_empty() for of_point in shares):
        return None
    return _estimate_of(_subtracted(shares[1], shares[0], worse, better, "source"), better, worse)


def _rmse_shares(errors: pl.DataFrame) -> pl.DataFrame:
    rmse = pl.col("value").mean().sqrt().over("seed")
    share = pl.when(rmse > 0).then((pl.col("value") / rmse + rmse) / 2).otherwise(0.0)
    return errors.select("seed", "unit", share.alias("value"))


def _differences(runs: Runs, better: Point, worse: Point) -> pl.DataFrame:
    one, other = (runs.of(point, "target").cast({"value": pl.Int8}) for point in (better, worse))
    return _subtracted(one, other, better, worse, "target")


def _subtracted(one: pl.DataFrame, other: pl.DataFrame, of_one: Point, of_other: Point, domain: str) -> pl.DataFrame:
    num_common = len(one.join(other, on=["seed", "unit"], how="semi"))
    if not num_common == len(one) == len(other):
        raise UserError(
            f"{of_one.name} and {of_other.name} were tested on different {domain} images: {len(one)} and "
            f"{len(other)}, with {num_common} in common; evaluate both again on the same splits"
        )
    return subtracted(one, other)


def _estimate_of(differences: pl.DataFrame, better: Point, worse: Point, num_runs: int = 2) -> Estimate:
    if differences["unit"].n_unique() < 2:
        raise UserError(f"{better.name} and {worse.name}: an interval needs at least two test images")
    return estimate(differences, num_runs).scaled(100)


def mean_rmse(runs: Runs, point: Point) -> float | None:
    """Return the mean RMSE-S over seeds, with the decimals of ``metrics.json``; None if it is null for any seed."""
    values = [runs.metrics[point, seed]["rmse_source"] for seed in runs.seeds]
    return None if None in values else round(sum(values) / len(values), 6)


def table_viii(runs: Runs) -> pl.DataFrame:
    """Return Table VIII: our accuracies and RMSE-S by method, the paper's, and the differences (ours minus published).

    A method that the paper doesn't have has no published numbers. Those of MDD-VM and MDD-VM* are of Table VII.

    Accuracies are in percent, RMSE-S is unscaled (the paper prints it times 100).
    """
    rows = []
    for point in runs.points:
        if point.study != "methods":
            continue
        row = {"method": point.method, "seeds": len(runs.seeds)}
        for domain in DOMAINS:
            row |= accuracy(runs, point, domain)
        row["rmse_source"] = mean_rmse(runs, point)
        published = METHOD_ROWS.get(point.method)
        for domain in DOMAINS:
            theirs = getattr(published, domain) if published else None
            ours = row[f"accuracy_{domain}"]
            row[f"published_{domain}"] = theirs
            row[f"difference_{domain}"] = None if theirs is None or ours is None else round(ours - theirs, DIGITS)
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


def trade_off_table(runs: Runs) -> pl.DataFrame:
    """Return target accuracy and RMSE-S of the whole-data runs that have both, by descending RMSE-S.

    Of the component studies only those of the joint network's objective are in it; in the others the recognisers get
    other inputs. Accuracies are in percent.
    """
    rows = []
    for point in runs.points:
        study = point.method.partition("=")[0]
        if point.study == "methods" or (point.study == "components" and study in OBJECTIVES):
            rmse = mean_rmse(runs, point)
            found = accuracy(runs, point, "target")
            if rmse is not None and found["accuracy_target"] is not None:
                values = {name: found[f"{name}_target"] for name in ("accuracy", "low", "high")}
                rows.append({"run": point.method, "is_method": point.study == "methods", "rmse": rmse, **values})
    schema = {
        "run": pl.String,
        "is_method": pl.Boolean,
        **dict.fromkeys(("rmse", "accuracy", "low", "high"), pl.Float64),
    }
    return pl.DataFrame(rows, schema=schema).sort("rmse", descending=True, maintain_order=True)


def sweep_table(runs: Runs, study: Literal["out_of_class", "one_shot"], whole: float) -> pl.DataFrame:
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
        full = point.whole
        row: dict[str, Any] = {"method": point.method, "reduced": point.domain or "source", "value": point.value}
        row |= accuracy(runs, point, "target")
        decline = paired(runs, full, point) if full in runs.points else None
        rows.append(row | _decline(decline))
    for method, reduced in dict.fromkeys((row["method"], row["reduced"]) for row in rows):
        full = Point(study, method).whole
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


def _decline(decline: Estimate | None) -> dict[str, float | None]:
    return with_interval(decline, ("decline", "decline_low", "decline_high"))


def with_interval(found: Estimate | None, names: tuple[str, str, str]) -> dict[str, float | None]:
    """Return mean, low and high end of a difference under the given names; None if there is no difference."""
    values = (None, None, None) if found is None else tuple(round(value, DIGITS) for value in found.interval())
    return dict(zip(names, values, strict=True))


def declines_compared(runs: Runs, ours: str, baseline: str) -> list[dict[str, Any]]:
    """Return the baseline's decline minus ours, for each point of the sweeps that both methods have.

    The difference of the two declines is paired by seed and image, because all four runs are tested on the same images.
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
        mine, theirs = _differences(runs, wholes[0], point), _differences(runs, wholes[1], other)
        if point.study == "out_of_class":
            what = f"with {point.value} source categories"
        else:
            what = f"with {point.value:g} of the {point.domain}'s training images"
        found = _estimate_of(subtracted(theirs, mine), point, other, num_runs=4)
        rows.append({"what": what, "estimate": moderated(found, runs.noise)})
    return rows


def claims_table(runs: Runs) -> pl.DataFrame:
    """Return the paper's claims with the published difference, our difference and a verdict (`report.verdicts`).

    Differences are in percentage points of target accuracy, or in hundredths of RMSE-S, by `measure`; a positive one
    supports the claim. `low` and `high` are its 95 % interval, `p` is its p-value by itself and `p_holm` after Holm's
    correction over all tested claims, by which the verdict is given. The last two are null for a claim that isn't
    tested. `report.claims.COLUMNS` have the sample that would decide an open claim.
    """
    claims = []
    for claim in CLAIMS:
        better, worse = runs.find(claim.better), runs.find(claim.worse)
        compare = paired_rmse if claim.measure == "RMSE-S" else paired
        claims.append((claim, None if better is None or worse is None else compare(runs, better, worse)))
    for baseline in TRANSFERRED:
        for row in declines_compared(runs, "MTMDD-VM", baseline):
            statement = f"ours declines less than {baseline} {row['what']}"
            claims.append((Claim(7, statement, "MTMDD-VM", baseline, None), row["estimate"]))
    judged = verdicts([Claimed(found, claim.at_most, bool(claim.by_construction)) for claim, found in claims])
    rows = [_row_of(claim, found, verdict) for (claim, found), verdict in zip(claims, judged, strict=True)]
    rows.sort(key=lambda row: row["claim"])
    floats = ("published", "difference", "low", "high", "p", "p_holm")
    return pl.DataFrame(rows, schema_overrides={**dict.fromkeys(floats, pl.Float64), **COLUMNS})


def _row_of(claim: Claim, found: Estimate | None, verdict: Verdict) -> dict[str, Any]:
    reason = f"; {claim.by_construction}" if claim.by_construction else ""
    return {
        "claim": claim.number,
        "says": claim.statement + reason,
        "better": claim.better,
        "worse": claim.worse,
        "measure": claim.measure,
        "published": claim.published,
        **with_interval(found, ("difference", "low", "high")),
        "p": None if verdict.p is None else round(verdict.p, 6),
        "p_holm": None if verdict.corrected is None else round(verdict.corrected, 6),
        "verdict": verdict.text,
        **sample_columns(verdict.sample),
    }


def chosen_epochs(runs: Runs) -> list[str]:
    """Return the distinct criteria by which the runs' epochs were chosen, such as `target validation accuracy`."""
    return sorted({phase["chosen_on"] for metrics in runs.metrics.values() for phase in metrics["chosen"].values()})
