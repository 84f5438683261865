"""SCDA: pooled descriptors of the largest connected region of strong activations, and a linear SVM.

    python -m systems.mtmdd.baselines.scda --recipe data/mtmdd/recipes/SCDA.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of SCDA.

Wei et al., "Selective convolutional descriptor aggregation for fine-grained image retrieval" (TIP 2017), section III:
omega's channels are added up; places above the mean of this map form a mask, of which the largest connected component
is kept; its descriptors are pooled by mean and by maximum, each l2-normalised, and both are joined. The recogniser is
scikit-learn's linear SVM with C = 1 (MTMDD-VM paper, note 12).

The ConvNets are those of VGGsrc: fine-tuned on the source, then on the target, as the MTMDD-VM paper lists SCDA among
the methods "for training on the source data and adapting to target data"; Wei et al. take ImageNet weights as they are.
Not followed: SCDA+ (a second mask from an earlier layer) and the descriptors of the mirrored image; images have the
size of all methods, so omega has fewer places than theirs.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from sklearn.svm import LinearSVC
from torch import Tensor, nn
from torch.nn import functional

from model.nets.backbones import ConvNet, build_backbone
from model.nets.largest_component import largest_component
from model.training.learner import Learner
from model.training.task import Earlier
from systems.mtmdd.baselines.fitted import FittedTask, check_categories, features_of, write_linear
from systems.mtmdd.config import Domain, NetworkParams, Phase, Recipe
from systems.mtmdd.examples import Examples
from systems.mtmdd.network import Prediction
from systems.mtmdd.task import PhaseTask
from systems.mtmdd.train import main

C = 1.0
MAX_ITERATIONS = 20_000


def selected(omega: Tensor) -> Tensor:
    """Return the places whose descriptors are used: the largest component of those above the mean; else all.

    Shape:
        omega: (B, C, H, W); result: bool (B, H, W)
    """
    strength = omega.sum(dim=1)
    masks = largest_component(strength > strength.mean(dim=(1, 2), keepdim=True))
    return masks | ~masks.any(dim=(1, 2), keepdim=True)


def descriptor(omega: Tensor) -> Tensor:
    """Return mean and maximum of the selected places' descriptors, each l2-normalised.

    Shape:
        omega: (B, C, H, W); result: (B, 2 C)
    """
    places = selected(omega)[:, None]
    mean = (omega * places).sum(dim=(2, 3)) / places.sum(dim=(2, 3))
    largest = omega.masked_fill(~places, -torch.inf).amax(dim=(2, 3))
    return torch.cat([functional.normalize(part, dim=1) for part in (mean, largest)], dim=1)


class ScdaNetwork(nn.Module):
    """A ConvNet and a linear classifier of its SCDA descriptors.

    Args:
        backbone: the ConvNet; it keeps its weights.
        num_categories: of each recognised domain.

    Shape:
        input: per domain, uint8 (B_d, 3, S, S); output: per domain, :class:`Prediction`
    """

    def __init__(self, backbone: ConvNet, num_categories: Mapping[Domain, int]) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        channels = backbone.map_shape[0]
        self.heads = nn.ModuleDict({d: nn.Linear(2 * channels, number) for d, number in num_categories.items()})

    def describe(self, images: Tensor) -> Tensor:
        """Return the images' descriptors: (B, 2 C)."""
        return descriptor(self.backbone(images).omega.float())

    def forward(self, images: Mapping[Domain, Tensor]) -> dict[Domain, Prediction]:
        """Return the SVM's scores as logits."""
        return {d: Prediction(self.heads[d](self.describe(pixels)), None) for d, pixels in images.items()}


def build(network: NetworkParams, phase: Phase, categories: Mapping[Domain, list[str]]) -> ScdaNetwork:
    """Return the network of a phase, without its weights."""
    numbers = {domain: len(categories[domain]) for domain in phase.recognised}
    return ScdaNetwork(build_backbone(network, load_weights=False), numbers)


class ScdaTask(FittedTask):
    """A phase of one domain with an SVM on the ConvNet of an earlier phase."""

    def network(self, earlier: Earlier) -> ScdaNetwork:
        """Return the network with the ConvNet that `start` names."""
        network = build(self.recipe.network, self.phase, self.examples.categories)
        (start,) = self.phase.starts_from
        weights = earlier(start)
        prefix = "backbone."
        network.backbone.load_state_dict(
            {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        )
        return network

    def fit(self, learner: Learner) -> None:
        """Fit the SVM and write its coefficients into the network."""
        network = learner.network
        assert isinstance(network, ScdaNetwork)
        values, labels = partial(features_of, self, learner)("train", ScdaNetwork.describe)
        check_categories(self, labels)
        machine = LinearSVC(C=C, random_state=0, max_iter=MAX_ITERATIONS).fit(values, labels)
        write_linear(network.heads[self.phase.main_domain], machine.coef_, machine.intercept_)


def task_of(recipe: Recipe, phase: Phase, examples: Examples, seed: int, *rest: Any) -> PhaseTask:
    """Return a phase's task: fine-tuning, or the SVM."""
    return (ScdaTask if phase.fitted else PhaseTask)(recipe, phase, examples, seed, *rest)


if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.scda", kind=task_of)
