"""Tests of runs as texts, and of recipes."""

from pathlib import Path

import pytest
from dckt_runs import NETWORK, OBJECTIVE, TRAIN, TRANSFER, recipe
from pydantic import ValidationError

from base.console import UserError
from systems.dckt.config import PLAIN, Point, RunsParams, read_recipe, read_run, recipe_of


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("DCKT", Point("DCKT")),
        ("before_pairs=10", Point("before", 10)),
        ("two-tower_pairs=40", Point("two-tower", 40)),
        ("texts_shuffled", Point("texts_shuffled")),
        ("alpha=0.4", Point("DCKT", None, (("alpha", 0.4),))),
        ("alpha=1.0_pairs=10", Point("DCKT", 10, (("alpha", 1.0),))),
        ("rule=released", Point("DCKT", None, (("rule", "released"),))),
    ],
)
def test_a_text_names_a_run_and_back(text: str, point: Point) -> None:
    assert read_run(text) == point
    assert point.name == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dckt", "expected one of DCKT, before, media"),
        ("DCKT_pairs=0", "expected one of DCKT"),
        ("DCKT_pairs=010", "expected one of DCKT"),
        ("alpha=much", "'alpha=much': alpha: expected a number"),
        ("alpha=1", "write 'alpha=1.0'"),
        ("alpha=0.40", "write 'alpha=0.4'"),
        ("beta=1.0", "expected one of DCKT"),
    ],
)
def test_other_texts_are_errors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_run(text)


@pytest.mark.parametrize(
    ("networks", "baselines", "message"),
    [
        (["DCKT", "CCA"], [], "'CCA': CCA, KCCA, .* are listed in dckt.runs.baselines, others not"),
        (["DCKT"], ["before"], "'before'"),
        (["DCKT", "DCKT"], [], "a run is listed twice"),
        (["DCKT", "nothing"], [], "'nothing': expected one of"),
    ],
)
def test_wrong_lists_of_runs(networks: list[str], baselines: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RunsParams(networks=networks, baselines=baselines)


def test_recipes_differ_in_what_their_runs_are_about() -> None:
    full = recipe()
    assert full.transfer == TRANSFER
    assert full.objective == OBJECTIVE
    expected = {
        "before": {"transfer": None},
        "media": {"objective": OBJECTIVE.model_copy(update={"fc8": 0.0, "fc9": 0.0})},
        "correlation": {"objective": OBJECTIVE.model_copy(update={"media": 0.0})},
        "no_mmd": {"objective": OBJECTIVE.model_copy(update={"media": 0.0, "fc8": 0.0, "fc9": 0.0})},
        "all": {"selection": "all"},
        "random": {"selection": "random"},
        "no_shared": {"source": "no_shared"},
        "texts_shuffled": {"source": "texts_shuffled"},
        "fine_tuned": {"transfer": None, "start": "source"},
        "alpha=0.05": {"transfer": TRANSFER.model_copy(update={"alpha": 0.05})},
        "rule=released": {"transfer": TRANSFER.model_copy(update={"rule": "released"})},
        "estimator=quadruples": {"objective": OBJECTIVE.model_copy(update={"estimator": "quadruples"})},
        "DCKT_pairs=3": {"pairs": 3},
    }
    assert set(PLAIN) - {"DCKT"} <= set(expected)
    for run, changed in expected.items():
        assert recipe(run) == full.model_copy(update={"run": run, **changed}), run


@pytest.mark.parametrize("run", ["alpha=1.5", "alpha=0.0", "estimator=both"])
def test_a_value_out_of_range_names_the_run(run: str) -> None:
    with pytest.raises(UserError, match=rf"dckt.runs: '{run}': (transfer.alpha|objective.estimator): Input should"):
        recipe_of(read_run(run), NETWORK, OBJECTIVE, TRAIN, TRANSFER)


def test_the_transfer_has_its_own_rate_and_length() -> None:
    params = TRANSFER.model_copy(update={"rate": 0.25, "iterations": 7}).trained_as(TRAIN)
    assert (params.epochs, params.learning_rate) == (7, TRAIN.learning_rate / 4)
    assert params.schedule == TRANSFER.schedule
    assert params.batch_size == TRAIN.batch_size


@pytest.mark.parametrize(("content", "message"), [(None, "no such recipe"), ("{}", "not a recipe")])
def test_a_missing_or_broken_recipe(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "DCKT.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_recipe(path)
