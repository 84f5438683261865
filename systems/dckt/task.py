"""The phases of a run on the trainer's contract: each domain alone, then the transfer from both (Algorithm 1).

An epoch of the transfer is an iteration of the paper: the source network ranks the target's training pairs, the chosen
ones are drawn beside `source_passes` passes over the source, and both networks are trained on all losses.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from base.console import UserError
from model.data.batches import Batch, Draw
from model.frozen_features import frozen_entry
from model.training.learner import Learner
from model.training.params import TrainParams
from model.training.task import Earlier, Run, Task, Validation
from systems.dckt.config import DOMAINS, SOURCE, TARGET, TRANSFER, Recipe
from systems.dckt.features import TRAIN, VALIDATION, PairFeatures
from systems.dckt.network import DomainNetwork, TwinNetworks
from systems.dckt.objective import pretraining_loss, transfer_loss
from systems.dckt.selection import Retrieved, probabilities, retrieve, select
from systems.dckt.texts import write_texts


class PairBatch(NamedTuple):
    """B pairs of a domain."""

    images: Tensor  # float32 (B, D)
    texts: Tensor  # float32 (B, T)
    labels: Tensor  # int64 (B,)


class PairTask(Task):
    """What both kinds of phases share: loading pairs, the optimiser, and the validation by retrieval.

    Args:
        name: the phase's name.
        recipe: of the run.
        params: of this phase.
        pairs: of each domain that the phase trains on; streams are domains.
        seed: the run's seed.
        main: the domain whose passes are epochs.
        validated: the domain whose validation pairs choose the epoch.
        epoch_rows, starts_from: as in `Task`.
    """

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        params: TrainParams,
        pairs: Mapping[str, PairFeatures],
        seed: int,
        main: str,
        validated: str,
        epoch_rows: int | None = None,
        starts_from: Sequence[str] = (),
    ) -> None:
        rows = {domain: features.rows(TRAIN) for domain, features in pairs.items()}
        super().__init__(name, seed, params, rows, main, epoch_rows, starts_from)
        self.recipe, self.pairs, self.validated = recipe, pairs, validated

    def build(self, domain: str) -> DomainNetwork:
        """Return the network of a domain, with new weights."""
        pairs = self.pairs[domain]
        sizes = pairs.images.shape[1], pairs.texts.shape[1], len(pairs.categories)
        return DomainNetwork(*sizes, self.recipe.network)

    def of_domain(self, network: nn.Module, domain: str) -> DomainNetwork:
        """Return the part of the phase's network that is a domain's."""
        raise NotImplementedError

    def load(self, stream: str, draws: Sequence[Draw]) -> PairBatch:
        """Return the drawn pairs of a domain."""
        pairs, rows = self.pairs[stream], [draw.row for draw in draws]
        return PairBatch(*(torch.from_numpy(part[rows]) for part in (pairs.images, pairs.texts, pairs.category)))

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return stochastic gradient descent with a rate of its own for biases."""
        rate, parts = self.params.learning_rate, dict[str, list[nn.Parameter]]()
        for name, weight in module.named_parameters():
            parts.setdefault("biases" if name.endswith("bias") else "weights", []).append(weight)
        rates = {"weights": rate, "biases": rate * self.recipe.train.bias_rate}
        return [self.sgd(module, [{"params": parts[part], "peak": rates[part], "part": part} for part in rates])]

    def retrieved(self, learner: Learner, stream: str, rows: np.ndarray, domain: str) -> Retrieved:
        """Return how well a domain's network retrieves pairs among each other.

        Args:
            learner: of the phase.
            stream: the domain of the pairs.
            rows: the pairs.
            domain: the domain of the network.
        """

        def codes(network: nn.Module, batch: PairBatch) -> tuple[np.ndarray, np.ndarray]:
            mine = self.of_domain(network, domain)
            return mine.image_codes(batch.images).cpu().numpy(), mine.text_codes(batch.texts).cpu().numpy()

        images, texts = zip(*learner.run(stream, rows, codes), strict=True)
        return retrieve(np.concatenate(images), np.concatenate(texts), self.pairs[stream].category[rows])

    def validate(self, learner: Learner) -> Validation:
        """Return the MAP on the validation pairs, percent; the mean of both directions chooses the epoch."""
        domain = self.validated
        found = self.retrieved(learner, domain, self.pairs[domain].rows(VALIDATION), domain)
        forth, back = (100 * float(part.mean()) for part in found)
        value = (forth + back) / 2
        values = {f"{domain} MAP": value, f"{domain} image to text": forth, f"{domain} text to image": back}
        return Validation(values, [value], f"{domain} validation MAP", value)

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return the ids of pairs."""
        return [self.pairs[stream].ids[row] for row in rows]


class DomainTask(PairTask):
    """The pre-training of one domain alone.

    Args:
        domain: the domain, which is also the phase's name.
        recipe: of the run.
        pairs: the domain's pairs.
        seed: the run's seed.
        epochs: passes over the training pairs.
        starts_from: the phase with whose weights the network begins; fc10, whose units are categories, begins anew.
    """

    def __init__(
        self,
        domain: str,
        recipe: Recipe,
        pairs: PairFeatures,
        seed: int,
        epochs: int,
        starts_from: Sequence[str] = (),
    ) -> None:
        params = TrainParams.model_validate({**recipe.train.common(), "epochs": epochs})
        super().__init__(domain, recipe, params, {domain: pairs}, seed, domain, domain, None, starts_from)
        self.domain = domain

    def network(self, earlier: Earlier) -> DomainNetwork:
        """Return the domain's network."""
        network = self.build(self.domain)
        for phase in self.starts_from:
            learned = {name: weight for name, weight in earlier(phase).items() if not name.startswith("fc10.")}
            network.load_state_dict({**network.state_dict(), **learned})
        return network

    def of_domain(self, network: nn.Module, domain: str) -> DomainNetwork:
        """Return the whole network."""
        assert isinstance(network, DomainNetwork)
        return network

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the semantic loss plus the weighted pair constraint."""
        pairs: PairBatch = batch[self.domain]
        return pretraining_loss(module(pairs.images, pairs.texts), pairs.labels, self.recipe.objective)


class TransferTask(PairTask):
    """The progressive transfer, from the weights of both pre-trainings.

    Args:
        recipe: of the run; it has a transfer.
        pairs: of both domains.
        seed: the run's seed.
    """

    def __init__(self, recipe: Recipe, pairs: Mapping[str, PairFeatures], seed: int) -> None:
        assert recipe.transfer is not None
        self.transfer = recipe.transfer
        rows = self.transfer.source_passes * len(pairs[SOURCE].rows(TRAIN))
        params = self.transfer.trained_as(recipe.train)
        super().__init__(TRANSFER, recipe, params, pairs, seed, SOURCE, TARGET, rows, starts_from=DOMAINS)

    def network(self, earlier: Earlier) -> TwinNetworks:
        """Return both networks, with the weights of their pre-trainings."""
        networks = {domain: self.build(domain) for domain in DOMAINS}
        for domain, network in networks.items():
            network.load_state_dict(earlier(domain))
        return TwinNetworks(networks[SOURCE], networks[TARGET])

    def of_domain(self, network: nn.Module, domain: str) -> DomainNetwork:
        """Return the network of the domain."""
        assert isinstance(network, TwinNetworks)
        return network.of(domain)

    def choose(self, learner: Learner, epoch: int) -> Mapping[str, np.ndarray]:
        """Return all source pairs, and the target pairs of this iteration, by how well the source network finds them.

        Nothing has to be saved: what is chosen depends on the weights, the seed and the iteration alone.
        """
        rows, iteration = self.rows[TARGET], epoch + 1
        if self.recipe.selection == "all":
            return dict(self.rows)
        found = self.retrieved(learner, TARGET, rows, SOURCE)
        consistency = found.image_to_text + found.text_to_image
        chances = probabilities(consistency, iteration, self.transfer.alpha, self.transfer.rule)
        return {SOURCE: self.rows[SOURCE], TARGET: rows[select(chances, self.seed, iteration, self.recipe.selection)]}

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of all losses of both domains."""
        source, target = batch[SOURCE], batch[TARGET]
        seen = module((source.images, source.texts), (target.images, target.texts))
        return transfer_loss(seen[0], seen[1], source.labels, target.labels, self.recipe.objective)


def prepared(recipe: Recipe, source: PairFeatures, target: PairFeatures, seed: int) -> dict[str, PairFeatures]:
    """Return the pairs of both domains as a run trains on them.

    Raises:
        UserError: the domains' features differ in number, or fewer than two source categories are left without the
            shared ones.
    """
    needs_source = recipe.transfer is not None or recipe.start == "source"
    for medium, one, other in (("image", source.images, target.images), ("text", source.texts, target.texts)):
        if needs_source and one.shape[1] != other.shape[1]:
            raise UserError(
                f"run {recipe.run}: the source has {one.shape[1]:,} {medium} features and the target "
                f"{other.shape[1]:,}; the source's network must read the target's pairs, so take features of one "
                "length in dckt.features (TF-IDF has one per word)"
            )
    if recipe.pairs is not None:
        target = target.limited(recipe.pairs, seed)
    if recipe.source == "texts_shuffled":
        source = source.texts_shuffled(seed)
    elif recipe.source == "no_shared":
        names = {name.casefold() for name in target.categories}
        shared = tuple(name for name in source.categories if name.casefold() in names)
        if len(source.categories) - len(shared) < 2:
            raise UserError(
                f"run {recipe.run}: the target has {len(shared)} of the source's {len(source.categories)} categories, "
                "and without them fewer than two are left; take no_shared from dckt.runs"
            )
        source = source.without(shared)
    return {SOURCE: source, TARGET: target}


def digest_of(pairs: PairFeatures) -> str:
    """Return a digest of all that pairs hold."""
    digest = hashlib.blake2b(repr((pairs.ids, pairs.categories)).encode(), digest_size=8)
    for part in (pairs.category, pairs.split.astype("U10"), pairs.images, pairs.texts):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def training_run(
    recipe: Recipe,
    source: PairFeatures,
    target: PairFeatures,
    seed: int,
    name: str,
    texts: Mapping[str, str] | None = None,
) -> Run:
    """Return the training of a recipe, for `model.training.trainer.train`.

    Args:
        recipe: the recipe.
        source, target: all pairs of the domains; test pairs are never read.
        seed: of initialisation, batches, selection and dropout.
        name: for logs and the checkpoint folder.
        texts: of the target's pairs, by id; those of training pairs become part of the model. None: it has none.
    """
    pairs = prepared(recipe, source, target, seed)
    start = (SOURCE,) if recipe.start == "source" else ()
    tasks: list[Task] = [DomainTask(TARGET, recipe, pairs[TARGET], seed, recipe.train.target_epochs, start)]
    if recipe.transfer is not None or start:
        tasks.insert(0, DomainTask(SOURCE, recipe, pairs[SOURCE], seed, recipe.train.epochs))
    else:
        del pairs[SOURCE]
    if recipe.transfer is not None:
        tasks.append(TransferTask(recipe, pairs, seed))
    described = {
        "system": "dckt",
        "seed": seed,
        "pairs": {
            f"{domain} {split}": len(features.rows(split))
            for domain, features in pairs.items()
            for split in (TRAIN, VALIDATION)
        },
        "domains": {
            domain: {
                "categories": list(features.categories),
                "images": features.images.shape[1],
                "texts": features.texts.shape[1],
            }
            for domain, features in pairs.items()
        },
        "frozen": frozen_entry(target.frozen),
        "recipe": recipe.model_dump(mode="json"),
    }
    digests = " ".join(digest_of(features) for features in pairs.values())
    complete: Callable[[Path], None] | None = None
    if texts is not None:
        complete = partial(write_texts, pairs=pairs[TARGET].subset(TRAIN), texts=texts)
    return Run(name, tasks, described, f"{recipe.model_dump_json()} {seed} {digests}", complete)
