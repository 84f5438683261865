"""The component studies: each point's recipe against the paper's description, and no recipe trained twice."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from base.console import UserError
from base.params import load_section
from systems.mtmdd.config import ObjectiveParams, Recipe
from systems.mtmdd.diagnose import DiagnoseParams
from systems.mtmdd.recipes import build_point, content_of, main
from systems.mtmdd.studies import STUDIES, candidates, check_point, check_points, split_value

ROOT = Path(__file__).parents[3]


def losses(recipe: Recipe) -> list[dict[str, float]]:
    return [{f"{term.domain} {term.kind}": term.weight for term in phase.losses} for phase in recipe.phases]


@pytest.fixture
def made(network_params, objective_params, train_params):
    return lambda point: build_point(point, network_params, objective_params, train_params)


COUNT = {"source count": 1.0}


@pytest.mark.parametrize(
    ("point", "first", "features"),
    [
        ("kernels=5x8", COUNT, "click"),
        ("embedding=biFC", COUNT, "click"),
        ("bandwidth=10", {"source count": 0.9, "source position": 0.1}, "click"),
        ("tau=0", COUNT, "click"),
        ("tau=0.4", {"source count": 0.6, "source position": 0.4}, "click"),
        ("tau=1", {"source position": 1.0}, "click"),
        ("features=C7", COUNT, "click"),
        ("features=C_E", COUNT, "click"),
        ("features=C", {"source count": 0.9, "source position": 0.1}, "click"),
        ("features=V+C_E", COUNT, "visual+click"),
    ],
)
def test_studies_of_tdl_train_a_predictor_and_then_what_recognises(made, point, first, features):
    recipe = made(point)
    predict, *recognise = recipe.phases
    assert losses(recipe) == [first, {"source recognition": 1.0}, {"target recognition": 1.0}]
    assert (predict.features, [phase.features for phase in recognise]) == (None, [features] * 2)
    # The whole predictor h stays unchanged (eq. 5). A recogniser on v^ alone has no other ConvNet.
    start, frozen = "predict", ["backbone", "embedding"]
    if features == "visual+click":
        start, frozen = {"predictor": "predict"}, ["predictor"]
    assert [phase.frozen for phase in recipe.phases] == [[], frozen, frozen]
    assert [phase.start for phase in recipe.phases] == ["backbone", start, start]


@pytest.mark.parametrize(
    ("point", "embedding", "position"),
    [
        ("kernels=5x8", {"kind": "CONV+biFC", "kernel_size": 5, "kernels": 8}, None),
        ("embedding=FC", {"kind": "FC", "kernels": None, "hidden": None}, None),
        ("embedding=CONV+FC", {"kind": "CONV+FC", "hidden": None}, None),
        ("features=C7", {"kind": "FC"}, None),
        ("features=V+C7", {"kind": "FC"}, None),
        # Table IV: T = 0.1; all other points have the parameter file's T
        ("bandwidth=10", {"kind": "CONV+biFC"}, (10.0, 0.1)),
        ("tau=1", {"kind": "CONV+biFC"}, (0.01, 0.16)),
        ("tau=0", {"kind": "CONV+biFC"}, None),
        ("lambda=shared-0.8", {"kind": "CONV+biFC"}, (0.01, 0.16)),
    ],
)
def test_a_point_changes_its_own_part_of_the_network_and_of_the_position_function(made, point, embedding, position):
    recipe = made(point)
    assert {name: getattr(recipe.network.embedding, name) for name in embedding} == embedding
    assert (recipe.position and (recipe.position.bandwidth, recipe.position.threshold)) == position


@pytest.mark.parametrize(
    ("point", "weights", "is_shared"),
    [
        # Table VII has mu = 1 whatever is in the parameter file; Fig. 12 has the file's lambda, 0.4, and tau, 0.1
        ("lambda=separate-0.8", (0.2, 0.72, 0.08, 1.0), False),
        ("lambda=shared-0.2", (0.8, 0.18, 0.02, 1.0), True),
        ("mu=separate-0.3", (0.6, 0.36, 0.04, 0.3), False),
        ("mu=shared-2", (0.6, 0.36, 0.04, 2.0), True),
        ("mu=separate-1e-05", (0.6, 0.36, 0.04, 1e-05), False),
    ],
)
def test_studies_of_the_joint_objective(made, point, weights, is_shared):
    recipe = made(point)
    names = ("source recognition", "source count", "source position", "target recognition")
    assert losses(recipe) == [dict(zip(names, weights, strict=True))]
    assert recipe.phases[0].shared_head == is_shared


def test_values_that_are_the_same_training_have_the_same_content(made):
    for one, others in {
        "tau=0": ["features=C_E", "embedding=CONV+biFC", "kernels=3x6"],
        "tau=0.1": ["features=C"],
        "embedding=FC": ["features=C7"],
    }.items():
        assert {content_of(made(other)) for other in others} == {content_of(made(one))}
    # the parameter file has the same B = 0.01, but another T
    assert content_of(made("bandwidth=0.01")) != content_of(made("tau=0.1"))
    every = [f"{name}={value}" for name, study in STUDIES.items() for value in study.paper if not value.endswith("-1")]
    # 4 + 6 + 7 + 7 + 10, without the duplicates: CONV+biFC and C_E and tau = 0; FC and C7; C and tau = 0.1
    assert (len(every), len({content_of(made(point)) for point in every})) == (34, 30)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("rho=1", "'rho=1': expected study=value with one of the studies kernels, embedding"),
        ("tau", "'tau': not a value of tau; an example is tau=0.4"),
        ("tau=high", "'tau=high': not a value of tau; an example is tau=0.4"),
        ("tau=0.40", "'tau=0.40': use the shortest form, tau=0.4"),
        ("tau=1e-1", "'tau=1e-1': use the shortest form, tau=0.1"),
        ("tau=1.2.3", "'tau=1.2.3': '1.2.3' is not a number"),
        ("lambda=0.4", "an example is lambda=shared-0.4"),
        ("lambda=shared-0.40", "use the shortest form, lambda=shared-0.4"),
        ("features=V+", "an example is features=V+C_E"),
        ("kernels=3", "an example is kernels=3x1024"),
    ],
)
def test_points_that_are_none(point, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_points(["features=C", point])


@given(number=st.floats(min_value=1e-6, max_value=9e4))
def test_a_number_is_a_value_in_its_shortest_form_alone(number):
    shortest = f"{number:g}"
    check_point(f"bandwidth={shortest}")
    assert split_value(f"shared-{shortest}") == ("shared", shortest)
    with pytest.raises(ValueError, match="use the shortest form, bandwidth="):
        check_point(f"bandwidth=0{shortest}")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("tau=1.5", r"mtmdd.runs: tau=1.5: objective.tau = 1.5: Input should be less than or equal to 1"),
        ("kernels=4x8", r"mtmdd.runs: kernels=4x8: network.embedding = .*kernel_size must be odd"),
    ],
)
def test_values_out_of_range_name_the_point(made, point, message):
    with pytest.raises(UserError, match=message):
        made(point)


def test_a_kind_needs_its_sizes_in_the_parameter_file(network_params, objective_params, train_params):
    linear = network_params.model_copy(update={"embedding": network_params.embedding.only_used("FC")})
    with pytest.raises(UserError, match=r"mtmdd.runs: embedding=CONV\+FC: .*needs kernel_size, kernels"):
        build_point("embedding=CONV+FC", linear, objective_params, train_params)
    without = network_params.model_copy(update={"embedding": None})
    with pytest.raises(UserError, match=r"embedding=biFC: network.embedding is missing"):
        build_point("embedding=biFC", without, objective_params, train_params)


def test_every_example_and_paper_value_is_a_point():
    for name, study in STUDIES.items():
        for value in (study.example, *study.paper):
            check_point(f"{name}={value}")


def test_values_in_the_order_of_a_table(network_params, objective_params: ObjectiveParams):
    def found(name: str, *points: str) -> list[str]:
        every = candidates(name, list(points), network_params, objective_params)
        return [point.partition("=")[2] for point in every]

    assert found("tau", "tau=0.3", "mu=shared-2") == ["0", "0.05", "0.1", "0.15", "0.2", "0.3", "0.4", "1"]
    assert found("bandwidth")[:2] == ["0.0001", "0.001"]
    # the parameter file has 3x6, mu = 0.1 and 0.9
    assert found("kernels", "kernels=11x16", "kernels=5x32", "kernels=11x8") == ["3x6", "5x32", "11x8", "11x16"]
    assert found("mu", "mu=shared-0.1", "mu=separate-2") == ["separate-0.1", "separate-2", "shared-0.1", "shared-0.9"]
    assert found("embedding", "embedding=FC") == ["FC", "biFC", "CONV+FC", "CONV+biFC"]


def test_values_are_split_into_series_and_value():
    values = ["shared-0.4", "separate-1e-05", "3x1024", "V+C_E", "1e-05"]
    assert [split_value(value) for value in values] == [
        ("shared", "0.4"), ("separate", "1e-05"), ("3", "1024"), ("", "V+C_E"), ("", "1e-05"),
    ]  # fmt: skip


def write(folder: Path, points: list[str], methods: list[str], **objective: float) -> Path:
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["mtmdd"]["runs"] = [*points, *methods]
    params["mtmdd"]["objective"] |= objective
    yaml.dump(params, folder / "params.yaml")
    main(["--output", str(folder / "recipes"), "--params", str(folder / "params.yaml")])
    return folder / "recipes"


def test_tables_find_the_runs_that_their_values_have_elsewhere(tmp_path):
    recipes = write(tmp_path, ["features=C_E", "tau=0.4"], ["VGGimg", "TDL", "MTMDD-VM"], mu_separate_heads=0.9)
    studies = json.loads((recipes / "studies.json").read_text())
    assert studies["features"] == {
        "V": "VGGimg", "C_E": "features=C_E", "V+C": "TDL",
    }  # fmt: skip
    assert studies["tau"] == {"0": "features=C_E", "0.4": "tau=0.4"}
    assert studies["mu"] == {"separate-0.9": "MTMDD-VM"}
    assert studies["click_gradient"] == studies["recogniser_gradient"] == {"separate-1": "MTMDD-VM"}
    assert studies["bandwidth"] == studies["lambda"] == {}
    for values in studies.values():
        assert all((recipes / f"{path}.json").is_file() for path in values.values())


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (["features=V+C"], "features=V+C is the same training as TDL; remove it"),
        (["features=C_E", "tau=0"], "tau=0 is the same training as features=C_E; remove it"),
    ],
)
def test_nothing_is_trained_twice(tmp_path, caplog, points, message):
    with pytest.raises(SystemExit, match="2"):
        write(tmp_path, points, ["TDL"])
    assert f"mtmdd.runs: {message}" in caplog.text


def test_tau_makes_stale_only_the_points_that_use_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    points = ["features=C_E", "features=C", "tau=0.4", "bandwidth=1", "embedding=biFC", "mu=shared-0.3"]
    before = write(tmp_path / "a", points, ["VGGimg"])
    after = write(tmp_path / "b", points, ["VGGimg"], tau=0.2)
    changed = {
        file.name.removesuffix(".json")
        for file in before.glob("*=*.json")
        if file.read_bytes() != (after / file.name).read_bytes()
    }
    assert changed == {"features=C", "mu=shared-0.3"}


@pytest.mark.parametrize(
    "preset", [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))], ids=lambda p: p.name
)
def test_presets_declare_points_that_can_be_trained(preset, tmp_path):
    main(["--output", str(tmp_path / "recipes"), "--params", str(preset)])
    studies = json.loads((tmp_path / "recipes/studies.json").read_text())
    if preset.name in ("clickture_dog.yaml", "toy_full.yaml"):
        for name, study in STUDIES.items():
            assert set(study.paper) <= set(studies[name]), name
        papers = [name for name, study in STUDIES.items() if study.reference != "beyond the paper"]
        assert min(len(studies[name]) for name in papers) >= 4


@pytest.mark.parametrize(
    "preset", [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))], ids=lambda p: p.name
)
def test_presets_measure_the_ratios_of_tables_iv_and_v(preset, tmp_path):
    main(["--output", str(tmp_path / "recipes"), "--params", str(preset)])
    studies = json.loads((tmp_path / "recipes/studies.json").read_text())
    # a ratio needs both losses: tau = 0 and 1 have a dash in Table V
    of_tau = [run for value, run in studies["tau"].items() if value not in ("0", "1")]
    measured = load_section(DiagnoseParams, "mtmdd.diagnose", preset).points
    assert sorted(measured) == sorted({*studies["bandwidth"].values(), *of_tau})
