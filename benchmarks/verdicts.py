"""Simulate how often a verdict on two trained classifiers is right: `python -m benchmarks.verdicts`.

Two classifiers are trained and tested with 3, 5 and 10 seeds. A seed draws 216 test images of 864, as on the toy, so
seeds share images, or all seeds test the same 216. An image is recognised if a normal variable is below the sum of the
classifier's level, the image's difficulty (deviation 1.5), the classifier's own difficulty with it (0.4) and the luck
of the training, which shifts all images alike, with a deviation of 2 or 3 points of accuracy at 80 %. Two trainings of
one classifier then differ in some 18 % of the images. `--repeats` comparisons are drawn for each number.

The first two tables compare ways to decide whether the classifiers differ, at the 5 % level. A cell has the percentage
of comparisons in which a difference is found if the true one is 0 / 2 / 5 points: the first number should be 5 at most,
the others are the power. The third table is for whole reports: 20 claims on 15 runs, by themselves and with Holm's
correction, with and without the noise of training estimated from all runs. The fourth has the level in reports of few
and of many runs without any difference. The last has the coverage of an accuracy's own interval, which should be 95.
The tables are in docs/verdicts.md.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from scipy import special

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from report.intervals import Estimate, Variances, accuracy_interval, variances  # noqa: E402
from report.training_noise import moderated, training_noise  # noqa: E402
from report.verdicts import holm  # noqa: E402

POOL, TESTED = 864, 216  # images of the toy's target; those that a seed tests
TEST_OVER_TRAINING = 0.5  # test images per training image
DIFFICULTY, OWN_DIFFICULTY = 1.5, 0.4  # deviations between images; a single result's own deviation is 1
SEEDS = (3, 5, 10)
DIFFERENCES = (0, 2, 5)  # points
SPREADS = ((2.5, 2.5), (1.25, 5.0), (0.6, 6.0))  # smallest and largest deviation of a report's runs, points
LEVEL = 0.05
BATCH = 100  # comparisons at a time

# 20 claims of a report on 15 runs: ten without a difference, five of 5 points, five of 15 points
ACCURACIES = np.array([0.70] * 4 + [0.80] * 6 + [0.85] * 5)
PAIRS = {
    0: [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7), (8, 9), (10, 11), (11, 12), (13, 14)],
    5: [(10, 4), (11, 5), (12, 6), (13, 7), (14, 8)],
    15: [(10, 0), (11, 1), (12, 2), (13, 3), (14, 0)],
}


def trainings(
    draw: np.random.Generator,
    number: int,
    accuracies: np.ndarray,
    deviations: np.ndarray,
    seeds: int,
    is_fixed: bool = False,
    of_split: float = 0.0,
    times: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the results of several runs with the same seeds and images.

    Args:
        draw: random numbers.
        number: number of independent repetitions.
        accuracies: expected accuracy of each run.
        deviations: of each run's trainings, as a share.
        seeds: number of seeds.
        is_fixed: all seeds test the same images.
        of_split: deviation that all runs of a seed have in common, as a share.
        times: how many times the images there are, tested and in all.

    Returns:
        Whether an image is recognised, and whether it is tested.

    Shape:
        accuracies, deviations: (runs,); results: (number, runs, seeds, pool), (number, seeds, pool), where pool is
        times * POOL
    """
    pool, tested = times * POOL, times * TESTED
    runs, total = len(accuracies), math.sqrt(1 + DIFFICULTY**2 + OWN_DIFFICULTY**2)
    if is_fixed:
        is_tested = np.broadcast_to(np.arange(pool) < tested, (number, seeds, pool))
    else:
        order = np.argpartition(draw.random((number, seeds, pool), np.float32), tested, axis=2)
        is_tested = np.zeros((number, seeds, pool), bool)
        np.put_along_axis(is_tested, order[..., :tested], True, axis=2)
    levels = special.ndtri(accuracies)
    slope = np.exp(-(special.ndtri(0.8) ** 2) / 2) / math.sqrt(2 * math.pi)  # points of accuracy to the normal's scale
    luck = draw.normal(size=(number, runs, seeds)) * deviations[:, None]
    luck += draw.normal(size=(number, 1, seeds)) * of_split
    level = (levels[:, None] + luck / slope) * total  # (number, runs, seeds)
    easiness = draw.normal(0, DIFFICULTY, (number, 1, pool)) + draw.normal(0, OWN_DIFFICULTY, (number, runs, pool))
    sums = (level[..., None] + easiness[:, :, None]).astype(np.float32)
    return draw.standard_normal(sums.shape, np.float32) < sums, is_tested


def of_t(mean: np.ndarray, variance: np.ndarray, degrees: np.ndarray | float) -> np.ndarray:
    """Return two-sided p-values of Student's t."""
    return np.asarray(2 * special.stdtr(degrees, -np.abs(mean) / np.sqrt(np.maximum(variance, 1e-12))))


def satterthwaite(found: Variances, seeds: int) -> np.ndarray:
    """Return the degrees of freedom of `seeds + shared` when only `seeds` is uncertain."""
    return (seeds - 1) * ((found.seeds + found.shared) / np.maximum(found.seeds, 1e-12)) ** 2


def chosen(found: Variances, seeds: int) -> np.ndarray:
    """Return the p-values of `report.intervals.Estimate`."""
    parts = zip(*(part.tolist() for part in found), strict=True)
    return np.array([estimate_of(seeds, *of_one).p_value() for of_one in parts])


CANDIDATES: dict[str, Callable[[Variances, int], np.ndarray]] = {
    "images resampled, normal (before)": lambda found, seeds: 2 * special.ndtr(-np.abs(found.mean) / found.units**0.5),
    "t over seeds": lambda found, seeds: of_t(found.mean, found.seeds, seeds - 1),
    "t over seeds, corrected for resampling": lambda found, seeds: of_t(
        found.mean, found.seeds * (1 + seeds * TEST_OVER_TRAINING), seeds - 1
    ),
    "two-way, normal": lambda found, seeds: of_t(found.mean, found.seeds + found.shared, 1e6),
    "two-way, t, Satterthwaite": lambda found, seeds: of_t(
        found.mean, found.seeds + found.shared, satterthwaite(found, seeds)
    ),
    "two-way, t, seeds − 1": lambda found, seeds: of_t(found.mean, found.seeds + found.shared, seeds - 1),
    "**the same, not below images alone**": chosen,
}


def comparisons_table(draw: np.random.Generator, repeats: int) -> Iterator[str]:
    """Yield level and power of each way to decide, as lines of Markdown."""
    columns = [(seeds, points) for seeds in SEEDS for points in (2, 3)]
    headings = " | ".join(f"{seeds} seeds, {points} points" for seeds, points in columns)
    for is_fixed in (False, True):
        yield f"| {'the same' if is_fixed else 'other'} test images with each seed | {headings} |"
        yield "|---|" + "---:|" * len(columns)
        cells: dict[str, list[str]] = {name: [] for name in CANDIDATES}
        for seeds, points in columns:
            shares = [rejected(draw, repeats, difference, seeds, points, is_fixed) for difference in DIFFERENCES]
            for name, of_name in cells.items():
                of_name.append(" / ".join(f"{of_difference[name]:.1f}" for of_difference in shares))
        for name, of_name in cells.items():
            yield f"| {name} | {' | '.join(of_name)} |"
        yield ""


def rejected(
    draw: np.random.Generator, repeats: int, difference: int, seeds: int, points: int, is_fixed: bool
) -> dict[str, float]:
    """Return in how many of 100 comparisons each way finds that two classifiers differ.

    Args:
        draw: random numbers.
        repeats: number of comparisons.
        difference: the true one, in points.
        seeds: number of seeds.
        points: deviation of a training, in points.
        is_fixed: all seeds test the same images.
    """
    accuracies, deviations = 0.8 + np.array([difference, -difference]) / 200, np.full(2, points / 100)
    found: dict[str, int] = dict.fromkeys(CANDIDATES, 0)
    for _ in range(math.ceil(repeats / BATCH)):
        correct, is_tested = trainings(draw, BATCH, accuracies, deviations, seeds, is_fixed)
        parts = variances(correct[:, 0].astype(np.float32) - correct[:, 1], is_tested)
        for name, p_values in CANDIDATES.items():
            found[name] += int((p_values(parts, seeds) < LEVEL).sum())
    return {name: 100 * number / (math.ceil(repeats / BATCH) * BATCH) for name, number in found.items()}


def reports_table(draw: np.random.Generator, reports: int) -> Iterator[str]:
    """Yield what whole reports find, as lines of Markdown."""
    headings = "level | power, 5 | power, 15 | Holm: with a false one | power, 5 | power, 15"
    yield f"| deviations, points | seeds | variance over seeds | {headings} |"
    yield "|---|---:|---|" + "---:|" * 6
    for low, high in SPREADS:
        for seeds in SEEDS:
            own, all_runs = [], []
            for _ in range(reports):
                deviations = np.exp(draw.uniform(math.log(low), math.log(high), len(ACCURACIES))) / 100
                correct, is_tested = trainings(draw, 1, ACCURACIES, deviations, seeds, of_split=0.015)
                plain = [compared(correct[0], is_tested[0], *pair) for pairs in PAIRS.values() for pair in pairs]
                noise = training_noise((correct[0] & is_tested[0]).sum(axis=2) / TESTED)
                own.append([one.p_value() for one in plain])
                all_runs.append([moderated(one, noise).p_value() for one in plain])
            for name, p_values in (("its own", own), ("**moderated by all runs**", all_runs)):
                by_itself = np.array(p_values) < LEVEL
                corrected = np.array([holm(of_report) for of_report in p_values]) < LEVEL
                groups = np.repeat(list(PAIRS), [len(pairs) for pairs in PAIRS.values()])
                cells = [by_itself[:, groups == 0].mean(), by_itself[:, groups == 5].mean()]
                cells += [by_itself[:, groups == 15].mean(), corrected[:, groups == 0].any(axis=1).mean()]
                cells += [corrected[:, groups == difference].mean() for difference in (5, 15)]
                yield (
                    f"| {spread_text(low, high)} | {seeds} | {name} | "
                    + " | ".join(f"{100 * cell:.1f}" for cell in cells)
                    + " |"
                )


def sizes_table(draw: np.random.Generator, reports: int) -> Iterator[str]:
    """Yield the level in reports of several sizes, as lines of Markdown."""
    yield "| runs | seeds | deviations, points | level, its own variance | level, moderated |"
    yield "|---:|---:|---|---:|---:|"
    for number in (3, 7, 30):
        pairs = [(run, run + 1) for run in range(0, number - 1, 2)]
        for seeds in SEEDS[:2]:
            for low, high in (SPREADS[0], SPREADS[-1]):
                own, all_runs = [], []
                for _ in range(math.ceil(5 * reports / len(pairs))):
                    deviations = np.exp(draw.uniform(math.log(low), math.log(high), number)) / 100
                    correct, is_tested = trainings(draw, 1, np.full(number, 0.8), deviations, seeds, of_split=0.015)
                    noise = training_noise((correct[0] & is_tested[0]).sum(axis=2) / TESTED)
                    for pair in pairs:
                        plain = compared(correct[0], is_tested[0], *pair)
                        own.append(plain.p_value() < LEVEL)
                        all_runs.append(moderated(plain, noise).p_value() < LEVEL)
                levels = f"{100 * np.mean(own):.1f} | {100 * np.mean(all_runs):.1f}"
                yield f"| {number} | {seeds} | {spread_text(low, high)} | {levels} |"


def spread_text(low: float, high: float) -> str:
    """Return the range of the runs' deviations as text."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def estimate_of(num_seeds: int, mean: float, seeds: float, shared: float, units: float) -> Estimate:
    """Return a difference with the parts of its variance; see `report.intervals.Estimate`."""
    return Estimate(
        mean=mean,
        num_seeds=num_seeds,
        seeds=seeds,
        shared=shared,
        units=units,
        degrees=num_seeds - 1,
        num_runs=2,
    )


def compared(correct: np.ndarray, is_tested: np.ndarray, one: int, other: int) -> Estimate:
    """Return the difference of two runs of a report.

    Shape:
        correct: (runs, seeds, images); is_tested: (seeds, images)
    """
    found = variances(correct[one].astype(np.float32) - correct[other], is_tested)
    return estimate_of(len(is_tested), *(float(part) for part in found))


def accuracies_table(draw: np.random.Generator, repeats: int) -> Iterator[str]:
    """Yield the coverage and the mean width of an accuracy's interval at 80 %, as lines of Markdown."""
    yield "| test images with each seed | seeds | deviation, points | coverage, % | width, points |"
    yield "|---|---:|---:|---:|---:|"
    for is_fixed in (False, True):
        for seeds in (1, *SEEDS):
            for points in (2, 3):
                hits, widths = [], []
                for _ in range(math.ceil(repeats / BATCH)):
                    correct, is_tested = trainings(
                        draw, BATCH, np.array([0.8]), np.array([points / 100]), seeds, is_fixed
                    )
                    for of_one, tested in zip(correct[:, 0], is_tested, strict=True):
                        seed, unit = np.nonzero(tested)
                        rows = pl.DataFrame({"seed": seed, "unit": unit, "value": of_one[tested]})
                        interval = accuracy_interval(rows)
                        hits.append(interval.low <= 0.8 <= interval.high)
                        widths.append(100 * (interval.high - interval.low))
                which = "the same" if is_fixed else "other"
                yield f"| {which} | {seeds} | {points} | {100 * np.mean(hits):.1f} | {np.mean(widths):.1f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4000, help="comparisons for each number (default: %(default)s)")
    parser.add_argument("--reports", type=int, default=400, help="reports for each row (default: %(default)s)")
    options = parser.parse_args(arguments)
    draw = np.random.default_rng(0)
    for table in (
        comparisons_table(draw, options.repeats),
        reports_table(draw, options.reports),
        sizes_table(draw, options.reports),
        accuracies_table(draw, options.repeats // 2),
    ):
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
