"""Tests of the benchmark of what reaches the target."""

from pathlib import Path

import numpy as np
import pytest
import torch
from dckt_runs import domains, recipe, write_domains
from torch import nn

from benchmarks.studies.transfer_channel import between_categories, between_halves, gradient_norm, main, outputs_of
from model.losses.gaussian_mmd import GaussianMMD
from model.training.trainer import train
from systems.dckt.config import NetworkParams
from systems.dckt.network import DomainNetwork
from systems.dckt.task import training_run

MMD = GaussianMMD()


def rows_of(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(shape).normal(size=shape).astype(np.float32))


def test_categories_are_compared_pair_by_pair_in_both_media() -> None:
    rows, labels = rows_of(14, 3), torch.tensor([2, 0, 1, 0, 2, 1, 1])
    both = {label: rows[[row for row in range(14) if labels[row % 7] == label]] for label in (0, 1, 2)}
    expected = np.mean([MMD(both[one], both[other]).item() for one, other in ((0, 1), (0, 2), (1, 2))])
    assert between_categories(rows, labels) == pytest.approx(float(expected), abs=1e-6)


def test_a_pairs_two_media_are_in_the_same_half() -> None:
    rows, order = rows_of(10, 3), torch.tensor([4, 0, 3, 1, 2])
    expected = MMD(rows[[4, 0, 3, 9, 5, 8]], rows[[1, 2, 6, 7]]).item()
    assert between_halves(rows, 5, order) == pytest.approx(expected, abs=1e-6)


def test_the_norm_is_over_all_weights_that_a_loss_has() -> None:
    network = nn.Linear(2, 2)
    loss = (network.weight * torch.tensor([[3.0, 0.0], [0.0, 4.0]])).sum()
    assert gradient_norm(loss, network) == pytest.approx(5.0)


def test_outputs_are_those_of_a_step_and_those_without_normalisation(tmp_path: Path) -> None:
    _, target = domains(tmp_path)
    torch.manual_seed(3)
    network = DomainNetwork(6, 4, 3, NetworkParams(hidden=8, normalise="texts", dropout=0.5))
    found = outputs_of(network, target)
    plain = torch.relu(torch.from_numpy(target.images) @ network.image_fc6[0].weight.T + network.image_fc6[0].bias)
    torch.testing.assert_close(found.plain["image_fc6"], plain)
    linear = network.image_fc6[0](torch.from_numpy(target.images))
    normed = torch.relu((linear - linear.mean(0)) / torch.sqrt(linear.var(0, unbiased=False) + 1e-5))
    torch.testing.assert_close(found.seen.image_fc6, normed, atol=1e-5, rtol=1e-4)
    assert found.plain["fc9"].shape == found.seen.fc9.shape == (2 * len(target), 8)


@pytest.mark.usefixtures("own_folder")
def test_the_tables_of_a_trained_run(capsys: pytest.CaptureFixture[str]) -> None:
    write_domains(Path("data"))
    run = training_run(recipe("DCKT_pairs=4", epochs=2), *domains(Path("data")), 0, "run")
    train(run, Path("data/models/DCKT_pairs=4/seed-0"))
    main(["--data", "data", "--run", "DCKT_pairs=4"])
    printed = capsys.readouterr().out
    rows = {line.split(" | ")[0][2:]: line.strip("| ").split(" | ")[1:] for line in printed.splitlines() if "|" in line}
    assert printed.startswith("12 pairs of each domain")
    assert {"image_fc6", "text_fc7", "fc9", "MMD fc8", "semantic", "their labels"} <= set(rows)
    assert float(rows["semantic"][0]) > 0
    assert all(0 < float(value) <= 100 for value in rows["their labels"])
    assert len(rows["fc8"]) == 4
