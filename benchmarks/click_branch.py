"""Diagnose a poor click prediction: `python -m benchmarks.click_branch [--data DATA] [--set KEY=VALUE ...]`.

The benchmark trains one method with some parameters changed, and measures it on training and validation images (it
reads no test image). DATA is a prepared data set, data/sets/NAME. It prints one JSON line per seed: accuracies in
percent, RMSE-S, the mean length of v^, and reference values of RMSE-S on the validation images. The references are
guesses from the training images' click features: their mean, their means by true category, and these means weighted by
the network's own probabilities.

`--set objective.recogniser_gradient=S` multiplies the gradient from the recogniser into v^ by S (0: no gradient). This
is not the paper's model: it shows how much of RMSE-S is caused by the recognition. `python -m systems.mtmdd.diagnose`
measures gradients by loss and layer.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML
from torch.nn.functional import one_hot

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the module also runs as a file

from base.params import DEFAULT_PATH, read_params, validate_section
from model.data.batches import evaluation_batches
from model.folder import device_at_hand
from model.losses.count import l2_normalise
from model.training.trainer import train
from systems.mtmdd.batches import ImageLoader
from systems.mtmdd.click_references import reference_rmse
from systems.mtmdd.config import DOMAINS, Domain, NetworkParams, ObjectiveParams, Phase, Recipe, TrainParams
from systems.mtmdd.examples import Examples, read_rows
from systems.mtmdd.measures import Outcome, num_correct, percent, predict, rmse
from systems.mtmdd.methods import METHODS
from systems.mtmdd.network import Prediction
from systems.mtmdd.predictor import Model
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import training_run


def changed_recipe(method: str, params: Path, changes: Sequence[str]) -> Recipe:
    """Return a method's recipe with some of the system's parameters changed, each given as ``train.epochs=30``."""
    content = read_params(params)["mtmdd"]
    for change in changes:
        key, value = change.split("=", 1)
        *sections, last = key.split(".")
        values = content
        for section in sections:
            values = values[section]
        values[last] = YAML(typ="safe", pure=True).load(value)
    where = str(params)
    network = validate_section(NetworkParams, "mtmdd.network", content["network"], where)
    objective = validate_section(ObjectiveParams, "mtmdd.objective", content["objective"], where)
    train = validate_section(TrainParams, "mtmdd.train", content["train"], where)
    return build_recipe(method, network, objective, train)


def outcome_of(model: Model, phase: Phase, examples: Examples, domain: Domain, split: str) -> Outcome:
    """Return the predictions of a phase's network for the images of a domain's split."""
    loader = ImageLoader(examples, model.recipe.network.image_size, model.seed, with_clicks=True)
    batches = evaluation_batches(loader, domain, examples.row_numbers(domain, split), 128, workers=0)
    return predict(model.network(phase), batches, domain, device_at_hand())


def measure(model: Model, examples: Examples) -> dict[str, float]:
    """Return accuracies, RMSE-S and the mean length of v^ on training and validation images."""
    results: dict[str, float] = {}
    predictor = model.phase_that_predicts_clicks()
    for split in ("train", "validation"):
        for domain in DOMAINS:
            recogniser = model.phase_that_recognises(domain)
            if recogniser is not None:
                outcome = outcome_of(model, recogniser, examples, domain, split)
                results[f"accuracy {domain} {split}"] = percent(num_correct(outcome), outcome.num_images)
        if predictor is not None:
            outcome = outcome_of(model, predictor, examples, "source", split)
            assert outcome.prediction.clicks is not None
            results[f"rmse {split}"] = round(rmse(outcome), 4)
            results[f"length {split}"] = round(outcome.prediction.clicks.norm(dim=1).mean().item(), 4)
    return results


def reference_lines(model: Model, examples: Examples) -> dict[str, float]:
    """Return RMSE-S on the validation images of three guesses that need no word embedding."""
    recogniser = model.phase_that_recognises("source")
    if recogniser is None:
        return {}
    training, validation = (
        outcome_of(model, recogniser, examples, "source", split) for split in ("train", "validation")
    )
    assert training.clicks is not None
    assert validation.prediction.logits is not None
    lines = reference_rmse(validation, training.clicks, training.labels)
    members = one_hot(training.labels, len(model.categories["source"])).float()
    means = members.T @ l2_normalise(training.clicks) / members.sum(dim=0).clamp(min=1)[:, None]
    probable = Prediction(None, validation.prediction.logits.softmax(dim=1) @ means)
    return {
        "rmse of the mean": round(lines["constant"], 4),
        "rmse of the true category's mean": round(lines["category_means"], 4),
        "rmse of the probable categories' means": round(rmse(replace(validation, prediction=probable)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="prepared data set (default: the parameter file's mtmdd.data_set)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    parser.add_argument("--method", choices=METHODS, default="MTMDD-VM-star", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="as in train.epochs=30")
    arguments = parser.parse_args()
    recipe = changed_recipe(arguments.method, arguments.params, arguments.set)
    data = arguments.data or Path("data/sets") / read_params(arguments.params)["mtmdd"]["data_set"]
    for seed in arguments.seeds:
        rows = read_rows(data / f"splits/seed-{seed}.parquet", recipe, seed)
        examples = Examples.read(data / "ingested/images", rows, data / "features", recipe.network, cache=True)
        with tempfile.TemporaryDirectory() as folder:
            train(training_run(recipe, examples, seed, "click-branch"), Path(folder) / "model")
            model = Model.read(Path(folder) / "model")
            results = {**measure(model, examples), **reference_lines(model, examples)}
        print(json.dumps({"method": arguments.method, "seed": seed, "set": arguments.set, **results}), flush=True)


if __name__ == "__main__":
    main()
