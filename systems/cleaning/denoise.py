"""Denoise labels by the clicks that name categories and a classifier's out-of-fold probabilities, judged together.

    python -m systems.cleaning.denoise --labels LABELS --features data/sets/toy/embedded --output DENOISED

In: labels, either from clicks (`schemas.LABELS`, as `pipelines.label_from_clicks` writes them) or given ones (a folder
with `image_id` and `category`, such as `ingested/images`; each is one vote); with `--given`, given labels beside labels
from clicks, judged together (`systems.cleaning.given`); and frozen features (`schemas.EMBEDDED`).
Out: `images.parquet` (`schemas.DENOISED`), `categories.parquet` (`schemas.RELIABILITY`: how reliable each name is) and
`summary.json` with the accuracy that the labels are expected to have. That is too high where wrong labels are those of
lookalikes and few images have several clicks (`several_clicks`): nothing else tells such mistakes.

Classifiers that learn from the labels judge them by `systems.cleaning.reliability`, others learn from the judged soft
labels, and all is judged again by these; no image is scored by a network that has seen anything of its votes
(`systems.cleaning.heads`). The method `table` is the paper's filter instead: the most clicked name is the label, and
Table II's thresholds apply to its out-of-fold probability.

If the votes don't agree more with out-of-fold probabilities than permuted votes do, at the level 0.001, the command
ends with an error: nothing could be learned from such a log (`systems.cleaning.agreement`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError, log, rows_add_up, stage
from base.params import DEFAULT_PATH, Params, load_section
from model.heads import principal_components, read_features
from systems.cleaning.agreement import LEVEL, Agreement, agreement
from systems.cleaning.clean import CleanParams, apply_table_ii
from systems.cleaning.heads import FoldedHeadParams, folds_of, judged_out_of_fold, out_of_fold
from systems.cleaning.labels import OF_SETS, Labels, labels_of, read_labels, with_given
from systems.cleaning.posteriors import judge_all
from systems.cleaning.reliability import Posterior, Reliability, cut_of_best_f1, has_name
from systems.cleaning.votes import Votes


class DenoiseParams(Params):
    """How labels are denoised."""

    method: Literal["reliability", "table"] = Field(
        description="reliability: the probabilistic model; table: the most clicked name and thresholds (Table II)"
    )
    least_right: float | None = Field(
        description="an image is kept from this probability of its label; null: as the expected F1 of dropping is best",
        ge=0, le=1,
    )  # fmt: skip
    soft_labels: float | None = Field(
        description="also write all categories of at least this probability; null: only the label", gt=0, le=1
    )
    head: FoldedHeadParams
    table: CleanParams = Field(description="the thresholds of the method `table`")


def dense(labels: Posterior, num_categories: int) -> np.ndarray:
    """Return soft labels of all categories: float32 (N, C)."""
    result = np.zeros((len(labels.category), num_categories), np.float32)
    np.put_along_axis(result, labels.category.astype(np.int64), labels.probability.astype(np.float32), axis=1)
    return result / result.sum(axis=1, keepdims=True)


def check_agreement(votes: Votes, probabilities: np.ndarray, folds: np.ndarray, seed: int) -> Agreement:
    """Return the agreement of votes and out-of-fold probabilities.

    Raises:
        UserError: it is not more than that of permuted votes.
    """
    found = agreement(votes, probabilities, folds, seed)
    log.info("agreement: %.4f, by chance %.4f, p = %.3g", *found)
    if found.p_value > LEVEL:
        raise UserError(
            "the labels say nothing of the images: a classifier that has not seen an image gives its names "
            f"{found.agreement:.4f} on average, and {found.by_chance:.4f} with permuted images "
            f"(p = {found.p_value:.3g}, level {LEVEL}); check that log and images belong together, and that "
            "queries name the categories"
        )
    return found


class Denoised(NamedTuple):
    """The result of :func:`denoise_labels`: verdicts by image, the model (None: Table II), and the test."""

    labels: Posterior
    model: Reliability | None
    agreement: Agreement
    kept: np.ndarray
    category: np.ndarray
    right: np.ndarray


def denoise_labels(labels: Labels, features: np.ndarray, params: DenoiseParams) -> Denoised:
    """Train the classifiers and judge the labels.

    Shape:
        features: float32 (N, D)

    Raises:
        UserError: the labels say nothing of the images, or no image is named.
    """
    votes, num = labels.votes, len(labels.categories)
    if params.method == "table" and labels.given is not None:
        raise UserError("method: table judges one kind of labels; give labels from clicks or given ones, not both")
    folds, named = folds_of(labels.image_ids, params.head), has_name(votes, labels.given)
    if len(np.unique(folds[named])) < params.head.folds:
        raise UserError(f"{int(named.sum())} images are named, too few for {params.head.folds} folds")
    x, shares = principal_components(features, params.head.components), labels.shares()
    if params.method == "table":
        probabilities = out_of_fold(x, shares, named, folds, params.head)
        found = check_agreement(votes, probabilities, folds, params.head.seed)
        return _by_table(labels, probabilities, params.table, found)

    def judged_soft(images: np.ndarray, p: np.ndarray) -> np.ndarray:
        of_given = labels.given.take(images) if labels.given is not None else None
        return dense(judge_all(votes.take(images), p, given=of_given)[0], num)

    probabilities = judged_out_of_fold(x, shares, named, folds, params.head, judged_soft)
    found = check_agreement(votes, probabilities, folds, params.head.seed)
    judged, model = judge_all(votes, probabilities, given=labels.given)
    category, right = judged.best()
    if params.least_right is None:
        kept = named & (1 - right < cut_of_best_f1(1 - right[named]))
    else:
        kept = named & (right >= params.least_right)
    return Denoised(judged, model, found, kept, category, right)


def _by_table(labels: Labels, probabilities: np.ndarray, params: CleanParams, found: Agreement) -> Denoised:
    """Return the paper's filter: the most clicked name is the label, judged by Table II."""
    majority = labels.votes.majority()
    named = majority >= 0
    own = np.where(named, probabilities[np.arange(len(named)), majority], 0)
    of_images = pl.DataFrame(
        {
            "image_id": labels.image_ids,
            "category": [labels.categories[c] if c >= 0 else "" for c in majority],
            "clicks": np.rint(labels.votes.totals()).astype(np.int64),
            "probability": own.astype(np.float32),
        }
    )
    passed = apply_table_ii(of_images.filter(named), params).filter("kept")["image_id"]
    kept = np.isin(np.array(labels.image_ids), passed.to_numpy())
    category = np.arange(len(labels.categories), dtype=np.int32)[None].repeat(len(named), axis=0)
    return Denoised(Posterior(category, probabilities), None, found, kept, majority, own)


def tables(
    labels: Labels, result: Denoised, params: DenoiseParams
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Return `schemas.DENOISED`, `schemas.RELIABILITY` and the summary."""
    names = np.array(labels.categories)
    name = labels.names()
    named = name >= 0
    has_label = result.category >= 0
    name_right = np.where(named, result.labels.of(name), np.nan)
    soft: list[list[str]] = [[] for _ in named]
    soft_p: list[list[float]] = [[] for _ in named]
    if params.soft_labels is not None:
        for row in np.flatnonzero(has_label):
            chosen = np.flatnonzero(result.labels.probability[row] >= params.soft_labels)
            chosen = chosen[np.argsort(-result.labels.probability[row, chosen], kind="stable")]
            soft[row] = names[result.labels.category[row, chosen]].tolist()
            soft_p[row] = result.labels.probability[row, chosen].tolist()
    images = pl.DataFrame(
        {
            "image_id": labels.image_ids,
            "category": [names[c] if c >= 0 else None for c in result.category],
            "name": [names[c] if c >= 0 else None for c in name],
            "right": pl.Series(result.right, dtype=pl.Float32),
            "name_right": pl.Series(name_right, dtype=pl.Float32).fill_nan(None),
            "kept": result.kept,
            "categories": pl.Series(soft, dtype=pl.List(pl.String)),
            "probabilities": pl.Series(soft_p, dtype=pl.List(pl.Float32)),
        }
    ).sort("image_id")
    judged = result.model is not None
    num = len(names)
    kept = result.kept
    counts = {
        "named": np.bincount(name[named], minlength=num),
        "name_right": np.bincount(name[named], name_right[named], num),
        "kept": np.bincount(result.category[kept], minlength=num),
        "right": np.bincount(result.category[kept], result.right[kept], num),
    }
    own: list[float | None] = [None] * num
    most: list[str | None] = [None] * num
    if result.model is not None:
        own = result.model.own.tolist()
        others = result.model.confusion - np.diag(result.model.own)
        most = names[others.argmax(axis=1)].tolist()
    with np.errstate(invalid="ignore"):
        categories = pl.DataFrame(
            {
                "category": labels.categories,
                "images_named": pl.Series(counts["named"], dtype=pl.Int64),
                "name_right": pl.Series(counts["name_right"] / counts["named"], dtype=pl.Float64).fill_nan(None),
                "images_kept": pl.Series(counts["kept"], dtype=pl.Int64),
                "right": pl.Series(counts["right"] / counts["kept"], dtype=pl.Float64).fill_nan(None),
                "reliability": pl.Series(own, dtype=pl.Float64),
                "mistaken_for": pl.Series(most, dtype=pl.String),
            }
        )
    if not judged:  # the raw probability of a classifier is no calibrated accuracy
        images = images.with_columns(name_right=pl.lit(None, pl.Float32))
        categories = categories.with_columns(name_right=pl.lit(None, pl.Float64), right=pl.lit(None, pl.Float64))
    model = result.model
    summary = {
        "images": len(named),
        "named": int(named.sum()),
        "several_clicks": int((labels.votes.totals() > 1).sum()),
        "kept": int(kept.sum()),
        "renamed": int((kept & named & (result.category != name)).sum()),
        "categories": num,
        "expected_right": {
            "names": float(name_right[named].mean()) if judged else None,
            "labels": float(result.right[named].mean()) if judged else None,
            "kept": float(result.right[kept].mean()) if judged and kept.any() else None,
        },
        "agreement": result.agreement._asdict(),
        "model": {
            "concentration": model.concentration,
            "outliers": model.outliers,
            "temperature": model.temperature,
            "log_likelihood": model.log_likelihood,
            "given": model.given._asdict() if model.given is not None else None,
        }
        if model is not None
        else None,
    }
    return images, categories, summary


def run(
    labels: Path,
    features: Path,
    output: Path,
    params: DenoiseParams,
    known: pl.Series | None = None,
    given: Path | None = None,
) -> dict[str, Any]:
    """Denoise labels and write the folder; return the content of summary.json. `known` is as in :func:`read_labels`.

    Args:
        labels: from clicks, or given ones.
        given: given ones beside labels from clicks.

    Raises:
        UserError: bad labels or features, or the labels say nothing of the images.
    """
    read = read_labels(labels, known)
    if given is not None:
        read = with_given(read, read_labels(given, known))
    result = denoise_labels(read, read_features(features, pl.DataFrame({"image_id": read.image_ids})), params)
    images, categories, summary = tables(read, result, params)
    with whole_directory(output) as folder:
        write_table(images.to_arrow().cast(schemas.DENOISED), folder / "images.parquet")
        write_table(categories.to_arrow().cast(schemas.RELIABILITY), folder / "categories.parquet")
        write_json(summary, folder / "summary.json")
    return summary


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--labels", type=Path, required=True, help="labels from clicks (the output of label_from_clicks), or given ones"
    )
    parser.add_argument("--given", type=Path, help="given labels, to be judged together with --labels from clicks")
    parser.add_argument("--data", type=Path, help="a data set's folder; --labels is then given, clicks or both")
    parser.add_argument("--features", type=Path, required=True, help="frozen features, from `embed`")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("denoise") as closing:
        params = load_section(DenoiseParams, "cleaning.denoise", arguments.params)
        (labels, given), known = labels_of(arguments.data, arguments.labels, arguments.given), None
        if arguments.data is not None:
            images = pl.DataFrame(read_tables(arguments.data / OF_SETS["given"], ["image_id", "domain"]))
            known = images.filter(domain="source")["image_id"]
        summary = run(labels, arguments.features, arguments.output, params, known, given)
        unnamed = summary["images"] - summary["named"]
        dropped = {"no category named": unnamed, "doubtful": summary["named"] - summary["kept"]}
        rows_add_up(summary["images"], summary["kept"], dropped, "images")
        closing.counts = {
            "images": summary["images"],
            "images kept": summary["kept"],
            **{f"dropped: {reason}": count for reason, count in dropped.items()},
            "kept under another name": summary["renamed"],
            "named by several clicks, which alone tell mistakes among lookalikes": summary["several_clicks"],
            **{f"expected share right, {of}": s for of, s in summary["expected_right"].items() if s is not None},
            "agreement of votes and classifier, p-value": summary["agreement"]["p_value"],
        }
        closing.wrote[str(arguments.output)] = f"labels of {summary['kept']:,} images"


if __name__ == "__main__":
    main()
