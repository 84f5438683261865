import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from base.params import DEFAULT_PATH, load_section
from systems.mtmdd.config import Recipe, TrainParams
from systems.mtmdd.methods import METHODS
from systems.mtmdd.recipes import main

PARAMS = Path(__file__).parents[3] / DEFAULT_PATH


def write(tmp_path: Path, change=lambda system: None) -> dict[str, dict]:
    """Run the stage on this repository's methods with a changed section `mtmdd`; return the recipes by run."""
    yaml = YAML()
    params = yaml.load(PARAMS)
    params["mtmdd"]["runs"] = [run for run in params["mtmdd"]["runs"] if "=" not in run]
    change(params["mtmdd"])
    yaml.dump(params, tmp_path / "params.yaml")
    main(["--output", str(tmp_path / "recipes"), "--params", str(tmp_path / "params.yaml")])
    files = [file for file in (tmp_path / "recipes").iterdir() if file.name != "studies.json"]
    return {file.name.removesuffix(".json"): json.loads(file.read_text()) for file in files}


def names_in(value) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for part in value.values() for name in names_in(part)}
    return {name for part in value for name in names_in(part)} if isinstance(value, list) else set()


def test_one_recipe_per_run(tmp_path):
    runs = [
        "VGGimg", "TDL", "tau=0.4", "out_of_class=VGGsrc-6", "out_of_class=VGGsrc-12", "one_shot=TDL-target-0.4",
        "one_shot=TDL-target-0.75",
    ]  # fmt: skip

    def change(system):
        system["runs"] = runs
        system["cross_object"] = {"methods": ["TDL", "MTMDD-VM"], "sources": ["toy_birds"]}

    recipes = write(tmp_path, change)
    assert set(recipes) == {*runs, "cross_object=TDL-toy_birds", "cross_object=MTMDD-VM-toy_birds"}
    assert recipes["out_of_class=VGGsrc-12"]["source_categories"] == 12
    assert recipes["one_shot=TDL-target-0.75"]["fewer"] == {"domain": "target", "share": 0.75}
    assert recipes["TDL"] == {k: v for k, v in recipes["one_shot=TDL-target-0.4"].items() if k != "fewer"}
    assert recipes["cross_object=TDL-toy_birds"] == recipes["TDL"] | {"source": "toy_birds"}
    # a training with another source is not used for a point of a component study
    studies = json.loads((tmp_path / "recipes/studies.json").read_text())
    assert studies["features"]["V+C"] == "TDL"
    assert "cross_object" not in json.dumps(studies)


def test_a_part_of_a_component_point_is_the_point_with_less(tmp_path):
    def change(system):
        system["runs"] = ["lambda=shared-0", "one_shot=lambda=shared-0-target-0.05", "out_of_class=lambda=shared-0-6"]

    recipes = write(tmp_path, change)
    fewer, categories = recipes["one_shot=lambda=shared-0-target-0.05"], recipes["out_of_class=lambda=shared-0-6"]
    assert (fewer["fewer"], categories["source_categories"]) == ({"domain": "target", "share": 0.05}, 6)
    whole = recipes["lambda=shared-0"]
    assert whole == {k: v for k, v in fewer.items() if k != "fewer"}
    assert whole == {k: v for k, v in categories.items() if k != "source_categories"}


def test_a_target_without_labels(tmp_path):
    def change(system):
        system["runs"] = ["VGGsrc", "TDL", "unlabelled=VGGsrc", "unlabelled=TDL", "unlabelled=lambda=shared-0"]

    recipes = write(tmp_path, change)
    assert [phase["name"] for phase in recipes["unlabelled=TDL"]["phases"]] == ["predict", "source"]
    assert recipes["unlabelled=VGGsrc"]["phases"] == recipes["VGGsrc"]["phases"][:1]
    assert recipes["unlabelled=VGGsrc"]["unlabelled_target"] is True
    assert "unlabelled_target" not in recipes["VGGsrc"]
    (joint,) = recipes["unlabelled=lambda=shared-0"]["phases"]
    assert joint["unlabelled"] == ["target"]
    assert [(term["domain"], term["weight"]) for term in joint["losses"]] == [("source", 2.0)]


def test_the_source_as_it_is_has_one_name(tmp_path):
    def change(system):
        system["runs"] = ["unlabelled=VGGsrc", "unlabelled=VGGimg"]

    with pytest.raises(SystemExit):
        write(tmp_path, change)


def test_no_run_no_recipe(tmp_path):
    def change(system):
        system["runs"] = []
        system["cross_object"] = {"methods": [], "sources": []}

    assert write(tmp_path, change) == {}
    studies = json.loads((tmp_path / "recipes/studies.json").read_text())
    assert set(map(len, studies.values())) == {0}


def test_recipes_read_back_as_they_were_written(tmp_path):
    for recipe in write(tmp_path).values():
        again = Recipe.model_validate_json(json.dumps(recipe))
        assert again.model_dump(mode="json", exclude_none=True) == recipe


def test_every_recipe_is_trained_as_the_parameters_say(tmp_path):
    recipes = write(tmp_path, lambda system: system["train"].update(epochs=17, momentum=0.77))
    expected = load_section(TrainParams, "mtmdd.train", tmp_path / "params.yaml")
    assert (expected.epochs, expected.momentum) == (17, 0.77)
    for path, recipe in recipes.items():
        assert TrainParams.model_validate(recipe["train"]) == expected, path


def test_recipes_hold_only_what_they_use(tmp_path):
    recipes = write(tmp_path)
    click_names = {"position", "bandwidth", "threshold", "embedding"}
    assert not names_in(recipes["VGGimg"]) & click_names
    assert not names_in(recipes["VGGsrc"]) & click_names
    assert recipes["TDL7"]["network"]["embedding"] == {"kind": "FC"}
    assert not names_in(recipes["TDL7"]) & {"position", "bandwidth", "threshold", "kernels", "hidden"}
    assert click_names <= names_in(recipes["MTMDD-VM"])


@pytest.mark.parametrize(
    ("section", "key", "value", "changed"),
    [
        ("objective", "tau", 0.2, {"TDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "bandwidth", 0.1, {"TDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "lambda", 0.3, {"MTTDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "mu_shared_head", 0.5, {"MTMDD-VM-star"}),
        ("objective", "mu_separate_heads", 0.5, {"MTMDD-VM"}),
        ("objective", "position_input", "raw", {"TDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "position_scale", "1/sqrt(K)", {"TDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "halved_click_losses", True, {"TDL7", "TDL", "MTTDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "mean_over", "domain", {"MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "multitask_position", True, {"MTTDL"}),
        ("network", "second_step", "one ConvNet", {"TDL7", "TDL", "MTTDL"}),
        ("network", "second_step", "two ConvNets", set()),
        # g is for what recognises by its own v^: not for the first step of TDL, which recognises nothing
        ("objective", "recogniser_gradient", 0.1, {"MTTDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "click_gradient", 10.0, {"TDL7", "TDL", "MTTDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "convnet_gradient", 0.1, {"TDL7", "TDL", "MTTDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("objective", "convnet_gradient", 1.0, set()),
        ("objective", "soft_targets", 0.3, {"TDL7", "TDL", "MTTDL", "MTMDD-VM", "MTMDD-VM-star"}),
        ("network", "shared_normalisation", True, {"MTMDD-VM", "MTMDD-VM-star"}),
        ("train", "momentum", 0.8, {"VGGimg", "VGGsrc", "TDL7", "TDL", "MTTDL", "MTMDD-VM", "MTMDD-VM-star"}),
    ],
)
def test_a_parameter_changes_the_recipes_that_use_it(tmp_path, section, key, value, changed):
    assert changed_by(tmp_path, lambda system: system[section].update({key: value}))[0] == changed


def changed_by(tmp_path: Path, change) -> tuple[set[str], dict[str, dict]]:
    """Return the methods whose recipes a change of the section `mtmdd` changes, and all recipes after it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before, after = write(tmp_path / "a"), write(tmp_path / "b", change)
    return {name for name in METHODS if before[name] != after[name]}, after


@pytest.mark.parametrize("values", [{"rank": 5, "click_start": True}, {"padding": 1, "ceil_pooling": True}])
def test_a_part_of_the_embedding_changes_the_recipes_that_have_it(tmp_path, values):
    """TDL [7] has neither E1, whose borders are padded, nor E3, which has a rank."""
    changed, after = changed_by(tmp_path, lambda system: system["network"]["embedding"].update(values))
    assert changed == {"TDL", "MTTDL", "MTMDD-VM", "MTMDD-VM-star"}
    assert after["TDL7"]["network"]["embedding"] == {"kind": "FC"}


def test_factors_of_one_leave_no_trace_in_a_recipe(tmp_path):
    def ones(system):
        system["objective"] |= {"recogniser_gradient": 1.0, "click_gradient": 1.0, "convnet_gradient": 1.0}

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert write(tmp_path / "a") == write(tmp_path / "b", ones)
    assert all("click_branch" not in recipe for recipe in write(tmp_path).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["objective"].update(tau=1.5), "objective.tau = 1.5: Input should be less than or equal to 1"),
        (
            lambda s: s["objective"].update(labmda=0.5),
            "unknown parameter mtmdd.objective.labmda (value 0.5); known: bandwidth, threshold, position_input",
        ),
        (lambda s: s["train"].pop("epochs"), "parameter mtmdd.train.epochs is missing"),
        (lambda s: s["runs"].append("VGG"), "'VGG': expected a method (VGGimg, VGGsrc, "),
        (lambda s: s["runs"].append("one_shot=TDL-source-1.0"), "expected one_shot=METHOD-DOMAIN-SHARE"),
        (lambda s: s["runs"].append("out_of_class=TDL-0"), "expected out_of_class=METHOD-CATEGORIES"),
        (
            lambda s: s["cross_object"].update(methods=["TDL", "MTMDD-VM-star"]),
            "['MTMDD-VM-star']: one head for both domains is impossible if they have no category in common; list",
        ),
        (lambda s: s["cross_object"].update(sources=["a/b"]), "expected distinct names of letters, digits, _ and -"),
        (lambda s: s["network"].pop("embedding"), "network.embedding is missing, but TDL7 predicts clicks"),
    ],
)
def test_bad_parameters_are_named(tmp_path, caplog, change, message):
    with pytest.raises(SystemExit, match="2"):
        write(tmp_path, change)
    assert message in caplog.text
    assert not (tmp_path / "recipes").exists()
