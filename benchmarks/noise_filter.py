"""The noise filter against a key of wrong labels: Table II and confident learning, on plain and on k-fold scores.

    python -m benchmarks.noise_filter --images data/sets/toy/ingested/images --clicks data/sets/toy/ingested/clicks \
        --truth data/raw/toy/truth/labels.tsv --work .state/noise-filter

The benchmark trains the cleaner of a parameter file with several seeds, once plainly (it scores its own training
images) and once with k folds (a network that has not seen the image scores it). Four filters judge the same
probabilities:

- Table II of the paper, with the file's section `cleaning.clean`;
- mixture: thresholds found from the same scores and clicks (`systems.cleaning.mixture`);
- reliability: the posterior of the label from the probabilities of all categories, each label being one vote
  (`systems.cleaning.reliability`); meant for out-of-fold probabilities;
- confident learning: cleanlab's `find_label_issues` with its defaults, which does not use clicks. It needs the extra
  `bench`: `uv pip install --constraint constraints.txt --editable '.[bench]'`.

The key is a table with or without a header: image id, and either the true category, or 1 for a wrong label and 0 for a
right one. The benchmark prints a Markdown table of means over seeds, with the smallest and the largest value in
brackets; a hit is a wrong label that is dropped. A second table shows the scores without the filters' thresholds: how
well they rank wrong labels below right ones, the best result of one threshold for all images if the key were known, and
the share of right labels that are the networks' first choice. Trained networks and probabilities stay in `--work`; a
second call continues there.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, precision_recall_curve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import read_tables, whole_directory, write_json  # noqa: E402
from base.params import DEFAULT_PATH, load_section  # noqa: E402
from model.classification import LabelledImages, load_classifier  # noqa: E402
from model.classifier_params import ClassifierParams  # noqa: E402
from systems.cleaning.clean import CleanParams, apply_table_ii, with_total_clicks  # noqa: E402
from systems.cleaning.mixture import apply_mixture  # noqa: E402
from systems.cleaning.posteriors import judge_all  # noqa: E402
from systems.cleaning.reliability import cut_of_best_f1  # noqa: E402
from systems.cleaning.train import PHASE, CleanerParams, assign_folds, train_folds, training_rows  # noqa: E402
from systems.cleaning.votes import Votes  # noqa: E402

BATCH = 64  # images scored at once


class Ranking(NamedTuple):
    """The quality of scores without a threshold, in [0, 1].

    Attributes:
        average_precision: for the images by ascending p(own category).
        best_f1: F1 when all images with p <= t are dropped, for the best t. Finding this t needs the key.
        best_t: that t.
        recognised: share of the right labels that are the network's first choice.
        mean_p: mean p(own category) of the right labels.
    """

    average_precision: float
    best_f1: float
    best_t: float
    recognised: float
    mean_p: float


class Quality(NamedTuple):
    """Precision, recall and F1 of a filter, in [0, 1], and the number of images it dropped."""

    precision: float
    recall: float
    f1: float
    num_dropped: int


def quality(dropped: np.ndarray, is_wrong: np.ndarray) -> Quality:
    """Compare the dropped images with the wrong labels.

    Shape:
        dropped, is_wrong: bool (images,)
    """
    hits, num_dropped = int((dropped & is_wrong).sum()), int(dropped.sum())
    precision = hits / num_dropped if num_dropped else 0.0
    recall = hits / int(is_wrong.sum())
    return Quality(precision, recall, 2 * hits / (num_dropped + int(is_wrong.sum())), num_dropped)


def ranking(matrix: np.ndarray, labels: np.ndarray, is_wrong: np.ndarray) -> Ranking:
    """Measure the probabilities without a filter.

    Shape:
        matrix: (images, categories); labels, is_wrong: (images,)
    """
    own = matrix[np.arange(len(labels)), labels]
    first = matrix.argmax(axis=1) == labels
    precision, recall, thresholds = precision_recall_curve(is_wrong, -own)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1[:-1].argmax())  # the last point drops no image
    return Ranking(
        average_precision=float(average_precision_score(is_wrong, -own)),
        best_f1=float(f1[best]),
        best_t=float(-thresholds[best]),
        recognised=float(first[~is_wrong].mean()),
        mean_p=float(own[~is_wrong].mean()),
    )


def read_key(truth: Path, rows: pl.DataFrame) -> np.ndarray:
    """Return which rows have a wrong label: bool (rows,). Every row must be in the key."""
    lines = [line.split("\t") for line in truth.read_text(encoding="utf-8").splitlines()]
    answer_of = {line[0]: line[1] for line in lines}
    missing = [image_id for image_id in rows["image_id"] if image_id not in answer_of]
    if missing:
        sys.exit(f"{truth}: {len(missing)} of {len(rows)} images are not in the key, for example {missing[0]!r}")
    answers = np.array([answer_of[image_id] for image_id in rows["image_id"]])
    return answers == "1" if set(answers) <= {"0", "1"} else answers != rows["category"].to_numpy()


def probabilities(images: Path, rows: pl.DataFrame, folds: pl.DataFrame, cleaner: Path) -> np.ndarray:
    """Return the probability of every category for every row, from its fold's network.

    Shape:
        result: float32 (rows, categories)
    """
    encoded = {
        row["image_id"]: row["image"]["bytes"]
        for row in read_tables(images, ["image_id", "domain", "image"]).to_pylist()
        if row["domain"] == "source"
    }
    result = np.zeros((len(rows), rows["category"].n_unique()), np.float32)
    fold_of = rows.join(folds, on="image_id", maintain_order="left")["fold"].to_numpy()
    for fold in np.unique(fold_of):
        recogniser = load_classifier(cleaner / f"fold-{fold}", PHASE)
        of_fold = np.flatnonzero(fold_of == fold)
        for start in range(0, len(of_fold), BATCH):
            indices = of_fold[start : start + BATCH]
            result[indices] = recogniser.probabilities([encoded[rows["image_id"][int(index)]] for index in indices])
    return result


def scored(
    shards: Path, images: LabelledImages, network: ClassifierParams, params: CleanerParams, work: Path
) -> np.ndarray:
    """Return :func:`probabilities` of a cleaner; train it unless an earlier call did."""
    folder = work / f"seed-{params.seed}-folds-{params.folds}"
    assigned = assign_folds(images.rows, params.folds, params.seed)
    if not folder.is_dir():
        with whole_directory(folder) as temporary:
            cleaner = temporary / "cleaner"
            train_folds(network, params, images, assigned, cleaner)
            np.save(temporary / "probabilities.npy", probabilities(shards, images.rows, assigned, cleaner))
    return np.load(folder / "probabilities.npy")


def confident_learning(labels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the wrong labels that cleanlab finds with its defaults: bool (images,)."""
    from cleanlab.filter import find_label_issues

    return np.asarray(find_label_issues(labels, matrix, n_jobs=1))


def improbable(labels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the labels that the model of reliability drops for the best expected F1: bool (images,)."""
    votes = Votes(np.arange(len(labels) + 1), labels.astype(np.int32), np.ones(len(labels)))
    wrong = 1 - judge_all(votes, np.clip(matrix, 0, 1))[0].of(labels)
    return np.asarray(wrong >= cut_of_best_f1(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--clicks", type=Path, required=True, help="folder of the ingested click log")
    parser.add_argument("--truth", type=Path, required=True, help="the key, tab-separated")
    parser.add_argument("--work", type=Path, required=True, help="folder for networks and probabilities")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 5])
    arguments = parser.parse_args()
    params = load_section(CleanerParams, "cleaning.train", arguments.params)
    table = load_section(CleanParams, "cleaning.clean", arguments.params)
    network = load_section(ClassifierParams, "cleaning.network", arguments.params)
    source = pl.DataFrame(read_tables(arguments.images, columns=["image_id", "domain", "category"]))
    rows, _ = training_rows(source, params.minimum_category_size)
    images = LabelledImages.read(arguments.images, rows, network.resize, params.train.cache_images)
    is_wrong, labels, clicks = (
        read_key(arguments.truth, rows),
        images.labels(),
        pl.DataFrame(read_tables(arguments.clicks, ["image_id", "clicks"])),
    )

    found: dict[str, list[Quality]] = {}
    ranked: dict[str, list[Ranking]] = {}
    for seed in arguments.seeds:
        for folds in arguments.folds:
            of_these = params.model_copy(update={"seed": seed, "folds": folds})
            matrix = scored(arguments.images, images, network, of_these, arguments.work)
            scores = rows.select("image_id", "category", probability=matrix[np.arange(len(rows)), labels])
            scoring = "plain" if folds == 1 else f"{folds}-fold"
            ranked.setdefault(scoring, []).append(ranking(matrix, labels, is_wrong))
            dropped = {
                f"Table II | {scoring}": ~apply_table_ii(with_total_clicks(scores, clicks), table)[
                    "kept"
                ].to_numpy(),  # both are sorted by image id
                f"mixture | {scoring}": ~apply_mixture(with_total_clicks(scores, clicks))[0]["kept"].to_numpy(),
                f"reliability | {scoring}": improbable(labels, matrix),
                f"confident learning | {scoring}": confident_learning(labels, matrix),
            }
            for name, of_filter in dropped.items():
                found.setdefault(name, []).append(quality(of_filter, is_wrong))
                print(f"seed {seed}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)

    print(f"{len(rows):,} images, {int(is_wrong.sum())} wrong labels, {len(arguments.seeds)} seeds\n")
    print("| filter | scores | precision | recall | F1 | images dropped |\n|---|---|---|---|---|---|")
    for name in sorted(found, key=str.lower, reverse=True):
        cells = [spread(found[name], field) for field in ("precision", "recall", "f1")]
        num_dropped = statistics.mean(of_seed.num_dropped for of_seed in found[name])
        print(f"| {name} | {' | '.join(cells)} | {num_dropped:.0f} |")
    print("\n| scores | average precision | best F1 of one t | that t | right labels recognised | mean p of right |")
    print("|---|---|---|---|---|---|")
    for name in sorted(ranked, reverse=True):
        print(f"| {name} | {' | '.join(spread(ranked[name], field) for field in Ranking._fields)} |")
    results = {name: [row._asdict() for row in of_name] for name, of_name in {**found, **ranked}.items()}
    write_json(results, arguments.work / "results.json")


def spread(of_seeds: Sequence[Quality] | Sequence[Ranking], field: str) -> str:
    """Return a field's mean with the smallest and the largest value, as in ``0.932 (0.910-0.951)``."""
    values = [getattr(of_seed, field) for of_seed in of_seeds]
    return f"{statistics.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


if __name__ == "__main__":
    main()
