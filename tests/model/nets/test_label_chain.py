"""Steps by hand, losses and searches against all paths, and the order of labels."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.nets.label_chain import NONE, LabelChain, label_sequences

D, C, MOST = 5, 4, 3
END, BEGIN = C, C + 1


def chain(seed: int = 0, scale: float = 1.0) -> LabelChain:
    torch.manual_seed(seed)
    net = LabelChain(D, C, MOST, embedding=3, hidden=6).double().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn_like(weight) * scale)
    return net


def probabilities(net: LabelChain, image: Tensor, path: list[int]) -> Tensor:
    """The probabilities of what follows a path, (C + 1,), by the formulas of an LSTM and of the reference."""
    u = net.labels.weight
    o, c = torch.zeros(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    for label in [BEGIN, *path]:
        gates = net.cell.weight_ih @ u[label] + net.cell.bias_ih + net.cell.weight_hh @ o + net.cell.bias_hh
        i, f, g, out = gates.split(6)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        o = out.sigmoid() * c.tanh()
    x = (net.of_output.weight @ o + net.of_output.bias + net.of_image.weight @ image).clamp(min=0)
    exp = torch.tensor([float((u[j] @ x + net.bias[j]).exp()) for j in range(C + 1)], dtype=torch.float64)
    exp[path] = 0
    if not path:
        exp[END] = 0
    return exp / exp.sum()


def all_paths(net: LabelChain, image: Tensor) -> dict[tuple[int, ...], float]:
    """Every path and its probability."""
    found = {}
    for number in range(1, MOST + 1):
        for path in permutations(range(C), number):
            p = 1.0
            for place, label in enumerate(path):
                p *= float(probabilities(net, image, list(path[:place]))[label])
            if number < MOST:
                p *= float(probabilities(net, image, list(path))[END])
            found[path] = p
    return found


@torch.no_grad()
def test_losses_are_minus_log_of_a_paths_probability_and_all_paths_sum_to_1() -> None:
    net, images = chain(), torch.randn(2, D, dtype=torch.float64)
    paths = all_paths(net, images[1])
    assert sum(paths.values()) == pytest.approx(1)
    for path in [(2,), (1, 3), (3, 0, 2)]:
        mine = [*path, END, NONE, NONE][:MOST]
        found = net(images, torch.tensor([[0, END, NONE], mine]))
        assert float(found[1]) == pytest.approx(-float(torch.tensor(paths[path]).log()))
    assert float(found[0]) == pytest.approx(-float(torch.tensor(all_paths(net, images[0])[0,]).log()))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.5]))
def test_a_wide_search_finds_the_most_probable_of_all_paths(seed: int, scale: float) -> None:
    net = chain(seed, scale)
    images = torch.randn(2, D, dtype=torch.float64)
    found = net.search(images, beam=64)
    for image, labels in zip(images, found, strict=True):
        with torch.no_grad():
            paths = all_paths(net, image)
        best = max(paths, key=lambda path: paths[path])
        assert set(labels.nonzero().flatten().tolist()) == set(best)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_paths_of_a_fixed_length(length: int) -> None:
    net, image = chain(3), torch.randn(D, dtype=torch.float64)
    best, highest = (), -1.0
    with torch.no_grad():
        for path in permutations(range(C), length):
            p = 1.0
            for place, label in enumerate(path):
                after = probabilities(net, image, list(path[:place]))[:C]  # without the end
                p *= float(after[label] / after.sum())
            best, highest = (path, p) if p > highest else (best, highest)
    found = net.search(image[None], beam=64, length=length)[0]
    assert set(found.nonzero().flatten().tolist()) == set(best)


def test_a_narrow_search_takes_the_most_probable_step_each_time_whatever_the_batch() -> None:
    net, images = chain(5, 1.5), torch.randn(6, D, dtype=torch.float64)
    found = net.search(images, beam=1)
    for image, labels in zip(images, found, strict=True):
        path: list[int] = []
        while len(path) < MOST:
            with torch.no_grad():
                label = int(probabilities(net, image, path).argmax())
            if label == END:
                break
            path.append(label)
        assert sorted(path) == labels.nonzero().flatten().tolist()
        assert torch.equal(net.search(image[None], beam=1)[0], labels)


def test_labels_in_the_order_of_their_frequency() -> None:
    has = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 1, 0, 0]], dtype=torch.bool)
    # label 3 is in three images, 1 and 2 in two, 0 in one
    wanted = [[3, 0, END], [3, 1, 2], [3, 2, END], [1, END, NONE]]
    assert label_sequences(has, has.sum(dim=0), 3).tolist() == wanted
    assert label_sequences(has[1:2], torch.tensor([1.0, 5, 2, 2]), 2).tolist() == [[1, 2]]


def test_it_learns_a_path_and_every_weight_has_a_gradient() -> None:
    torch.manual_seed(0)
    net = LabelChain(2, 3, 2, embedding=16, hidden=8)
    features = torch.tensor([[1.0, 0], [0, 1]])
    sequences = torch.tensor([[2, 0], [1, 3]])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    for _ in range(100):
        optimizer.zero_grad()
        net(features, sequences).mean().backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in net.parameters())
        optimizer.step()
    assert net.search(features, beam=2).int().tolist() == [[1, 0, 1], [0, 1, 0]]
