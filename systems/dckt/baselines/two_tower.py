"""A contrastive two-tower: what a user would try first today, on the same frozen features."""

import math

import torch
from torch import Tensor, nn

from model.losses.info_nce import InfoNCE
from systems.dckt.baselines.config import EncoderParams, NetworkParams, TwoTowerParams
from systems.dckt.baselines.fitted import Fitted
from systems.dckt.baselines.networks import PairNetwork, Sizes, fit_networks
from systems.dckt.features import Views


class TwoTower(PairNetwork):
    """Two encoders with a learned temperature.

    Args:
        sizes: of the features.
        networks: of the encoders.
        start_factor: on the cosines.
        with_labels: whether a pair of the same category is no negative.
    """

    def __init__(self, sizes: Sizes, networks: EncoderParams, start_factor: float, with_labels: bool) -> None:
        super().__init__(sizes, networks, networks.codes)
        self.t, self.with_labels, self.contrast = (
            nn.Parameter(torch.tensor(math.log(start_factor))),
            with_labels,
            InfoNCE(),
        )

    def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
        """Return symmetric InfoNCE."""
        positives = category[:, None] == category[None, :] if self.with_labels else None
        return self.contrast(self.codes_of_images(images), self.codes_of_texts(texts), self.t, positives=positives)


def fit_two_tower(
    params: TwoTowerParams, networks: NetworkParams, train: Views, validation: Views, seed: int
) -> Fitted:
    """Fit the two-tower; whether labels are used, learning rate and epoch have the best validation MAP.

    Reference: Radford et al., "Learning transferable visual models from natural language supervision" (2021): loss and
    learned temperature. There both towers are trained from scratch on 400 million pairs; here they are small networks
    on frozen features. Labels are used as in no published model: they only take negatives away.
    """
    sizes = Sizes.of(train)
    candidates = (
        ({"labels": use}, lambda use=use: TwoTower(sizes, networks, params.start_factor, use)) for use in params.labels
    )
    return fit_networks(candidates, train, validation, networks, seed)
