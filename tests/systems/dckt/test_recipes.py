"""Test of the recipes' command."""

import json
from pathlib import Path

import pytest
from dckt_runs import NETWORK, OBJECTIVE, TRAIN, TRANSFER
from ruamel.yaml import YAML

from systems.dckt.config import read_recipe, read_run, recipe_of
from systems.dckt.recipes import main

pytestmark = pytest.mark.usefixtures("own_folder")


def write(networks: list[str], baselines: list[str], alpha: float = 0.2) -> None:
    """Write a parameter file, and run the command."""
    sections = {
        "network": NETWORK.model_dump(),
        "objective": OBJECTIVE.model_dump(),
        "train": TRAIN.model_dump(),
        "transfer": TRANSFER.model_copy(update={"alpha": alpha}).model_dump(),
        "runs": {"networks": networks, "baselines": baselines},
    }
    YAML().dump({"seeds": [4, 1], "dckt": sections}, Path("params.yaml"))
    main(["--output=recipes", "--plan=evaluations/runs.json"])


def test_a_recipe_for_each_network_and_a_plan_for_the_report() -> None:
    write(["DCKT", "alpha=0.4_pairs=10"], ["CCA"])
    assert {path.name for path in Path("recipes").iterdir()} == {"DCKT.json", "alpha=0.4_pairs=10.json"}
    transfer = TRANSFER.model_copy(update={"alpha": 0.2})
    for run in ("DCKT", "alpha=0.4_pairs=10"):
        expected = recipe_of(read_run(run), NETWORK, OBJECTIVE, TRAIN, transfer)
        assert read_recipe(Path("recipes") / f"{run}.json") == expected
    plan = json.loads(Path("evaluations/runs.json").read_text())
    assert plan == {"networks": ["DCKT", "alpha=0.4_pairs=10"], "baselines": ["CCA"], "seeds": [4, 1], "alpha": 0.2}


def test_a_recipe_keeps_its_bytes_if_nothing_changes_that_its_run_uses() -> None:
    write(["before", "alpha=0.4", "DCKT"], [])
    first = {path.name: path.read_bytes() for path in Path("recipes").iterdir()}
    write(["DCKT", "before", "alpha=0.4", "media"], ["CCA"], alpha=0.3)
    changed = {name for name, content in first.items() if (Path("recipes") / name).read_bytes() != content}
    assert changed == {"DCKT.json"}


def test_no_run_is_no_error() -> None:
    write([], [])
    assert list(Path("recipes").iterdir()) == []
    assert json.loads(Path("evaluations/runs.json").read_text())["networks"] == []


def test_a_wrong_run_ends_the_command(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        write(["DCTK"], [])
    assert error.value.code == 2
    assert "'DCTK': expected one of DCKT" in caplog.text
