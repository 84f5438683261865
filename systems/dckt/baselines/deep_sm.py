"""Deep-SM: a softmax classifier per medium, whose probabilities are the common space."""

import torch
from torch import Tensor
from torch.nn import functional

from systems.dckt.baselines.config import NetworkParams
from systems.dckt.baselines.fitted import Fitted
from systems.dckt.baselines.networks import PairNetwork, Sizes, fit_networks
from systems.dckt.features import Views


class DeepSM(PairNetwork):
    """Two classifiers; codes are probabilities of categories."""

    def __init__(self, sizes: Sizes, params: NetworkParams) -> None:
        super().__init__(sizes, params, sizes.categories)

    def codes_of_images(self, images: Tensor) -> Tensor:
        """Return p(category | image)."""
        return super().codes_of_images(images).softmax(dim=1)

    def codes_of_texts(self, texts: Tensor) -> Tensor:
        """Return p(category | text)."""
        return super().codes_of_texts(texts).softmax(dim=1)

    def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
        """Return the cross-entropy of images plus that of texts."""
        logits = torch.stack([super().codes_of_images(images), super().codes_of_texts(texts)])
        return sum((functional.cross_entropy(part, category) for part in logits), torch.zeros(()))


def fit_deep_sm(params: NetworkParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit deep semantic matching; learning rate and epoch have the best validation MAP.

    Reference: Wei et al., "Cross-modal retrieval with CNN visual features: a new baseline" (IEEE Transactions on
    Cybernetics 2017). There the images' ConvNet is fine-tuned; here its features are frozen and a hidden layer is
    trained, as for texts. Both classifiers stop at one epoch, which the MAP of both chooses.
    """
    sizes = Sizes.of(train)
    return fit_networks(iter([({}, lambda: DeepSM(sizes, params))]), train, validation, params, seed)
