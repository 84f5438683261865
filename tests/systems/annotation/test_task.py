"""The phases: what they learn from, what is frozen, where they start, and which errors end a run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_data import SEED, read, recipe, vectors, write_data_set
from safetensors.torch import load_file
from scipy import sparse

from base.console import UserError
from model.data.batches import Draw
from model.losses.warp import WarpLoss
from model.training.trainer import train
from systems.annotation.network import JointNet, QuantityNet, VisualNet
from systems.annotation.task import PICTURES, ROWS, HeadTask, VisualTask, training_run

pytestmark = pytest.mark.usefixtures("own_folder")


def tasks_of(request: pytest.FixtureRequest, run: str = "MS-CNN", **network: object) -> dict:
    data = read(write_data_set(Path("data")))
    return {task.name: task for task in training_run(recipe(request, run, **network), data, SEED, "tiny").tasks}


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


def test_frozen_features_are_those_of_the_networks_before(request: pytest.FixtureRequest) -> None:
    run = training_run(recipe(request), read(write_data_set(Path("data"))), SEED, "tiny")
    train(run, Path("model"))
    tasks = {task.name: task for task in run.tasks}
    labels = tasks["labels"]
    assert isinstance(labels, HeadTask)
    rows = torch.tensor([2, 0, 5])
    pictures = labels.load(PICTURES, [Draw(int(row), None) for row in rows])
    visual, tags = labels.visual, labels.tag_net
    assert visual is not None
    assert tags is not None
    with torch.no_grad():
        wanted = torch.cat([visual.eval().features(pictures.images), tags.eval().features(labels.tags_of(rows))], dim=1)
    torch.testing.assert_close(labels.inputs(rows), wanted)
    assert tasks["quantity_visual"].inputs(rows).shape == (3, visual.num_features)


def test_a_frozen_convnet_keeps_weights_and_statistics(request: pytest.FixtureRequest) -> None:
    run = training_run(recipe(request, frozen=True), read(write_data_set(Path("data"))), SEED, "tiny")
    torch.manual_seed(0)
    train(run, Path("model"))
    first, second = (load_file(Path("model") / f"{name}.safetensors") for name in ("cnn", "fused"))
    running = [name for name in first if name.endswith("running_mean")]
    assert running
    assert all((first[name] == 0).all() for name in running)
    assert all(torch.equal(first[name], second[name]) for name in first if name.startswith("backbone."))


def test_losses_of_labels_and_numbers(request: pytest.FixtureRequest) -> None:
    cnn = tasks_of(request, "MS-CNN_loss=warp")["cnn"]
    assert isinstance(cnn, VisualTask)
    batch = {PICTURES: cnn.load(PICTURES, [Draw(0, 0), Draw(3, 0), Draw(4, 0)])}
    net = cnn.network(lambda phase: {}).eval()
    logits = net(batch[PICTURES].images)
    labels = torch.from_numpy(cnn.data.has[[0, 3, 4]].astype(np.float32))
    torch.manual_seed(4)
    wanted = WarpLoss()(logits, labels).mean()
    torch.manual_seed(4)
    found, parts = cnn.loss(net, batch)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(parts["label loss"], wanted.detach())
    assert cnn.counts.tolist() == cnn.data.has.sum(axis=1).tolist()


def test_validating_draws_no_random_numbers_of_the_training(request: pytest.FixtureRequest) -> None:
    cnn = tasks_of(request, "MS-CNN_loss=warp")["cnn"]
    logits = torch.zeros(len(cnn.data.row_numbers("validation")), 3)
    torch.manual_seed(2)
    wanted = torch.rand(3)
    torch.manual_seed(2)
    first = cnn.validate_sets(logits, 2)
    assert torch.equal(torch.rand(3), wanted)
    assert cnn.validate_sets(logits, 2) == first


def test_word_vectors_and_classes(request: pytest.FixtureRequest) -> None:
    run = "MS-CNN_tags=vectors_quantity=classes"
    tasks = tasks_of(request, run, word_vectors=vectors(Path("v.parquet").resolve()))
    net = tasks["tags"].network(lambda phase: {})
    assert [name for name, _ in net.named_parameters()] == ["head.weight", "head.bias"]
    assert tasks["quantity"].most == 3


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
