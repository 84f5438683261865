"""Is the accuracy that `systems.cleaning.denoise` states the truth, and is it above majority vote?

    python -m benchmarks.studies.stated_accuracy --features data/siamese/labels/embedded --truth KEY

The images and their frozen features are real, and the log is made up, so that the truth of every vote is known, and
that none of the logs is drawn from the model of `systems.cleaning.reliability`. A log gives each image clicks and each
click a name, of the truth z with the reliability r_z (uniform between two bounds, by category):

- independent: 1 to some 20 clicks (geometric, mean 4); a wrong name is any other category;
- lookalikes: wrong names are one of the three categories whose mean feature is nearest, so that names and classifier
  err in the same way;
- one click: as lookalikes, with one click per image;
- pages: as independent, but the clicks of a fifth of the images are all about one other category;
- repeated: as lookalikes, but a name that was clicked is clicked again 0 to hundreds of times (Zipf, exponent 2);
- different: all names of an image are different, and each has one or two clicks;
- poor: as independent, r_z between 0.15 and 0.5.

The benchmark prints a Markdown table: labels that are right by majority vote and denoised, what is stated, both for all
named images and for those that are kept, and the difference denoised - majority with a 95 % interval over images.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.console import UserError  # noqa: E402
from base.params import DEFAULT_PATH, load_section  # noqa: E402
from model.heads import read_features  # noqa: E402
from systems.cleaning.denoise import Denoised, DenoiseParams, denoise_labels  # noqa: E402
from systems.cleaning.labels import Labels  # noqa: E402
from systems.cleaning.votes import Votes  # noqa: E402

LOGS = ("independent", "lookalikes", "one click", "pages", "repeated", "different", "poor")
NEIGHBOURS = 3


def nearest_categories(features: np.ndarray, truth: np.ndarray, num: int) -> np.ndarray:
    """Return the categories whose mean features are nearest to those of each category, the nearest first.

    Shape:
        features: (N, D); truth: int (N,); result: int (C, NEIGHBOURS)
    """
    means = np.stack([features[truth == c].mean(axis=0) for c in range(num)])
    distances = ((means[:, None] - means[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)[:, :NEIGHBOURS]


def names_of(
    log: str, z: int, reliability: np.ndarray, neighbours: np.ndarray, random: np.random.Generator
) -> dict[int, int]:
    """Return the clicks by name of an image of the category `z` in a made-up log."""
    num = len(reliability)
    total = 1 if log == "one click" else int(random.geometric(0.25))
    if log == "different":
        others = random.permutation(np.delete(np.arange(num), z))[: total - 1 if total > 1 else 1]
        names = [*([z] if random.random() < reliability[z] else []), *others]
        return {int(name): int(random.integers(1, 3)) for name in names}
    about = z
    if log == "pages" and random.random() < 0.2:
        about = int(random.choice(np.delete(np.arange(num), z)))
    clicks: dict[int, int] = {}
    for _ in range(total):
        name = about
        if random.random() >= reliability[about]:
            wrong = neighbours[about] if log in ("lookalikes", "one click", "repeated") else np.arange(num)
            name = int(random.choice(wrong[wrong != about]))
        clicks[name] = clicks.get(name, 0) + (int(random.zipf(2.0)) if log == "repeated" else 1)
    return clicks


def made_up(log: str, truth: np.ndarray, neighbours: np.ndarray, random: np.random.Generator) -> Votes:
    """Return the votes of a made-up log.

    Args:
        log: one of `LOGS`.
        truth: of each image.
        neighbours: of each category, in whose names lookalikes err.
        random: draws everything.

    Shape:
        truth: int (N,); neighbours: int (C, NEIGHBOURS)
    """
    bounds = (0.15, 0.5) if log == "poor" else (0.35, 0.9)
    reliability = random.uniform(*bounds, len(neighbours))
    rows = [names_of(log, int(z), reliability, neighbours, random) for z in truth]
    flat = [(name, count) for row in rows for name, count in sorted(row.items())]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    category, clicks = np.array(flat).T
    return Votes(starts.astype(np.int64), category.astype(np.int32), clicks.astype(np.float64))


def row_of(log: str, seed: int, votes: Votes, found: Denoised, truth: np.ndarray) -> dict[str, object]:
    """Return a row of the table, in percent; the interval is of the mean of paired differences."""
    majority, right, kept = votes.majority() == truth, found.category == truth, found.kept
    paired = right.astype(float) - majority
    error = 1.96 * paired.std(ddof=1) / np.sqrt(len(paired))
    return {
        "log": log,
        "seed": seed,
        "majority": 100 * majority.mean(),
        "denoised": 100 * right.mean(),
        "stated": 100 * found.right.mean(),
        "kept": int(kept.sum()),
        "right of the kept": 100 * right[kept].mean(),
        "stated of the kept": 100 * found.right[kept].mean(),
        "denoised - majority": f"{100 * paired.mean():+.1f} ({100 * (paired.mean() - error):+.1f} to "
        f"{100 * (paired.mean() + error):+.1f})",
    }


def rows_of(
    features: np.ndarray, image_ids: Sequence[str], truth: pl.Series, params: DenoiseParams, logs: Sequence[str],
    seeds: Sequence[int],
) -> Iterator[dict[str, object]]:  # fmt: skip
    """Yield a row for each log and seed."""
    categories = sorted(truth.unique())
    true = np.searchsorted(categories, truth.to_numpy())
    neighbours = nearest_categories(features, true, len(categories))
    for log in logs:
        for seed in seeds:
            votes = made_up(log, true, neighbours, np.random.default_rng([LOGS.index(log), seed]))
            found = denoise_labels(Labels(list(image_ids), categories, votes), features, params)
            yield row_of(log, seed, votes, found, true)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="frozen features, from `systems.cleaning.embed`")
    parser.add_argument("--truth", type=Path, required=True, help="lines: image id, tab, true category")
    parser.add_argument("--logs", nargs="*", choices=LOGS, default=LOGS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args()
    params = load_section(DenoiseParams, "cleaning.denoise", arguments.params)
    truth = pl.read_csv(
        arguments.truth, separator="\t", has_header=False, new_columns=["image_id", "category"], quote_char=None
    ).sort("image_id")
    if not len(truth):
        raise UserError(f"{arguments.truth}: no lines of image id, tab, true category")
    features = read_features(arguments.features, truth.select("image_id"))
    columns: list[str] = []
    for row in rows_of(
        features, truth["image_id"].to_list(), truth["category"], params, arguments.logs, arguments.seeds
    ):
        if not columns:
            columns = list(row)
            print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        texts = [str(value) if isinstance(value, int | str) else f"{value:.1f}" for value in row.values()]
        print(f"| {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
