"""Compare a method with itself: `python -m benchmarks.self_comparison --place FOLDER`.

VGGimg (`--method`) is trained on one split with eight seeds, which differ in start weights and batches only. So every
verdict between two of its trainings, or between two groups of them, is false. The benchmark prints

- the 28 pairs of trainings: a single seed gives no verdict; beside it how many intervals over images exclude 0
- the 35 ways to divide the trainings into four and four, and their 840 ways to pair one of each group: in how many a
  verdict is given, by the interval over seeds and images (`report/intervals.py`) and by the one over images alone

The toy's target has 216 test images. A rule at the 5 % level gives verdicts in 5 % of the divisions on average; eight
trainings are few, so the share of one such experiment varies much around it. The benchmark works in FOLDER on a clone
of HEAD, continues where it was stopped, and takes eight trainings of the method.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import whole_file  # noqa: E402
from benchmarks.project import Project  # noqa: E402
from report.intervals import Estimate, estimate  # noqa: E402
from report.verdicts import Claimed, verdicts  # noqa: E402
from systems.mtmdd.report.runs import read_runs  # noqa: E402
from systems.mtmdd.runs import Point  # noqa: E402

VERDICTS = ("holds", "contradicted")


def difference(correct: np.ndarray, one: Sequence[int], other: Sequence[int]) -> Estimate:
    """Return the difference in accuracy of two groups of trainings, in points; the k-th of both count as one seed.

    Args:
        correct: whether each training recognises each image.
        one, other: equally many trainings.

    Shape:
        correct: (trainings, images)
    """
    values = correct[list(one)].astype(np.float64) - correct[list(other)]
    seeds, units = np.indices(values.shape)
    rows = pl.DataFrame({"seed": seeds.ravel(), "unit": units.ravel(), "value": values.ravel()})
    return estimate(rows, num_runs=2).scaled(100)


def is_judged(found: Estimate) -> bool:
    """Whether a difference gets a verdict as the only claim of a report."""
    return verdicts([Claimed(found)])[0].text in VERDICTS


def excludes_0_over_images(found: Estimate) -> bool:
    """Whether the interval over images alone, the earlier rule, excludes 0."""
    return abs(found.mean) > 1.96 * found.units**0.5


def divisions(number: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the ways to divide trainings into two halves, each once.

    Args:
        number: of trainings, even.
    """
    return [
        ((0, *one), tuple(k for k in range(1, number) if k not in one))
        for one in combinations(range(1, number), number // 2 - 1)
    ]


def table(correct: np.ndarray) -> Iterator[str]:
    """Yield how often each comparison gets a verdict, as lines of Markdown.

    Shape:
        correct: (trainings, images)
    """
    accuracies = 100 * correct.mean(axis=1)
    yield f"accuracies, %: {', '.join(f'{value:.1f}' for value in accuracies)}; {correct.shape[1]} test images"
    yield ""
    yield "| compared | number | verdicts | interval over images alone excludes 0 |"
    yield "|---|---:|---:|---:|"
    pairs = [((one,), (other,)) for one, other in combinations(range(len(correct)), 2)]
    halves = divisions(len(correct))
    paired = [(one, order) for one, other in halves for order in permutations(other)]
    half = len(correct) // 2
    for name, compared in (
        ("one training with another", pairs),
        (f"{half} trainings with the other {half}", halves),
        (f"{half} trainings with the other {half}, in all pairings", paired),
    ):
        found = [difference(correct, *groups) for groups in compared]
        judged, excluded = (sum(map(rule, found)) for rule in (is_judged, excludes_0_over_images))
        yield f"| {name} | {len(found)} | {share(judged, len(found))} | {share(excluded, len(found))} |"


def share(part: int, whole: int) -> str:
    """Return a number with its percentage."""
    return f"{part} ({100 * part / whole:.1f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True, help="folder for all outputs; existing ones are used")
    parser.add_argument("--preset", default="params.yaml", help="parameter file, relative to the repository")
    parser.add_argument("--method", default="VGGimg")
    parser.add_argument("--split", type=int, default=0, help="the seed of the split (default: %(default)s)")
    parser.add_argument("--trainings", type=int, default=8, help="even; the seeds are 0, 1, ... (default: %(default)s)")
    options = parser.parse_args()
    if options.trainings < 4 or options.trainings % 2:
        sys.exit(f"--trainings {options.trainings}: an even number of at least 4 expected")
    project = Project(options.place.resolve(), options.preset, [options.split], [options.method])
    place, seeds = project.place, list(range(options.trainings))
    project.prepare()
    project.select(place / "splits", place / "cleaned/images.parquet")
    project.make_features(place / "features", place / "splits", place / "ingested/clicks", place / "queries")
    (place / "same").mkdir(exist_ok=True)
    for seed in seeds:
        project.train("same", options.method, seed, place / "splits", place / "features", split_seed=options.split)
    point = Point("methods", options.method)
    rows = read_runs(place / "same/evaluations", [point], seeds).of(point, "target").sort("seed", "unit")
    lines = list(table(rows["value"].to_numpy().reshape(len(seeds), -1)))
    with whole_file(place / "tables.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
