"""A trained run says what each of its networks says by itself, with one pass through the ConvNet."""

from pathlib import Path
from typing import Any

import pytest
import torch
from annotation_data import SEED, read, recipe, write_data_set

from model.data.batches import Draw
from model.training.trainer import train
from systems.annotation.model import load_model
from systems.annotation.task import training_run


@pytest.mark.usefixtures("own_folder")
def test_all_phases_use_one_pass_through_the_convnet(request: pytest.FixtureRequest) -> None:
    data = read(write_data_set(Path("data")))
    train(training_run(recipe(request, "MS-CNN_joint"), data, SEED, "tiny"), Path("model"))
    model = load_model(Path("model"))
    assert data.images is not None
    images = data.images.crops([Draw(row, None) for row in range(7)], 16, 0)
    tags = torch.from_numpy(data.tagged[:7].toarray())
    nets: dict[str, Any] = model.phases
    with torch.no_grad():
        joint = nets["joint"](images, tags)
        wanted = {"cnn": nets["cnn"](images), "fused": nets["fused"](images), "joint": joint.logits}

    passes = []
    for name, part in (("cnn", nets["cnn"]), ("fused", nets["fused"]), ("joint", nets["joint"].visual)):
        part.backbone.features.register_forward_hook(lambda *_, name=name: passes.append(name))
    said = model.say(iter([(images[:4], tags[:4]), (images[4:], tags[4:])]))
    assert passes == ["fused", "fused"]
    for phase, logits in wanted.items():
        torch.testing.assert_close(torch.from_numpy(said.logits[phase]), logits, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.from_numpy(said.quantities["joint"]), joint.quantity, rtol=1e-5, atol=1e-6)
