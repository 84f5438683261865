"""Compare one MTMDD-VM training step with the bare ConvNet trained with plain cross-entropy.

    python -m benchmarks.training_step
    python -m benchmarks.training_step --cases vgg19:224:4 --repeats 5 --operators

Both steps run in turn in this process, on the same number of images of the same size, in the same precision, with the
same optimiser and hyperparameters. The ratio is that of the medians; the ratios of the pairs show how reliable it is.

The ratio of CPU times is also valid for one thread on a busy machine.

- ours: `PhaseTraining`'s own step on a batch that is on the device: learning rates, conversion of uint8 images to
  normalised ones, ConvNet, word embedding, recognisers, all losses, the check for NaN, backward, SGD
- bare: torchvision's classifier of that name (`plain`: our small ConvNet with a linear layer), with images that were
  normalised before; cross-entropy, backward, SGD

A case is BACKBONE:PIXELS:IMAGES, images of each domain. The goal is at most 1.10 on a CPU and 1.05 on a GPU.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from model.data.batches import Batch, Loaded
from model.data.images import ImageStore
from model.nets.backbones import IMAGENET_MEAN, IMAGENET_STD, plain_features, plain_head
from model.training.checkpoints import Checkpoints
from model.training.params import ScheduleParams
from model.training.trainer import PhaseTraining
from systems.mtmdd.batches import DomainBatch
from systems.mtmdd.config import (
    DOMAINS,
    Domain,
    EmbeddingParams,
    NetworkParams,
    ObjectiveParams,
    TrainParams,
)
from systems.mtmdd.examples import ClickFeatures, Examples
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import PhaseTask

CASES = ("vgg19:224:4", "squeezenet1_1:128:16", "plain:48:16")
WORDS_PER_IMAGE = 8
Step = Callable[[], object]


class Case(NamedTuple):
    """A benchmark case: the ConvNet's name, side of the images in pixels, images of each domain in a step."""

    backbone: str
    size: int
    images: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Read BACKBONE:PIXELS:IMAGES."""
        backbone, size, images = text.split(":")
        return cls(backbone, int(size), int(images))


def our_params(case: Case, precision: str) -> tuple[NetworkParams, TrainParams, ObjectiveParams]:
    """Return parameters with the paper's sizes; for the plain ConvNet the toy's."""
    paper = case.backbone != "plain"
    embedding = EmbeddingParams(
        kind="CONV+biFC", kernel_size=3, kernels=1024 if paper else 128, hidden=4096 if paper else 256, dropout=0.5
    )
    if case.backbone.startswith("squeezenet"):  # as in presets/birds50.yaml
        embedding = EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=256, hidden=512, dropout=0.1)
    network = NetworkParams(
        backbone=case.backbone, weights="none", image_size=case.size, resize=case.size, dropout=0.5, embedding=embedding
    )
    train = TrainParams(
        epochs=10_000, batch_size=case.images, learning_rate=1e-4, embedding_multiplier=1.0, recogniser_multiplier=1.0,
        momentum=0.9, weight_decay=5e-4, schedule=ScheduleParams(kind="constant", warm_up=0.0),
        mixed_precision=precision, workers=0, threads=None, cache_images=False, accumulation=1, ema=None,
        early_stopping=None, compile=False, channels_last=False,
    )  # fmt: skip
    objective = ObjectiveParams.model_validate(
        {
            "lambda": 0.4,
            "tau": 0.1,
            "bandwidth": 0.01,
            "threshold": 0.16,
            "mu_separate_heads": 0.1,
            "mu_shared_head": 0.9,
        }
    )
    return network, train, objective


def make_training(case: Case, num_categories: int, num_words: int, precision: str, folder: Path) -> PhaseTraining:
    """Return an MTMDD-VM training that reads no images; the benchmark passes the batches."""
    network, train, objective = our_params(case, precision)
    recipe = build_recipe("MTMDD-VM", network, objective, train)
    names = [f"category {number:03d}" for number in range(num_categories)]
    categories: dict[Domain, list[str]] = dict.fromkeys(DOMAINS, names)
    rows = pl.DataFrame(
        [(f"{domain}-{name}", domain, name, "train") for domain in DOMAINS for name in names],
        schema=["image_id", "domain", "category", "split"], orient="row",
    )  # fmt: skip
    clicks = ClickFeatures(
        pl.Series([], dtype=pl.String), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32),
        [f"word {number}" for number in range(num_words)],
    )  # fmt: skip
    images = cast("ImageStore", None)
    examples = Examples(rows, categories, images, clicks, dict.fromkeys(DOMAINS, num_categories), "benchmark")
    task = PhaseTask(recipe, recipe.phases[0], examples, 0)
    training = PhaseTraining(task, "benchmark", Checkpoints(str(folder), examples.fingerprint), None, 0)
    training.learner.module.train()
    return training


def make_batch(case: Case, num_categories: int, num_words: int, device: torch.device) -> Batch:
    """Return random images of both domains, with click features as sparse as real ones."""
    draw = np.random.default_rng(0)
    batch: dict[Domain, DomainBatch] = {}
    for domain in DOMAINS:
        images = draw.integers(0, 256, (case.images, 3, case.size, case.size), np.uint8)
        clicks = np.zeros((case.images, num_words), np.float32)
        for row in clicks:
            row[draw.choice(num_words, min(WORDS_PER_IMAGE, num_words), replace=False)] = draw.random(WORDS_PER_IMAGE)
        batch[domain] = DomainBatch(
            torch.from_numpy(images).to(device),
            torch.from_numpy(draw.integers(0, num_categories, case.images)).to(device),
            torch.from_numpy(clicks).to(device) if domain == "source" else None,
        )
    return batch


def make_bare_step(case: Case, num_categories: int, precision: str, batch: Batch, device: torch.device) -> Step:
    """Return the training step of the classifier alone, without our code."""
    if case.backbone == "plain":
        values = 128
        network: nn.Module = nn.Sequential(plain_features(), plain_head(case.size), nn.Linear(values, num_categories))
    else:
        import torchvision

        network = torchvision.models.get_model(case.backbone, weights=None, num_classes=num_categories)
    network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1).to(device) for values in (IMAGENET_MEAN, IMAGENET_STD))
    images = torch.cat([part.images for part in batch.values()]).float().div(255).sub(mean).div(std)
    labels = torch.cat([part.labels for part in batch.values()])
    autocast = contextlib.nullcontext() if precision == "no" else torch.autocast(device.type, dtype=torch.bfloat16)

    def step() -> Tensor:
        with autocast:
            logits = network(images)
        loss = functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


class Seconds(NamedTuple):
    """Wall time of a step, and CPU time of this process, which other work on the machine affects less."""

    wall: float
    cpu: float


def seconds_of(step: Step, device: torch.device) -> Seconds:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started, cpu_started = time.perf_counter(), time.process_time()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return Seconds(time.perf_counter() - started, time.process_time() - cpu_started)


def by_turns(ours: Step, bare: Step, repeats: int, device: torch.device) -> tuple[list[Seconds], list[Seconds]]:
    """Time both steps, in alternating order, after one step of each that is not counted."""
    times: dict[str, list[Seconds]] = {"ours": [], "bare": []}
    for repeat in range(-1, repeats):
        order = [("ours", ours), ("bare", bare)]
        for name, step in order if repeat % 2 else reversed(order):
            seconds = seconds_of(step, device)
            if repeat >= 0:
                times[name].append(seconds)
    return times["ours"], times["bare"]


def operators(ours: Step, bare: Step, repeats: int) -> str:
    """Return the operators in which our step spends more than the bare step, milliseconds a step."""
    spent = []
    for step in (ours, bare):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(repeats):
                step()
        spent.append({event.key: event.self_cpu_time_total / 1e3 / repeats for event in profiler.key_averages()})
    more = {name: spent[0].get(name, 0.0) - spent[1].get(name, 0.0) for name in {*spent[0], *spent[1]}}
    names = sorted(more, key=lambda name: -abs(more[name]))[:16]
    lines = [f"{'operator':48} {'ours':>9} {'bare':>9} {'more':>9}"]
    lines += [
        f"{name[:48]:48} {spent[0].get(name, 0):9.2f} {spent[1].get(name, 0):9.2f} {more[name]:9.2f}" for name in names
    ]
    return "\n".join(lines)


def tera_operations(step: Step) -> float:
    """Return the floating-point operations of one step, forward and backward, in 10^12."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e12


def middle_half(ratios: Sequence[float]) -> str:
    """Return the middle half of the pairs' ratios, as in ``1.02 to 1.05``."""
    ranked = sorted(ratios)
    return f"{ranked[len(ranked) // 4]:.3f} to {ranked[-1 - len(ranked) // 4]:.3f}"


def measure(case: Case, arguments: argparse.Namespace, folder: Path) -> str:
    """Measure a case and return its row of the table."""
    training = make_training(case, arguments.categories, arguments.words, arguments.precision, folder)
    device = training.accelerator.device
    batch = make_batch(case, arguments.categories, arguments.words, device)
    bare = make_bare_step(case, arguments.categories, arguments.precision, batch, device)

    loaded = Loaded({domain: list(range(case.images)) for domain in batch}, batch)

    def ours() -> object:
        training.learner.begin_step(0, [loaded])
        return training.task.step(training.learner)

    ours_s, bare_s = by_turns(ours, bare, arguments.repeats, device)
    pairs = list(zip(ours_s, bare_s, strict=True))
    ours_median, bare_median = (statistics.median(seconds.wall for seconds in both) for both in (ours_s, bare_s))
    ours_cpu, bare_cpu = (statistics.median(seconds.cpu for seconds in both) for both in (ours_s, bare_s))
    per_s = 2 * case.images / ours_median
    tera = tera_operations(ours) / ours_median
    share = f"{100 * tera / arguments.peak:.1f} %" if arguments.peak else ""
    if arguments.operators:
        print(operators(ours, bare, min(arguments.repeats, 5)))
    cells = [
        case.backbone, case.size, 2 * case.images, f"{1e3 * ours_median:,.1f}", f"{1e3 * bare_median:,.1f}",
        f"**{ours_median / bare_median:.3f}**", middle_half([one.wall / other.wall for one, other in pairs]),
        f"**{ours_cpu / bare_cpu:.3f}**", middle_half([one.cpu / other.cpu for one, other in pairs]),
        f"{per_s:,.1f}", f"{tera:.3g}", share,
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, help="BACKBONE:PIXELS:IMAGES (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="timed steps of ours and bare (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no", help="mixed precision")
    parser.add_argument("--categories", type=int, default=129, help="categories of each domain (default: %(default)s)")
    parser.add_argument("--words", type=int, default=1000, help="K (default: %(default)s)")
    parser.add_argument("--peak", type=float, help="the chip's peak in TFLOP/s, to print the used share of it")
    parser.add_argument("--operators", action="store_true", help="also print the operators in which ours spends more")
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(
        "| ConvNet | pixels | images | ours, ms | bare, ms | ours / bare | middle half of pairs | in CPU time"
        " | middle half of pairs"
        " | images/s | TFLOP/s | of peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for text in arguments.cases:
            print(measure(Case.parse(text), arguments, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
