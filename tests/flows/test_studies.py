import json
from pathlib import Path

import pytest
from graph import write_graph
from served import Server, write_project

from base.console import UserError
from base.params import load_section
from flows.stages import Workspace
from flows.studies import narrow_schema, studies, study_of
from flows.sweeps import main, sweep
from systems.dckt.config import RunsParams
from systems.mtmdd.runs import load_points
from systems.siamese.config import PlanParams
from systems.tagging.config import PlanParams as TaggingPlanParams

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shapes(project: Path) -> Workspace:
    return Workspace(write_project(project))


def test_studies_are_what_the_graph_declares(shapes: Workspace) -> None:
    known = studies(shapes.matrices())
    assert list(known) == ["shapes"]
    assert known["shapes"].axes == ["method", "sides"]
    assert known["shapes"].declared() == {"runs": ["round-3", "round-4", "flat-3", "flat-4"], "seeds": [7]}
    assert list(known["shapes"].select(["flat-4", "round-4"])) == [
        "evaluate_shapes@round-4-7",
        "evaluate_shapes@flat-4-7",
    ]
    assert list(known["shapes"].select(["flat-3"], [7])) == ["evaluate_shapes@flat-3-7"]
    assert len(known["shapes"].select()) == 4


def with_two_seeds(shapes: Workspace) -> Workspace:
    """Add seed 8 to each training of the tiny project, and the seed to the names of its folders."""
    graph = shapes.root / "dvc.yaml"
    text = graph.read_text().replace("seed: [7]", "seed: [7, 8]")
    graph.write_text(text.replace("${item.method}-${item.sides}", "${item.method}-${item.sides}-${item.seed}"))
    return shapes


def test_each_choice_narrows_a_study(shapes: Workspace) -> None:
    study = studies(with_two_seeds(shapes).matrices())["shapes"]
    assert set(study.select(seeds=[8])) == {
        f"evaluate_shapes@{method}-{sides}-8" for method in ("round", "flat") for sides in (3, 4)
    }
    flat = ["flat-3", "flat-4"]
    assert set(study.select(runs=flat)) == {f"evaluate_shapes@{run}-{seed}" for run in flat for seed in (7, 8)}
    assert set(study.select(runs=flat, seeds=[8])) == {"evaluate_shapes@flat-3-8", "evaluate_shapes@flat-4-8"}
    assert list(study.select(["round-3"], [8])) == ["evaluate_shapes@round-3-8"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "trained"),
    [
        (["--seeds", "8", "--runs", "flat-3", "flat-4"], {"flat-3-8", "flat-4-8"}),
        (["--runs", "round-4", "--seeds", "7"], {"round-4-7"}),
    ],
)
def test_the_command_runs_the_chosen_part_and_no_more(
    prefect_server: str, shapes: Workspace, options: list[str], trained: set[str]
) -> None:
    with_two_seeds(shapes)
    main(["shapes", *options, "--cpu-slots", "2"])
    assert set((shapes.root / "trained").read_text().split()) == trained
    assert {folder.name for folder in (shapes.root / "models").iterdir()} == trained


def test_the_projects_own_studies_are_found_with_all_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The expected values don't come from DVC's resolver: they are the listed stages' names and the recipes' runs.
    preset = ROOT / "presets/toy_full.yaml"
    write_graph(tmp_path, preset)
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path)
    known = studies(workspace.matrices())
    assert set(known) == {"annotation", "dckt", "mtmdd", "mtmdd-cross_object", "siamese", "tagging"}
    stages = workspace.stages()
    for name, study in known.items():
        step = "mtmdd:evaluate_cross_object@" if name == "mtmdd-cross_object" else f"{name}:evaluate@"
        assert set(study.select()) == {stage for stage in stages if stage.startswith(step)}
    runs = [f"cross_object={run}" for run in known["mtmdd-cross_object"].declared()["runs"]]
    assert known["mtmdd"].declared()["runs"] + runs == [point.name for point in load_points(preset)]
    assert known["dckt"].declared()["runs"] == load_section(RunsParams, "dckt.runs", preset).networks
    assert known["siamese"].declared()["runs"] == load_section(PlanParams, "siamese.plan", preset).runs
    assert known["tagging"].declared()["runs"] == load_section(TaggingPlanParams, "tagging.plan", preset).runs
    assert known["mtmdd-cross_object"].axes == ["method", "source"]
    assert known["mtmdd"].declared()["seeds"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"runs": ["round-5"]},
            r"study shapes: 'round-5' is not among its runs \(round-3, round-4, flat-3, flat-4\); dvc\.yaml takes them "
            r"from \['round', 'flat'\], \[3, 4\]: add",
        ),
        ({"runs": ["round-3", "round"]}, r"'round' is not among its runs"),
        ({"seeds": [7, 8]}, r"8 is not among its seeds \(7\)"),
    ],
)
def test_what_is_not_declared_says_what_is_and_where(shapes: Workspace, chosen: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        studies(shapes.matrices())["shapes"].select(**chosen)


def test_where_to_add_a_point_names_the_parameter(shapes: Workspace) -> None:
    graph = shapes.root / "dvc.yaml"
    graph.write_text(graph.read_text().replace("sides: [3, 4]", "sides: '${shapes.sides}'"))
    (shapes.root / "params.yaml").write_text("shapes: {sides: [3, 4, 6]}\n")
    study = studies(shapes.matrices())["shapes"]
    assert study.declared()["runs"] == ["round-3", "round-4", "round-6", "flat-3", "flat-4", "flat-6"]
    with pytest.raises(UserError, match=r"takes them from \['round', 'flat'\], \$\{shapes\.sides\}: add it there"):
        study.select(runs=["round-5"])


def test_a_study_that_is_not_there(shapes: Workspace) -> None:
    with pytest.raises(
        UserError,
        match=r"study 'cross_object': no such study; the graph declares shapes; a study is a matrix evaluate or",
    ):
        study_of("cross_object", studies(shapes.matrices()))


def test_a_study_without_seeds_offers_none(shapes: Workspace) -> None:
    graph = shapes.root / "dvc.yaml"
    graph.write_text(graph.read_text().replace(", seed: [7]", ""))
    study = studies(shapes.matrices())["shapes"]
    offered = narrow_schema(sweep.parameters.properties, study)
    assert "seeds" not in offered
    assert offered["runs"]["items"]["enum"] == ["round-3", "round-4", "flat-3", "flat-4"]
    with pytest.raises(UserError, match=r"7 is not among its seeds \(none\); dvc\.yaml takes them from no key"):
        study.select(seeds=[7])


@pytest.mark.slow
def test_a_part_of_a_study_runs_with_what_it_needs(prefect_server: str, shapes: Workspace) -> None:
    state = sweep("shapes", runs=["round-4", "flat-4"], return_state=True)
    assert state.message == "5 stages: 5 ran, 0 were up to date"
    assert sorted((shapes.root / "trained").read_text().split()) == ["flat-4", "round-4"]

    def shown(key: str) -> str:
        return str(Server(prefect_server).artifact(key))

    assert json.loads(shown("sweep-shapes")) == [
        {"method": method, "sides": 4, "seed": 7, "outcome": "Completed", "target.accuracy": 0.4}
        for method in ("round", "flat")
    ]
    # With the report, the rest of the study runs, finished stages don't run again, and tables and plots are shown.
    state = sweep("shapes", runs=["round-3", "round-4"], report=True, return_state=True)
    assert state.message == "10 stages: 5 ran, 5 were up to date"
    assert shown("report-shapes-sides-plot").startswith("data:image/png;base64,")
    assert [row["outcome"] for row in json.loads(shown("sweep-shapes"))] == ["Completed", "Cached"]


def test_mistakes_end_before_a_server_starts(shapes: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["shapes", "--runs", "round-5"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: study shapes: 'round-5' is not among its runs (round-3, round-4, flat-3, flat-4)"
    )
