"""The networks: visual map e, preference, personal tags from both, general tags from e alone, and the discriminator.

Section IV of the paper; the released code's layers by `layers: code`. B posts, N tags, C channels, H x W positions.

| part | paper | released code |
|---|---|---|
| C | e and u_p at each place, two 3x3 convolutions with ReLU, a hidden layer, N | 1x1 to 64 and 32 without ReLU |
| G | e, three 3x3 convolutions with ReLU, N | phi, a hidden layer, N (there: the 1,000 outputs of ImageNet's head) |
| U_E, U_D | as the parameters say | one more layer of N before; no skip at the largest width; tanh |
| D | as the parameters say | one more layer of N before; LeakyReLU 0.2 |
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.losses.adversarial import jitter
from model.nets.backbones import ConvNet, Visual, build_backbone
from model.nets.preference import Preference, PreferenceAutoencoder, discriminator
from systems.tagging.config import Adversary, LossParams, NetworkParams

CODE_CHANNELS, CODE_SLOPE = (64, 32), 0.2  # of the released code


class Recommendation(NamedTuple):
    """What the network makes of B posts; the sigmoid of logits is a tag's probability."""

    personal: Tensor  # T_p: logits (B, N)
    general: Tensor | None  # T_g: logits (B, N)
    preference: Preference | None


class Adapter(nn.Module):
    """A trained layer on frozen features, which stands for the ConvNet's last block: C and G share it.

    Shape:
        features: (B, F); result: e with H = W = 1
    """

    def __init__(self, num_features: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.BatchNorm1d(num_features), nn.Linear(num_features, width), nn.ReLU())
        initialise(self)
        self.map_shape, self.num_features = (width, 1, 1), width

    def forward(self, features: Tensor) -> Visual:
        """Return the map and, as phi, its only position."""
        phi = self.layer(features)
        return Visual(phi[:, :, None, None], phi)


class DirectHistory(nn.Module):
    """What a history itself says of each tag, to be added to the logits of personal tags; not in the paper.

    With the tags' shares p of the training posts' tags, and learned s, w > 0:

        s log((u_t / p_t + w) / (|u| + w)),   |u| = sum over t of u_t

    which is 0 for an empty history. With s = 1 it is log(P(t | user) / P(t)), where P(t | user) is interpolated between
    the history and p (`model.recommenders.counts.interpolated`): the code of a history can't keep each of N counts.

    Shape:
        history: u_h, (B, N); result: (B, N)
    """

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.shares: Tensor
        self.register_buffer("shares", torch.full((num_tags,), 1 / num_tags))
        self.log_factor, self.log_weight = (nn.Parameter(torch.zeros(())) for _ in range(2))

    def forward(self, history: Tensor) -> Tensor:
        """Return the terms."""
        weight, length = self.log_weight.exp(), history.sum(dim=1, keepdim=True)
        return self.log_factor.exp() * torch.log((history / self.shares + weight) / (length + weight))


class TagNetwork(nn.Module):
    """Recommends tags for a picture and a history.

    Args:
        params: of the networks.
        num_tags: N.
        visual: the ConvNet, or an adapter.
        has_history: whether there is a preference network.
        has_general: whether there is a head of general tags.
    """

    def __init__(
        self, params: NetworkParams, num_tags: int, visual: ConvNet | Adapter, has_history: bool, has_general: bool
    ) -> None:
        super().__init__()
        self.visual, self.is_code = visual, params.layers == "code"
        self.preference = build_preference(params, num_tags) if has_history else None
        channels, height, width = visual.map_shape
        convolutions: list[nn.Module]
        places, code = height * width, params.encoder[-1] if has_history else 0
        if self.is_code:
            first, second = CODE_CHANNELS
            convolutions = [nn.Conv2d(channels + code, first, 1), nn.Conv2d(first, second, 1)]
        else:
            second = params.channels
            convolutions = _convolutions(channels + code, second, 2)
        hidden = [
            nn.Flatten(),
            nn.Linear(second * places, params.hidden),
            nn.ReLU(),
            nn.Linear(params.hidden, num_tags),
        ]
        self.personal = nn.Sequential(*convolutions, *hidden)
        self.direct = DirectHistory(num_tags) if has_history and params.direct == "history" else None
        self.general: nn.Sequential | None = None
        if has_general and self.is_code:
            self.general = nn.Sequential(
                nn.Linear(visual.num_features, params.hidden), nn.ReLU(), nn.Linear(params.hidden, num_tags)
            )
        elif has_general:
            self.general = nn.Sequential(
                *_convolutions(channels, params.channels, 3),
                nn.Flatten(),
                nn.Linear(params.channels * places, num_tags),
            )
        initialise(self.personal)
        if self.general is not None:
            initialise(self.general)

    def forward(self, pictures: Tensor, history: Tensor) -> Recommendation:
        """Return personal and general tags and the reconstructed history.

        Shape:
            pictures: uint8 (B, 3, S, S) or float32 (B, F); history: float32 (B, N), u_h
        """
        seen: Visual = self.visual(pictures)
        preference = None if self.preference is None else self.preference(history)
        personal = self._personal(seen.omega, None if preference is None else preference.code, history)
        general = None if self.general is None else self.general(seen.phi if self.is_code else seen.omega)
        return Recommendation(personal, general, preference)

    def recommend(self, pictures: Tensor, history: Tensor) -> Tensor:
        """Return the logits of personal tags alone, by which tags are recommended: (B, N)."""
        return self.recommend_from(self.visual(pictures), history)

    def recommend_from(self, seen: Visual, history: Tensor) -> Tensor:
        """Return the same for pictures that the ConvNet has seen."""
        code = None if self.preference is None else self.preference.encode(history)[-1]
        return self._personal(seen.omega, code, history)

    def _personal(self, omega: Tensor, code: Tensor | None, history: Tensor) -> Tensor:
        logits: Tensor = self.personal(_joined(omega, code))
        return logits if self.direct is None else logits + self.direct(history)


def initialise(network: nn.Module) -> None:
    """Give all layers He's initialisation and biases of 0.

    A history goes through some nine layers to the tags. Torch's own initialisation shrinks it at each of them, until
    all users look alike.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _joined(omega: Tensor, code: Tensor | None) -> Tensor:
    """Return e with the code at each place: (B, C + D, H, W)."""
    if code is None:
        return omega
    return torch.cat([omega, code[:, :, None, None].expand(-1, -1, *omega.shape[2:])], dim=1)


def _convolutions(below: int, channels: int, number: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(number):
        layers += [nn.Conv2d(below, channels, 3, padding=1), nn.ReLU()]
        below = channels
    return layers


def build_preference(params: NetworkParams, num_tags: int) -> PreferenceAutoencoder:
    """Build U_E and U_D."""
    if params.layers == "code":
        skips = [width for width in params.skips if width not in (max(params.encoder), params.encoder[-1])]
        network = PreferenceAutoencoder(num_tags, [num_tags, *params.encoder], params.decoder, skips, "tanh")
    else:
        network = PreferenceAutoencoder(num_tags, params.encoder, params.decoder, params.skips, params.code)
    initialise(network)
    return network


def build_discriminator(params: NetworkParams, num_tags: int) -> nn.Sequential:
    """Build D."""
    if params.layers == "code":
        return discriminator(num_tags, [num_tags, *params.discriminator], CODE_SLOPE)
    return discriminator(num_tags, params.discriminator, params.slope)


def build_network(
    params: NetworkParams,
    num_tags: int,
    num_features: int | None,
    has_history: bool,
    has_general: bool,
    load: bool = True,
) -> TagNetwork:
    """Build the network, initialised by torch's generator.

    Args:
        params: of the networks.
        num_tags: N.
        num_features: F, with features as input.
        has_history: whether there is a preference network.
        has_general: whether there is a head of general tags.
        load: whether the ConvNet gets its start weights.
    """
    visual = build_backbone(params, load) if num_features is None else Adapter(num_features, params.adapter)
    return TagNetwork(params, num_tags, visual, has_history, has_general)


class Judged(NamedTuple):
    """D's logits, each (B, 1)."""

    real: Tensor
    generated: Tensor


class WithDiscriminator(nn.Module):
    """The network with the discriminator that judges its general or its personal tags.

    Args:
        network: the network.
        judge: D.
        adversary: which tags D judges.
        loss: has the jitter's numbers.
    """

    def __init__(self, network: TagNetwork, judge: nn.Module, adversary: Adversary, loss: LossParams) -> None:
        super().__init__()
        self.network, self.judge, self.adversary, self.jitter = network, judge, adversary, (loss.kept, loss.spread)

    def forward(
        self, pictures: Tensor, history: Tensor, real: Tensor | None = None
    ) -> Judged | tuple[Recommendation, Tensor]:
        """Judge people's tags and the network's, for D to learn; or, without `real`, recommend and be judged.

        In the first case the network is in evaluation mode and gets no gradient, in the second D gets none.

        Args:
            pictures: as in `TagNetwork`.
            history: as in `TagNetwork`.
            real: people's tags of some posts, 0 or 1; they are jittered here.

        Shape:
            real: (B, N)
        """
        if real is not None:
            was_training = self.network.training
            self.network.eval()
            with torch.no_grad():
                generated = self._generated(self.network(pictures, history))
            self.network.train(was_training)
            return Judged(self.judge(jitter(real, *self.jitter)), self.judge(generated))
        found = self.network(pictures, history)
        frozen = [weight for weight in self.judge.parameters() if weight.requires_grad]
        for weight in frozen:
            weight.requires_grad_(False)
        judged = self.judge(self._generated(found))
        for weight in frozen:
            weight.requires_grad_(True)
        return found, judged

    def _generated(self, found: Recommendation) -> Tensor:
        logits = found.personal if self.adversary == "personal" else found.general
        assert logits is not None
        return logits.float().sigmoid()
