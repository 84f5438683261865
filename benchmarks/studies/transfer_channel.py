"""How much of a source can reach the target through DCKT's losses, after the pre-training of both.

    python -m benchmarks.studies.transfer_channel --data FOLDER/fashion_en_1-fashion_en_2 --run DCKT_pairs=10 --seed 0

FOLDER is that of `benchmarks.studies.transfer`, which has trained the run. The transfer starts from the networks that
are read here. The benchmark compares the outputs of each layer for the target's training pairs, and for as many
training pairs of the source, as a step of the transfer sees them, without dropout. It prints the MMD^2

- between the domains, which the transfer makes smaller;
- between two random halves of the target's pairs: what no difference looks like;
- between two categories of the target, the mean over all pairs of categories: what a difference looks like;
- between the domains without batch normalisation: the same weights, ReLU of the fully connected layer's outputs.

Then it prints the norms of the gradients of the losses in the target network's weights, and how well the source's
network ranks the target's training pairs, by which the transfer selects them, beside the same with permuted labels.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.seeding import derive_seed  # noqa: E402
from model.folder import load_weights, read_run  # noqa: E402
from model.losses.gaussian_mmd import GaussianMMD  # noqa: E402
from systems.dckt.config import DOMAINS, SOURCE, TARGET, Recipe  # noqa: E402
from systems.dckt.features import TRAIN, PairFeatures, read_features  # noqa: E402
from systems.dckt.network import DomainNetwork, Seen  # noqa: E402
from systems.dckt.objective import MMD_LAYERS, domain_losses  # noqa: E402
from systems.dckt.selection import retrieve  # noqa: E402
from systems.dckt.task import prepared  # noqa: E402

LAYERS = tuple(itertools.chain.from_iterable(MMD_LAYERS.values()))
MMD = GaussianMMD()


class Outputs(NamedTuple):
    """A domain's pairs in its network: the layers' outputs, those without normalisation by layer, and the labels."""

    seen: Seen
    plain: Mapping[str, Tensor]
    labels: Tensor  # (B,)


def outputs_of(network: DomainNetwork, pairs: PairFeatures) -> Outputs:
    """Return the outputs of all layers, normalised by the statistics of these pairs, without dropout."""
    plain: dict[str, Tensor] = {}
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    hooks = [
        getattr(network, name)[0].register_forward_hook(
            lambda _module, _inputs, output, name=name: plain.update({name: output.relu()})
        )
        for name in LAYERS
    ]
    seen = network(torch.from_numpy(pairs.images), torch.from_numpy(pairs.texts))
    for hook in hooks:
        hook.remove()
    return Outputs(seen, plain, torch.tensor(pairs.category))


def between_categories(rows: Tensor, labels: Tensor) -> float:
    """Return the mean MMD^2 between two categories, over all pairs of categories.

    Shape:
        rows: (B, H), or (2 B, H) with both media one after the other; labels: (B,)
    """
    labels = labels.repeat(len(rows) // len(labels))
    groups = [rows[labels == label] for label in labels.unique()]
    return float(np.mean([MMD(one, other).item() for one, other in itertools.combinations(groups, 2)]))


def between_halves(rows: Tensor, number: int, order: Tensor) -> float:
    """Return the MMD^2 between two halves of a domain's pairs.

    Args:
        rows: of a layer; those of both media have the images first.
        number: of pairs.
        order: a permutation of the pairs, whose first half is one half.
    """
    media = [part[order] for part in rows.split(number)]
    return MMD(*(torch.cat(half) for half in zip(*(part.tensor_split(2) for part in media), strict=True))).item()


def gradient_norm(loss: Tensor, network: nn.Module) -> float:
    """Return the norm of a loss's gradient in all weights of a network."""
    found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
    return float(torch.stack([part.norm() for part in found if part is not None]).norm())


def as_table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; the first column holds names, the others numbers."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (heading, *rows)]
    lines.insert(1, "|---|" + "---:|" * (len(heading) - 1))
    return "\n".join(lines)


def report(networks: Mapping[str, DomainNetwork], pairs: Mapping[str, PairFeatures], recipe: Recipe, seed: int) -> str:
    """Return the tables.

    Args:
        networks: of both domains, as after the pre-training.
        pairs: of both domains, as the run was trained on them.
        recipe: of the run.
        seed: draws the source's pairs, the halves and the permutation of labels.
    """
    random = np.random.default_rng(derive_seed(seed, "transfer channel"))
    target = pairs[TARGET].subset(TRAIN)
    source = pairs[SOURCE].subset(TRAIN)
    drawn = source.take(np.sort(random.permutation(len(source))[: len(target)]))
    one, other = outputs_of(networks[SOURCE], drawn), outputs_of(networks[TARGET], target)
    order = torch.from_numpy(random.permutation(len(target)))
    rows = []
    for name in LAYERS:
        layer = getattr(other.seen, name)
        values = (
            MMD(getattr(one.seen, name), layer).item(),
            between_halves(layer, len(target), order),
            between_categories(layer, other.labels),
            MMD(one.plain[name], other.plain[name]).item(),
        )
        rows.append([name, *(f"{value:.4f}" for value in values)])
    heading = ("layer", "domains", "halves", "categories", "domains, not normalised")
    layers = as_table(heading, rows)

    found = domain_losses(other.seen, other.labels)
    weights = recipe.objective.model_dump()
    losses = {
        "semantic": weights["target"] * found["semantic"],
        "pairs": weights["pairs"] * found["pairs"],
        **{
            f"MMD {name}": weights[name] * torch.stack([MMD(getattr(one.seen, each), getattr(other.seen, each))
                                                        for each in names]).sum()
            for name, names in MMD_LAYERS.items()
        },
    }  # fmt: skip
    norms = [[name, f"{gradient_norm(loss, networks[TARGET]):.4f}"] for name, loss in losses.items()]
    gradients = as_table(("weighted loss of the target", "norm of its gradient"), norms)

    network = networks[SOURCE].eval()
    with torch.no_grad():
        codes = [
            network.image_codes(torch.from_numpy(target.images)).numpy(),
            network.text_codes(torch.from_numpy(target.texts)).numpy(),
        ]
    ranked = [
        [f"{100 * float(part.mean()):.2f}" for part in retrieve(codes[0], codes[1], labels)]
        for labels in (target.category, random.permutation(target.category))
    ]
    selection = as_table(
        ("the source's network on the target's training pairs, MAP, %", "image to text", "text to image"),
        [["their labels", *ranked[0]], ["permuted labels", *ranked[1]]],
    )
    return "\n\n".join([f"{len(target)} pairs of each domain", layers, gradients, selection])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of a pair of sets, of the study of transfers")
    parser.add_argument("--run", default="DCKT_pairs=10", help="a run with both pre-trainings (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default: %(default)s)")
    arguments = parser.parse_args(argv)
    folder = arguments.data / "models" / arguments.run / f"seed-{arguments.seed}"
    about = read_run(folder)
    recipe = Recipe.model_validate(about["recipe"])
    pairs = prepared(recipe, *(read_features(arguments.data / domain, arguments.seed) for domain in DOMAINS),
                     arguments.seed)  # fmt: skip
    networks = {}
    for domain, features in pairs.items():
        sizes = features.images.shape[1], features.texts.shape[1], len(features.categories)
        networks[domain] = DomainNetwork(*sizes, recipe.network)
        load_weights(networks[domain], folder, domain)
    print(report(networks, pairs, recipe, arguments.seed))


if __name__ == "__main__":
    main()
