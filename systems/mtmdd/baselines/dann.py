"""DANN: both domains in one network, whose features must not tell a domain classifier where an image comes from.

    python -m systems.mtmdd.baselines.dann --recipe data/mtmdd/recipes/DANN.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of DANN.

Ganin et al., "Domain-adversarial training of neural networks" (JMLR 2016): a domain classifier on phi learns to tell
the domains apart; its gradient goes into the ConvNet times -lambda_p, which rises from 0 to 1 over the training
(section 5.2.2). Its layers are x -> 1024 -> 1024 -> 1 with ReLU and dropout, as in their networks for photographs.

Not followed, so that only the method differs: the target has labels here as for all methods, and one recogniser learns
both domains with the same weight; N of eq. 7 precedes it, one per domain. The learning rate has the schedule of all
methods instead of theirs. With a plateau schedule, p is the share of the most steps that the phase may have.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.data.batches import Batch
from model.losses.domain import domain_loss, reversal_factor
from model.nets.gradients import scale_gradient
from model.training.learner import Learner
from systems.mtmdd.baselines.layers import BothDomainsTask, WithLayers
from systems.mtmdd.config import Domain
from systems.mtmdd.network import MultidomainNetwork, Prediction
from systems.mtmdd.objective import objective
from systems.mtmdd.task import images_of, parameter_groups
from systems.mtmdd.train import main

HIDDEN = 1024
DROPOUT = 0.5


class WithDomainClassifier(nn.Module):
    """A network, and a classifier of domains on phi behind a gradient reversal.

    Args:
        network: the network.

    Shape:
        input: per domain, uint8 (B_d, 3, S, S); output: predictions, and the domain classifier's logits (B_d,), both by
        domain
    """

    def __init__(self, network: MultidomainNetwork) -> None:
        super().__init__()
        self.network = WithLayers(network, {})
        self.classifier = nn.Sequential(
            nn.Linear(network.backbone.num_features, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, 1),
        )  # fmt: skip

    def forward(
        self, images: Mapping[Domain, Tensor], factor: float
    ) -> tuple[dict[Domain, Prediction], dict[Domain, Tensor]]:
        """Return both outputs; the gradient of the second reaches the ConvNet times -factor."""
        predictions, layers = self.network(images)
        logits = {domain: self.classifier(scale_gradient(phi, -factor))[:, 0] for domain, phi in layers["phi"].items()}
        return predictions, logits


class DannTask(BothDomainsTask):
    """A phase whose loss has that of the domain classifier."""

    needs = "tells both domains apart"

    def module(self, network: nn.Module) -> WithDomainClassifier:
        """Return the network with a domain classifier."""
        assert isinstance(network, MultidomainNetwork)
        return WithDomainClassifier(network)

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD over the network as usual, and over the domain classifier at the recognisers' rate."""
        assert isinstance(module, WithDomainClassifier)
        peak = self.params.learning_rate * self.params.recogniser_multiplier
        group = {"params": list(module.classifier.parameters()), "peak": peak, "part": "domain classifier"}
        return [self.sgd(module, [*parameter_groups(module.network.network, self.params), group])]

    def part_loss(self, learner: Learner, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective plus the loss of the domain classifier, whose gradient is reversed behind phi."""
        factor = reversal_factor(learner.step / learner.num_steps)
        predictions, domains = learner.module(images_of(part), factor)
        loss, components = objective(self.terms, predictions, part)
        of_domain = domain_loss(domains["source"].float(), domains["target"].float())
        return loss + of_domain, {**components, "domain": of_domain.detach()}


task_of = DannTask

if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.dann", kind=task_of)
