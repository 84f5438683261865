"""Runs as texts, their phases, and recipes."""

from pathlib import Path

import pytest
from annotation_data import NETWORK, recipe

from base.console import UserError
from systems.annotation.config import PHASES, PlanParams, StagesParams, read_recipe, read_run, recipe_of


@pytest.mark.parametrize(
    ("text", "phases"),
    [
        ("MS-CNN", 6),
        ("MS-CNN_joint", 7),
        ("MS-CNN_fusion=average", 2),
        ("MS-CNN_fusion=maximum_first=3", 2),
        ("MS-CNN_loss=warp", 2),
        ("MS-CNN_tags=vectors_quantity=classes_joint", 7),
        ("MS-CNN_tags=shuffled", 6),
    ],
)
def test_a_text_is_read_and_written_again(text: str, phases: int) -> None:
    point = read_run(text)
    assert point.name == text
    assert point.phases == PHASES[:phases]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CNN", "expected CNN-RNN, or MS-CNN, with options"),
        ("CNN-RNN_first=3", "expected CNN-RNN, or MS-CNN, with options"),
        ("MS-CNN_first=x", "expected first=a number"),
        ("MS-CNN_fusion=sum", "expected fusion=blocks, average, maximum"),
        ("MS-CNN_first=2_fusion=average", "in the order"),
        ("MS-CNN_loss=binary", "other than usual"),
        ("MS-CNN_first=02", "in the order"),
        ("MS-CNN_first=2_joint", "needs all phases"),
        ("MS-CNN_depth=3", "expected CNN-RNN, or MS-CNN, with options"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_run(text)


def test_a_plan_names_what_is_listed() -> None:
    plan = {"sets": ["toy"], "data_set": "toy", "runs": ["MS-CNN"], "baselines": []}
    assert [point.name for point in PlanParams.model_validate(plan).points] == ["MS-CNN"]
    for change, message in (
        ({"runs": ["MS-CNN", "MS-CNN"]}, "listed twice"),
        ({"baselines": ["MS-CNN_joint"]}, "MS-CNN_joint is not among the runs"),
        ({"data_set": "other"}, "'other' is not among the sets"),
    ):
        with pytest.raises(ValueError, match=message):
            PlanParams.model_validate(plan | change)


def test_a_phases_parameters_are_those_of_cnn_with_its_own_epochs_and_rate(request: pytest.FixtureRequest) -> None:
    train = recipe(request).train
    stages = {
        name: {"epochs": number, "learning_rate": number / 10}
        for number, name in enumerate(StagesParams.model_fields, 1)
    }
    found = StagesParams.model_validate(stages)
    assert found.trained_as("cnn", train) == train
    assert found.trained_as("labels", train) == train.model_copy(update={"epochs": 3, "learning_rate": 0.3})
    assert found.trained_as("quantity_visual", train) == found.trained_as("quantity", train)


def test_recipes_are_read_again_and_word_vectors_are_needed(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made = recipe(request, "MS-CNN_first=2")
    assert (made.first, made.fusion, made.phases) == (2, "blocks", ["cnn", "fused"])
    (tmp_path / "r.json").write_text(made.model_dump_json())
    assert read_recipe(tmp_path / "r.json") == made
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(UserError, match=r"r.json: not a recipe"):
        read_recipe(tmp_path / "r.json")
    with pytest.raises(UserError, match="no such recipe"):
        read_recipe(tmp_path / "none.json")
    with pytest.raises(UserError, match=r"needs word vectors: name annotation\.network"):
        recipe_of(read_run("MS-CNN_tags=vectors"), 3, NETWORK, made.train, made.stages)
