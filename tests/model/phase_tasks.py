"""Tasks with other steps than a weighted sum of a phase's losses: alternating losses, or images chosen by the task."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.training.learner import Learner
from model.training.task import add
from systems.mtmdd.config import Domain
from systems.mtmdd.objective import objective
from systems.mtmdd.task import PhaseTask


class WithCritic(nn.Module):
    """A network, and a critic that predicts the domain from phi."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.critic = nn.Sequential(nn.Linear(network.backbone.num_features, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, images: Mapping[Domain, Tensor], of_critic: bool) -> tuple[dict, Tensor]:
        phi = []
        hook = self.network.backbone.register_forward_hook(lambda module, inputs, visual: phi.append(visual.phi))
        predictions = self.network(images)
        hook.remove()
        return predictions, self.critic(phi[0].detach() if of_critic else phi[0])[:, 0]


class Adversarial(PhaseTask):
    """Alternates: the critic learns each image's domain, then the network learns to recognise and to deceive it."""

    deceive = 0.3

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.num_fooled = 0.0

    def module(self, network):
        return WithCritic(network)

    def optimizers(self, module):
        critic = [{"params": list(module.critic.parameters()), "peak": 0.05, "part": "critic"}]
        return [*super().optimizers(module.network), torch.optim.Adam(critic, lr=0.0)]

    def step(self, learner: Learner) -> dict[str, Tensor]:
        means: dict[str, Tensor] = {}
        for part in learner.parts():
            logits = learner.module(images_of(part), of_critic=True)[1]
            learned = functional.binary_cross_entropy_with_logits(logits, is_target(part))
            added = learner.backward(learned, part, {"critic": learned})
            add(means, {"critic": added["critic"]})
        learner.update(1)
        for part in learner.parts():
            predictions, logits = learner.module(images_of(part), of_critic=False)
            loss, components = objective(self.terms, predictions, part)
            fooled = functional.binary_cross_entropy_with_logits(logits, 1 - is_target(part))
            self.num_fooled += float(((logits > 0) != is_target(part).bool()).sum())
            add(means, learner.backward(loss + self.deceive * fooled, part, {**components, "fooled": fooled}))
        learner.update(0)
        add(means, {"fooled so far": torch.tensor(self.num_fooled)})
        return means

    def state_dict(self):
        return {"num_fooled": self.num_fooled}

    def load_state_dict(self, state):
        self.num_fooled = state["num_fooled"]


def images_of(part) -> dict[Domain, Tensor]:
    return {domain: of_domain.images for domain, of_domain in part.items()}


def is_target(part) -> Tensor:
    return torch.cat([torch.full((len(p.labels),), float(domain == "target")) for domain, p in part.items()])


class MostConfident(PhaseTask):
    """Each epoch draws the target images with the most confident predictions, more of them each time."""

    def choose(self, learner: Learner, epoch: int):
        logits = self.predict(learner, "target", self.rows["target"]).prediction.logits
        surest = functional.softmax(logits, dim=1).amax(dim=1).argsort(descending=True, stable=True)
        return {**self.rows, "target": np.sort(self.rows["target"][surest[: 5 + 4 * epoch].numpy()])}


class NowAndThen(PhaseTask):
    """Every second epoch draws from a few random images of each domain, the other epochs from all images."""

    def choose(self, learner: Learner, epoch: int):
        if epoch % 2:
            return None
        return {domain: rows[torch.randperm(len(rows))[:7]] for domain, rows in self.rows.items()}
