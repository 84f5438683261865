"""Compare a ConvNet with fused stages (systems.annotation) with the bare ConvNet, forward and in a training step.

    python -m benchmarks.studies.fusion_speed
    python -m benchmarks.studies.fusion_speed --backbone resnet101 --repeats 0

Both run in turn in this process, on the same images, in float32. Ratios are bare / ours, of images a second: 1 means
that the fusion costs nothing. With `--repeats 0` only the ratio of the operations of a forward pass is printed, which
is what the ratio would be if every operation took the same time.

- ours: uint8 images, normalised by the network; all stages, fusion blocks, label layer
- bare: torchvision's classifier of that name, with images that were normalised before

A training step has the label loss, backward and SGD; `all` trains every weight of both, `fused` is the system's phase
of that name, with a frozen ConvNet, against the bare ConvNet with frozen weights, whose last layer alone is trained.
"""

import argparse
import statistics
from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.training_step import Step, by_turns, middle_half, tera_operations
from model.losses.binary_sets import BinarySetLoss
from model.nets.backbones import IMAGENET_MEAN, IMAGENET_STD
from model.nets.fusion import FusedStages
from model.nets.params import BackboneParams
from model.nets.stages import build_stages
from systems.annotation.network import VisualNet

CPU = torch.device("cpu")
LOSS = BinarySetLoss()


def fused_net(backbone: str, size: int, labels: int, frozen: bool, max_pooling: bool) -> VisualNet:
    """Return our network with random weights."""
    net = build_stages(BackboneParams(backbone=backbone, weights="none", image_size=size, resize=size))
    return VisualNet(net, FusedStages(net.shapes, max_pooling=max_pooling), labels, frozen)


def bare_net(backbone: str, labels: int, frozen: bool) -> nn.Module:
    """Return torchvision's classifier; frozen, it is in evaluation mode, and its last layer alone is trained."""
    net = torchvision.models.get_model(backbone, weights=None, num_classes=labels)
    if frozen:
        net.eval().requires_grad_(False)
        list(net.children())[-1].requires_grad_(True)
    return net


def normalised(images: Tensor) -> Tensor:
    """Return images as torchvision's classifiers expect them."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return images.float().div(255).sub(mean).div(std)


def forward_step(net: nn.Module, images: Tensor) -> Step:
    """Return a forward pass in evaluation mode."""
    net.eval()

    @torch.no_grad()
    def step() -> Tensor:
        return net(images)

    return step


def training_step(net: nn.Module, images: Tensor, has: Tensor) -> Step:
    """Return a step with SGD over the weights that are trained; the network stays in its mode."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=1e-4, momentum=0.9)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = LOSS(net(images), has).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def measure(arguments: argparse.Namespace) -> list[tuple[str, float, str]]:
    """Return what was compared, the ratio bare / ours, and the middle half of the pairs' ratios."""
    torch.manual_seed(0)
    shape = (arguments.images, 3, arguments.size, arguments.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    has = (torch.rand(arguments.images, arguments.labels) < 0.05).float()

    def nets(frozen: bool) -> tuple[VisualNet, nn.Module]:
        ours = fused_net(arguments.backbone, arguments.size, arguments.labels, frozen, arguments.max_pooling)
        both = ours.train(), bare_net(arguments.backbone, arguments.labels, frozen)
        for net in both:
            net.to(memory_format=torch.channels_last)
        return both

    ours, bare = nets(frozen=False)
    pixels = normalised(images)
    pairs = {"forward": (forward_step(ours, images), forward_step(bare, pixels))}
    rows = [("operations forward", tera_operations(pairs["forward"][1]) / tera_operations(pairs["forward"][0]), "")]
    if not arguments.repeats:
        return rows
    for name, frozen in (("training step, all", False), ("training step, fused", True)):
        ours, bare = nets(frozen)
        pairs[name] = (training_step(ours, images, has), training_step(bare, pixels, has))
    for name, (one, other) in pairs.items():
        ours_s, bare_s = by_turns(one, other, arguments.repeats, CPU)
        ratios = [b.cpu / a.cpu for a, b in zip(ours_s, bare_s, strict=True)]
        medians = [statistics.median(seconds.cpu for seconds in both) for both in (ours_s, bare_s)]
        rows.append((name, medians[1] / medians[0], middle_half(ratios)))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18", help="torchvision's name (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="side of the images, pixels (default: %(default)s)")
    parser.add_argument("--images", type=int, default=4, help="in a step (default: %(default)s)")
    parser.add_argument("--labels", type=int, default=81, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of ours and bare (default: %(default)s)")
    parser.add_argument("--max-pooling", action="store_true", help="max pooling for the 3 x 3 convolutions")
    arguments = parser.parse_args(argv)
    print("| | bare / ours, CPU time | middle half of pairs |\n|---|---|---|")
    for name, ratio, middle in measure(arguments):
        print(f"| {name} | {ratio:.3f} | {middle} |", flush=True)


if __name__ == "__main__":
    main()
