"""The objective of a phase: its loss terms, weighted and averaged over the images of a step, in this one place."""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from model.data.batches import Batch
from model.losses.count import count_loss
from model.losses.position import position_loss
from systems.mtmdd.config import Domain, LossTerm, PositionParams
from systems.mtmdd.network import Prediction


def objective(
    terms: Sequence[LossTerm],
    predictions: Mapping[Domain, Prediction],
    batch: Batch,
    position: PositionParams | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Return the objective and the mean of each of its terms.

    (1 / n) sum over terms of weight * (sum of the term over its domain's images), n = images of all domains in the
    step. With the weights of `systems.mtmdd.methods` this is eq. 6 over the losses of eq. 12, 13 and 15; the decay of
    eq. 6 is the optimiser's.

    Args:
        terms: domain, kind and weight of each.
        predictions: the network's, by domain.
        batch: labels and true click features, by domain.
        position: B and T; None without a position loss.

    Returns:
        The objective, and for each term, as in ``source count``, its unweighted mean per image of its domain.
    """
    num_images = sum(len(of_domain.labels) for of_domain in batch.values())
    means = {}
    total: Tensor | int = 0
    for term in terms:
        losses = term_losses(
            term, predictions[term.domain], batch[term.domain].labels, batch[term.domain].clicks, position
        )
        total = total + term.weight * losses.sum() / num_images
        means[f"{term.domain} {term.kind}"] = losses.detach().mean()
    assert isinstance(total, Tensor)
    return total, means


def term_losses(
    term: LossTerm, prediction: Prediction, labels: Tensor, clicks: Tensor | None, position: PositionParams | None
) -> Tensor:
    """Return a term's loss of each image, in single precision.

    Shape:
        labels: (B,); clicks: (B, K); result: (B,)
    """
    if term.kind == "recognition":
        assert prediction.logits is not None
        return functional.cross_entropy(prediction.logits.float(), labels, reduction="none")
    assert prediction.clicks is not None
    assert clicks is not None
    if term.kind == "count":
        return count_loss(clicks, prediction.clicks.float())
    assert position is not None
    return position_loss(
        clicks,
        prediction.clicks.float(),
        position.bandwidth,
        position.threshold,
        batch_normalised=position.position_input == "batch-normalised",
        scale=position.position_scale,
    )
