"""Simulate how often the sample that a report asks for decides: `python -m benchmarks.studies.deciding_samples`.

The trainings are those of `benchmarks.verdicts`. For each row, comparisons with many seeds give the variances of the
population, `report.sample_size` gives from them the sample that decides the true difference with a power of 80 %, and
`--repeats` new comparisons with that sample show how often there is a right verdict. The table also has the smallest
difference that 5 seeds should find with that power, and how often they do. The last column is what reports of 5 seeds
ask for whose claim is open: such a report knows neither the difference nor the variances, and so its answers vary. The
quartiles are in the order in which samples are tried: one with more images is larger.

The second table is for whole reports of 20 claims on 15 runs after Holm's correction: ten claims without a difference,
five of 5 points and five of 15 points, which are decided with 5 seeds. Asked is for the claims of 5 points.
The tables are in docs/verdicts.md.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from benchmarks.verdicts import ACCURACIES, BATCH, PAIRS, TESTED, chosen, compared, estimate_of, trainings  # noqa: E402
from report.intervals import Estimate, Variances, variances  # noqa: E402
from report.sample_size import Sample, deciding_sample, detectable, power  # noqa: E402
from report.training_noise import moderated, training_noise  # noqa: E402
from report.verdicts import LEVEL, holm  # noqa: E402

MANY = 40  # seeds that show the population's variances
PRESENT = 5  # seeds of the reports that ask
CASES = ((2, 5), (3, 5), (2, 3), (3, 3), (2, 2))  # deviation of a training, true difference; points
OF_REPORTS = 0.025  # deviation of a training in whole reports, as a share


def drawn(
    draw: np.random.Generator, number: int, points: float, difference: float, seeds: int, is_fixed: bool, times: int = 1
) -> Variances:
    """Return the differences of two classifiers around 80 % in `number` comparisons, with the parts of their variances.

    Args:
        draw: random numbers.
        number: of comparisons, rounded up to whole batches.
        points: deviation of a training, in points.
        difference: the true one, in points.
        seeds: number of seeds.
        is_fixed: all seeds test the same images.
        times: how many times the images.
    """
    accuracies, deviations = 0.8 + np.array([difference, -difference]) / 200, np.full(2, points / 100)
    at_once = max(1, BATCH * 10 // (seeds * times))
    parts = []
    for _ in range(math.ceil(number / at_once)):
        correct, is_tested = trainings(draw, at_once, accuracies, deviations, seeds, is_fixed, times=times)
        parts.append(variances(correct[:, 0].astype(np.float32) - correct[:, 1], is_tested))
    return Variances(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def population(found: Variances, difference: float) -> Estimate:
    """Return the mean variances of comparisons with `MANY` seeds as those that `PRESENT` seeds have.

    Args:
        found: comparisons with `MANY` seeds.
        difference: the true one, in points.
    """
    seeds, shared, units = (float(part.mean()) for part in found[1:])
    of_images = MANY * (units - shared)
    return estimate_of(PRESENT, difference / 100, seeds * MANY / PRESENT, shared, of_images / PRESENT + shared)


def decided(found: Variances, seeds: int, level: float) -> float:
    """Return the percentage of comparisons that find a difference above 0 at the level."""
    return 100 * float(((chosen(found, seeds) < level) & (found.mean > 0)).mean())


def text_of(sample: Sample) -> str:
    """Return a sample in a few characters."""
    if sample.seeds is None:
        return "out of reach"
    return f"{sample.seeds}" if sample.times == 1 else f"{sample.times} × images, {sample.seeds}"


def quartiles(samples: Sequence[Sample]) -> str:
    """Return the quartiles of samples, the larger those with more images, then those with more seeds."""
    order = sorted(samples, key=lambda sample: (sample.times or math.inf, sample.seeds or math.inf))
    return " / ".join(text_of(order[int(share * (len(order) - 1))]) for share in (0.25, 0.5, 0.75))


def samples_table(draw: np.random.Generator, repeats: int) -> Iterator[str]:
    """Yield how often the sample that is asked for decides, as lines of Markdown."""
    yield (
        "| test images with each seed | deviation, points | true difference | level, % | sample asked for, seeds | "
        "power computed | decided, % | 5 seeds find, points | found, % | "
        "asked for by open reports of 5 seeds, quartiles |"
    )
    yield "|---|---:|---:|---:|---|---:|---:|---:|---:|---|"
    for is_fixed in (False, True):
        for points, difference in CASES:
            many = drawn(draw, repeats // 10, points, difference, MANY, is_fixed)
            whole = population(many, difference)
            pilots = drawn(draw, repeats // 4, points, difference, PRESENT, is_fixed)
            for level in (LEVEL, LEVEL / 20):
                sample = deciding_sample(whole, level)
                cells = [f"{100 * level:g}", text_of(sample)]
                if sample.seeds is None or sample.times is None:
                    cells += ["–", "–"]
                else:
                    found = drawn(draw, repeats, points, difference, sample.seeds, is_fixed, sample.times)
                    computed = power(whole, difference / 100, level, sample.seeds, sample.times)
                    cells += [f"{100 * computed:.1f}", f"{decided(found, sample.seeds, level):.1f}"]
                smallest = 100 * (detectable(whole, level) or 0)
                share = decided(drawn(draw, repeats, points, smallest, PRESENT, is_fixed), PRESENT, level)
                cells += [f"{smallest:.1f}", f"{share:.1f}", quartiles(_asked(pilots, level))]
                which = "the same" if is_fixed else "other"
                yield f"| {which} | {points} | {difference} | {' | '.join(cells)} |"


def _asked(pilots: Variances, level: float) -> list[Sample]:
    of_each = zip(*(part.tolist() for part in pilots), strict=True)
    found = [estimate_of(PRESENT, *parts) for parts in of_each]
    return [deciding_sample(one, level) for one in found if one.p_value() >= level]


def reports_table(draw: np.random.Generator, reports: int) -> Iterator[str]:
    """Yield how often whole reports with the seeds that are asked for decide, as lines of Markdown."""
    yield "| variance over seeds | seeds asked for | power computed | claims of 5 points decided after Holm, % |"
    yield "|---|---:|---:|---:|"
    num_open = len(PAIRS[0]) + len(PAIRS[5])
    for is_moderated in (False, True):
        asking = [one for of_report in _reports(draw, reports, PRESENT, is_moderated) for one in of_report[5]]
        seeds, shared, units, mean = (
            float(np.mean([getattr(one, name) for one in asking])) for name in ("seeds", "shared", "units", "mean")
        )
        degrees = float(np.median([one.degrees for one in asking]))
        whole = replace(estimate_of(PRESENT, mean, seeds, shared, units), degrees=degrees)
        level = LEVEL / num_open
        sample = deciding_sample(whole, level)
        assert sample.seeds is not None
        shares = []
        for of_report in _reports(draw, reports, sample.seeds, is_moderated):
            everything = [one for group in of_report.values() for one in group]
            corrected = np.array(holm([one.p_value() for one in everything]))
            of_five = np.repeat(list(of_report), [len(group) for group in of_report.values()]) == 5
            shares.append((corrected[of_five] < LEVEL).mean())
        computed = power(whole, whole.mean, level, sample.seeds)
        name = "moderated by all runs" if is_moderated else "its own"
        yield f"| {name} | {sample.seeds} | {100 * computed:.1f} | {100 * np.mean(shares):.1f} |"


def _reports(
    draw: np.random.Generator, number: int, seeds: int, is_moderated: bool
) -> Iterator[dict[int, list[Estimate]]]:
    """Yield each report's differences by the true difference in points."""
    for _ in range(number):
        deviations = np.full(len(ACCURACIES), OF_REPORTS)
        correct, is_tested = trainings(draw, 1, ACCURACIES, deviations, seeds, of_split=0.015)
        noise = training_noise((correct[0] & is_tested[0]).sum(axis=2) / TESTED) if is_moderated else None
        yield {
            points: [moderated(compared(correct[0], is_tested[0], *pair), noise) for pair in pairs]
            for points, pairs in PAIRS.items()
        }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000, help="comparisons for each row (default: %(default)s)")
    parser.add_argument("--reports", type=int, default=200, help="reports for each row (default: %(default)s)")
    options = parser.parse_args(arguments)
    draw = np.random.default_rng(0)
    for table in (samples_table(draw, options.repeats), reports_table(draw, options.reports)):
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
