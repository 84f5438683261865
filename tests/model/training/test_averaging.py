import pytest
import torch
from torch import nn

from model.training.averaging import MovingAverage


@pytest.fixture
def network() -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(1)
    layer.weight.data.fill_(2.0)
    return layer


def test_by_hand(network):
    average = MovingAverage(network, 0.15)
    # decays 1/10, then 2/11 but at most 0.15: 0.1 * 2 + 0.9 * 5 = 4.7; 0.15 * 4.7 + 0.85 * -1 = -0.145
    for step, weight, expected in [(0, 5.0, 4.7), (1, -1.0, -0.145)]:
        network.weight.data.fill_(weight)
        network.running_mean.fill_(weight)
        network.num_batches_tracked.fill_(step + 7)
        average.update(step)
        assert average.values["weight"].item() == pytest.approx(expected, abs=1e-6)
    assert average.values["running_mean"].item() == pytest.approx(0.15 * 4.5 + 0.85 * -1, abs=1e-6)  # began at 0
    assert average.values["num_batches_tracked"].item() == 8  # not averaged
    assert average.values["num_batches_tracked"].dtype == torch.int64


def test_weights_that_stay_are_their_own_average(network):
    # frozen parts keep their bits: averaging equal values doesn't round them
    network.weight.data.fill_(0.1)
    average = MovingAverage(network, 0.7)
    for step in range(50):
        average.update(step)
    assert torch.equal(average.values["weight"], network.weight)


def test_the_network_has_it_for_a_block_only(network):
    average = MovingAverage(network, 0.5)
    network.weight.data.fill_(12.0)
    average.update(0)
    weight = network.weight
    with average.applied_to_network():
        assert network.weight.item() == pytest.approx(0.1 * 2 + 0.9 * 12)
    assert network.weight.item() == 12.0
    assert network.weight is weight  # the same object, which an optimiser holds


def test_it_is_saved_and_loaded(network):
    average = MovingAverage(network, 0.5)
    network.weight.data.fill_(12.0)
    average.update(0)
    other = MovingAverage(nn.BatchNorm1d(1), 0.5)
    other.load_state_dict({name: value.clone() for name, value in average.state_dict().items()})
    for name, value in average.values.items():
        assert torch.equal(other.values[name], value)
