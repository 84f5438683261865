"""What DAN and DANN share: a phase of both domains, and a network that also returns activations of its layers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from base.console import UserError
from systems.mtmdd.config import DOMAINS, Domain
from systems.mtmdd.network import MultidomainNetwork, Prediction
from systems.mtmdd.task import PhaseTask

Activations = dict[str, dict[Domain, Tensor]]  # of each layer and domain, (B_d, D)


class BothDomainsTask(PhaseTask):
    """A phase that needs both domains.

    Attributes:
        needs: what the method does with them, for the error.

    Raises:
        UserError: the phase doesn't have both domains.
    """

    needs: ClassVar[str]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if self.phase.domains != list(DOMAINS):
            raise UserError(
                f"{self.recipe.method} {self.needs}, but phase {self.name} has only {self.phase.domains}; use VGGimg or"
                " VGGsrc"
            )


class WithLayers(nn.Module):
    """A network whose output also has phi and the activations of some layers before it.

    Args:
        network: the network.
        layers: modules of its ConvNet, by name; each returns (B, D).

    Shape:
        input: per domain, uint8 (B_d, 3, S, S); output: predictions by domain, and activations
    """

    def __init__(self, network: MultidomainNetwork, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self._layers = dict(layers)  # not a ModuleDict: they are part of the network already

    def forward(self, images: Mapping[Domain, Tensor]) -> tuple[dict[Domain, Prediction], Activations]:
        """Return the predictions and the activations."""
        seen: dict[str, Tensor] = {}
        hooks = [
            layer.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
            for name, layer in self._layers.items()
        ]
        hooks.append(
            self.network.backbone.register_forward_hook(lambda _, __, visual: seen.update({"phi": visual.phi}))
        )
        try:
            predictions = self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        sizes = [len(of_domain) for of_domain in images.values()]
        return predictions, {name: dict(zip(images, output.split(sizes), strict=True)) for name, output in seen.items()}


def hidden_layers(network: MultidomainNetwork) -> dict[str, nn.Module]:
    """Return the fully connected layers of the ConvNet before phi, each as the activation function after it.

    For VGG and AlexNet that is fc6; most other families have none.
    """
    layers = list(network.backbone.head.children())
    places = [number for number, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
    return {f"fc{6 + order}": layers[place + 1] for order, place in enumerate(places[:-1])}
