"""Equal images: the trainings themselves have seen equally many, whatever their phases."""

import json
from pathlib import Path

import pytest
from training_runs import train_recipe

from base.console import UserError
from model.training.params import ScheduleParams
from systems.mtmdd.budgets import phases_behind, within_budget
from systems.mtmdd.config import LossTerm, Phase
from systems.mtmdd.methods import METHODS
from systems.mtmdd.predictor import Model
from systems.mtmdd.recipes import all_recipes, build_recipe, content_of, study_runs
from systems.mtmdd.runs import read_run

pytestmark = pytest.mark.usefixtures("own_folder")

PLATEAU = ScheduleParams(kind="plateau", warm_up=0.25, drop_factor=0.1, patience=1, drops=1)


@pytest.mark.parametrize("method", METHODS)
def test_every_target_recogniser_has_seen_as_many_images_as_the_joint_networks(method, recipe, examples):
    whole = within_budget(recipe(method, schedule=PLATEAU, epochs=9), 2)
    train_recipe(whole, examples, 0, Path("model"), "run")
    model = Model.read(Path("model"))
    seen = {domain: model.images_seen(model.phase_that_recognises(domain)) for domain in ("source", "target")}
    # 15 target images are an epoch of four steps with four images of each stream; the joint network has two streams
    assert sum(seen["target"].values()) == 2 * 2 * 4 * 4
    at_once = len(METHODS[method].phases) == 1
    assert seen["target"]["target"] == (64 if method == "VGGimg" else 32)
    assert seen["source"]["source"] == {"VGGimg": 64, "VGGsrc": 32, "TDL7": 64, "TDL": 64}.get(method, 32)
    chosen = json.loads(Path("model/run.json").read_text())["chosen"]
    assert {(phase["of"], phase["ended_by"]) for phase in chosen} == {(4 if method == "VGGimg" else 2, "all epochs")}
    assert (whole.phases[0].epoch_domain is None) == at_once  # else the first phase is of the source alone


def test_a_fixed_schedule_stays_and_a_plateau_becomes_cosine(recipe):
    fixed = within_budget(recipe("VGGimg", early_stopping=2), 3).phases
    assert [phase.train.schedule for phase in fixed] == [recipe("VGGimg").train.schedule] * 2
    assert [(phase.train.epochs, phase.train.early_stopping) for phase in fixed] == [(6, None)] * 2
    free = within_budget(recipe("VGGimg", schedule=PLATEAU), 3).phases
    assert [phase.train.schedule for phase in free] == [ScheduleParams(kind="cosine", warm_up=0.25)] * 2


def test_the_joint_networks_fixed_epochs_are_their_own_budget(recipe, network_params, objective_params, train_params):
    joint = recipe("MTMDD-VM")
    assert content_of(within_budget(joint, 3)) == content_of(joint)
    sections = network_params, objective_params, train_params
    with pytest.raises(UserError, match="equal_images=MTMDD-VM-3 is the same training as MTMDD-VM; remove it"):
        all_recipes([read_run("MTMDD-VM"), read_run("equal_images=MTMDD-VM-3")], *sections)
    listed = ["MTMDD-VM", "VGGimg", "equal_images=VGGimg-3", "equal_images=TDL-5", "one_shot=TDL-target-0.5"]
    recipes = all_recipes([read_run(text) for text in listed], *sections)
    assert study_runs(recipes, *sections)["equal_images"] == {
        "VGGimg-3": "equal_images=VGGimg-3",
        "MTMDD-VM-3": "MTMDD-VM",
        "TDL-5": "equal_images=TDL-5",
    }


def phase(name: str, domain: str, start: str | dict[str, str]) -> Phase:
    loss = LossTerm(domain=domain, kind="recognition", weight=1.0)
    return Phase(name=name, losses=[loss], start=start, frozen=[], features="visual")


def test_a_phase_behind_several_has_its_share_of_the_longest(recipe):
    phases = [
        phase("one", "source", "backbone"),
        phase("two", "source", "one"),
        phase("alone", "target", "backbone"),
        phase("short", "target", "one"),
        phase("long", "target", {"backbone": "two"}),
    ]
    whole = recipe("VGGimg").model_copy(update={"phases": phases})
    assert [phases_behind(whole, one) for one in phases] == [
        ["one"], ["one", "two"], ["alone"], ["one", "short"], ["one", "two", "long"],
    ]  # fmt: skip
    epochs = [(one.train or whole.train).epochs for one in within_budget(whole, 6).phases]
    assert epochs == [4, 4, 12, 6, 4]
    with pytest.raises(UserError, match=r"equal_images=VGGimg-4: phase one would have 8/3 epochs; use a multiple of 3"):
        within_budget(whole, 4)


def test_the_phases_behind_a_phase(network_params, objective_params, train_params):
    def names(method: str, phase: str, **values) -> list[str]:
        network = network_params.model_copy(update=values)
        recipe = build_recipe(method, network, objective_params, train_params)
        (found,) = (one for one in recipe.phases if one.name == phase)
        return phases_behind(recipe, found)

    assert names("VGGimg", "target") == ["target"]
    assert names("VGGsrc", "target") == ["source", "target"]
    assert names("TDL", "predict") == ["predict"]
    assert names("TDL", "target") == ["predict", "target"]  # not the source's recogniser, which comes between
    assert names("TDL", "target", second_step="one ConvNet") == ["predict", "target"]
