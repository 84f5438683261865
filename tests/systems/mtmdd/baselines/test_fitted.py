"""SCDA, the linear probe and SF: recognisers that are computed, not trained."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn
from training_runs import read_curve, train_recipe

from base.console import UserError
from model.data.batches import evaluation_batches
from systems.mtmdd.baselines import scda_evaluate, sf_evaluate
from systems.mtmdd.baselines.fitted import write_linear
from systems.mtmdd.baselines.linear_probe import GRID, best_regression
from systems.mtmdd.baselines.linear_probe import task_of as probe
from systems.mtmdd.baselines.scda import descriptor, selected
from systems.mtmdd.baselines.scda import task_of as scda
from systems.mtmdd.baselines.sf import CLICK_WEIGHT
from systems.mtmdd.baselines.sf import task_of as fusion
from systems.mtmdd.batches import ImageLoader
from systems.mtmdd.budgets import within_budget
from systems.mtmdd.examples import Examples
from systems.mtmdd.predictor import Model
from systems.mtmdd.recipes import build_recipe

pytestmark = pytest.mark.usefixtures("own_folder")


def images_of(model: Model, examples: Examples, domain: str, split: str) -> tuple[torch.Tensor, np.ndarray]:
    loader = ImageLoader(examples, model.recipe.network.image_size, 0, with_clicks=False)
    rows = examples.row_numbers(domain, split)
    (batch,) = evaluation_batches(loader, domain, rows, 1000, workers=0)
    return batch.images, batch.labels.numpy()


def logits_of(network: nn.Module, images: torch.Tensor, domain: str) -> torch.Tensor:
    with torch.no_grad():
        return network({domain: images})[domain].logits


def test_the_selected_places_are_scipys_largest_component_above_the_mean() -> None:
    omega = torch.randn(6, 5, 9, 7, generator=torch.Generator().manual_seed(0))
    found = selected(omega).numpy()
    for of_image, mask in zip(omega.numpy(), found, strict=True):
        strength = of_image.sum(axis=0)
        labels, number = ndimage.label(strength > strength.mean(), structure=np.ones((3, 3)))
        assert number > 0
        assert np.array_equal(mask, labels == 1 + int(np.bincount(labels.ravel())[1:].argmax()))


def test_the_descriptor_is_the_mean_and_the_maximum_over_the_selected_places() -> None:
    omega = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    found = descriptor(omega).numpy()
    for of_image, mask, values in zip(omega.numpy(), selected(omega).numpy(), found, strict=True):
        places = of_image[:, mask]
        expected = [part / np.linalg.norm(part) for part in (places.mean(axis=1), places.max(axis=1))]
        assert values == pytest.approx(np.concatenate(expected), abs=1e-6)


def test_a_map_without_a_strongest_place_uses_all_places() -> None:
    assert selected(torch.ones(1, 2, 3, 3)).all()
    assert torch.isfinite(descriptor(torch.zeros(1, 2, 3, 3))).all()


@pytest.mark.parametrize("num_categories", [2, 4])
def test_a_written_layer_decides_as_scikit_learn(num_categories: int) -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(60, 5)), np.arange(60) % num_categories
    machine = LinearSVC(C=1.0, random_state=0).fit(values, labels)
    layer = nn.Linear(5, num_categories)
    with torch.no_grad():
        write_linear(layer, machine.coef_, machine.intercept_)
        found = layer(torch.from_numpy(values).float())
    assert np.array_equal(found.argmax(dim=1).numpy(), machine.predict(values))


def test_scda_is_scikit_learns_svm_on_the_convnet_of_the_phase_before(recipe, examples: Examples) -> None:
    train_recipe(recipe("SCDA", epochs=2), examples, 0, Path("model"), "run", kind=scda)
    model = Model.read(Path("model"), scda_evaluate.network_of)
    for domain in ("source", "target"):
        phase = model.phase_that_recognises(domain)
        assert (phase.name, phase.starts_from) == (domain, [f"{domain}_convnet"])
        network = model.network(phase)
        (images, labels), (others, _) = (images_of(model, examples, domain, name) for name in ("train", "validation"))
        with torch.no_grad():
            features, theirs = network.describe(images), network.describe(others)
        machine = LinearSVC(C=1.0, random_state=0, max_iter=20_000).fit(features.double().numpy(), labels)
        scores = logits_of(network, others, domain).numpy()
        assert scores == pytest.approx(machine.decision_function(theirs.double().numpy()), abs=1e-3)
    chosen = json.loads(Path("model/run.json").read_text())["chosen"]
    assert [(phase["phase"], phase["of"]) for phase in chosen] == [
        ("source_convnet", 2), ("target_convnet", 2), ("source", 1), ("target", 1),
    ]  # fmt: skip


def test_the_probe_is_scikit_learns_regression_on_standardised_features(recipe, examples: Examples) -> None:
    train_recipe(recipe("linear_probe"), examples, 0, Path("model"), "run", kind=probe)
    model = Model.read(Path("model"))
    for domain in ("source", "target"):
        network = model.network(model.phase_that_recognises(domain))
        (images, labels), (others, truth) = (images_of(model, examples, domain, n) for n in ("train", "validation"))
        with torch.no_grad():
            features, theirs = (network.backbone(part).phi.double().numpy() for part in (images, others))
        accuracies = {}
        for c in GRID:
            pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(features, labels)
            accuracies[c] = pipeline.score(theirs, truth)
        (chosen,) = read_curve(Path("model/curves") / domain, "validation/C")
        assert chosen == min(c for c in GRID if accuracies[c] == max(accuracies.values()))
        found = logits_of(network, others, domain).argmax(dim=1).numpy()
        assert (found == truth).mean() == pytest.approx(accuracies[chosen])


def test_the_probe_keeps_the_start_weights(recipe, examples: Examples) -> None:
    train_recipe(recipe("linear_probe"), examples, 0, Path("model"), "run", kind=probe)
    model = Model.read(Path("model"))
    statistics = {
        name: value
        for phase in model.recipe.phases
        for name, value in model.network(phase).backbone.state_dict().items()
        if "running_mean" in name
    }
    assert statistics
    assert all(value.abs().sum() == 0 for value in statistics.values())  # the ConvNet was never in training mode


def test_without_validation_images_c_is_1() -> None:
    rng = np.random.default_rng(1)
    train = rng.normal(size=(20, 3)), np.arange(20) % 2
    assert best_regression(train, (np.zeros((0, 0)), np.zeros(0, int)))[1] == 1.0


def test_equal_validation_accuracies_take_the_smallest_c() -> None:
    values, labels = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    assert best_regression((values, labels), (values, labels))[1] == GRID[0]


def test_fewer_than_two_categories_are_refused(recipe, examples: Examples) -> None:
    rows = examples.rows.with_columns(
        split=pl.when(pl.col("category") == "ant").then(pl.col("split")).otherwise(pl.lit("test"))
    )
    few = replace(examples, rows=rows)
    with pytest.raises(UserError, match=r"linear_probe, phase source: .* 'bee' has no training images"):
        train_recipe(recipe("linear_probe"), few, 0, Path("model"), "run", kind=probe)


def test_sf_adds_up_the_probabilities_of_its_two_recognisers(recipe, examples: Examples) -> None:
    train_recipe(recipe("SF", epochs=2), examples, 0, Path("model"), "run", kind=fusion)
    model = Model.read(Path("model"), sf_evaluate.network_of)
    plain = Model.read(Path("model"))
    assert CLICK_WEIGHT == 0.2
    for domain in ("source", "target"):
        images, _ = images_of(model, examples, domain, "validation")
        phase = model.phase_that_recognises(domain)
        found = logits_of(model.network(phase), images, domain).softmax(dim=1)
        by_name = {one.name: one for one in model.recipe.phases}
        visual, click = (
            logits_of(plain.network(by_name[f"{domain}_{part}"]), images, domain).softmax(dim=1)
            for part in ("visual", "click")
        )
        assert torch.allclose(found, 0.8 * visual + 0.2 * click, atol=1e-6)
        assert not torch.allclose(found, visual, atol=1e-3)
    assert model.phase_that_predicts_clicks().name == "predict"
    seen = model.images_seen(model.phase_that_recognises("target"))
    assert seen["source"] == 2 * 24  # the click predictor's; the fusion sees no source image
    assert seen["target"] == 2 * 2 * 16 + 4  # two recognisers of two epochs, and the fusion's single step


@pytest.mark.parametrize("method", ["SCDA", "SF", "linear_probe"])
def test_a_fitted_method_has_no_equal_images(method: str, recipe) -> None:
    with pytest.raises(UserError, match=rf"equal_images={method}-2: phase source is computed from all images at once"):
        within_budget(recipe(method), 2)


def test_a_fitted_phase_has_one_epoch_whatever_the_parameters_say(network_params, objective_params, train_params):
    params = train_params.model_copy(update={"ema": 0.9, "early_stopping": 2})
    recipe = build_recipe("SCDA", network_params, objective_params, params)
    assert [(phase.train or recipe.train).epochs for phase in recipe.phases] == [3, 3, 1, 1]
    assert [(phase.train or recipe.train).ema for phase in recipe.phases] == [0.9, 0.9, None, None]
