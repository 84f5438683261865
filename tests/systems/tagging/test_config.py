"""Runs as texts, and the recipes that they become."""

import pytest
from pydantic import ValidationError
from tagging_data import LOSS, NETWORK, TRAIN, recipe

from base.console import UserError
from systems.tagging.config import METHODS, NetworkParams, PlanParams, read_recipe, read_run, recipe_of


@pytest.mark.parametrize(
    "text",
    [
        *METHODS,
        "A6_history=whole",
        "A6_history=thinned_direct=history",
        "A6_layers=code_skips=none_delta=0.1",
        "A3_theta=0",
        "A2_gamma=2.5",
    ],
)
def test_a_text_names_its_run(text) -> None:
    assert read_run(text).name == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A4", r"expected a method \(A1, A2, A3, A5, A6\)"),
        ("A6_history=mine", "expected history=whole or shuffled or thinned"),
        ("A6_delta=x", "expected a number"),
        ("A6_delta=0.10", r"as in 'A6_delta=0\.1'"),
        ("A6_skips=none_history=whole", "expected each option once, in the order"),
        ("A6_delta=1_delta=2", "expected each option once"),
        ("A1_history=whole", "A1 has no history, so history changes nothing"),
        ("A1_direct=history", "A1 has no history, so direct changes nothing"),
        ("A2_theta=0", "A2 has no adversary"),
    ],
)
def test_other_texts_are_refused(text, says) -> None:
    with pytest.raises(ValueError, match=says):
        read_run(text)


def test_methods_differ_in_history_adversary_and_order() -> None:
    found = {name: recipe(name) for name in METHODS}
    assert {name: (one.history, one.adversary, one.joint) for name, one in found.items()} == {
        "A1": ("none", "none", True),
        "A2": ("leave-one-out", "none", True),
        "A3": ("leave-one-out", "general", False),
        "A5": ("leave-one-out", "personal", True),
        "A6": ("leave-one-out", "general", True),
    }


def test_options_change_what_they_name_and_nothing_else() -> None:
    plain = recipe("A6")
    changed = recipe("A6_layers=code_history=whole_skips=none_adversary=saturating_delta=0.1_theta=0_gamma=2")
    assert changed.network == plain.network.model_copy(update={"layers": "code", "skips": []})
    expected = {"saturates": True, "delta": 0.1, "theta": 0.0, "gamma": 2.0}
    assert changed.loss == plain.loss.model_copy(update=expected)
    assert changed.history == "whole"
    assert changed.train == plain.train


def test_the_direct_history_is_an_option_and_a_parameter_that_a1_does_without() -> None:
    assert recipe("A6_direct=history").network == recipe("A6").network.model_copy(update={"direct": "history"})
    assert recipe("A6", direct="history").network.direct == "history"
    assert recipe("A1", direct="history") == recipe("A1")


def test_a_value_out_of_range_names_its_run() -> None:
    with pytest.raises(UserError, match=r"tagging.plan.runs: 'A6_delta=0': delta: Input should be greater than 0"):
        recipe_of(read_run("A6_delta=0"), NETWORK, LOSS, TRAIN)


def test_a_recipe_is_read_as_it_was_written(tmp_path) -> None:
    path = tmp_path / "A6.json"
    path.write_text(recipe("A6").model_dump_json())
    assert read_recipe(path) == recipe("A6")
    path.write_text("{}")
    with pytest.raises(UserError, match="not a recipe"):
        read_recipe(path)
    with pytest.raises(UserError, match="no such recipe"):
        read_recipe(tmp_path / "none.json")


PLAN = {"data_set": "toy", "logged": ["toy"], "runs": ["A6"], "baselines": ["own"], "examples": []}


def test_a_plan_needs_a_log_for_runs() -> None:
    assert [point.name for point in PlanParams.model_validate(PLAN).points] == ["A6"]
    with pytest.raises(ValidationError, match="runs and baselines need a tag log"):
        PlanParams.model_validate({**PLAN, "logged": []})
    with pytest.raises(ValidationError, match=r"expected \[\] or \[toy\]"):
        PlanParams.model_validate({**PLAN, "logged": ["other"]})
    with pytest.raises(ValidationError, match=r"examples has 'A1', which runs lacks; it has \['A6'\]"):
        PlanParams.model_validate({**PLAN, "examples": ["A6", "A1"]})
    with pytest.raises(ValidationError, match="a run is listed twice"):
        PlanParams.model_validate({**PLAN, "runs": ["A6", "A6"]})


@pytest.mark.parametrize(
    ("change", "says"), [({"skips": [4]}, "must be a width of both"), ({"encoder": [0]}, "at least 1")]
)
def test_widths_must_fit(change, says) -> None:
    with pytest.raises(ValidationError, match=says):
        NetworkParams.model_validate({**NETWORK.model_dump(), **change})
