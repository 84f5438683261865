"""Recommend tags for a picture and a user.

    python -m systems.tagging.recommend --model data/tagging/models/A6/seed-0 --image holiday.jpg --history "beach,sea"
    python -m systems.tagging.recommend --model DIR --image holiday.jpg --user ID --tags DIR --splits DIR

The history is either that of a user of the log (``--user``: the posts that trained, of the model's seed) or given as
tags (``--history``; a tag that is there three times was given three times; "" is a cold start). A user whom the
training never saw gets what a known user with the same history would get: the network knows histories, not users.

With features as input, ``--image`` is the id of an image, and ``--features`` the folder of frozen features.
Out, on standard output: a table, or with ``--format jsonl`` one object for each tag: tag, probability. The id of a user
is printed only with ``--show-users``.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from base.artifacts import read_tables
from base.console import UserError, log, named, stage
from base.inputs import check_file
from base.terminal import printable
from model.data.histories import Histories, relative
from model.data.images import centre_crop, decode
from model.folder import device_at_hand, load_weights
from model.heads import read_features
from model.measures.accuracy import best_columns
from model.nets.backbones import Visual
from pipelines.ingest.decoding import BadImageError, check_image
from pipelines.tags.rows import normal_tag
from systems.tagging.config import JOINT, Recipe
from systems.tagging.evaluate import read_model
from systems.tagging.network import TagNetwork, build_network


class Suggestion(NamedTuple):
    """A recommended tag."""

    tag: str
    probability: float


@dataclass(frozen=True)
class Recommender:
    """A trained network that recommends tags.

    Attributes:
        recipe: of the training.
        tags: the vocabulary.
        network: in evaluation mode, on the GPU if there is one.
        seed: of the training.
    """

    recipe: Recipe
    tags: list[str]
    network: TagNetwork
    seed: int

    @classmethod
    def load(cls, folder: Path) -> "Recommender":
        """Load a model folder.

        Raises:
            UserError: it is not a model folder of this system.
        """
        recipe, seed, tags, run = read_model(folder)
        parts = recipe.history != "none", recipe.adversary != "none"
        network = build_network(recipe.network, len(tags), run["features"], *parts, load=False)
        load_weights(network, folder, JOINT)
        return cls(recipe, tags, network.to(device_at_hand()).eval(), seed)

    def see(self, picture: bytes) -> Visual:
        """Return what the ConvNet sees in an encoded picture.

        Raises:
            UserError: the bytes are no image, or the network sees features.
        """
        if self.recipe.network.pixels is None:
            raise UserError(
                "this model sees frozen features, not pictures; give --features, and an image id as --image, or use "
                "clicksight predict"
            )
        try:
            checked = check_image(picture).data  # as the ingest does with the pictures of a training
        except BadImageError as error:
            raise UserError(f"the picture can't be used: {error}") from None
        pixels = centre_crop(decode(checked, self.recipe.network.pixels), self.recipe.network.image_size)
        return self.see_pixels(pixels)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def see_pixels(self, pixels: np.ndarray) -> Visual:
        """Return what the ConvNet sees in a square: uint8 (S, S, 3)."""
        return self.see_inputs(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))

    def see_features(self, features: np.ndarray) -> Visual:
        """Return what the trained layer makes of one image's features: float32 (F,)."""
        return self.see_inputs(torch.from_numpy(features[None]))

    @torch.no_grad()
    def see_inputs(self, inputs: Tensor) -> Visual:
        """Return what the network sees in squares, uint8 (B, 3, S, S), or in features, float32 (B, F)."""
        seen: Visual = self.network.visual(inputs.to(self.device))
        return seen

    def counts(self, history: Sequence[str], fold: bool = True) -> np.ndarray:
        """Return a history as counts; tags that the vocabulary lacks are left out, and a warning names them.

        A tag that is in the vocabulary as it is written is that one; any other is normalised as those of the log were.

        Args:
            history: tags, each as often as it was given.
            fold: whether case and compatibility forms make no difference, as `tags.fold` was when the log was read.

        Shape:
            result: int64 (N,)
        """
        places = {tag: place for place, tag in enumerate(self.tags)}
        found = [
            tag if tag in places else normal_tag(tag, is_escaped=False, fold=fold) for tag in history if tag.strip()
        ]
        if unknown := sorted(set(found) - set(places)):
            log.warning("tags that the model doesn't know are left out of the history: %s", named(unknown))
        ids = [places[tag] for tag in found if tag in places]
        return np.bincount(ids, minlength=len(self.tags)).astype(np.int64)

    @torch.no_grad()
    def recommend(self, seen: Visual, counts: np.ndarray, k: int) -> list[Suggestion]:
        """Return the k most probable tags, the best first; of equally probable ones the more used.

        Args:
            seen: from :meth:`see`.
            counts: of the user's history.
            k: number of tags.

        Shape:
            counts: integers (N,)
        """
        history = torch.from_numpy(relative(counts[None])).to(self.device)
        logits = self.network.recommend_from(seen, history).float().cpu()
        probabilities = logits.sigmoid().numpy()[0]
        best = best_columns(logits.numpy(), k)[0]
        return [Suggestion(self.tags[place], float(probabilities[place])) for place in best]


def known_history(tags: Path, splits: Path, recommender: Recommender, user: str) -> np.ndarray:
    """Return the counts of a user of the log: int64 (N,).

    Raises:
        UserError: the log's vocabulary is not the model's, or nobody of this id has a history.
    """
    if list(read_tables(tags / "vocabulary.parquet", ["tag"])["tag"].to_pylist()) != recommender.tags:
        raise UserError(f"{tags}: its vocabulary is not the model's; give the folder that the model was trained on")
    table = pl.DataFrame(read_tables(splits / f"histories/seed-{recommender.seed}.parquet"))
    histories = Histories(table, len(recommender.tags))
    [row] = histories.rows_of(pl.Series([user]))
    if row < 0:
        raise UserError("no user of this id has a training post; give the tags by --history")
    return histories.of(np.array([row]))[0]


def show(found: Sequence[Suggestion], form: str) -> str:
    """Return suggestions as lines of a table, or as JSON Lines."""
    if form == "jsonl":
        lines = [json.dumps({"tag": tag, "probability": round(p, 6)}, ensure_ascii=False) for tag, p in found]
    else:
        width = max((len(printable(one.tag)) for one in found), default=0)
        lines = [f"{printable(tag).ljust(width)}  {p:.4f}" for tag, p in found]
    return "".join(f"{line}\n" for line in lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    parser.add_argument("--image", required=True, help="an image file; with --features an image id")
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="ID", help="a user of the log; needs --tags and --splits")
    whose.add_argument("--history", metavar="TAGS", help='tags that the user gave, as in "beach,sea,sea"')
    parser.add_argument("--no-fold", dest="fold", action="store_false", help="tags.fold was false")
    parser.add_argument("--tags", type=Path, help="posts and vocabulary, from pipelines.tags.tag_log")
    parser.add_argument("--splits", type=Path, help="splits and histories, from pipelines.tags.split")
    parser.add_argument("--features", type=Path, help="frozen features, for a model that sees features")
    parser.add_argument("--k", type=int, default=5, help="number of tags (default: %(default)s)")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table")
    parser.add_argument("--show-users", action="store_true", help="the log line may have the user's id")
    arguments = parser.parse_args(argv)
    with stage("recommend") as closing:
        if arguments.k < 1:
            raise UserError(f"--k {arguments.k}: at least 1 expected")
        recommender = Recommender.load(arguments.model)
        if arguments.features is not None:
            image = pl.DataFrame({"image_id": [arguments.image]})
            seen = recommender.see_features(read_features(arguments.features, image)[0])
        else:
            check_file(arguments.image)
            seen = recommender.see(Path(arguments.image).read_bytes())
        if arguments.user is None:
            counts = recommender.counts(arguments.history.split(","), arguments.fold)
        elif arguments.tags is None or arguments.splits is None:
            raise UserError("--user needs --tags and --splits, where the user's history is; or give --history")
        else:
            counts = known_history(arguments.tags, arguments.splits, recommender, arguments.user)
        found = recommender.recommend(seen, counts, arguments.k)
        sys.stdout.write(show(found, arguments.format))
        who = f" of user {printable(arguments.user)}" if arguments.user and arguments.show_users else ""
        closing.counts[f"tags in the history{who}"] = int(counts.sum())


if __name__ == "__main__":
    main()
