"""Predictions of a network in evaluation mode, and the measures of these predictions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.losses.count import CountLoss
from systems.mtmdd.batches import DomainBatch
from systems.mtmdd.config import Domain
from systems.mtmdd.network import Prediction
from systems.mtmdd.objective import Term


@dataclass(frozen=True)
class Outcome:
    """A network's predictions for some images of one domain, in the images' order, with the true values. N images."""

    prediction: Prediction  # logits (N, C), clicks (N, K), on the CPU in single precision
    labels: Tensor  # (N,)
    clicks: Tensor | None  # v, (N, K)

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.labels)


def outcome_of(network: nn.Module, batch: DomainBatch, domain: Domain) -> Outcome:
    """Run a network over a batch of one domain; the caller sets the network's mode."""
    prediction = network({domain: batch.images})[domain]
    return Outcome(
        prediction=Prediction(*(_together([part]) for part in prediction)),
        labels=batch.labels.cpu(),
        clicks=_together([batch.clicks]),
    )


@torch.no_grad()
def predict(network: nn.Module, batches: Iterable[DomainBatch], domain: Domain, device: torch.device) -> Outcome:
    """Run a network in evaluation mode over the batches of one domain, and restore its mode."""
    was_training = network.training
    network.eval()
    outcomes = [
        outcome_of(network, batch._replace(images=batch.images.to(device, non_blocking=True)), domain)
        for batch in batches
    ]
    network.train(was_training)
    return joined(outcomes)


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Join the outcomes of different images of a domain."""
    if len(outcomes) == 1:
        return outcomes[0]
    predictions = (outcome.prediction for outcome in outcomes)
    return Outcome(
        prediction=Prediction(*(_together(parts) for parts in zip(*predictions, strict=True))),
        labels=torch.cat([outcome.labels for outcome in outcomes]),
        clicks=_together([outcome.clicks for outcome in outcomes]),
    )


def _together(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part.float().cpu() for part in parts if part is not None]
    return torch.cat(present) if present else None


def num_correct(outcome: Outcome) -> int:
    """Return the number of images whose category is predicted correctly."""
    assert outcome.prediction.logits is not None
    return int((outcome.prediction.logits.argmax(dim=1) == outcome.labels).sum())


def percent(part: int, whole: int) -> float:
    """Return a share in percent, with four decimals."""
    return round(100 * part / whole, 4)


def rmse(outcome: Outcome) -> float:
    r"""Return RMSE-S = sqrt(mean || N'(v) - N'(v^) ||^2); predicting zero gives 1.

    Reference: Table VII, which prints it times 100.
    """
    assert outcome.prediction.clicks is not None
    assert outcome.clicks is not None
    losses = CountLoss()(outcome.clicks, outcome.prediction.clicks).double()
    return round(math.sqrt(losses.mean().item()), 6)


def mean_loss(outcome: Outcome, term: Term) -> float:
    """Return the unweighted mean of a loss term over all images."""
    return term.losses(outcome.prediction, outcome.labels, outcome.clicks).double().mean().item()
