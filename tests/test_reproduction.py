"""Run the whole graph on a very small toy, as a newcomer does, and check what a changed parameter makes stale."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dvc.repo import Repo
from dvc_projects import DVC, new_project
from graph import FILES, stages_that_run
from ruamel.yaml import YAML
from served import serve

from base.code import Code
from flows.graph import address_of, name_of

ROOT = Path(__file__).parents[1]
METHODS = ["VGGimg", "TDL7", "MTMDD-VM-star"]
RUNS = [*METHODS, "features=C", "out_of_class=VGGimg-6"]
CROSS = "cross_object=TDL7-toy_birds"
TINY: dict[str, Any] = {
    "synthesize": {"source_images": 8, "target_images": 6},
    "toys": {"toy_birds": "birds"},  # in addition to the dogs
    "data_sets": {"toy_birds": "data/raw/toy_birds"},
    "cleaning": {
        "train": {"train": {"epochs": 1}},
        # after one epoch the cleaner's scores mean nothing, so they must not drop any image
        "clean": {"first_half": [0.0, 0.0, 0.0], "second_half": [0.0, 0.0, 0.0]},
    },
    "mtmdd": {
        "train": {"epochs": 1},
        "runs": RUNS,
        "cross_object": {"methods": ["TDL7"], "sources": ["toy_birds"]},
        "diagnose": {"methods": ["TDL7"], "points": ["features=C"]},
    },
    "annotation": {
        "plan": {"baselines": ["MS-CNN"]},
        "split": {"minimum_images": 5},
        "network": {"tag_units": 16},
        "train": {"epochs": 1},
        "stages": {name: {"epochs": 1} for name in ("fused", "tags", "labels", "quantity")},
    },
    # so few images can't show whether the clicks say anything of them, so no labels are denoised
    "siamese": {
        "plan": {"denoised": [], "runs": ["clicks_targets=1"], "frozen": ["clicks_frozen"]},
        "train": {"epochs": 1},
        "fine_tuning": {"epochs": 1},
    },
    "dckt": {
        "features": {"word_cnn": {"epochs": 1}},
        "train": {"epochs": 1, "target_epochs": 1},
        "transfer": {"iterations": 1},
        "baselines": {"networks": {"epochs": 1}},
        "clicks": {"runs": ["weighted"], "train": {"train": {"epochs": 1}}},
        "runs": {"networks": ["DCKT"], "baselines": ["CCA"]},
    },
    "tagging": {"plan": {"runs": ["A6"]}, "train": {"epochs": 1}},
}
PACKAGES = ("base", "pipelines", "model", "report", "systems", "flows")


def join(params: dict[str, Any], values: dict[str, Any]) -> None:
    """Replace values in nested parameters."""
    for key, value in values.items():
        if isinstance(value, dict):
            join(params[key], value)
        else:
            params[key] = value


pytestmark = pytest.mark.timeout(1500)  # the first test runs every stage
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class Workspace:
    """A copy of the project's code with its own data and parameters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in FILES:
            path = folder / file.relative_to(ROOT)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, path)
        for file in ("deployments.yaml", "pyproject.toml"):
            shutil.copy(ROOT / file, folder)
        new_project(folder)
        params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
        join(params, TINY)
        self.params = params
        self.write()

    def write(self) -> None:
        with (self.folder / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(self.params, file)

    @contextmanager
    def dvc(self) -> Iterator[Repo]:
        """Yield DVC's own object for the project, whose methods `dvc status` and `dvc repro` call."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", PATH)
            patch.chdir(self.folder)
            with Repo() as repo:
                yield repo

    def stale(self) -> set[str]:
        """Return the names of the stale stages, as flows write them."""
        with self.dvc() as repo:
            return {name_of(address) for address in repo.status()}

    def run(self, name: str) -> None:
        """Run one stage without its upstream stages."""
        with self.dvc() as repo:
            repo.reproduce(address_of(name), single_item=True)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Reproduce everything once, by a run of a deployment, as the page or a schedule starts one."""
    space = Workspace(tmp_path_factory.mktemp("project"))
    with serve(space.folder, PATH=PATH, PYTHONPATH="") as served:
        state = served.final_state(served.start("reproduce/workspace"), seconds=1200)
        assert state["name"] == "Completed", state["message"]
        assert (
            served.artifact("report-mtmdd-table-viii") == (space.folder / "data/mtmdd/report/table_viii.md").read_text()
        )
    return space


@pytest.mark.slow
def test_everything_is_made_and_adds_up(workspace: Workspace) -> None:
    data = workspace.folder / "data"
    assert pl.read_csv(data / "mtmdd/report/table_viii.csv")["method"].to_list() == METHODS
    features = pl.read_csv(data / "mtmdd/report/study_features.csv")
    assert features.select("value", "run").rows() == [
        ("V", "VGGimg"),
        ("C", "features=C"),
        ("V+C7", "TDL7"),
    ]
    diagnostics = data / "mtmdd/evaluations/TDL7/diagnostics"
    assert json.loads((diagnostics / "diagnostics.json").read_text())["method"] == "TDL7"
    ratios = json.loads((data / "mtmdd/evaluations/features=C/ratios.json").read_text())
    assert ratios["gradient_ratios"][-1]["position_over_count"] > 0
    page = (data / "report/index.html").read_text(encoding="utf-8")
    assert base64.b64encode((diagnostics / "gradients.png").read_bytes()).decode() in page
    for name in ("toy", "toy_birds"):
        for table in json.loads((data / "sets" / name / "ingested/summary.json").read_text())["tables"].values():
            assert table["rows_read"] == table["rows_kept"] + sum(table["quarantined"].values())
    split = pl.read_parquet(data / "sets/toy/splits/seed-0.parquet")
    for method in METHODS:
        folder = data / "mtmdd/evaluations" / method / "seed-0"
        predictions = pl.read_parquet(folder / "predictions.parquet")
        tested = split.filter(pl.col("split") == "test")
        assert set(predictions["image_id"]) == set(tested["image_id"])
        hits = predictions.filter(pl.col("domain") == "target").select(pl.col("category") == pl.col("predicted"))
        accuracy = 100 * hits.to_series().mean()
        assert json.loads((folder / "metrics.json").read_text())["accuracy_target"] == pytest.approx(accuracy, abs=1e-4)


@pytest.mark.slow
def test_another_kind_of_object_is_the_source(workspace: Workspace) -> None:
    data = workspace.folder / "data"
    own, other = (
        {path.relative_to(data / "sets" / name) for path in (data / "sets" / name).rglob("*")}
        for name in ("toy", "toy_birds")
    )
    # one of them has a tag log, too
    assert {path for path in own if path.parts[:1] not in (("tags",), ("tag_splits",))} == other
    run = json.loads((data / "mtmdd/models" / CROSS / "seed-0/run.json").read_text())
    assert "oak jay" in run["categories"]["source"]
    assert "marsh hound" in run["categories"]["target"]
    words = pl.read_parquet(data / "sets/toy_birds/features/vocabulary.parquet").sort("word_id")["word"]
    assert run["words"] == words.to_list()
    row = pl.read_csv(data / "mtmdd/report/cross_object.csv").row(0, named=True)
    single, cross = (
        json.loads((data / "mtmdd/evaluations" / point / "seed-0/metrics.json").read_text())["accuracy_target"]
        for point in ("TDL7", CROSS)
    )
    assert (row["single"], row["cross"]) == (pytest.approx(single, abs=0.01), pytest.approx(cross, abs=0.01))
    assert row["lost"] == pytest.approx(single - cross, abs=0.01)


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(workspace: Workspace) -> None:
    assert workspace.stale() == set()
    # DVC itself finds the flow's outputs up to date
    done = subprocess.run(
        [*DVC, "repro", "--all-pipelines"], cwd=workspace.folder, env=os.environ | {"PATH": PATH}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "Data and pipelines are up to date."


@pytest.mark.slow
def test_an_evaluation_parameter_retrains_nothing(workspace: Workspace) -> None:
    section = workspace.params["mtmdd"]["evaluate"]
    before = section["batch_size"]
    section["batch_size"] = before + 1
    workspace.write()
    stale = workspace.stale()
    section["batch_size"] = before
    workspace.write()
    assert stale == {f"mtmdd:evaluate@{run}-0" for run in RUNS} | {"mtmdd:evaluate_cross_object@TDL7-toy_birds-0"}


@pytest.mark.slow
def test_tau_retrains_only_what_uses_the_click_loss(workspace: Workspace) -> None:
    section = workspace.params["mtmdd"]["objective"]
    before = section["tau"]
    section["tau"] = 0.3
    workspace.write()
    assert workspace.stale() == {"mtmdd:recipes"}
    workspace.run("mtmdd:recipes")
    stale = workspace.stale()
    section["tau"] = before
    workspace.write()
    workspace.run("mtmdd:recipes")
    # TDL7 has only the count loss, VGGimg no click loss; the report states the run of each tau
    assert stale == {"mtmdd:train@MTMDD-VM-star-0", "mtmdd:train@features=C-0", "mtmdd:report"}
    assert workspace.stale() == set()


@pytest.mark.slow
def test_an_edited_module_makes_its_stages_stale(workspace: Workspace) -> None:
    file = workspace.folder / "systems/mtmdd/evaluate.py"
    before = file.read_text(encoding="utf-8")
    file.write_text(before + "\n# edited\n", encoding="utf-8")
    try:
        assert workspace.stale() == {"code"}
        workspace.run("code")
        stale = workspace.stale()
    finally:
        file.write_text(before, encoding="utf-8")
        workspace.run("code")
    # tests/test_stage_graph.py goes through other modules, without DVC
    assert {name.partition("@")[0] for name in stale} == stages_that_run(
        "systems/mtmdd/evaluate.py", Code(workspace.folder, PACKAGES)
    )
    assert {"mtmdd:evaluate@TDL7-0", "mtmdd:diagnose@TDL7"} <= stale


COUNT = """\
import argparse
from pathlib import Path

from base.artifacts import write_json

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path)
    write_json({"rows": 3}, parser.parse_args().output)
"""
COUNTS_GRAPH = """\
stages:
  count:
    wdir: ../..
    cmd: python -m systems.other.count --output data/other/count.json
    deps: [data/code/systems.other.count.json]
    outs: [data/other/count.json]
"""


@pytest.mark.slow
def test_a_new_system_makes_no_other_stage_stale(workspace: Workspace) -> None:
    code, graph = workspace.folder / "systems/other", workspace.folder / "stages/other"
    code.mkdir()
    graph.mkdir()
    try:
        (code / "__init__.py").touch()
        (code / "count.py").write_text(COUNT)
        (graph / "dvc.yaml").write_text(COUNTS_GRAPH)
        assert workspace.stale() == {"code", "other:count"}
        workspace.run("code")
        assert workspace.stale() == {"other:count"}
        workspace.run("other:count")
        assert json.loads((workspace.folder / "data/other/count.json").read_text()) == {"rows": 3}
        assert workspace.stale() == set()
    finally:
        for folder in (code, graph, workspace.folder / "data/other"):
            shutil.rmtree(folder, ignore_errors=True)
        workspace.run("code")
    assert workspace.stale() == set()
