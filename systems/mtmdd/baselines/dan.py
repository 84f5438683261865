"""DAN: both domains in one network, whose features are made alike by multi-kernel MMD.

    python -m systems.mtmdd.baselines.dan --recipe data/mtmdd/recipes/DAN.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of DAN.

Long et al., "Learning transferable features with deep adaptation networks" (ICML 2015): cross-entropy plus the sum over
layers of MMD^2 between the domains' activations (eq. 4 and 5). The layers are those of the paper: the fully connected
layers (fc6 to fc8). A ConvNet of another family than VGG has only phi and the logits of these.

Not followed, so that only the method differs: the target has labels here as for all methods, and one recogniser learns
both domains with the same weight; N of eq. 7 precedes it, one per domain. The estimator is the quadratic unbiased one,
the kernels have equal weights (`model.losses.mmd`), and the weight of MMD is 1, the middle of the range that the paper
tries. No layer is frozen: the paper freezes conv1 to conv3, which has no equivalent in other families.
"""

import torch
from torch import Tensor, nn

from model.data.batches import Batch
from model.losses.mmd import MultiKernelMMD
from model.training.learner import Learner
from systems.mtmdd.baselines.layers import BothDomainsTask, WithLayers, hidden_layers
from systems.mtmdd.network import MultidomainNetwork
from systems.mtmdd.objective import objective
from systems.mtmdd.task import images_of
from systems.mtmdd.train import main

WEIGHT = 1.0  # of MMD, summed over the layers
MMD = MultiKernelMMD()


class DanTask(BothDomainsTask):
    """A phase whose loss has the MMD of the layers' activations between the domains."""

    needs = "compares the features of both domains"

    def module(self, network: nn.Module) -> WithLayers:
        """Return the network with a record of its layers."""
        assert isinstance(network, MultidomainNetwork)
        return WithLayers(network, hidden_layers(network))

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the network's own."""
        assert isinstance(module, WithLayers)
        return super().optimizers(module.network)

    def part_loss(self, learner: Learner, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective plus the weighted MMD of all layers."""
        predictions, layers = learner.module(images_of(part))
        loss, components = objective(self.terms, predictions, part)
        layers["logits"] = {domain: prediction.logits for domain, prediction in predictions.items()}
        for name, of_domain in layers.items():
            mmd = MMD(of_domain["source"], of_domain["target"])
            loss = loss + WEIGHT * mmd
            components[f"mmd {name}"] = mmd.detach()
        return loss, components


task_of = DanTask

if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.dan", kind=task_of)
