"""Measure a trained run on the test posts, whose histories have training posts alone.

    python -m systems.tagging.evaluate --model data/tagging/models/A6/seed-0 --tags data/sets/toy/tags \\
        --splits data/sets/toy/tag_splits --images data/sets/toy/ingested/images \\
        --output data/tagging/results/evaluations/A6/seed-0

Out: ``metrics.json`` and ``units.parquet`` (`schemas.UNITS`), in percent; ties: the tag with the lower id is better:

- ``precision5``, ``recall5``, ``accuracy5``, for each k of ``at``: mean over posts of h/k, h/n and [h > 0], with h hits
  among k recommended tags and n true ones; posts with n = 0 have no recall and are left out of it;
- ``per_category_precision``, ``_recall``, ``_f1`` and ``overall_...``: C-P to O-F1 of ``category_at`` tags;
- ``coverage``: share of the tags that are recommended to anybody;
- ``precision5_history_1-9``: by the number of tags in the user's history;
- ``cold_precision5`` ...: with empty histories (A4); ``shuffled_precision5``: with those of other users;
- ``evolving_25_precision5``: with the first 25 % of the posts in each user's history (Table XII).

The last three kinds are measured only for runs that are trained with users' own histories. No unit names a user.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from pydantic import Field, ValidationError

from base import schemas
from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, load_section
from base.seeding import derive_seed
from model.data.histories import Histories, relative
from model.data.images import ImageStore
from model.folder import device_at_hand, load_weights, read_run
from model.nets.backbones import Visual
from pipelines.tags.split import HISTORY, TRAIN, histories_of
from systems.tagging.config import JOINT, Recipe
from systems.tagging.measures import MeasureParams, Targets, all_units, metrics_of, units_at_k
from systems.tagging.network import TagNetwork
from systems.tagging.posts import Posts, Sources
from systems.tagging.sources import add_sources, sources_of
from systems.tagging.task import network_of


class EvaluateParams(MeasureParams):
    """The parameters of an evaluation."""

    batch_size: int = Field(ge=1, description="posts per batch; no result depends on it")
    evolving: list[float] = Field(description="shares of the histories to measure with; []: none")


def read_model(folder: Path) -> tuple[Recipe, int, list[str], dict[str, Any]]:
    """Return recipe, seed, tags and run.json of a model folder.

    Raises:
        UserError: the folder is not a model folder of this system.
    """
    run = read_run(folder)
    try:
        return Recipe.model_validate(run["recipe"]), int(run["seed"]), list(run["tags"]), run
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise UserError(f"{folder}/run.json: not of this system: {error}; train the model again") from None


def posts_to_test(posts: Posts, least_tags: int) -> tuple[np.ndarray, Targets]:
    """Return the row numbers of the test posts with enough tags, and these posts.

    Raises:
        UserError: there are none.
    """
    rows = posts.row_numbers("test")
    rows = rows[posts.labels(rows).sum(axis=1) >= least_tags]
    if not len(rows):
        raise UserError(f"no test post has {least_tags} tags of the vocabulary; lower least_tags")
    lengths = posts.histories.lengths(posts.users[rows])
    return rows, Targets(posts.names(rows), posts.tags, posts.labels(rows), lengths)


class Scorer:
    """A trained network, and what it sees in the pictures of some posts, computed once for all histories.

    Args:
        network: in evaluation mode.
        posts: the posts.
        rows: of the posts to score.
        recipe: the run's recipe.
        batch_size: posts per batch.
    """

    def __init__(self, network: TagNetwork, posts: Posts, rows: np.ndarray, recipe: Recipe, batch_size: int) -> None:
        self.network, self.batch_size, self.device = network, batch_size, device_at_hand()
        places, self.of_image = np.unique(posts.image_rows[rows], return_inverse=True)
        seen = []
        with torch.no_grad():
            for start in range(0, len(places), batch_size):
                part = places[start : start + batch_size]
                if isinstance(posts.pictures, ImageStore):
                    size = recipe.network.image_size
                    crops = [posts.pictures.crop(int(place), size, 0, None).transpose(2, 0, 1) for place in part]
                    shown = torch.from_numpy(np.stack(crops))
                else:
                    shown = torch.from_numpy(posts.pictures[part])
                seen.append([part.float().cpu() for part in self.network.visual(shown.to(self.device))])
        self.seen = Visual(*(torch.cat(parts) for parts in zip(*seen, strict=True)))

    @torch.no_grad()
    def scores(self, counts: np.ndarray) -> np.ndarray:
        """Return the logits of personal tags with some histories.

        Shape:
            counts: integers (P, N); result: float32 (P, N)
        """
        found = []
        for start in range(0, len(counts), self.batch_size):
            part = slice(start, start + self.batch_size)
            seen = Visual(*(values[self.of_image[part]].to(self.device) for values in self.seen))
            history = torch.from_numpy(relative(counts[part])).to(self.device)
            found.append(self.network.recommend_from(seen, history).float().cpu())
        return torch.cat(found).numpy()


def load_network(folder: Path, recipe: Recipe, posts: Posts) -> TagNetwork:
    """Return the trained network of a model folder, in evaluation mode, on the available device."""
    network = network_of(recipe, posts, load=False)
    load_weights(network, folder, JOINT)
    return network.to(device_at_hand()).eval()


def first_share(posts: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """Return the first posts of each user's history, by time; of posts without a time in a random order.

    Args:
        posts: `image_id`, `user_id`, `time` and `split`.
        share: of each user's posts, rounded to whole posts.
        seed: of the random order.
    """
    known = posts.filter(pl.col("split").is_in([TRAIN, HISTORY]))
    ranks = [derive_seed(seed, "evolving", user, image) for user, image in known.select("user_id", "image_id").rows()]
    keyed = known.with_columns(draw=pl.Series(ranks, dtype=pl.Int64))
    place = pl.struct(pl.col("time").fill_null(0), "draw", "image_id").rank("ordinal").over("user_id")
    return keyed.filter(place <= (share * pl.len().over("user_id")).round()).drop("draw")


def evaluate(model: Path, sources: Sources, params: EvaluateParams) -> tuple[dict[str, Any], pl.DataFrame]:
    """Return the content of metrics.json, and the units.

    Args:
        model: the model folder.
        sources: the posts of the training's seed.
        params: of the evaluation.

    Raises:
        UserError: the model was trained with other tags, or no post is tested.
    """
    recipe, seed, tags, run = read_model(model)
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    posts = Posts.read(sources, ["test"], recipe.network.pixels, recipe.train.cache_images)
    if posts.tags != tags:
        raise UserError(f"{sources.tags}: its vocabulary is not that with which {model} was trained; train again")
    rows, tested = posts_to_test(posts, params.least_tags)
    scorer = Scorer(load_network(model, recipe, posts), posts, rows, recipe, params.batch_size)
    scores = scorer.scores(posts.history(rows, recipe.history, seed))
    units = [all_units(tested, scores, params)]
    if recipe.history not in ("none", "shuffled"):
        for prefix, mode in (("cold_", "none"), ("shuffled_", "shuffled")):
            others = scorer.scores(posts.history(rows, mode, seed))  # type: ignore[arg-type]
            units.append(units_at_k(prefix, tested, others, params.at))
        every = sources.every_post() if params.evolving else pl.DataFrame()
        for share in params.evolving:
            early = Histories(histories_of(first_share(every, share, seed)), len(tags))
            counts = early.of(early.rows_of(posts.rows["user_id"].gather(rows)))
            units.append(units_at_k(f"evolving_{100 * share:g}_", tested, scorer.scores(counts), [params.lengths_at]))
    table = pl.concat(units).sort("metric", "unit")
    metrics = metrics_of(table, number_of_posts(tested, posts) | run["posts"])
    metrics["chosen"] = {epoch["phase"]: {**epoch} for epoch in run["chosen"]}
    return metrics, table


def number_of_posts(tested: Targets, posts: Posts) -> dict[str, int]:
    """Return how many posts were tested, have no recall, have an empty history, and were left out."""
    return {
        "tested": len(tested.names),
        "tested without a tag": int((~tested.labels.any(axis=1)).sum()),
        "tested without a history": int((tested.lengths == 0).sum()),
        "left out, with fewer tags": len(posts.row_numbers("test")) - len(tested.names),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    add_sources(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"evaluate {arguments.model}") as closing:
        params = load_section(EvaluateParams, "tagging.evaluate", arguments.params)
        seed = read_model(arguments.model)[1]
        metrics, units = evaluate(arguments.model, sources_of(arguments, seed), params)
        with whole_directory(arguments.output) as folder:
            write_json(metrics, folder / "metrics.json")
            write_table(units.to_arrow().cast(schemas.UNITS), folder / "units.parquet")
        k = params.lengths_at
        closing.counts = {name: metrics[name] for name in (f"precision{k}", f"cold_precision{k}") if metrics.get(name)}
        closing.counts |= {f"posts {name}": number for name, number in metrics["posts"].items()}
        closing.wrote[str(arguments.output)] = "metrics.json, units.parquet"
        closing.next_command = "python -m systems.tagging.report (see stages/tagging/dvc.yaml)"


if __name__ == "__main__":
    main()
