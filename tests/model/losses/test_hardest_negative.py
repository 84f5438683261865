import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses.hardest_negative import HardestNegativeLoss


def written_out(true: torch.Tensor, predicted: torch.Tensor, margin: float) -> list[float]:
    """The loss as its formula says, with loops."""

    def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
        a, b = a.double(), b.double()
        return float(a @ b / (a.norm() * b.norm()))

    with_text = [i for i, text in enumerate(true) if text.any()]
    losses = [0.0] * len(true)
    for i in with_text:
        others = [j for j in with_text if j != i]
        if others:
            own = cosine(predicted[i], true[i])
            text = max(cosine(predicted[i], true[j]) for j in others)
            image = max(cosine(predicted[j], true[i]) for j in others)
            losses[i] = max(0.0, margin + text - own) + max(0.0, margin + image - own)
    return losses


@given(size=st.integers(1, 6), seed=st.integers(0, 10**6), margin=st.floats(0, 1), without=st.sets(st.integers(0, 5)))
def test_it_is_the_written_out_loop(size: int, seed: int, margin: float, without: set[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    true, predicted = torch.rand(size, 4, generator=generator) + 0.01, torch.randn(size, 4, generator=generator)
    true[[i for i in without if i < size]] = 0
    found = HardestNegativeLoss(margin)(true, predicted)
    assert found.tolist() == pytest.approx(written_out(true, predicted, margin), abs=2e-6)


def test_the_pairs_are_those_of_pytorch_metric_learning() -> None:
    miners = pytest.importorskip("pytorch_metric_learning.miners", reason="pytorch-metric-learning is not installed")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    generator = torch.Generator().manual_seed(3)
    texts, images = torch.rand(7, 5, generator=generator), torch.randn(7, 5, generator=generator)
    miner = miners.BatchHardMiner(distance=distances.CosineSimilarity())
    labels = torch.arange(7)
    margin = 0.3
    expected = torch.zeros(7)
    for anchors, others in ((images, texts), (texts, images)):
        anchor, positive, _, negative = miner(anchors, labels, others, labels.clone())
        assert torch.equal(anchor, positive)
        similarity = torch.nn.functional.normalize(anchors) @ torch.nn.functional.normalize(others).T
        expected[anchor] += (margin + similarity[anchor, negative] - similarity[anchor, positive]).clamp(min=0)
    assert torch.allclose(HardestNegativeLoss(margin)(texts, images), expected, atol=1e-6)


def test_a_perfect_prediction_has_no_loss_and_a_swapped_one_has() -> None:
    true = torch.eye(3)
    assert HardestNegativeLoss(0.2)(true, 5 * true).tolist() == [0.0, 0.0, 0.0]
    assert HardestNegativeLoss(0.2)(true, true[[1, 0, 2]]).tolist() == pytest.approx([2.4, 2.4, 0.0])


@pytest.mark.parametrize("with_text", [0, 1])
def test_a_batch_without_a_negative_has_a_zero_with_zero_gradients(with_text: int) -> None:
    true = torch.zeros(3, 4)
    true[:with_text] = 1
    predicted = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses = HardestNegativeLoss()(true, predicted)
    losses.sum().backward()
    assert losses.tolist() == [0, 0, 0]
    assert torch.equal(predicted.grad, torch.zeros(3, 4))


def test_gradients_are_finite_where_images_without_clicks_are_in_the_batch() -> None:
    true = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    true[2] = 0
    predicted = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)
    HardestNegativeLoss(1.0)(true, predicted).mean().backward()
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad[0].abs().sum() > 0
    assert predicted.grad[2].abs().sum() == 0
