import json
from pathlib import Path

import pytest
from served import Server, write_project

from base.console import UserError
from flows.stages import Workspace
from flows.studies import narrowed, studies, study_of
from flows.sweeps import main, sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shapes(project: Path) -> Workspace:
    return Workspace(write_project(project))


def test_studies_are_what_the_graph_declares(shapes: Workspace) -> None:
    known = studies(shapes.matrices())
    assert list(known) == ["shapes"]
    assert known["shapes"].axes == ["sides"]
    assert known["shapes"].declared() == {"methods": ["round", "flat"], "points": ["3", "4"], "seeds": [7]}
    assert list(known["shapes"].select(points=["4"])) == ["evaluate_shapes@round-4-7", "evaluate_shapes@flat-4-7"]
    assert list(known["shapes"].select(["flat"], ["3"], [7])) == ["evaluate_shapes@flat-3-7"]
    assert len(known["shapes"].select()) == 4


def with_two_seeds(shapes: Workspace) -> Workspace:
    """Let each training of the tiny project have a seed 8 beside its 7, and folders named after it."""
    graph = shapes.root / "dvc.yaml"
    text = graph.read_text().replace("seed: [7]", "seed: [7, 8]")
    graph.write_text(text.replace("${item.method}-${item.sides}", "${item.method}-${item.sides}-${item.seed}"))
    return shapes


def test_each_choice_narrows_a_study(shapes: Workspace) -> None:
    study = studies(with_two_seeds(shapes).matrices())["shapes"]
    assert set(study.select(seeds=[8])) == {
        f"evaluate_shapes@{method}-{sides}-8" for method in ("round", "flat") for sides in (3, 4)
    }
    assert set(study.select(methods=["flat"], seeds=[8])) == {"evaluate_shapes@flat-3-8", "evaluate_shapes@flat-4-8"}
    assert set(study.select(points=["4"], seeds=[7])) == {"evaluate_shapes@round-4-7", "evaluate_shapes@flat-4-7"}
    assert list(study.select(["round"], ["3"], [8])) == ["evaluate_shapes@round-3-8"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "trained"),
    [
        (["--seeds", "8", "--methods", "flat"], {"flat-3-8", "flat-4-8"}),
        (["--points", "4", "--seeds", "7"], {"round-4-7", "flat-4-7"}),
    ],
)
def test_the_command_runs_the_chosen_part_and_no_more(
    prefect_server: str, shapes: Workspace, options: list[str], trained: set[str]
) -> None:
    with_two_seeds(shapes)
    main(["shapes", *options, "--cpu-slots", "2"])
    assert set((shapes.root / "trained").read_text().split()) == trained
    assert {folder.name for folder in (shapes.root / "models").iterdir()} == trained


def test_the_projects_own_studies_are_found_with_all_their_points() -> None:
    # Independent of DVC's resolver: the names of the stages that it lists.
    workspace = Workspace(ROOT)
    known = studies(workspace.matrices())
    assert {"out_of_class", "one_shot"} <= set(known)
    for name, study in known.items():
        listed = {stage for stage in workspace.stages() if stage.startswith(f"evaluate_{name}@")}
        assert set(study.select()) == listed
    assert known["one_shot"].axes == ["domain", "share"]
    assert "source-0.4" in known["one_shot"].declared()["points"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"points": ["5"]},
            r"study shapes: '5' is not among its points \(3, 4\); dvc\.yaml takes them from \[3, 4\]: add",
        ),
        ({"methods": ["oval"]}, r"'oval' is not among its methods \(round, flat\)"),
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
    assert study.declared()["points"] == ["3", "4", "6"]
    with pytest.raises(UserError, match=r"takes them from \$\{shapes\.sides\}: add it there"):
        study.select(points=["5"])


def test_a_study_that_is_not_there(shapes: Workspace) -> None:
    with pytest.raises(
        UserError, match=r"study 'cross_object': dvc\.yaml declares shapes; a study X is a matrix train_X"
    ):
        study_of("cross_object", studies(shapes.matrices()))


def test_a_study_without_methods_offers_none(shapes: Workspace) -> None:
    graph = shapes.root / "dvc.yaml"
    text = graph.read_text().replace("method: [round, flat], ", "").replace("${item.method}-", "")
    graph.write_text(text.replace("${item.method}", ""))
    study = studies(shapes.matrices())["shapes"]
    offered = narrowed(sweep.parameters.properties, study)
    assert "methods" not in offered
    assert offered["points"]["items"]["enum"] == ["3", "4"]
    with pytest.raises(UserError, match=r"'round' is not among its methods \(none\); dvc\.yaml takes them from no key"):
        study.select(methods=["round"])


@pytest.mark.slow
def test_a_part_of_a_study_runs_with_what_it_needs(prefect_server: str, shapes: Workspace) -> None:
    state = sweep("shapes", points=["4"], return_state=True)
    assert state.message == "5 stages: 5 ran, 0 were up to date"
    assert sorted((shapes.root / "trained").read_text().split()) == ["flat-4", "round-4"]

    def shown(key: str) -> str:
        return str(Server(prefect_server).artifact(key))

    assert json.loads(shown("sweep-shapes")) == [
        {"method": method, "sides": 4, "seed": 7, "outcome": "Completed", "target.accuracy": 0.4}
        for method in ("round", "flat")
    ]
    # With the report: the rest of the study follows, what is done is not done again, and its plot is shown.
    state = sweep("shapes", methods=["round"], report=True, return_state=True)
    assert state.message == "10 stages: 5 ran, 5 were up to date"
    assert shown("sweep-shapes-plot").startswith("data:image/png;base64,")
    assert [row["outcome"] for row in json.loads(shown("sweep-shapes"))] == ["Completed", "Cached"]


def test_mistakes_end_before_a_server_starts(shapes: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["shapes", "--points", "5"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: study shapes: '5' is not among its points (3, 4)")
