"""ACMR: codes by which categories are told apart and media are not, trained against a classifier of media."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.losses.domain import domain_loss, reversal_factor
from model.losses.triplet import TripletLoss
from model.nets.gradients import scale_gradient
from systems.dckt.baselines.config import ACMRParams, NetworkParams
from systems.dckt.baselines.fitted import Fitted
from systems.dckt.baselines.networks import PairNetwork, Sizes, fit_networks, mlp
from systems.dckt.features import Views


class ACMR(PairNetwork):
    """Two encoders, a classifier of categories that both share, and a classifier of media.

    Args:
        sizes: of the features, and the number of categories.
        networks: of the encoders.
        params: the loss's numbers.
        triplet_weight: of the triplet loss.
    """

    def __init__(self, sizes: Sizes, networks: NetworkParams, params: ACMRParams, triplet_weight: float) -> None:
        super().__init__(sizes, networks, networks.codes)
        self.categories = nn.Linear(networks.codes, sizes.categories)
        self.media = mlp(networks.codes, networks, 1)
        self.triplets, self.triplet_weight, self.reversal = TripletLoss(params.margin), triplet_weight, params.reversal

    def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
        """Return label loss + weighted triplet loss + media loss, whose gradient is reversed below the classifier.

        The reversal's factor rises with the progress, as in DANN (`model.losses.domain.reversal_factor`).
        """
        codes, labels = torch.cat([self.codes_of_images(images), self.codes_of_texts(texts)]), category.repeat(2)
        of_labels = functional.cross_entropy(self.categories(codes), labels)
        reversed_codes = scale_gradient(codes, -self.reversal * reversal_factor(progress))
        of_images, of_texts = self.media(reversed_codes).squeeze(1).chunk(2)
        return of_labels + self.triplet_weight * self.triplets(codes, labels) + domain_loss(of_images, of_texts)


def fit_acmr(params: ACMRParams, networks: NetworkParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit adversarial cross-modal retrieval; triplet weight, learning rate and epoch have the best validation MAP.

    Reference: Wang et al., "Adversarial cross-modal retrieval" (ACM Multimedia 2017), section 3. Differences: anchors,
    positives and negatives are of both media, not the anchor of one and the others of the other; the media classifier
    is trained by the reversed gradient in the same step, not in steps of its own; no weight penalty but weight decay.
    """
    sizes = Sizes.of(train)
    candidates = (
        ({"triplet_weight": weight}, lambda weight=weight: ACMR(sizes, networks, params, weight))
        for weight in params.triplet_weights
    )
    return fit_networks(candidates, train, validation, networks, seed)
