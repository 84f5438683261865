"""The objective of a phase: its loss terms, weighted and averaged over the images of a step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from model.losses.count import CountLoss
from model.losses.position import PositionLoss
from systems.mtmdd.batches import DomainBatch
from systems.mtmdd.config import Domain, LossTerm, PositionParams
from systems.mtmdd.network import Prediction

ClickLoss = Callable[[Tensor, Tensor], Tensor]  # from v and v^ of some images to the loss of each image


@dataclass(frozen=True)
class Term:
    """One weighted term of an objective.

    Attributes:
        domain: the domain of its images.
        kind: recognition, count, position or own.
        weight: its weight in the objective.
        click_loss: the loss with its parameters; None for recognition.
    """

    domain: Domain
    kind: str
    weight: float
    click_loss: ClickLoss | None

    def losses(self, prediction: Prediction, labels: Tensor, clicks: Tensor | None) -> Tensor:
        """Return the unweighted loss of each image, in single precision.

        Shape:
            labels: (B,); clicks: (B, K); result: (B,)
        """
        if self.click_loss is None:
            assert prediction.logits is not None
            return functional.cross_entropy(prediction.logits.float(), labels, reduction="none")
        assert prediction.clicks is not None
        assert clicks is not None
        return self.click_loss(clicks, prediction.clicks.float())


def build_terms(
    losses: Sequence[LossTerm], position: PositionParams | None, own: ClickLoss | None = None
) -> list[Term]:
    """Return a phase's terms, each with the parameters of its loss.

    Args:
        losses: the phase's losses.
        position: the recipe's parameters of the position loss; None without one.
        own: the click loss of kind ``own``; None without one.
    """
    return [Term(term.domain, term.kind, term.weight, _click_loss(term, position, own)) for term in losses]


def _click_loss(term: LossTerm, position: PositionParams | None, own: ClickLoss | None) -> ClickLoss | None:
    if term.kind == "recognition":
        return None
    if term.kind == "count":
        return CountLoss()
    if term.kind == "own":
        assert own is not None  # `systems.mtmdd.train` runs the command that defines it
        return own
    assert position is not None  # `Recipe` checks this
    return PositionLoss(
        bandwidth=position.bandwidth,
        threshold=position.threshold,
        batch_normalised=position.position_input == "batch-normalised",
        scale=position.position_scale,
    )


def objective(
    terms: Sequence[Term], predictions: Mapping[Domain, Prediction], batch: Mapping[str, DomainBatch]
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Return the objective and the mean of each of its terms.

    The objective is (1 / n) sum over terms of weight * (sum of the term over its domain's images), where n is the
    number of images of all domains in the step. With the weights of `systems.mtmdd.methods` this is eq. 6 over the
    losses of eq. 12, 13 and 15; the optimiser adds the weight decay of eq. 6.

    Args:
        terms: the phase's terms.
        predictions: the network's predictions, by domain.
        batch: labels and true click features, by domain.

    Returns:
        The objective, and the unweighted mean of each term over its domain's images, by name (``source count``).
    """
    num_images = sum(len(of_domain.labels) for of_domain in batch.values())
    means = {}
    total: Tensor | int = 0
    for term in terms:
        of_domain = batch[term.domain]
        losses = term.losses(predictions[term.domain], of_domain.labels, of_domain.clicks)
        total = total + term.weight * losses.sum() / num_images
        means[f"{term.domain} {term.kind}"] = losses.detach().mean()
    assert isinstance(total, Tensor)
    return total, means
