"""Heads on frozen features, and blocks on kept maps: computed once, and equal to what the ConvNet gives by itself."""

from pathlib import Path

import pytest
import torch
from annotation_data import SEED, read, recipe, tasks_of, vectors, write_data_set
from safetensors.torch import load_file

from model.data.batches import Draw
from model.training.trainer import train
from systems.annotation.frozen import HeadTask, MapsTask
from systems.annotation.network import VisualNet
from systems.annotation.phase import PICTURES, ROWS, Pictures, Rows
from systems.annotation.task import VisualTask, training_run

pytestmark = pytest.mark.usefixtures("own_folder")


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


def test_word_vectors_and_classes(request: pytest.FixtureRequest) -> None:
    run = "MS-CNN_tags=vectors_quantity=classes"
    tasks = tasks_of(request, run, word_vectors=vectors(Path("v.parquet").resolve()))
    net = tasks["tags"].network(lambda phase: {})
    assert [name for name, _ in net.named_parameters()] == ["head.weight", "head.bias"]
    assert tasks["quantity"].most == 3


@pytest.mark.parametrize("frozen", [True, False])
def test_with_kept_maps_the_convnet_runs_once_for_each_image(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    made = recipe(request, epochs=2, frozen=frozen, kept_maps=True)
    run = training_run(made, read(write_data_set(Path("data"))), SEED, "tiny")
    num_seen = 0
    maps = VisualNet.maps

    def counted(net: VisualNet, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal num_seen
        num_seen += len(images)
        return maps(net, images)

    with monkeypatch.context() as patch:
        patch.setattr(VisualNet, "maps", counted)
        train(run, Path("model"))
    tasks = {task.name: task for task in run.tasks}
    fused, labels = tasks["fused"], tasks["labels"]
    assert isinstance(fused, MapsTask)
    assert isinstance(labels, HeadTask)
    if frozen:
        assert isinstance(tasks["cnn"], HeadTask)
        assert num_seen == len(fused.every)
    # all that was learned from is what the saved network gives for the middle crops
    net = fused.network(lambda name: load_file(f"model/{name}.safetensors")).eval()
    net.load_state_dict(load_file("model/fused.safetensors"))
    pictures = labels.load(PICTURES, [Draw(row, None) for row in range(len(fused.every))])
    assert isinstance(pictures, Pictures)
    with torch.no_grad():
        wanted = net.maps(pictures.images)
        f_v = net.features(pictures.images)
    rows = torch.tensor([3, 0, 9])
    for stage, found in zip(wanted, fused.known.maps_of(rows), strict=True):
        torch.testing.assert_close(found, stage[rows])
    torch.testing.assert_close(labels.inputs(rows)[:, : net.num_features], f_v[rows])


def test_blocks_learn_from_kept_maps_as_from_the_middle_crops(request: pytest.FixtureRequest) -> None:
    kept, drawn = (tasks_of(request, kept_maps=is_kept)["fused"] for is_kept in (True, False))
    assert isinstance(kept, MapsTask)
    assert isinstance(drawn, VisualTask)
    torch.manual_seed(1)
    cnn = tasks_of(request)["cnn"].network(lambda _: {}).state_dict()
    net = kept.network(lambda _: cnn).train()
    pictures = drawn.load(PICTURES, [Draw(row, None) for row in range(len(kept.every))])
    with torch.no_grad():
        kept.known.maps = list(net.maps(pictures.images))
    rows = torch.tensor([1, 4, 2, 7])
    wanted, _ = drawn.loss(net, {PICTURES: Pictures(pictures.images[rows], rows)})
    found, _ = kept.loss(kept.module(net), {ROWS: Rows(rows)})
    torch.testing.assert_close(found, wanted)
