"""The page's sentences about its runs: the choice of epochs, the seeds, the intervals, and the correction of p."""

import math
from collections.abc import Sequence

import polars as pl

from systems.mtmdd.report.runs import Runs
from systems.mtmdd.report.tables import chosen_epochs


def chosen_sentence(runs: Runs) -> str:
    """Return the page's sentence about the choice of epochs."""
    ways = chosen_epochs(runs)
    return f"Each training phase keeps the epoch that is best by its measure: {', '.join(ways)}."


def seeds_sentence(seeds: Sequence[int]) -> str:
    """Return the page's sentence about the number of trainings."""
    if len(seeds) == 1:
        return f"One split and one training of each method (seed {seeds[0]}), so there is no spread over seeds"
    listed = ", ".join(map(str, seeds))
    return f"Means over {len(seeds)} seeds ({listed}: split, initialisation and batches), ± their standard deviation"


def intervals_sentence(runs: Runs) -> str:
    """Return the page's sentence about what the intervals cover."""
    if len(runs.seeds) == 1:
        return (
            "They cover the choice of test images alone: one seed can't show how much a training's luck changes a "
            "result, so no claim gets a verdict from it."
        )
    text = (
        "They cover the randomness of training and the choice of test images: Student's t over the seeds, with the "
        "covariance of the images that seeds share, and never narrower than the interval over the images alone."
    )
    if runs.noise is None:
        return text
    degrees = "infinitely many" if math.isinf(runs.noise.degrees) else f"{runs.noise.degrees:.1f}"
    return (
        f"{text} A difference of target accuracies combines two estimates of its variance over seeds: its own, with "
        f"{len(runs.seeds) - 1} degrees of freedom, and that of all runs, with {degrees}. By the latter a training's "
        f"standard deviation from the mean of its seed's trainings is {math.sqrt(runs.noise.variance):.1f} points."
    )


def correction_sentence(claims: pl.DataFrame) -> str:
    """Return the page's sentence about the correction for the number of claims."""
    tested = claims["p"].count()
    if not tested:
        return "No claim is tested here, so there is no correction."
    return (
        f"p is corrected for the {tested} tested claims by Holm's method, so that at most 5 % of such reports have any "
        "false verdict. The intervals are not corrected."
    )
