"""CNN-RNN: what its network learns from, and its evaluation against the network's own searches."""

from pathlib import Path

import pytest
import torch
from annotation_data import SEED, read, recipe, tasks_of, write_data_set
from safetensors.torch import load_file

from base.console import UserError
from model.data.batches import Draw
from model.measures.label_sets import measure_sets
from model.training.trainer import train
from systems.annotation import predictor
from systems.annotation.chain import ChainTask
from systems.annotation.evaluate import evaluate
from systems.annotation.model import load_model
from systems.annotation.phase import PICTURES, ROWS, Rows
from systems.annotation.rules import RuleParams
from systems.annotation.task import training_run

pytestmark = pytest.mark.usefixtures("own_folder")


def test_frequent_labels_of_the_training_images_come_first(request: pytest.FixtureRequest) -> None:
    tasks = tasks_of(request, "CNN-RNN", frozen=True, kept_maps=True)
    chain = tasks["chain"]
    assert isinstance(chain, ChainTask)
    train_rows = chain.data.row_numbers("train")
    number = chain.data.has[train_rows].sum(axis=0)
    for row, found in enumerate(chain.sequences.tolist()):
        mine = sorted((j for j in range(3) if chain.data.has[row, j]), key=lambda j: -number[j])
        assert found == [*mine, 3, -1, -1][: chain.most]
    assert not tasks["cnn"].keeps_maps  # no later phase needs them


@pytest.mark.parametrize("frozen", [True, False])
def test_the_evaluation_measures_the_paths_of_the_network(request: pytest.FixtureRequest, frozen: bool) -> None:
    run = training_run(recipe(request, "CNN-RNN", frozen=frozen), read(write_data_set(Path("data"))), SEED, "tiny")
    train(run, Path("model"))
    chain = run.tasks[1]
    assert isinstance(chain, ChainTask)
    # trained on the features of the saved CNN
    assert chain.visual is not None
    assert all(
        torch.equal(value, chain.visual.state_dict()[n]) for n, value in load_file("model/cnn.safetensors").items()
    )
    params = RuleParams(batch_size=5, top=2, thresholds=[0.5], bins=4)
    metrics, _, annotated, _ = evaluate(Path("model"), Path("data"), SEED, params)
    data, nets = read(Path("data"), "test"), load_model(Path("model")).phases
    assert data.images is not None
    with torch.no_grad():
        pictures = data.images.crops([Draw(row, None) for row in range(len(data.names))], 16, 0)
        features = nets["cnn"].features(pictures)
        for rule, length in (("beam", None), ("top", 2)):
            given = nets["chain"].search(features, 3, length).numpy()
            for name, measured in measure_sets(given, data.has).items():
                assert metrics[f"{name}_chain_{rule}"] == pytest.approx(100 * measured.value, abs=1e-3)
    assert metrics["h_f1_cnn_top"] is not None
    assert annotated["quantity"].null_count() == len(annotated)
    with pytest.raises(UserError, match="CNN-RNN gives labels without probabilities; use a run of MS-CNN"):
        predictor.load(Path("model"))


def test_a_step_is_the_networks_loss_of_the_images_labels(request: pytest.FixtureRequest) -> None:
    run = training_run(recipe(request, "CNN-RNN"), read(write_data_set(Path("data"))), SEED, "tiny")
    train(run, Path("model"))
    chain = run.tasks[1]
    assert isinstance(chain, ChainTask)
    net = load_model(Path("model")).phases["chain"]
    rows = torch.tensor([4, 0, 2])
    pictures = chain.load(PICTURES, [Draw(int(row), None) for row in rows])
    assert chain.visual is not None
    with torch.no_grad():
        found, parts = chain.loss(net, {ROWS: Rows(rows)})
        wanted = net(chain.visual.eval().features(pictures.images), chain.sequences[rows]).mean()
    torch.testing.assert_close(found, wanted)
    assert parts == {"path loss": found}
