"""The stage writes one recipe for each run, with the same bytes whatever other runs there are."""

import json
from pathlib import Path

import pytest
from tagging_data import LOSS, NETWORK, TRAIN

from systems.tagging.config import read_recipe
from systems.tagging.recipes import main

pytestmark = pytest.mark.usefixtures("own_folder")


def recipes(runs: list[str], output: str) -> dict[str, bytes]:
    tagging = {
        "plan": {"data_set": "toy", "logged": ["toy"], "runs": runs, "baselines": [], "examples": []},
        "network": NETWORK.model_dump(exclude_none=True),
        "loss": LOSS.model_dump(),
        "train": TRAIN.model_dump(exclude_none=True),
    }
    Path("params.yaml").write_text(json.dumps({"tagging": tagging}))
    main([f"--output={output}"])
    return {path.name: path.read_bytes() for path in Path(output).iterdir()}


def test_a_recipe_does_not_depend_on_other_runs() -> None:
    one = recipes(["A6"], "one")
    both = recipes(["A1", "A6"], "both")
    assert set(both) == {"A1.json", "A6.json"}
    assert both["A6.json"] == one["A6.json"]
    assert read_recipe(Path("both/A1.json")).history == "none"


def test_no_run_gives_an_empty_folder() -> None:
    assert recipes([], "none") == {}
