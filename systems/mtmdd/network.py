"""The network of Fig. 8: ConvNet, word embedding, and one recogniser per domain or one for both domains."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from base.console import UserError
from model.nets.backbones import ConvNet, Visual, build_backbone
from model.nets.gradients import scale_gradient
from systems.mtmdd.config import ClickBranchParams, Domain, Features, NetworkParams, Phase
from systems.mtmdd.embedding import WordEmbedding

SHARED = "shared"


class Prediction(NamedTuple):
    """The network's output for a domain's images. B images, C categories, K words."""

    logits: Tensor | None  # (B, C); None if the phase doesn't recognise the domain
    clicks: Tensor | None  # v^, (B, K); None without word embedding


class Recogniser(nn.Module):
    """The recogniser, which predicts categories from the image representation [N_d(phi), N_d(v^)].

    N_d is batch normalisation without an affine part, with separate statistics for each domain d. Dropout and one
    fully connected layer follow: one layer per domain, or one shared by both.

    Args:
        features: visual (phi only), click (v^ only) or visual+click.
        sizes: D of phi and K of v^.
        num_categories: number of categories of each recognised domain.
        shared: use one fully connected layer for both domains.
        dropout: share dropped in training.
        shared_normalisation: use one N for the images of both domains together.
        affine: give N a learned scale and shift.
        unlearned: domains without a recognition loss. The modules that only such a domain uses keep their weights; the
            statistics of its N still follow its images.

    Shape:
        input: for each domain phi (B_d, D) and v^ (B_d, K); output: for each domain (B_d, C_d)

    Reference: eq. 7; section III-D. Separate statistics per domain and no affine part as in the released definition.
    """

    def __init__(
        self,
        features: Features,
        sizes: tuple[int, int],
        num_categories: Mapping[Domain, int],
        shared: bool,
        dropout: float,
        *,
        shared_normalisation: bool = False,
        affine: bool = False,
        unlearned: Sequence[Domain] = (),
    ) -> None:
        super().__init__()
        visual, click = ("visual" in features) * sizes[0], ("click" in features) * sizes[1]
        domains = list(num_categories)
        self.shared = shared
        self.shared_normalisation = shared_normalisation
        norms = [SHARED] if shared_normalisation else domains
        self.visual_norms = nn.ModuleDict({name: nn.BatchNorm1d(visual, affine=affine) for name in norms if visual})
        self.click_norms = nn.ModuleDict({name: nn.BatchNorm1d(click, affine=affine) for name in norms if click})
        self.dropout = nn.Dropout(dropout)
        heads = {SHARED: num_categories[domains[0]]} if shared else dict(num_categories)
        self.heads = nn.ModuleDict({name: nn.Linear(visual + click, number) for name, number in heads.items()})
        for domain in unlearned:
            for modules in (self.visual_norms, self.click_norms, self.heads):
                if domain in modules:
                    modules[domain].requires_grad_(False)

    def forward(self, inputs: Mapping[Domain, tuple[Tensor, Tensor | None]]) -> dict[Domain, Tensor]:
        """Return the logits of each domain's images."""
        if self.shared_normalisation:
            phi, clicks = (_joined(parts) for parts in zip(*inputs.values(), strict=True))
            assert phi is not None
            sizes = [of_domain.shape[0] for of_domain, _ in inputs.values()]
            representations = list(self._normalise(SHARED, phi, clicks).split(sizes))
        else:
            representations = [self._normalise(domain, *of_domain) for domain, of_domain in inputs.items()]
        return {
            domain: self.heads[SHARED if self.shared else domain](self.dropout(representation))
            for domain, representation in zip(inputs, representations, strict=True)
        }

    def _normalise(self, name: str, phi: Tensor, clicks: Tensor | None) -> Tensor:
        parts = []
        if self.visual_norms:
            parts.append(self.visual_norms[name](phi))
        if self.click_norms:
            parts.append(self.click_norms[name](clicks))
        return torch.cat(parts, dim=1)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None


class ClickPredictor(nn.Module):
    """The click predictor h of a first step, as that step left it: its ConvNet and its word embedding, v^ = h(x).

    v^ is a function of the image alone, but not of its file: a training sees another crop in every pass, so v^ is
    computed for each crop and can't be stored.

    Args:
        backbone: theta1*, from images to omega; its layers from omega to phi are removed, because v^ doesn't need them.
        embedding: E*, from omega to v^.

    Shape:
        input: uint8 (B, 3, S, S); output: (B, K)

    Reference: eq. 3; its use in the second step: eq. 5.
    """

    def __init__(self, backbone: ConvNet, embedding: WordEmbedding) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.head = nn.Identity()
        self.embedding = embedding

    def forward(self, images: Tensor) -> Tensor:
        """Return v^."""
        return self.embedding(self.backbone(images).omega)


class MultidomainNetwork(nn.Module):
    """The network of a phase: ConvNet and word embedding, shared by both domains, and recognisers.

    The images of both domains go through the ConvNet and the embedding as one batch. In a second step (eq. 5) a frozen
    `ClickPredictor` replaces the embedding, and the ConvNet computes phi only.

    Args:
        backbone: from images to omega and phi.
        embedding: from omega to v^; None without click branch, or with a predictor.
        recogniser: from [phi, v^] to categories; None if nothing is recognised.
        recognised: the domains that the recogniser recognises.
        frozen: parts (backbone, embedding, predictor) that keep their weights; they stay in evaluation mode, with their
            own statistics and without dropout.
        predictor: from images to v^; None if v^ comes from the embedding.
        click_branch: factors on the click branch's gradients; the default is the paper's 1.

    Shape:
        input: per domain, uint8 (B_d, 3, S, S); output: per domain, :class:`Prediction`
    """

    def __init__(
        self,
        backbone: ConvNet,
        embedding: WordEmbedding | None,
        recogniser: Recogniser | None,
        recognised: list[Domain],
        frozen: list[str],
        *,
        predictor: ClickPredictor | None = None,
        click_branch: ClickBranchParams | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.embedding = embedding
        self.recogniser = recogniser
        self.recognised = recognised
        self.frozen = frozen
        self.predictor = predictor
        self.click_branch = click_branch or ClickBranchParams()
        for part in frozen:
            getattr(self, part).requires_grad_(False)

    def train(self, mode: bool = True) -> "MultidomainNetwork":
        """Set the mode; frozen parts stay in evaluation mode, without dropout and without new statistics."""
        super().train(mode)
        for part in self.frozen:
            getattr(self, part).eval()
        return self

    def forward(self, images: Mapping[Domain, Tensor]) -> dict[Domain, Prediction]:
        """Return logits and predicted click features of each domain's images."""
        sizes = [of_domain.shape[0] for of_domain in images.values()]  # torch.export takes len() for a constant
        pixels = torch.cat(list(images.values()))
        visual: Visual = self.backbone(pixels)
        clicks = self._predict_clicks(pixels, visual.omega)
        phi_by_domain = visual.phi.split(sizes)
        clicks_by_domain = [None] * len(sizes) if clicks is None else clicks.split(sizes)
        inputs = dict(zip(images, zip(phi_by_domain, clicks_by_domain, strict=True), strict=True))
        logits: dict[Domain, Tensor] = {}
        if self.recogniser is not None:
            factor = self.click_branch.recogniser_gradient
            recognised = {
                domain: (phi, _scaled(predicted, factor))
                for domain, (phi, predicted) in inputs.items()
                if domain in self.recognised
            }
            logits = self.recogniser(recognised) if recognised else {}
        factor = self.click_branch.click_gradient
        return {
            domain: Prediction(logits.get(domain), _scaled(predicted, factor))
            for domain, (_, predicted) in inputs.items()
        }

    def _predict_clicks(self, pixels: Tensor, omega: Tensor) -> Tensor | None:
        if self.predictor is not None:
            return self.predictor(pixels)
        if self.embedding is None:
            return None
        return self.embedding(scale_gradient(omega, self.click_branch.factor_at_convnet))


def _scaled(clicks: Tensor | None, factor: float) -> Tensor | None:
    return None if clicks is None else scale_gradient(clicks, factor)


def build_network(
    network: NetworkParams,
    phase: Phase,
    categories: Mapping[Domain, list[str]],
    num_words: int,
    load_weights: bool,
    click_branch: ClickBranchParams | None = None,
) -> MultidomainNetwork:
    """Build the network of a phase, initialised by torch's generator.

    Args:
        network: the parameters of the network, with its sizes.
        phase: defines the parts of the network.
        categories: category names of each domain.
        num_words: K; not used without click branch.
        load_weights: whether to load the ConvNet's start weights (not needed if all weights are loaded afterwards).
        click_branch: the recipe's factors on gradients, for a training.

    Raises:
        UserError: the phase has a shared head, but the domains' categories differ; or `build_backbone` raises it.
    """
    backbone = build_backbone(network, load_weights)
    embedding = None
    if phase.has_embedding:
        assert network.embedding is not None  # `Recipe` checks this
        embedding = WordEmbedding(network.embedding, backbone.map_shape, num_words)
    recogniser = None
    if phase.features is not None:
        if phase.shared_head:
            check_same_categories(categories)
        numbers = {domain: len(categories[domain]) for domain in phase.recognised}
        sizes = (backbone.num_features, num_words)
        recogniser = Recogniser(
            phase.features,
            sizes,
            numbers,
            phase.shared_head,
            network.dropout,
            shared_normalisation=network.shared_normalisation,
            affine=network.affine_normalisation,
            unlearned=phase.unlearned or (),
        )
    predictor = None
    if phase.has_predictor:
        assert network.embedding is not None
        frozen = build_backbone(network, load_weights=False)  # an earlier phase's weights are copied into it
        predictor = ClickPredictor(frozen, WordEmbedding(network.embedding, frozen.map_shape, num_words))
    return MultidomainNetwork(
        backbone,
        embedding,
        recogniser,
        phase.recognised,
        list(phase.frozen),
        predictor=predictor,
        click_branch=click_branch,
    )


def check_same_categories(
    categories: Mapping[Domain, list[str]],
    what: str = "a shared head",
    remedy: str = "use separate heads (MTMDD-VM)",
) -> None:
    """Check that both domains have the same categories.

    Args:
        categories: names of each domain.
        what: what needs the same categories, for the error.
        remedy: what to do instead, for the error.

    Raises:
        UserError: the categories differ; the message lists some that only one domain has.
    """
    source, target = set(categories["source"]), set(categories["target"])
    if source != target:
        only = {"source": sorted(source - target), "target": sorted(target - source)}
        listed = "; ".join(
            f"only in the {domain}: {len(names)}, such as {names[:3]}" for domain, names in only.items() if names
        )
        raise UserError(f"{what} needs the same categories in both domains ({listed}); {remedy}")


def copy_parts(
    network: MultidomainNetwork, earlier: Mapping[str, Tensor], parts: Sequence[str] = ("backbone", "embedding")
) -> list[str]:
    """Copy the weights of parts that an earlier phase has trained: ConvNet and embedding.

    Recognisers are not copied, because they depend on a phase's domains and features. The predictor is the earlier
    phase's ConvNet, up to omega, and embedding together.

    Args:
        network: the later phase's network.
        earlier: the earlier phase's weights, by name.
        parts: the parts to copy: backbone, embedding, predictor.

    Returns:
        The parts that were copied.
    """
    copied = []
    for part in parts:
        module = getattr(network, part)
        weights = _weights_of_predictor(earlier) if part == "predictor" else _weights_below(earlier, f"{part}.")
        if module is not None and weights:
            module.load_state_dict(weights)
            copied.append(part)
    return copied


def _weights_below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _weights_of_predictor(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = ("backbone.", "embedding.")
    return {k: v for k, v in weights.items() if k.startswith(parts) and not k.startswith("backbone.head.")}
