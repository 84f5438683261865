"""The phases: what they learn from, what is frozen, where they start, and which errors end a run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_data import SEED, read, recipe, tasks_of, write_data_set
from safetensors.torch import load_file
from scipy import sparse

from base.console import UserError
from model.training.trainer import train
from systems.annotation.frozen import HeadTask
from systems.annotation.network import JointNet, QuantityNet, VisualNet
from systems.annotation.phase import PICTURES, ROWS
from systems.annotation.task import training_run

pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_run_has_its_phases_and_their_streams(request: pytest.FixtureRequest) -> None:
    tasks = tasks_of(request, "MS-CNN_joint")
    assert {name: task.main for name, task in tasks.items()} == {
        "cnn": PICTURES, "fused": PICTURES, "tags": ROWS, "labels": ROWS, "quantity_visual": ROWS, "quantity": ROWS,
        "joint": PICTURES,
    }  # fmt: skip
    assert isinstance(tasks_of(request, frozen=True)["cnn"], HeadTask)
    assert list(tasks_of(request, "MS-CNN_first=2")) == ["cnn", "fused"]
    assert all((task.data.split[task.rows[task.main]] == "train").all() for task in tasks.values())


def test_each_phase_starts_from_those_before_and_leaves_them_as_they_are(request: pytest.FixtureRequest) -> None:
    run = training_run(recipe(request, "MS-CNN_joint"), read(write_data_set(Path("data"))), SEED, "tiny")
    train(run, Path("model"))
    weights = {path.stem: load_file(path) for path in Path("model").glob("*.safetensors")}
    for name, value in weights["cnn"].items():
        if name.startswith("backbone."):
            assert torch.equal(weights["fused"][name], value), name
            assert torch.equal(weights["joint"][f"visual.{name}"], value), name
    joint = {task.name: task for task in run.tasks}["joint"]
    net = joint.network(lambda phase: weights[phase])
    assert isinstance(net, JointNet)
    for part, phase in ((net.visual, "fused"), (net.tags, "tags"), (net.head, "labels")):
        assert all(torch.equal(value, weights[phase][name]) for name, value in part.state_dict().items())
    found = QuantityNet(net.quantity).state_dict()
    assert all(torch.equal(value, weights["quantity"][name]) for name, value in found.items())


def test_a_run_that_cannot_learn_is_refused(request: pytest.FixtureRequest) -> None:
    data = read(write_data_set(Path("data")))
    untagged = type(data)(**{**vars(data), "tagged": sparse.csr_array(data.tagged.shape, dtype=np.float32)})
    with pytest.raises(UserError, match="no training image has one of the 4 tags"):
        training_run(recipe(request), untagged, SEED, "tiny")
    made = recipe(request)
    stopping = made.model_copy(update={"train": made.train.model_copy(update={"early_stopping": 2})})
    with pytest.raises(UserError, match="there are no validation images to stop by"):
        training_run(stopping, read(Path("data"), "train"), SEED, "tiny")
    fused = training_run(recipe(request, "MS-CNN_first=7"), data, SEED, "tiny").tasks[1]
    with pytest.raises(UserError, match="first stage 7: this ConvNet has the stages 1 to 3"):
        fused.network(lambda phase: {})


def test_only_the_fusion_differs_between_cnn_and_fused(request: pytest.FixtureRequest) -> None:
    tasks = tasks_of(request, "MS-CNN_first=3")
    cnn = tasks["cnn"].network(lambda phase: {}).eval()
    fused = tasks["fused"].network(lambda phase: cnn.state_dict()).eval()
    assert isinstance(cnn, VisualNet)
    pictures = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(fused.features(pictures), cnn.features(pictures))
