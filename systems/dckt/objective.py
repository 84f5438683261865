"""The losses of the paper's section 3, each by itself, and their weighted sum."""

from torch import Tensor
from torch.nn import functional

from model.losses.gaussian_mmd import GaussianMMD
from model.losses.pair_distance import pair_distance
from systems.dckt.config import ObjectiveParams
from systems.dckt.network import Seen

# The layers between which the MMD is measured, by the weight's name in `ObjectiveParams`
MMD_LAYERS = {"media": ("image_fc6", "image_fc7", "text_fc6", "text_fc7"), "fc8": ("fc8",), "fc9": ("fc9",)}


def domain_losses(seen: Seen, labels: Tensor) -> dict[str, Tensor]:
    """Return the losses within a domain.

    - semantic: mean cross-entropy of the images plus that of the texts (eq. 9 and 10, whose sums are means here)
    - pairs: the distance of a pair's image and text at fc6 plus that at fc7 (eq. 5 and 6)

    Shape:
        labels: int64 (B,)
    """
    images, texts = seen.logits.float().chunk(2)
    semantic = functional.cross_entropy(images, labels) + functional.cross_entropy(texts, labels)
    pairs = pair_distance(seen.image_fc6, seen.text_fc6) + pair_distance(seen.image_fc7, seen.text_fc7)
    return {"semantic": semantic, "pairs": pairs}


def pretraining_loss(seen: Seen, labels: Tensor, params: ObjectiveParams) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a domain alone, and its components: semantic + pairs."""
    losses = domain_losses(seen, labels)
    return losses["semantic"] + params.pairs * losses["pairs"], detached(losses)


def transfer_loss(
    source: Seen, target: Seen, source_labels: Tensor, target_labels: Tensor, params: ObjectiveParams
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of both domains together, and its components.

    The MMD is estimated only where its weight isn't 0, so a component of a run may be missing in another.

    Shape:
        labels: int64, one of each pair
    """
    measure = GaussianMMD(params.estimator == "quadruples")
    weights = params.model_dump(include=set(MMD_LAYERS))
    total, components = source.logits.new_zeros(()), dict[str, Tensor]()
    for domain, seen, labels in (("source", source, source_labels), ("target", target, target_labels)):
        losses = domain_losses(seen, labels)
        total = total + getattr(params, domain) * losses["semantic"] + params.pairs * losses["pairs"]
        components |= {f"{domain} {name}": value for name, value in losses.items()}
    for name, layers in MMD_LAYERS.items():
        if weights[name]:
            found = sum(measure(getattr(source, layer), getattr(target, layer)) for layer in layers)
            assert isinstance(found, Tensor)
            total = total + weights[name] * found
            components[f"MMD {name}"] = found
    return total, detached(components)


def detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return losses for the curves."""
    return {name: value.detach() for name, value in losses.items()}
