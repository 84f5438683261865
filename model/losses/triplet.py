"""The triplet loss: an image is nearer to those of its category than to those of others, by a margin."""

from dataclasses import dataclass

from torch import Tensor

from model.losses.contrastive import pair_distances


@dataclass(frozen=True)
class TripletLoss:
    r"""The loss of all triplets of a batch: an anchor a, a positive p of its label, a negative n of another.

    L_t = mean max(0, d_ap^2 - d_an^2 + m)

    with d = ||g_a - g_b||, g = phi / ||phi||. The mean is over all triplets, those without a loss included
    (pytorch-metric-learning's `TripletMarginLoss` averages over the others alone, and its distances are not squared by
    default). A batch without a triplet has the loss 0.

    Attributes:
        margin: m; squared distances are 4 at most, and 2 where phi has no negative value.

    Reference: Schroff, Kalenichenko, Philbin, "FaceNet: a unified embedding for face recognition and clustering"
    (2015), eq. 2.
    """

    margin: float = 1.0

    def __call__(self, phi: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Shape:
            phi: (n, D); labels: (n,)
        """
        squared = pair_distances(phi).square()
        same = labels[:, None] == labels[None, :]
        anchors, positives = same.clone().fill_diagonal_(False).nonzero(as_tuple=True)
        # a row per pair of anchor and positive, a column per image
        hinges = (squared[anchors, positives][:, None] - squared[anchors] + self.margin).clamp(min=0)
        negative = ~same[anchors]
        return (hinges * negative).sum() / negative.sum().clamp(min=1)
