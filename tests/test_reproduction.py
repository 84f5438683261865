"""The whole graph on a very small toy, as a newcomer runs it, and what becomes stale when a parameter changes."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from processes import new_project
from ruamel.yaml import YAML
from served import serve

ROOT = Path(__file__).parents[1]
METHODS = ["VGGimg", "TDL7", "MTMDD-VM-star"]
TINY: dict[str, dict[str, Any]] = {
    "synthesize": {"source_images": 8, "target_images": 6},
    "toys": {"toy_birds": "birds"},  # beside the dogs
    "other_objects": {"toy_birds": "data/raw/toy_birds"},
    # one epoch teaches the cleaner nothing, so nothing is to be dropped on its word
    "clean": {"first_half": [0.0, 0.0, 0.0], "second_half": [0.0, 0.0, 0.0]},
    "methods": {"names": METHODS},
    "components": {"points": ["features=C"]},
    "out_of_class": {"methods": ["VGGimg"], "categories": [6]},
    "one_shot": {"methods": [], "shares": [], "domains": []},
    "cross_object": {"methods": ["TDL7"], "sources": ["toy_birds"]},
    "diagnose": {"methods": ["TDL7"], "points": ["features=C"]},
    "train": {"epochs": 1},
}


pytestmark = pytest.mark.timeout(1500)  # the first test makes everything
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class Workspace:
    """A copy of the project's code with its own data and parameters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in ("pipelines", "model", "flows"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("dvc.yaml", "deployments.yaml", "pyproject.toml"):
            shutil.copy(ROOT / file, folder)
        new_project(folder)
        params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
        for section, values in TINY.items():
            params[section] |= values
        params["cleaner"]["train"]["epochs"] = 1
        self.params = params
        self.write()

    def write(self) -> None:
        with (self.folder / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(self.params, file)

    def dvc(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        environment = os.environ | {"PATH": PATH}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def stale(self) -> set[str]:
        return set(json.loads(self.dvc("status", "--json")))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Everything reproduced once, by a deployment's run as the page or a schedule would start it."""
    space = Workspace(tmp_path_factory.mktemp("project"))
    with serve(space.folder, PATH=PATH, PYTHONPATH="") as served:
        state = served.final_state(served.start("reproduce/workspace"), seconds=1200)
        assert state["name"] == "Completed", state["message"]
        assert served.artifact("report-table-viii") == (space.folder / "data/report/table_viii.md").read_text()
    return space


@pytest.mark.slow
def test_everything_is_made_and_adds_up(workspace: Workspace) -> None:
    data = workspace.folder / "data"
    assert pl.read_csv(data / "report/table_viii.csv")["method"].to_list() == METHODS
    features = pl.read_csv(data / "report/study_features.csv")
    assert features.select("value", "run").rows() == [
        ("V", "methods/VGGimg"),
        ("C", "components/features=C"),
        ("V+C7", "methods/TDL7"),
    ]
    diagnostics = data / "evaluations/methods/TDL7/diagnostics"
    assert json.loads((diagnostics / "diagnostics.json").read_text())["method"] == "TDL7"
    ratios = json.loads((data / "evaluations/components/features=C/ratios.json").read_text())
    assert ratios["gradient_ratios"][-1]["position_over_count"] > 0
    page = (data / "report/index.html").read_text(encoding="utf-8")
    assert base64.b64encode((diagnostics / "gradients.png").read_bytes()).decode() in page
    for table in json.loads((data / "ingested/summary.json").read_text())["tables"].values():
        assert table["rows_read"] == table["rows_kept"] + sum(table["quarantined"].values())
    split = pl.read_parquet(data / "splits/seed-0.parquet")
    for method in METHODS:
        folder = data / "evaluations/methods" / method / "seed-0"
        predictions = pl.read_parquet(folder / "predictions.parquet")
        tested = split.filter(pl.col("split") == "test")
        assert set(predictions["image_id"]) == set(tested["image_id"])
        hits = predictions.filter(pl.col("domain") == "target").select(pl.col("category") == pl.col("predicted"))
        accuracy = 100 * hits.to_series().mean()
        assert json.loads((folder / "metrics.json").read_text())["accuracy_target"] == pytest.approx(accuracy, abs=1e-4)


@pytest.mark.slow
def test_another_kind_of_object_is_the_source(workspace: Workspace) -> None:
    data = workspace.folder / "data"
    for name in ("splits", "features"):
        made = {path.relative_to(data / "other/toy_birds") for path in (data / "other/toy_birds" / name).rglob("*")}
        assert made == {path.relative_to(data) for path in (data / name).rglob("*")}
    run = json.loads((data / "models/cross_object/TDL7/toy_birds/seed-0/run.json").read_text())
    assert "oak jay" in run["categories"]["source"]
    assert "marsh hound" in run["categories"]["target"]
    assert run["num_words"] == len(pl.read_parquet(data / "other/toy_birds/features/vocabulary.parquet"))
    row = pl.read_csv(data / "report/cross_object.csv").row(0, named=True)
    single, cross = (
        json.loads((data / "evaluations" / point / "seed-0/metrics.json").read_text())["accuracy_target"]
        for point in ("methods/TDL7", "cross_object/TDL7/toy_birds")
    )
    assert (row["single"], row["cross"]) == (pytest.approx(single, abs=0.01), pytest.approx(cross, abs=0.01))
    assert row["lost"] == pytest.approx(single - cross, abs=0.01)


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(workspace: Workspace) -> None:
    assert workspace.stale() == set()
    # what the flow has made is what DVC would have made
    assert workspace.dvc("repro").splitlines()[-1] == "Data and pipelines are up to date."


@pytest.mark.slow
def test_an_evaluation_parameter_retrains_nothing(workspace: Workspace) -> None:
    before = workspace.params["evaluate"]["batch_size"]
    workspace.params["evaluate"]["batch_size"] = before + 1
    workspace.write()
    stale = workspace.stale()
    workspace.params["evaluate"]["batch_size"] = before
    workspace.write()
    assert stale == {f"evaluate@{method}-0" for method in METHODS} | {
        "evaluate_component@features=C-0",
        "evaluate_out_of_class@VGGimg-6-0",
        "evaluate_cross_object@TDL7-toy_birds-0",
    }


@pytest.mark.slow
def test_tau_retrains_only_what_uses_the_click_loss(workspace: Workspace) -> None:
    before = workspace.params["objective"]["tau"]
    workspace.params["objective"]["tau"] = 0.3
    workspace.write()
    assert workspace.stale() == {"recipes"}
    workspace.dvc("repro", "--single-item", "recipes")
    stale = workspace.stale()
    workspace.params["objective"]["tau"] = before
    workspace.write()
    workspace.dvc("repro", "--single-item", "recipes")
    # TDL7 has the count loss alone, VGGimg no click loss; the report says which run each tau has
    assert stale == {"train@MTMDD-VM-star-0", "train_component@features=C-0", "report"}
    assert workspace.stale() == set()


STUDIES = ("", "_component", "_out_of_class", "_cross_object")
TRAININGS, EVALUATIONS = ({f"{step}{study}" for study in STUDIES} for step in ("train", "evaluate"))
DIAGNOSES = {"diagnose", "diagnose_component"}
LOOKING = {"code_evaluate", "code_diagnose", "code_click_ratios"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "at_once", "by_digest"),
    [
        ("systems/cleaning/clean.py", {"clean", "click_features_other"}, set()),
        ("pipelines/words/segmentation.py", {"segment", "click_features_other"}, set()),
        ("systems/mtmdd/evaluate.py", LOOKING, EVALUATIONS | DIAGNOSES),
        (
            "systems/mtmdd/measures.py",
            {"train_cleaner", "score", "score_other", "code_train"} | LOOKING,
            TRAININGS | EVALUATIONS | DIAGNOSES,
        ),
    ],
)
def test_editing_a_module_makes_its_stages_stale(
    workspace: Workspace, module: str, at_once: set[str], by_digest: set[str]
) -> None:
    file = workspace.folder / module
    before = file.read_text(encoding="utf-8")
    digested = sorted(name for name in at_once if name.startswith("code_"))
    file.write_text(before + "\n# edited\n", encoding="utf-8")
    assert {name.split("@")[0] for name in workspace.stale()} == at_once
    if digested:
        workspace.dvc("repro", "--single-item", *digested)
        assert {name.split("@")[0] for name in workspace.stale()} == at_once - set(digested) | by_digest
    file.write_text(before, encoding="utf-8")
    if digested:
        workspace.dvc("repro", "--single-item", *digested)
    assert workspace.stale() == set()
