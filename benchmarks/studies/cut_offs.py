"""Check the promise of `clicksight cut-offs` on images that neither the training nor the cut-offs have seen.

    python -m benchmarks.studies.cut_offs --data data --set birds50 --runs click_gradient=shared-10

In: a project's data folder with trained runs of mtmdd, and their data set. For each run and promised share cut-offs are
learned from the source's validation images, as the command does it, and checked on its test images. Printed, summed
over the seeds:

- `words`: how many of a seed's words have a cut-off
- `shuffled`: how many have one if the clicks are dealt out to the validation images at random: words that fit almost
  every picture, whatever it shows
- `pictures`: pairs of a word and a test image above its cut-off
- `right`: the share of these whose image was clicked for the word; its 95 % interval is over images (bootstrap)
- `broken`: words whose share on the test images is below the promise, and in brackets those where chance alone would
  not explain it (exact binomial test, 5 % for each word)
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from clicksight.cut_offs import CONFIDENCE, cut_offs, images_of
from clicksight.models import load_model


class Checked(NamedTuple):
    """Images that check cut-offs.

    Attributes:
        values: predicted click features (images, K).
        is_right: of each word (images, K).
    """

    values: np.ndarray
    is_right: np.ndarray


class Images(NamedTuple):
    """The images of a seed: those that the cut-offs are learned from, and those that check them."""

    words: Sequence[str]
    validation: Checked
    test: Checked


def images_of_seed(folder: Path, data: Path) -> Images:
    """Return the images of a trained run's seed."""
    model = load_model(folder)
    validation, test = (Checked(*images_of(model, data, split)) for split in ("validation", "test"))
    return Images(list(model.words), validation, test)


def above(images: Checked, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each image and word whether it is above the cut-off, and whether it is right as well."""
    selected = images.values > cuts  # never above NaN
    return selected, selected & images.is_right


def share(selected: np.ndarray, right: np.ndarray) -> float:
    """Return the share of the selected that is right; NaN if nothing is selected."""
    return float(right.sum() / selected.sum()) if selected.any() else float("nan")


def interval(selected: np.ndarray, right: np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 % interval of the share over images: percentiles of the bootstrap; selected, right: (images,)."""
    drawn = np.random.default_rng(0).integers(len(selected), size=(resamples, len(selected)))
    shares = right[drawn].sum(axis=1) / np.maximum(selected[drawn].sum(axis=1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def checked(seeds: Sequence[Images], right: float) -> str:
    """Return a run's row of the table for a promised share."""
    generator = np.random.default_rng(0)
    numbers, shuffled, broken, surely = [], [], 0, 0
    tested = []
    for seed in seeds:
        values, is_right = seed.validation
        found = cut_offs(seed.words, values, is_right, right, CONFIDENCE)["cut_off"]
        cuts = found.to_numpy()
        dealt = is_right[generator.permutation(len(is_right))]
        null = cut_offs(seed.words, values, dealt, right, CONFIDENCE)["cut_off"]
        numbers.append(len(found) - found.null_count)
        shuffled.append(len(null) - null.null_count)
        selected, rights = above(seed.test, cuts)
        for number, good in zip(selected.sum(axis=0), rights.sum(axis=0), strict=True):
            if number and good / number < right:
                broken += 1
                surely += stats.binomtest(int(good), int(number), right, alternative="less").pvalue < 0.05
        tested.append((selected.sum(axis=1), rights.sum(axis=1)))
    selected, rights = (np.concatenate(part) for part in zip(*tested, strict=True))
    low, high = interval(selected, rights)
    counted = f"{share(selected, rights):.1%} | {low:.1%} to {high:.1%}"
    spread = [f"{min(several)} to {max(several)}" for several in (numbers, shuffled)]
    return f"{right:.0%} | {' | '.join(spread)} | {selected.sum():,} | {counted} | {broken} ({surely})"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a project's data folder")
    parser.add_argument("--set", required=True, help="the data set")
    parser.add_argument("--models", type=Path, help="the runs' folder (default: mtmdd/models of --data)")
    parser.add_argument("--runs", nargs="+", required=True, help="runs with a click branch")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="(default: 0 to 4)")
    parser.add_argument("--right", nargs="+", type=float, default=[0.9, 0.7, 0.5], help="(default: 0.9 0.7 0.5)")
    arguments = parser.parse_args(argv)
    folder = arguments.models or arguments.data / "mtmdd/models"
    print("| run | promised | words | shuffled | pictures | right | 95 % interval | broken |")
    print("|---|---|---|---|---|---|---|---|")
    for run in arguments.runs:
        seeds = [
            images_of_seed(folder / run / f"seed-{seed}", arguments.data / "sets" / arguments.set)
            for seed in arguments.seeds
        ]
        for right in arguments.right:
            print(f"| {run} | {checked(seeds, right)} |")
    print(f"words of the last run's vocabulary: {len(seeds[-1].words)}")


if __name__ == "__main__":
    main()
