"""Measure a trained model on the test split; no other stage reads test images.

    python -m systems.mtmdd.evaluate --model data/mtmdd/models/TDL/seed-0 --images data/sets/toy/ingested/images \\
        --split data/sets/toy/splits/seed-0.parquet --features data/sets/toy/features \\
        --output data/mtmdd/evaluations/TDL/seed-0

In: a model folder, the ingested images, the split file it was trained with, vocabulary and click features; for a model
of the cross-object study also the --source-images and the --source-split of its training.
Out: ``metrics.json`` (Acc-S and Acc-T in percent, RMSE-S and its lines of reference on the same images, the parts of
the click loss, numbers of images, the images that the training of each recogniser has seen, the chosen epochs and the
split that chose them, and the reason for each null), ``predictions.parquet`` (`schemas.PREDICTIONS`),
``samples.parquet`` (`schemas.SAMPLE_PREDICTIONS`: some images with the words of their click features) and
``units.parquet`` (`schemas.UNITS`): whether each image is recognised (``accuracy_source``, ``accuracy_target``), and
its squared error of the clicks (``click_error_source``; RMSE-S is the root of its mean).

The last phase that trained a domain recognises it; the last phase with a click loss predicts clicks. In the study of a
target without labels the source's recogniser recognises the target too, unless the training has seen its images.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from pydantic import Field
from torch import nn

from base import schemas
from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section
from model.classification import softmax
from model.data.batches import evaluation_batches
from model.folder import device_at_hand
from model.losses.count import CountLoss
from model.measures.accuracy import accuracy
from model.measures.units import units_of
from systems.mtmdd.batches import ImageLoader
from systems.mtmdd.click_diagnostics import sample_predictions
from systems.mtmdd.click_references import reference_rmse
from systems.mtmdd.config import DOMAINS, Domain, Phase
from systems.mtmdd.dispatch import run_command_of
from systems.mtmdd.examples import Examples, OtherSource, add_data, add_other_source, other_source, read_rows
from systems.mtmdd.measures import Outcome, mean_loss, num_correct, percent, predict, rmse
from systems.mtmdd.objective import Term, build_terms
from systems.mtmdd.predictor import Model

COMMAND = "systems.mtmdd.evaluate"


class EvaluateParams(Params):
    """The parameters of an evaluation."""

    batch_size: int = Field(ge=1, description="images per batch; no result depends on it")


def evaluate(
    model: Model, examples: Examples, training: pl.DataFrame, batch_size: int
) -> tuple[dict[str, Any], pa.Table, pa.Table]:
    """Return the content of metrics.json, the predictions and the units.

    Args:
        model: the model to measure.
        examples: the test rows.
        training: `image_id` and `category` of the source images that the model was trained on.
        batch_size: images per batch.
    """
    outcomes: dict[tuple[str, Domain], Outcome] = {}
    for name in sorted({needed.phase for needed in _needed(model)}):
        phase = next(phase for phase in model.recipe.phases if phase.name == name)
        network = model.network(phase)
        for domain, as_domain in [needed[1:] for needed in _needed(model) if needed.phase == name]:
            loader = ImageLoader(examples, model.recipe.network.image_size, model.seed, examples.clicks is not None)
            batches = evaluation_batches(loader, domain, examples.row_numbers(domain, "test"), batch_size, workers=0)
            outcomes[name, domain] = predict(network, batches, as_domain, device_at_hand())
    metrics: dict[str, Any] = {}
    counted: dict[str, Any] = {"images": {}, "correct": {}, "seen": {}, "chosen": {}, "null": {}}
    predictor = model.phase_that_predicts_clicks()
    predicted = None if predictor is None else outcomes[predictor.name, "source"]
    tables, units = [], []
    for domain in DOMAINS:
        found = model.recogniser_of(domain)
        metrics[f"accuracy_{domain}"] = None
        if found is None:
            counted["null"][f"accuracy_{domain}"] = f"{model.recipe.method} trains no recogniser of the {domain} domain"
            continue
        recogniser = found[0]
        outcome = outcomes[recogniser.name, domain]
        counted["images"][domain], counted["correct"][domain] = outcome.num_images, num_correct(outcome)
        counted["seen"][domain] = model.images_seen(recogniser)
        metrics[f"accuracy_{domain}"] = percent(num_correct(outcome), outcome.num_images)
        assert outcome.prediction.logits is not None
        best = outcome.prediction.logits.argmax(dim=1).numpy()
        units.append(accuracy(f"accuracy_{domain}", _test_ids(examples, domain), best, outcome.labels.numpy()))
        of_clicks = predicted if domain == "source" else None
        tables.append(predictions_table(outcome, of_clicks, examples, domain, model.categories[domain]))
    metrics["rmse_source"] = None
    if predicted is None:
        counted["null"]["rmse_source"] = f"{model.recipe.method} predicts no clicks"
    else:
        counted["images"]["source"] = predicted.num_images
        metrics["rmse_source"] = rmse(predicted)
        metrics["rmse_references"] = references(predicted, examples, training)
        units.append(units_of("click_error_source", _test_ids(examples, "source"), click_errors(predicted), 1.0))
        metrics["click_loss"] = {term.kind: round(mean_loss(predicted, term), 6) for term in _click_terms(model)}
    for epoch in model.chosen:
        counted["chosen"][epoch["phase"]] = {name: value for name, value in epoch.items() if name != "phase"}
    units_table = pl.concat(units).sort("metric", "unit").to_arrow().cast(schemas.UNITS)
    return {**metrics, **counted}, pa.concat_tables(tables), units_table


def references(outcome: Outcome, examples: Examples, training: pl.DataFrame) -> dict[str, float]:
    """Return the RMSE-S of simple predictors on the source's test images (`systems.mtmdd.click_references`)."""
    assert examples.clicks is not None
    train_clicks = examples.clicks.vectors(training["image_id"].to_list())
    labels = np.searchsorted(examples.categories["source"], training["category"].to_numpy())
    return reference_rmse(outcome, torch.from_numpy(train_clicks), torch.from_numpy(labels))


def _test_ids(examples: Examples, domain: Domain) -> list[str]:
    ids: list[str] = examples.rows[examples.row_numbers(domain, "test")]["image_id"].to_list()
    return ids


class _Needed(NamedTuple):
    """A phase whose network a domain's images have to go through, as images of `as_domain`."""

    phase: str
    domain: Domain
    as_domain: Domain


def _needed(model: Model) -> list[_Needed]:
    found = {domain: model.recogniser_of(domain) for domain in DOMAINS}
    needed = [_Needed(pair[0].name, domain, pair[1]) for domain, pair in found.items() if pair is not None]
    predictor = model.phase_that_predicts_clicks()
    if predictor is not None:
        needed.append(_Needed(predictor.name, "source", "source"))
    return list(dict.fromkeys(needed))


def _click_terms(model: Model) -> list[Term]:
    predictor = model.phase_that_predicts_clicks()
    kinds = ("count", "position")
    losses = [] if predictor is None else [term for term in predictor.losses if term.kind in kinds]
    return build_terms(losses, model.recipe.position)


def predictions_table(
    outcome: Outcome, of_clicks: Outcome | None, examples: Examples, domain: Domain, categories: list[str]
) -> pa.Table:
    """Return a domain's predictions (`schemas.PREDICTIONS`), rows by image_id.

    Args:
        outcome: from the network that recognises the domain.
        of_clicks: from the network that predicts the same images' clicks; None if there is none.
        examples: the test rows.
        domain: the domain of the images.
        categories: names, in the order of the logits.
    """
    assert outcome.prediction.logits is not None
    chances = softmax(outcome.prediction.logits)
    best = outcome.prediction.logits.argmax(dim=1).numpy()
    rows = examples.rows[examples.row_numbers(domain, "test")]
    columns = [
        rows["image_id"].to_list(),
        [domain] * len(rows),
        rows["category"].to_list(),
        [categories[label] for label in best],
        chances[range(len(best)), best],
        [None] * len(rows) if of_clicks is None else click_errors(of_clicks),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schemas.PREDICTIONS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schemas.PREDICTIONS)


def click_errors(outcome: Outcome) -> np.ndarray:
    """Return each image's || N'(v) - N'(v^) ||^2; RMSE-S is the root of their mean.

    Shape:
        result: float32 (N,)
    """
    assert outcome.clicks is not None
    assert outcome.prediction.clicks is not None
    return CountLoss()(outcome.clicks, outcome.prediction.clicks).numpy()


def read_test_examples(
    model: Model, images: Path, split: Path, features: Path, other: OtherSource | None = None
) -> tuple[Examples, pl.DataFrame]:
    """Read the test rows to measure a model on, and `image_id` and `category` of its source training images.

    Args:
        model: the trained model.
        images: the folder of ingested images.
        split: the split file.
        features: the folder with vocabulary and click features.
        other: the other data set's source, if the model was trained with one.

    Raises:
        UserError: the split file's categories are not those of the model's training, or a domain has no test images.
    """
    rows = read_rows(split, model.recipe, model.seed, other)
    predicts = model.phase_that_predicts_clicks() is not None
    examples = Examples.read(
        images if other is None else {"source": other.images, "target": images},
        rows,
        features if predicts else None,
        model.recipe.network,
        cache=False,
        splits=("test",),
    )
    for domain in dict.fromkeys(needed.domain for needed in _needed(model)):
        of_domain = split if other is None or domain == "target" else other.split
        check_same_data(model, examples, [domain], of_domain, features)
        if not len(examples.row_numbers(domain, "test")):
            raise UserError(f"{of_domain}: the {domain} domain has no test images")
    is_training = (pl.col("domain") == "source") & (pl.col("split") == "train")
    return examples, rows.filter(is_training).select("image_id", "category")


def check_same_data(model: Model, examples: Examples, domains: Sequence[Domain], split: Path, features: Path) -> None:
    """Check that a model was trained for the categories and the words of the examples.

    Args:
        model: the trained model.
        examples: the examples to use the model on.
        domains: the domains whose categories are compared.
        split: the file of the examples' rows, for the message.
        features: the folder of their click features, for the message.

    Raises:
        UserError: the model was trained for other categories or another number of words.
    """
    for domain in domains:
        if examples.categories[domain] != model.categories[domain]:
            raise UserError(
                f"{split}: its {len(examples.categories[domain])} {domain} categories are not the"
                f" {len(model.categories[domain])} that {model.folder} was trained for;"
                " give the split file of its training"
            )
    if examples.clicks is not None and examples.clicks.num_words != model.num_words:
        raise UserError(
            f"{features}: {examples.clicks.num_words} words, but {model.folder} was trained for"
            f" {model.num_words}; train the model again"
        )


def main(
    argv: Sequence[str] | None = None,
    command: str = COMMAND,
    build: Callable[[Phase, Model], nn.Module] | None = None,
) -> None:
    """Run the stage.

    Args:
        argv: the arguments; None: those of the process.
        command: the module that runs; a recipe may name another, which then replaces this process.
        build: of `Model`.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    add_data(parser, split="the split file of the training")
    add_other_source(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"evaluate {arguments.model}") as closing:
        params = load_section(EvaluateParams, "mtmdd.evaluate", arguments.params)
        model = Model.read(arguments.model, build)
        given = sys.argv[1:] if argv is None else argv
        run_command_of(model.recipe.evaluate_command, command, COMMAND, str(arguments.model), given)
        if model.recipe.train.threads is not None:
            torch.set_num_threads(model.recipe.train.threads)
        other = other_source(model.recipe, arguments.source_images, arguments.source_split)
        examples, training = read_test_examples(model, arguments.images, arguments.split, arguments.features, other)
        metrics, predictions, units = evaluate(model, examples, training, params.batch_size)
        samples = sample_predictions(model, examples, predictions)
        with whole_directory(arguments.output) as folder:
            write_json(metrics, folder / "metrics.json")
            write_table(predictions, folder / "predictions.parquet")
            write_table(samples, folder / "samples.parquet")
            write_table(units, folder / "units.parquet")
        for name in ("accuracy_source", "accuracy_target", "rmse_source"):
            if metrics[name] is not None:
                closing.counts[name] = metrics[name]
        closing.counts["test images"] = predictions.num_rows
        closing.wrote[str(arguments.output)] = "metrics.json, predictions.parquet, samples.parquet, units.parquet"
        closing.next_command = "python -m systems.mtmdd.report.write (see stages/mtmdd/dvc.yaml)"


if __name__ == "__main__":
    main()
