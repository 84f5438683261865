"""The phases of a run on the trainer's contract: alternating steps of discriminator and network, each its optimiser.

A3 has the phase ``preference``, in which the auto-encoder of histories is trained alone, before ``joint``, in which it
is kept as it is. All other runs have ``joint`` alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.data.batches import Batch, Draw
from model.data.images import ImageStore
from model.data.shards import scrambled
from model.folder import weights_digest
from model.frozen_features import frozen_entry
from model.losses.adversarial import deceiving_loss, discrimination_loss
from model.measures.accuracy import accuracy_at_k, precision_at_k, recall_at_k
from model.measures.units import reduce_units
from model.nets.preference import Preference, PreferenceAutoencoder
from model.training.learner import Learner
from model.training.task import Earlier, Run, Task, Validation, add
from systems.tagging.config import JOINT, PREFERENCE, Recipe
from systems.tagging.network import (
    Recommendation,
    TagNetwork,
    WithDiscriminator,
    build_discriminator,
    build_network,
    build_preference,
)
from systems.tagging.posts import Posts

POSTS = "posts"  # the stream
LEAST_SHARE = 1e-4  # of a tag; a tag without a training post would have none
VALIDATED_AT = 5  # tags, for the choice of the epoch


class TagBatch(NamedTuple):
    """B posts."""

    pictures: Tensor  # uint8 (B, 3, S, S), or float32 (B, F)
    history: Tensor  # u_h, float32 (B, N)
    labels: Tensor  # float32 (B, N), 0 or 1


class PreferenceTask(Task):
    """Trains the auto-encoder of histories alone.

    Args:
        recipe: the run's recipe.
        posts: the splits train and validation.
        seed: of initialisation, batches and crops.
        name: the phase's name.
    """

    def __init__(self, recipe: Recipe, posts: Posts, seed: int, name: str = PREFERENCE) -> None:
        super().__init__(name, seed, recipe.train, {POSTS: posts.row_numbers("train")}, POSTS)
        self.recipe, self.posts = recipe, posts

    def network(self, earlier: Earlier) -> nn.Module:
        """Return the auto-encoder."""
        return build_preference(self.recipe.network, len(self.posts.tags))

    def history(self, draws: Sequence[Draw]) -> Tensor:
        """Return u_h of posts: float32 (B, N)."""
        rows, passes = np.array([draw.row for draw in draws]), [draw.pass_number for draw in draws]
        return torch.from_numpy(self.posts.relative_history(rows, self.recipe.history, self.seed, passes))

    def load(self, stream: str, draws: Sequence[Draw]) -> TagBatch:
        """Return histories and labels, without pictures."""
        labels = torch.from_numpy(self.posts.labels([draw.row for draw in draws], np.float32))
        return TagBatch(torch.empty(len(draws), 0), self.history(draws), labels)

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return one optimiser of all weights."""
        return [self.optimiser(module, "preference")]

    def optimiser(self, module: nn.Module, part: str) -> torch.optim.Optimizer:
        """Return Adadelta or SGD over a module's trained weights; the paper has Adadelta at the rate 1."""
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        groups: list[dict[str, Any]] = [{"params": weights, "peak": self.params.learning_rate, "part": part}]
        if self.recipe.train.optimiser == "sgd":
            return self.sgd(module, groups)
        return torch.optim.Adadelta(groups, lr=0.0, weight_decay=self.params.weight_decay)

    def reconstruction(self, preference: Preference, history: Tensor) -> Tensor:
        """Return L_r, the mean Huber loss of the reconstructed history (eq. 1)."""
        found = preference.logits.float().sigmoid()
        return functional.huber_loss(found, history, delta=self.recipe.loss.delta)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return L_r."""
        history = batch[POSTS].history
        loss = self.reconstruction(module(history), history)
        return loss, {"reconstruction": loss.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Measure L_r on the validation posts, if there are any."""
        rows = self.posts.row_numbers("validation")
        if not len(rows):
            return Validation()

        def losses(network: nn.Module, batch: TagBatch) -> tuple[float, int]:
            return self.reconstruction(network(batch.history), batch.history).item(), len(batch.history)

        found = np.array(learner.run(POSTS, rows, losses))
        mean = float((found[:, 0] * found[:, 1]).sum() / found[:, 1].sum())
        return Validation({"reconstruction": mean}, [-mean], "validation loss of reconstruction", mean)

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return image ids; users are not named."""
        return self.posts.rows["image_id"].gather(list(rows)).to_list()


class TagTask(PreferenceTask):
    """Trains the whole network; with an adversary each step has two halves, each with its own optimiser.

    First D learns to tell people's jittered tags from the network's, then the network learns with D fixed. The weights
    of the auto-encoder come from the phase `PREFERENCE` and stay, unless the run is joint.
    """

    def __init__(self, recipe: Recipe, posts: Posts, seed: int) -> None:
        super().__init__(recipe, posts, seed, JOINT)
        self.starts_from = () if recipe.joint else (PREFERENCE,)

    def network(self, earlier: Earlier) -> TagNetwork:
        """Return the network, with the start weights of its ConvNet.

        The last layers begin at the log-odds of the tags' shares of the training posts, so that no epoch is spent on
        learning that most tags are rare.
        """
        network = network_of(self.recipe, self.posts)
        shares = self.posts.labels(self.rows[POSTS]).mean(axis=0).clip(LEAST_SHARE, 1 - LEAST_SHARE)
        for head in (network.personal, network.general):
            if head is not None:
                head[-1].bias.data = torch.from_numpy(np.log(shares / (1 - shares))).float()
        if network.direct is not None:
            network.direct.shares = torch.from_numpy(shares / shares.sum()).float()
        if not self.recipe.joint:
            assert isinstance(network.preference, PreferenceAutoencoder)
            network.preference.load_state_dict(earlier(PREFERENCE))
            network.preference.requires_grad_(False)
        return network

    def module(self, network: nn.Module) -> nn.Module:
        """Return the network with its discriminator, if it has one."""
        if self.recipe.adversary == "none":
            return network
        assert isinstance(network, TagNetwork)
        judge = build_discriminator(self.recipe.network, len(self.posts.tags))
        return WithDiscriminator(network, judge, self.recipe.adversary, self.recipe.loss)

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimiser of the network and, with an adversary, that of D."""
        if not isinstance(module, WithDiscriminator):
            return [self.optimiser(module, "network")]
        return [self.optimiser(module.network, "network"), self.optimiser(module.judge, "discriminator")]

    def load(self, stream: str, draws: Sequence[Draw]) -> TagBatch:
        """Return pictures (random crops in training), histories and labels."""
        pictures = self.posts.pictures
        rows = np.array([draw.row for draw in draws])
        places = self.posts.image_rows[rows]
        if isinstance(pictures, ImageStore):
            drawn = [Draw(int(place), draw.pass_number) for place, draw in zip(places, draws, strict=True)]
            shown = pictures.crops(drawn, self.recipe.network.image_size, self.seed)
        else:
            shown = torch.from_numpy(pictures[places])
        return super().load(stream, draws)._replace(pictures=shown)

    def reading_order(self, stream: str, rows: np.ndarray) -> np.ndarray:
        """Return the order of the pictures in their shards, so that all posts of a picture are next to each other."""
        pictures = self.posts.pictures
        places = self.posts.image_rows[rows]
        return pictures.order[places] if isinstance(pictures, ImageStore) else scrambled(places)

    def will_read(self, stream: str, rows: np.ndarray) -> None:
        """Read pictures."""
        if isinstance(self.posts.pictures, ImageStore):
            self.posts.pictures.read(self.posts.image_rows[rows])

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted losses of the network (eq. 5); D, if there is one, gets no gradient."""
        posts: TagBatch = batch[POSTS]
        weights = self.recipe.loss
        found: Recommendation
        judged = None
        if self.recipe.adversary == "none":
            found = module(posts.pictures, posts.history)
        else:
            found, judged = module(posts.pictures, posts.history)
        entropy = functional.binary_cross_entropy_with_logits
        parts = {"personal": (weights.personal, entropy(found.personal.float(), posts.labels))}
        if found.general is not None:
            parts["general"] = (weights.general, entropy(found.general.float(), posts.labels))
        if found.preference is not None and self.recipe.joint:
            parts["reconstruction"] = (weights.gamma, self.reconstruction(found.preference, posts.history))
        if judged is not None:
            parts["deceiving"] = (weights.theta, deceiving_loss(judged.float(), weights.saturates))
        total = torch.stack([weight * value for weight, value in parts.values()]).sum()
        return total, {name: value.detach() for name, (_, value) in parts.items()}

    def step(self, learner: Learner) -> dict[str, Tensor]:
        """Take a step of D, if there is one, and then one of the network."""
        if self.recipe.adversary == "none":
            return super().step(learner)
        means: dict[str, Tensor] = {}
        for part in learner.parts():
            posts: TagBatch = part[POSTS]
            real, generated = learner.module(posts.pictures, posts.history, posts.labels)
            loss = discrimination_loss(real.float(), generated.float())
            found = learner.backward(loss, part, {"discriminator": loss})
            add(means, {"discriminator": found["discriminator"]})
        learner.update(1)
        for part in learner.parts():
            loss, components = self.loss(learner.module, part)
            add(means, learner.backward(loss, part, components))
        learner.update(0)
        return means

    def validate(self, learner: Learner) -> Validation:
        """Measure the recommended tags of the validation posts, if there are any."""
        rows = self.posts.row_numbers("validation")
        if not len(rows):
            return Validation()
        logits = torch.cat(learner.run(POSTS, rows, _recommended))
        labels = self.posts.labels(rows)
        entropy = functional.binary_cross_entropy_with_logits(logits.double(), torch.from_numpy(labels).double()).item()
        names, k = [str(row) for row in rows], VALIDATED_AT
        values = {"personal": entropy}
        for name, measure in {"precision": precision_at_k, "recall": recall_at_k, "accuracy": accuracy_at_k}.items():
            units = measure(name, names, logits.numpy(), labels, k)
            values[name] = round(100 * (reduce_units(units)[name] or 0.0), 4)
        rank = [values["precision"], -entropy]
        return Validation(values, rank, f"validation precision at {k}", values["precision"])


def _recommended(network: nn.Module, batch: TagBatch) -> Tensor:
    assert isinstance(network, TagNetwork)
    return network.recommend(batch.pictures, batch.history).float().cpu()


def network_of(recipe: Recipe, posts: Posts, load: bool = True) -> TagNetwork:
    """Build a recipe's network for some posts."""
    num_features = None if isinstance(posts.pictures, ImageStore) else posts.pictures.shape[1]
    has_history, has_general = recipe.history != "none", recipe.adversary != "none"
    return build_network(recipe.network, len(posts.tags), num_features, has_history, has_general, load)


def training_run(recipe: Recipe, posts: Posts, seed: int, name: str) -> Run:
    """Return the training of a recipe, for `model.training.trainer.train`.

    Args:
        recipe: the recipe.
        posts: the splits train and validation.
        seed: of initialisation, batches and crops.
        name: for logs and the checkpoint folder.
    """
    first: list[Task] = [] if recipe.joint else [PreferenceTask(recipe, posts, seed)]
    digest = weights_digest(recipe.network.weights)
    described = {
        "system": "tagging",
        "seed": seed,
        "posts": {split: len(posts.row_numbers(split)) for split in ("train", "validation")},
        "tags": posts.tags,
        "features": None if isinstance(posts.pictures, ImageStore) else posts.pictures.shape[1],
        "frozen": frozen_entry(posts.frozen),
        "recipe": recipe.model_dump(mode="json"),
        "start_weights": digest,
    }
    return Run(
        name,
        [*first, TagTask(recipe, posts, seed)],
        described,
        f"{recipe.model_dump_json()} {seed} {posts.fingerprint} {digest}",
    )
