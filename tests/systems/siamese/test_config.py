"""Runs as texts, and the recipes that they resolve to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.console import UserError
from base.params import ParamsError, validate_section
from systems.siamese.config import (
    LABELS,
    PAIRS,
    FineTuningParams,
    PlanParams,
    Point,
    Recipe,
    read_recipe,
    read_run,
    recipe_of,
)

PLAIN = {"loss": "contrastive", "pairs": "random"}
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "pair_weight": st.sampled_from([0.05, 1.0]),
        "margin": st.sampled_from([0.5, 2.0]),
        "loss": st.just("triplet"),
        "pairs": st.sampled_from(PAIRS),
    },
)


@given(st.sampled_from(LABELS), st.sampled_from([0, 1, 12, None]), CHANGES)
def test_a_text_and_its_run_are_one_to_one(labels, targets, changes) -> None:
    point = Point(labels, targets, changes=tuple(changes.items()))
    assert read_run(point.name) == point
    frozen = Point(labels, targets, frozen=True, soft="denoised" in labels)
    assert read_run(frozen.name) == frozen


def test_texts_by_hand() -> None:
    assert read_run("given-cleaned") == Point("given-cleaned")
    assert read_run("clicks-denoised_targets=all_pair_weight=0.1_pairs=shuffled") == Point(
        "clicks-denoised", None, changes=(("pair_weight", 0.1), ("pairs", "shuffled"))
    )
    assert read_run("given-denoised_frozen_soft_targets=1") == Point("given-denoised", 1, frozen=True, soft=True)
    assert read_run("given-most-clicked_loss=triplet") == Point("given-most-clicked", changes=(("loss", "triplet"),))


@pytest.mark.parametrize(
    "text",
    [
        "", "click", "clicks_", "clicks_targets=0", "clicks_targets=-1", "clicks_targets=1.5", "clicks_targets=01",
        "clicks_margin=1", "clicks_margin=x", "clicks_margin=1.0_targets=1", "clicks_margin=1.0_margin=2.0",
        "clicks_lambda=1.0", "clicks-denoised-denoised",
        "clicks_frozen=1", "clicks_frozen_frozen", "clicks_targets=1_frozen", "clicks_soft", "given_frozen_soft",
        "clicks-denoised_soft_frozen", "clicks_frozen_margin=1.5", "clicks_frozenly",
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_run(text)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"denoised": ["given"], "runs": ["clicks-denoised"]}, r"runs need denoised labels: add clicks to denoised"),
        ({"denoised": [], "runs": ["clicks", "clicks"]}, "listed twice"),
        ({"denoised": ["noise"], "runs": []}, "denoised"),
        ({"runs": [], "frozen": ["clicks-denoised_frozen"]}, "runs need denoised labels: add clicks to denoised"),
        ({"runs": ["truth"]}, "runs need the true categories: name a key in truth, now null"),
        (
            {"runs": ["clicks_frozen"]},
            r"'clicks_frozen': runs with the option frozen are listed in siamese\.plan\.frozen",
        ),
        ({"runs": [], "frozen": ["clicks"]}, "'clicks': runs with the option frozen are listed in"),
        ({"denoised": [], "runs": ["nothing"]}, r"'nothing': expected labels \(given, given-cleaned"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(plan: dict, message: str) -> None:
    every = {"data_set": "toy", "truth": None, "denoised": [], "frozen": [], **plan}
    with pytest.raises(ParamsError, match=message):
        validate_section(PlanParams, "siamese.plan", every, "params.yaml")


@pytest.fixture
def tuned() -> FineTuningParams:
    return FineTuningParams(epochs=2, rate=0.1, categories=6, images=3, margin=1.0, pair_weight=0.5, **PLAIN)


def resolve(text: str, request: pytest.FixtureRequest, tuned: FineTuningParams, **train) -> Recipe:
    from model.classifier_params import ClassifierParams, TrainParams

    params = request.getfixturevalue("train_params").model_dump(include=set(TrainParams.model_fields)) | train
    network = ClassifierParams(backbone="plain", weights="none", image_size=16, resize=18, dropout=0.1)
    return recipe_of(read_run(text), network, TrainParams.model_validate(params), tuned)


def test_a_recipe_has_the_changed_values_and_a_control_only_without_them(request, tuned: FineTuningParams) -> None:
    plain, changed = (
        resolve(text, request, tuned) for text in ("given_targets=3", "given_margin=1.5_pairs=confusable")
    )
    assert (plain.targets, plain.control, plain.fine_tuning) == (3, True, tuned)
    assert (changed.control, changed.fine_tuning.margin, changed.fine_tuning.pair_weight) == (False, 1.5, 0.5)


def test_the_fine_tuning_has_a_tenth_of_the_rate_and_steps_of_so_many_categories(request, tuned) -> None:
    plain, confusable = (resolve(text, request, tuned) for text in ("given", "given_pairs=confusable"))
    trained = plain.fine_tuning.trained_as(plain.train)
    assert (trained.epochs, trained.batch_size) == (2, 6)
    assert trained.learning_rate == pytest.approx(0.1 * plain.train.learning_rate)
    assert trained.momentum == plain.train.momentum
    # a draw is a category and its neighbour
    assert confusable.fine_tuning.trained_as(confusable.train).batch_size == 3


@pytest.mark.parametrize(
    ("text", "train", "message"),
    [
        ("given_margin=2.5", {}, r"'given_margin=2\.5': margin: Input should be less than or equal to 2"),
        ("given_loss=hard", {}, r"loss: Input should be 'contrastive' or 'triplet'"),
        ("given_pairs=hard", {}, r"pairs: Input should be 'random', 'confusable' or 'shuffled'"),
        ("given", {"batch_size": 8, "accumulation": 4}, r"batch_size 6 in accumulation = 4 parts"),
    ],
)
def test_a_value_out_of_its_range_names_the_run(request, tuned, text: str, train: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(text, request, tuned, **train)


def test_a_recipe_is_read_as_it_was_written(request, tuned: FineTuningParams, tmp_path: Path) -> None:
    recipe = resolve("clicks_targets=all", request, tuned)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    assert read_recipe(tmp_path / "recipe.json") == recipe
    with pytest.raises(UserError, match="no such recipe"):
        read_recipe(tmp_path / "other.json")
    (tmp_path / "recipe.json").write_text('{"run": 3}')
    with pytest.raises(UserError, match="not a recipe"):
        read_recipe(tmp_path / "recipe.json")
