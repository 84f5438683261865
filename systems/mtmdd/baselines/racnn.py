"""RACNN: three ConvNets at growing scales, each looking at the region that the one before it proposes.

    python -m systems.mtmdd.baselines.racnn --recipe data/mtmdd/recipes/RACNN.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of RACNN.

Fu et al., "Look closer to see better: recurrent attention convolutional neural network for fine-grained image
recognition" (CVPR 2017): each scale has a ConvNet and a classifier; two fully connected layers on the last map of
scales 1 and 2 propose a square region (section 3.1), which is cropped differentiably and enlarged for the next scale
(3.2). The ConvNets learn by the cross-entropy of all scales, the proposals by the inter-scale ranking loss, in turn
(3.3). A recogniser of the three normalised features together gives the prediction (3.4).

Not followed: the turns change after every step, not after convergence; the proposals begin in the middle of the image
at half of its side instead of at the strongest place of the last map; all scales have the image size of all methods,
and crops enlarge these pixels (the paper crops from 448 pixels); the joint recogniser is trained at the same time,
without a gradient into the ConvNets, instead of afterwards. As the MTMDD-VM paper lists RACNN among the methods that
fine-tune, it is trained on the source first, then on the target.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.losses.scale_ranking import ScaleRankingLoss
from model.nets.attention_crop import attention_crop
from model.nets.backbones import ConvNet, build_backbone
from model.training.learner import Learner
from model.training.task import Earlier, add
from systems.mtmdd.config import BACKBONE, Domain, NetworkParams, Phase
from systems.mtmdd.network import Prediction, Recogniser
from systems.mtmdd.task import PhaseTask, images_of
from systems.mtmdd.train import main

SCALES = 3
HIDDEN = 256  # of a proposal
SMALLEST, LARGEST = 0.25, 0.75  # side of a region, share of the image's side
RANKING = ScaleRankingLoss()

Purpose = Literal["predict", "recognise", "attend"]


class Proposal(nn.Module):
    """Proposes a square region inside of the image from the last map; at first the middle, half as wide.

    Args:
        map_shape: omega's (C, H, W).
        image_size: S, pixels.

    Shape:
        input: (B, C, H, W); output: (B, 3): centre and half side of the region, in pixels from the first pixel
    """

    def __init__(self, map_shape: tuple[int, int, int], image_size: int) -> None:
        super().__init__()
        self.last = float(image_size - 1)
        channels, height, width = map_shape
        self.hidden = nn.Linear(channels * height * width, HIDDEN)
        self.region = nn.Linear(HIDDEN, 3)
        nn.init.zeros_(self.region.weight)
        nn.init.zeros_(self.region.bias)

    def forward(self, omega: Tensor) -> Tensor:
        """Return the regions."""
        shares = self.region(functional.relu(self.hidden(omega.flatten(1)))).float().sigmoid()
        half = self.last / 2 * (SMALLEST + (LARGEST - SMALLEST) * shares[:, 2:])
        return torch.cat([half + shares[:, :2] * (self.last - 2 * half), half], dim=1)


class RacnnNetwork(nn.Module):
    """Three ConvNets with a classifier each, two proposals, and a recogniser of all three features.

    Args:
        backbones: the ConvNets, coarse to fine.
        num_categories: of each recognised domain.
        image_size: side of the images, pixels.
        dropout: share of features dropped in training.

    Shape:
        input: for one domain, uint8 (B, 3, S, S); output: per domain, :class:`Prediction`; for a training, the logits
        of the scales, coarse to fine, and (recognise) of the joint recogniser
    """

    def __init__(
        self, backbones: list[ConvNet], num_categories: Mapping[Domain, int], image_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)
        first = backbones[0]
        self.proposals = nn.ModuleList(Proposal(first.map_shape, image_size) for _ in range(SCALES - 1))
        size = first.num_features
        self.recognisers = nn.ModuleList(
            Recogniser("visual", (values, 0), num_categories, False, dropout)
            for values in [size] * SCALES + [size * SCALES]
        )

    def forward(self, images: Mapping[Domain, Tensor], purpose: Purpose = "predict") -> Any:
        """Return what `purpose` asks for.

        recognise: proposals get no gradient. attend: ConvNets and classifiers are in evaluation mode.
        """
        ((domain, pixels),) = images.items()
        pixels = self._convnets()[0].normalised(pixels)
        if purpose == "attend":
            return self._attend(domain, pixels)
        logits, features = [], []
        for scale, backbone in enumerate(self._convnets()):
            visual = backbone.run_normalised(pixels)
            features.append(visual.phi)
            logits.append(self.recognisers[scale]({domain: (visual.phi, None)})[domain])
            if scale < SCALES - 1:
                with torch.no_grad():
                    pixels = attention_crop(pixels, self.proposals[scale](visual.omega))
        together = torch.cat(features, dim=1).detach()
        logits.append(self.recognisers[SCALES]({domain: (together, None)})[domain])
        return logits if purpose == "recognise" else {domain: Prediction(logits[-1], None)}

    def _convnets(self) -> list[ConvNet]:
        return cast(list[ConvNet], list(self.backbones))

    def _attend(self, domain: Domain, pixels: Tensor) -> list[Tensor]:
        was_training = self.training
        self.eval()
        logits = []
        for scale, backbone in enumerate(self._convnets()):
            with torch.set_grad_enabled(torch.is_grad_enabled() and scale > 0):
                visual = backbone.run_normalised(pixels)
            logits.append(self.recognisers[scale]({domain: (visual.phi, None)})[domain])
            if scale < SCALES - 1:
                pixels = attention_crop(pixels, self.proposals[scale](visual.omega))
        self.train(was_training)
        return logits


def build(
    network: NetworkParams, phase: Phase, categories: Mapping[Domain, list[str]], load_weights: bool
) -> RacnnNetwork:
    """Return the network of a phase; with `load_weights`, each ConvNet has the start weights."""
    backbones = [build_backbone(network, load_weights) for _ in range(SCALES)]
    numbers = {domain: len(categories[domain]) for domain in phase.recognised}
    return RacnnNetwork(backbones, numbers, network.image_size, network.dropout)


class RacnnTask(PhaseTask):
    """A phase whose steps train ConvNets and proposals in turn."""

    def network(self, earlier: Earlier) -> RacnnNetwork:
        """Return the network, with ConvNets and proposals of the phase that it starts from."""
        start = self.phase.start
        network = build(self.recipe.network, self.phase, self.examples.categories, load_weights=start == BACKBONE)
        for name in self.phase.starts_from:
            own = network.state_dict()
            own |= {key: value for key, value in earlier(name).items() if not key.startswith("recognisers.")}
            network.load_state_dict(own)
        return network

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD over ConvNets and recognisers, and over the proposals."""
        assert isinstance(module, RacnnNetwork)
        rate = self.params.learning_rate
        rates = {"backbones": rate, "recognisers": rate * self.params.recogniser_multiplier, "proposals": rate}
        groups = {
            part: {"params": list(getattr(module, part).parameters()), "peak": peak, "part": part}
            for part, peak in rates.items()
        }
        return [
            self.sgd(module, [groups["backbones"], groups["recognisers"]]),
            self.sgd(module, [groups["proposals"]]),
        ]

    def step(self, learner: Learner) -> dict[str, Tensor]:
        """Train the ConvNets and recognisers, then the proposals, on the same images."""
        means: dict[str, Tensor] = {}
        for part in learner.parts():
            labels = part[self.main].labels
            logits = learner.module(images_of(part), purpose="recognise")
            losses = [functional.cross_entropy(scores.float(), labels, reduction="none").mean() for scores in logits]
            names = [*(f"scale {scale + 1}" for scale in range(SCALES)), "together"]
            components = {name: loss.detach() for name, loss in zip(names, losses, strict=True)}
            add(means, learner.backward(torch.stack(losses).sum(), part, components))
        learner.update(0)
        for part in learner.parts():
            logits = learner.module(images_of(part), purpose="attend")
            ranking = RANKING(logits, part[self.main].labels).mean()
            means_of_part = learner.backward(ranking, part, {"ranking": ranking.detach()})
            add(means, {"ranking": means_of_part["ranking"]})
        learner.update(1)
        return means


task_of = RacnnTask

if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.racnn", kind=task_of)
