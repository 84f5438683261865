"""Check the promise of `clicksight cut-offs` on images that neither the training nor the cut-offs have seen.

    python -m benchmarks.studies.cut_offs --data data --set birds50 --runs click_gradient=shared-10

In: a project's data folder with trained runs of mtmdd, and their data set. For each run and promised share, cut-offs
are learned from the validation images, as the command does it, and checked on the test images:

- `words`: their cut-offs, on the source's test images; right: the image was clicked for the word
- `names`: the cut-off of names, on the test images of the source and on those of the target, which have no clicks;
  right: the image is of the category
- `unseen names`: the same, but the cut-off is learned with every other name as query, and checked with the other names

Printed for each, over all seeds:

- `cut-offs`: the smallest and the largest number in a seed (of names: in how many seeds there is one); in brackets
  those that there are if clicks, or categories, are dealt out to the validation images at random. A word that fits
  almost every picture has a cut-off then, too.
- `pairs`: of a word or name and a test image above its cut-off
- `right`: the share of these that is right, with its 95 % interval over images (bootstrap)
- `broken`: words (of names: seeds) whose share on the test images is below the promise; in brackets those that chance
  alone would not explain (exact binomial test, 5 % each)
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.studies.trained_runs import TrainedRuns, add_options
from clicksight.cut_offs import CONFIDENCE, Evidence, Seen, images_of, of_names, of_words
from clicksight.queries import known_words, query_vectors
from model.prediction import Predictor


class Above(NamedTuple):
    """Pairs of images and words, or names, above a cut-off.

    Attributes:
        selected: whether a pair is above (images, words).
        right: whether it is right as well.
    """

    selected: np.ndarray
    right: np.ndarray


def interval(selected: np.ndarray, right: np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 % interval of the share of right pairs over images, from the number of pairs of each image.

    By the bootstrap; where all pairs are right it would have no width, so the exact binomial interval is taken there.
    """
    if (selected == right).all():
        images = int((selected > 0).sum())
        exact = stats.binomtest(images, images).proportion_ci()
        return float(exact.low), float(exact.high)
    drawn = np.random.default_rng(0).integers(len(selected), size=(resamples, len(selected)))
    shares = right[drawn].sum(axis=1) / np.maximum(selected[drawn].sum(axis=1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def summed(checked: Sequence[Above], promised: float, of_each_word: bool) -> str:
    """Return the last columns of a row; broken are words, or whole seeds."""
    if not any(one.selected.any() for one in checked):
        return "0 | – | – | –"
    axis = 0 if of_each_word else None
    numbers = np.concatenate([np.atleast_1d(one.selected.sum(axis=axis)) for one in checked])
    rights = np.concatenate([np.atleast_1d(one.right.sum(axis=axis)) for one in checked])
    below = [(int(r), int(n)) for r, n in zip(rights, numbers, strict=True) if r < promised * n]
    surely = sum(stats.binomtest(r, n, promised, alternative="less").pvalue < 0.05 for r, n in below)
    selected = np.concatenate([one.selected.sum(axis=1) for one in checked])
    right = np.concatenate([one.right.sum(axis=1) for one in checked])
    low, high = interval(selected, right)
    share = right.sum() / selected.sum()
    return f"{selected.sum():,} | {share:.1%} | {low:.1%} to {high:.1%} | {len(below)} ({surely})"


def shuffled(seen: Seen) -> Seen:
    """Return the images with clicks and categories of others; those of the source stay among themselves."""
    order = np.arange(len(seen.values))
    generator = np.random.default_rng(0)
    for domain in (True, False):
        of_domain = np.flatnonzero(seen.is_source == domain)
        order[of_domain] = generator.permutation(of_domain)
    return seen._replace(categories=seen.categories[order], clicked=seen.clicked[order])


def check_words(seeds: Sequence[tuple[Seen, Seen]], promised: float) -> str:
    """Return the row of the words."""

    def cuts(seen: Seen) -> np.ndarray:
        found = of_words(seen, promised, CONFIDENCE)
        return np.array([np.inf if one is None else one.cut_off for one in found], np.float32)

    numbers, null, checked = [], [], []
    for validation, test in seeds:
        cut = cuts(validation)
        numbers.append(np.isfinite(cut).sum())
        null.append(np.isfinite(cuts(shuffled(validation))).sum())
        selected = test.values[test.is_source] > cut
        checked.append(Above(selected, selected & test.clicked[test.is_source]))
    counts = f"{min(numbers)} to {max(numbers)} ({min(null)} to {max(null)})"
    return f"words | {promised:.0%} | {counts} | {summed(checked, promised, of_each_word=True)}"


def check_names(
    seeds: Sequence[tuple[Seen, Seen]], vectors: Sequence[np.ndarray], promised: float, unseen: bool
) -> Iterator[str]:
    """Yield the rows of the names, for each domain.

    Shape:
        vectors: of a seed's names (names, K), sorted by name
    """
    found: list[Evidence | None] = []
    null: list[Evidence | None] = []
    for (validation, _), queries in zip(seeds, vectors, strict=True):
        names = sorted(set(validation.categories))
        learned = slice(0, None, 2) if unseen else slice(None)
        for seen, evidence in ((validation, found), (shuffled(validation), null)):
            evidence.append(of_names(seen, names[learned], queries[learned], promised, CONFIDENCE))
    counts = f"{sum(one is not None for one in found)} ({sum(one is not None for one in null)})"
    for domain in ("source", "target"):
        checked = []
        for (validation, test), queries, evidence in zip(seeds, vectors, found, strict=True):
            asked = slice(1, None, 2) if unseen else slice(None)
            names = np.array(sorted(set(validation.categories)), object)[asked]
            tested = test.is_source == (domain == "source")
            cut = np.inf if evidence is None else evidence.cut_off
            selected = test.values[tested] @ queries[asked].T > cut
            checked.append(Above(selected, selected & (test.categories[tested][:, None] == names)))
        label = f"{'unseen ' if unseen else ''}names, {domain}"
        yield f"{label} | {promised:.0%} | {counts} | {summed(checked, promised, of_each_word=False)}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--right", nargs="+", type=float, default=[0.9, 0.8, 0.5], help="(default: 0.9 0.8 0.5)")
    arguments = parser.parse_args(argv)
    runs = TrainedRuns.of(arguments)

    def images(model: Predictor) -> tuple[Seen, Seen]:
        return images_of(model, runs.data, "validation"), images_of(model, runs.data, "test")

    print("| run | cut-offs of | promised | cut-offs | pairs | right | 95 % interval | broken |")
    print("|---|---|---|---|---|---|---|---|")
    for run in runs.names:
        models = runs.models(run)
        seeds = [images(model) for model in models]
        vectors = []
        for model, (validation, _) in zip(models, seeds, strict=True):
            names = sorted(set(validation.categories))
            places = [known for known, _ in known_words(names, model.words, runs.segmenter)]
            vectors.append(query_vectors(places, np.ones(len(model.words))))
        for promised in arguments.right:
            rows = [check_words(seeds, promised)]
            rows += [row for unseen in (False, True) for row in check_names(seeds, vectors, promised, unseen)]
            print("\n".join(f"| {run} | {row} |" for row in rows), flush=True)


if __name__ == "__main__":
    main()
