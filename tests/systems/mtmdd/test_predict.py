from pathlib import Path

import pytest
import torch
from conftest import write_tiny_data
from training_runs import train_methods, train_recipe

from base.console import UserError
from systems.mtmdd.examples import Examples
from systems.mtmdd.predict import Model
from systems.mtmdd.recipes import build_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_data, tiny_rows, network_params, objective_params, train_params):
    """Train only the first phase of MTTDL, and return the model folder."""
    folder = tmp_path_factory.mktemp("model")
    recipe = build_recipe("MTTDL", network_params, objective_params, train_params.model_copy(update={"epochs": 1}))
    recipe = recipe.model_copy(update={"phases": recipe.phases[:1]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, network_params, cache=True)
        train_recipe(recipe, examples, 0, folder / "m", "m")
    return folder / "m"


def test_which_phase_does_what(folder):
    model = Model.read(folder)
    assert model.phase_that_recognises("source").name == "predict"
    assert model.phase_that_recognises("target") is None
    assert model.phase_that_predicts_clicks().name == "predict"
    assert model.num_words == 5


def test_the_last_phase_that_learned_something_is_asked_for_it(network_params, objective_params, train_params):
    recipe = build_recipe("TDL", network_params, objective_params, train_params)
    predict, source, target = recipe.phases
    later = [phase.model_copy(update={"name": f"later-{phase.name}"}) for phase in (predict, source)]
    for phases, of_clicks, of_source, of_target in (
        ([predict, source, target], "predict", "source", "target"),
        ([predict, source, target, *later], "later-predict", "later-source", "target"),
        ([source, target], "target", "source", "target"),  # no click loss: the last phase with a word embedding
    ):
        model = Model(Path(), recipe.model_copy(update={"phases": phases}), 0, {}, list("abcde"), [])
        assert model.phase_that_predicts_clicks().name == of_clicks
        assert model.phase_that_recognises("source").name == of_source
        assert model.phase_that_recognises("target").name == of_target


def test_each_domain_has_its_own_categories(
    tmp_path, own_folder, network_params, objective_params, train_params
):  # fmt: skip
    data = write_tiny_data(tmp_path / "data", ("ant", "bee"), ("cat", "dog"))
    params = train_params.model_copy(update={"epochs": 1})
    train_methods(tmp_path, ["VGGimg"], data, network_params, objective_params, params)
    assert Model.read(tmp_path / "VGGimg").categories == {"source": ["ant", "bee"], "target": ["cat", "dog"]}


def test_a_network_is_loaded_in_evaluation_mode_and_stays_as_it_is(folder):
    model = Model.read(folder)
    network = model.network(model.recipe.phases[0])
    assert not any(module.training for module in network.modules())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, again, alone = (network({"source": given})["source"] for given in (images, images, images[:1]))
    for once, twice, one in zip(first, again, alone, strict=True):
        assert torch.equal(once, twice)  # no dropout
        torch.testing.assert_close(one[0], once[0], rtol=1e-5, atol=1e-6)  # independent of the other images
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_not_a_model_folder(tmp_path):
    with pytest.raises(UserError, match=r"run.json: no such file; is .* a model folder"):
        Model.read(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"recipe": {"method": "TDL"}}'])
def test_a_model_folder_that_is_not_ours(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run.json: not as a train stage writes it: (?s:.*); train the model again"):
        Model.read(tmp_path)
