"""Targets and losses of a batch, and a validation that leaves the training's random numbers alone."""

import numpy as np
import pytest
import torch
from annotation_data import tasks_of

from model.data.batches import Draw
from model.losses.warp import WarpLoss
from systems.annotation.phase import PICTURES
from systems.annotation.task import VisualTask

pytestmark = pytest.mark.usefixtures("own_folder")


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
