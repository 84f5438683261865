"""A trained run: which phase does what; and its use on pictures: the evaluation's categories, and predicted words."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from conftest import write_tiny_data
from torch.nn import functional
from training_runs import train_methods, train_recipe

from base.console import UserError
from model.data.images import ImageStore
from systems.mtmdd.evaluate import main
from systems.mtmdd.examples import Examples
from systems.mtmdd.predictor import Model, load
from systems.mtmdd.recipes import build_recipe


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_data, network_params, objective_params, train_params) -> Path:
    params = train_params.model_copy(update={"epochs": 1})
    methods = ("VGGsrc", "TDL", "MTMDD-VM")
    return train_methods(
        tmp_path_factory.mktemp("models"), methods, tiny_data, network_params, objective_params, params
    )


def squares(predictor, tiny_data, domain: str) -> tuple[pl.DataFrame, torch.Tensor]:
    """Return the test images of a domain and their middle squares."""
    rows = pl.read_parquet(tiny_data.split).filter(domain=domain, split="test").sort("image_id")
    store = ImageStore(tiny_data.images, rows, predictor.resize, cache=False)
    found = np.stack([store.crop(row, predictor.image_size, 0, None) for row in range(len(rows))])
    return rows, torch.from_numpy(found).permute(0, 3, 1, 2).contiguous()


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("method", ["VGGsrc", "TDL", "MTMDD-VM"])
def test_categories_and_probabilities_are_the_evaluations(models: Path, tiny_data, method: str) -> None:
    Path("params.yaml").write_text("mtmdd: {evaluate: {batch_size: 5}}\n")
    data = [f"--images={tiny_data.images}", f"--split={tiny_data.split}", f"--features={tiny_data.features}"]
    main([f"--model={models / method}", *data, "--output=evaluation"])
    predictor = load(models / method)
    rows, pixels = squares(predictor, tiny_data, "target")
    said = predictor.predict(pixels)
    expected = pl.read_parquet("evaluation/predictions.parquet").filter(domain="target").sort("image_id")
    assert expected["image_id"].to_list() == rows["image_id"].to_list()
    assert [one.categories[0].name for one in said] == expected["predicted"].to_list()
    best = [one.categories[0].value for one in said]
    assert best == pytest.approx(expected["probability"].to_list(), abs=1e-6)
    assert all(sum(scored.value for scored in one.categories) == pytest.approx(1) for one in said)


def test_words_are_the_largest_entries_of_the_predicted_click_feature(models: Path, tiny_data) -> None:
    predictor = load(models / "TDL")  # its words come from another phase than its categories
    words = pl.read_parquet(tiny_data.features / "vocabulary.parquet").sort("word_id")["word"].to_list()
    assert list(predictor.words) == words
    _, pixels = squares(predictor, tiny_data, "source")
    model = Model.read(models / "TDL")
    phase = model.phase_that_predicts_clicks()
    with torch.no_grad():
        clicks = functional.normalize(model.network(phase)({"source": pixels})["source"].clicks, dim=1)
    assert predictor.click_features(pixels).numpy() == pytest.approx(clicks.numpy(), abs=1e-6)
    for said, row in zip(predictor.predict(pixels, top=2), clicks.tolist(), strict=True):
        ordered = sorted(zip(row, words, strict=True), key=lambda pair: -pair[0])
        positive = [(word, value) for value, word in ordered if value > 0][:2]
        assert [one.name for one in said.words] == [word for word, _ in positive]
        assert [one.value for one in said.words] == pytest.approx([value for _, value in positive], abs=1e-6)


def test_what_a_run_lacks_is_empty_or_an_error(models: Path, tiny_data) -> None:
    predictor = load(models / "VGGsrc")
    _, pixels = squares(predictor, tiny_data, "target")
    assert not predictor.words
    assert not predictor.predict(pixels)[0].words
    with pytest.raises(UserError, match="VGGsrc predicts no clicks"):
        predictor.click_features(pixels)
    with pytest.raises(UserError, match="not calibrated by an evaluation"):
        load(models / "VGGsrc", Path("evaluation"))


def test_a_folder_from_elsewhere_cannot_name_what_is_imported(models: Path, tmp_path: Path) -> None:
    run = json.loads((models / "VGGsrc/run.json").read_text())
    run["recipe"]["evaluate_command"] = "os"
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(UserError, match="String should match pattern"):
        load(tmp_path)


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
