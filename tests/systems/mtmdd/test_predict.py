import numpy as np
import polars as pl
import pytest
import torch
from conftest import jpeg

from base.console import UserError
from model.training.trainer import train
from systems.mtmdd.examples import Examples
from systems.mtmdd.predict import Model, load_recogniser
from systems.mtmdd.recipes import build_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_data, tiny_rows, network_params, objective_params, train_params):
    """A model with two phases that recognise the source: MTTDL's first, and none of the target after it."""
    folder = tmp_path_factory.mktemp("model")
    recipe = build_recipe("MTTDL", network_params, objective_params, train_params.model_copy(update={"epochs": 1}))
    recipe = recipe.model_copy(update={"phases": recipe.phases[:1]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, network_params, cache=True)
        train(recipe, examples, 0, folder / "m", "m")
    return folder / "m"


def test_which_phase_does_what(folder):
    model = Model.read(folder)
    assert model.phase_that_recognises("source").name == "predict"
    assert model.phase_that_recognises("target") is None
    assert model.phase_that_predicts_clicks().name == "predict"
    assert model.num_words == 5


def test_probabilities_of_images(folder):
    recogniser = load_recogniser(folder, "source")
    rng = np.random.default_rng(0)
    images = [jpeg((200, 30, 30), 30, 21, rng), jpeg((20, 30, 200), 18, 44, rng)]
    found = recogniser.probabilities(images)
    assert found.shape == (2, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[1:], recogniser.probabilities(images[1:]), atol=1e-6)
    assert recogniser.preprocess(images[0]).shape == (16, 16, 3)
    assert recogniser.probabilities([]).shape == (0, 3)


def test_a_network_is_loaded_in_evaluation_mode_and_stays_as_it_is(folder):
    model = Model.read(folder)
    recogniser = load_recogniser(folder, "source")
    for network in (model.network(model.recipe.phases[0]), recogniser.network):
        assert not any(module.training for module in network.modules())
    before = {name: value.clone() for name, value in recogniser.network.state_dict().items()}
    rng = np.random.default_rng(0)
    images = [jpeg((200, 30, 30), 30, 21, rng), jpeg((20, 30, 200), 18, 44, rng)]
    first = recogniser.probabilities(images)
    assert np.array_equal(recogniser.probabilities(images), first)  # nothing is dropped
    assert all(torch.equal(value, before[name]) for name, value in recogniser.network.state_dict().items())
    # each image for itself, whatever else is in the batch
    np.testing.assert_allclose(recogniser.probabilities(images[:1])[0], first[0], atol=1e-6)


def test_images_are_prepared_as_validation_images_are(folder, tiny_data, tiny_rows, network_params):
    examples = Examples.read(tiny_data.images, tiny_rows, None, network_params, cache=False)
    recogniser = load_recogniser(folder, "source")
    place = int(examples.places("source", "validation")[0])
    (row,) = pl.read_parquet(tiny_data.images).filter(
        domain="source", image_id=examples.rows["image_id"][place]
    ).to_dicts()  # fmt: skip
    encoded = row["image"]["bytes"]
    expected = examples.images.crop(place, 16, 0, None)
    assert np.array_equal(recogniser.preprocess(encoded), expected)
    pixels = torch.from_numpy(expected.transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        logits = recogniser.network({"source": pixels})["source"].logits
    np.testing.assert_allclose(recogniser.probabilities([encoded]), logits.softmax(dim=1), atol=1e-6)


def test_a_domain_that_is_not_recognised_is_said(folder):
    with pytest.raises(UserError, match="MTTDL trains no recogniser of the target domain"):
        load_recogniser(folder, "target")


def test_not_a_model_folder(tmp_path):
    with pytest.raises(UserError, match=r"run.json: no such file; is .* a model folder"):
        Model.read(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"recipe": {"method": "TDL"}}'])
def test_a_model_folder_that_is_not_ours(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run.json: not as a train stage writes it: (?s:.*); train the model again"):
        Model.read(tmp_path)
