"""SF: the scores of a visual recogniser and of a click recogniser, added up.

    python -m systems.mtmdd.baselines.sf --recipe data/mtmdd/recipes/SF.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of SF.

MTMDD-VM paper, section IV-C: a weighted combination of two recognisers that were trained apart, the click recogniser
with the weight 0.2, which was the best of 0.2, 0.4, 0.5, 0.6 and 0.8 (note 13). The visual one is VGGimg, the click one
that of Table VI's C: a recogniser of v^ alone on TDL's click predictor.

Decided: scores are probabilities (the paper doesn't say); 0.2 is taken as it is, not chosen again on our validation.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model.training.learner import Learner
from model.training.task import Earlier
from systems.mtmdd.baselines.fitted import FittedTask
from systems.mtmdd.config import Domain, Phase, Recipe
from systems.mtmdd.examples import Examples
from systems.mtmdd.network import MultidomainNetwork, Prediction, build_network
from systems.mtmdd.task import PhaseTask
from systems.mtmdd.train import main

CLICK_WEIGHT = 0.2
PARTS = ("visual", "click")


class FusedNetwork(nn.Module):
    """Two networks with their recognisers; the result's probabilities are the weighted mean of theirs.

    Args:
        visual: recognises by phi.
        click: recognises by v^.

    Shape:
        input: per domain, uint8 (B_d, 3, S, S); output: per domain, :class:`Prediction`, whose logits are logarithms of
        probabilities
    """

    def __init__(self, visual: MultidomainNetwork, click: MultidomainNetwork) -> None:
        super().__init__()
        self.visual, self.click = visual, click

    def forward(self, images: Mapping[Domain, Tensor]) -> dict[Domain, Prediction]:
        """Return the fused predictions, with the click network's v^."""
        visual, click = self.visual(images), self.click(images)
        return {d: Prediction(fuse(visual[d].logits, click[d].logits), click[d].clicks) for d in images}


def fuse(visual: Tensor, click: Tensor, click_weight: float = CLICK_WEIGHT) -> Tensor:
    """Return log((1 - w) softmax(visual) + w softmax(click)).

    Shape:
        visual, click, result: (B, C)
    """
    weights = torch.tensor([1 - click_weight, click_weight], device=visual.device).log()
    logs = torch.stack([visual.float().log_softmax(dim=1), click.float().log_softmax(dim=1)])
    return torch.logsumexp(logs + weights[:, None, None], dim=0)


def build(recipe: Recipe, phase: Phase, categories: Mapping[Domain, list[str]], num_words: int) -> FusedNetwork:
    """Return the network of a phase that fuses two earlier ones, without its weights."""
    by_name = {one.name: one for one in recipe.phases}
    networks = [
        build_network(recipe.network, by_name[name], categories, num_words, load_weights=False)
        for name in (phase.start["backbone"], phase.start["predictor"])  # type: ignore[index]
    ]
    return FusedNetwork(*networks)


class FusionTask(FittedTask):
    """A phase that joins the networks of two earlier phases; nothing is left to learn, so it has a single step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.epoch_rows = 1

    def network(self, earlier: Earlier) -> FusedNetwork:
        """Return the two networks with their weights."""
        assert self.examples.clicks is not None
        network = build(self.recipe, self.phase, self.examples.categories, self.examples.clicks.num_words)
        for part, phase in zip(PARTS, self.phase.starts_from, strict=True):
            getattr(network, part).load_state_dict(earlier(phase))
        return network

    def fit(self, learner: Learner) -> None:
        """Do nothing: the weight of the fusion is fixed."""


def task_of(recipe: Recipe, phase: Phase, examples: Examples, seed: int, *rest: Any) -> PhaseTask:
    """Return a phase's task: training, or fusion."""
    return (FusionTask if phase.fitted else PhaseTask)(recipe, phase, examples, seed, *rest)


if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.sf", kind=task_of)
