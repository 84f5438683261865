import pytest
import torch

from model.losses.scale_ranking import ScaleRankingLoss


def logits_of(probabilities: list[float], labels: torch.Tensor) -> torch.Tensor:
    """Return logits of two categories with these probabilities of the true one."""
    true = torch.tensor(probabilities)
    logits = torch.stack([1 - true, true], dim=1).log()
    return torch.where(labels[:, None] == 1, logits, logits.flip(1))


def test_a_finer_scale_has_to_be_surer_by_the_margin() -> None:
    labels = torch.tensor([1, 0, 1])
    scales = [logits_of(values, labels) for values in ([0.5, 0.5, 0.9], [0.6, 0.52, 0.7], [0.6, 0.9, 0.8])]
    found = ScaleRankingLoss(margin=0.05)(scales, labels)
    # image 1: 0.6 > 0.55, then 0.6 < 0.65; image 2: 0.52 < 0.55; image 3: 0.7 < 0.95
    assert found.tolist() == pytest.approx([0.05, 0.03, 0.25], abs=1e-6)


def test_only_the_finer_scale_of_a_pair_is_pulled() -> None:
    labels = torch.tensor([1, 0])
    scales = [logits_of(values, labels).requires_grad_() for values in ([0.8, 0.8], [0.7, 0.6])]
    ScaleRankingLoss()(scales, labels).sum().backward()
    assert scales[0].grad is None
    assert (scales[1].grad.gather(1, labels[:, None]) < 0).all()  # descending raises the true category's logit
