"""Fit and measure the recommenders that train no network, for all seeds.

    python -m systems.tagging.baselines --tags data/sets/toy/tags --splits data/sets/toy/tag_splits \\
        --images data/sets/toy/ingested/images --features data/tagging/features \\
        --output data/tagging/results/evaluations/baselines

In: the parameter file's sections tagging.plan, .baselines and .evaluate, posts, and frozen features of their pictures.
Without --images and --features those that need no picture are fitted: most_used, own, interpolated, user_groups and
factorisation.
Out: for each of ``tagging.plan.baselines`` and each seed ``NAME/seed-N/metrics.json`` and ``units.parquet``, as
`systems.tagging.evaluate` writes them; the folder is empty if none is listed. Where a parameter is a list, the value
with the best precision of ``lengths_at`` tags on the validation posts is taken.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy import sparse

from base import schemas
from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, progress, stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from model.heads import principal_components
from model.measures.accuracy import precision_at_k
from model.measures.units import reduce_units
from model.recommenders.counts import interpolated, most_used, own
from model.recommenders.factorisation import factorise
from model.recommenders.fast_tag import fit_fast_tag
from model.recommenders.user_groups import GroupParams, fit_groups
from model.recommenders.warp import WarpParams, fit_warp
from systems.tagging.config import OF_PICTURES, PlanParams
from systems.tagging.evaluate import EvaluateParams, number_of_posts, posts_to_test
from systems.tagging.measures import all_units, metrics_of
from systems.tagging.posts import Posts
from systems.tagging.sources import add_sources, sources_of

Scores = Callable[[np.ndarray], np.ndarray]  # from rows of posts to scores of all tags


class BaselineParams(Params):
    """The parameters of all baselines."""

    weights: list[float] = Field(description="interpolated: tags of a history that count as much as the most used ones")
    groups: int = Field(description="user_groups: number of groups", ge=1)
    neighbours: int = Field(description="user_groups: images that vote", ge=1)
    restart: list[float] = Field(description="user_groups: probability of a restart of the walk")
    steps: int = Field(description="user_groups: of the walk", ge=0)
    components: int = Field(description="fast_tag, warp: principal components of the features", ge=1)
    corruption: float = Field(description="fast_tag: probability of blanking a tag", gt=0, lt=1)
    completion: float = Field(description="fast_tag: gamma, the weight of completion", gt=0)
    penalties: list[float] = Field(description="fast_tag: of its linear map")
    warp_rates: list[float] = Field(description="warp: Adam's first rate")
    warp_epochs: int = Field(description="warp: passes over the training posts", ge=1)
    warp_batch: int = Field(description="warp: posts of a step", ge=1)
    factors: int = Field(description="factorisation: factors of a user and a tag", ge=1)
    confidences: list[float] = Field(description="factorisation: alpha, of a count of 1")
    regularisation: float = Field(description="factorisation: lambda", gt=0)
    rounds: int = Field(description="fast_tag, factorisation: solutions in turn", ge=1)


class Fitted:
    """The baselines of one seed. P posts, N tags.

    Args:
        posts: all splits, with features.
        params: of the baselines.
        seed: of k-means, of first factors and of the order of images.
    """

    def __init__(self, posts: Posts, params: BaselineParams, seed: int) -> None:
        assert isinstance(posts.pictures, np.ndarray)
        self.posts, self.params, self.seed = posts, params, seed
        self.trained = posts.row_numbers("train")
        self.counts = np.asarray(posts.histories.counts.sum(axis=0)).ravel()
        self.shown = np.zeros(len(posts.pictures), bool)
        self.shown[posts.image_rows[self.trained]] = True

    def histories(self, rows: np.ndarray) -> np.ndarray:
        """Return the histories of posts that don't train, so that nothing is to be left out: counts (P, N)."""
        return self.posts.history(rows, "whole")

    def choices(self, name: str) -> Mapping[str, Scores]:
        """Return for each value of a baseline's listed parameter the function from rows of posts to scores (P, N)."""
        return {
            "most_used": lambda: {"": lambda rows: most_used(self.counts, len(rows))},
            "own": lambda: {"": lambda rows: own(self.histories(rows))},
            "interpolated": lambda: {f"weight {one:g}": self._interpolated(one) for one in self.params.weights},
            "user_groups": lambda: {f"restart {one:g}": self._user_groups(one) for one in self.params.restart},
            "fast_tag": lambda: {f"penalty {one:g}": self._fast_tag(one) for one in self.params.penalties},
            "warp": lambda: {f"rate {one:g}": self._warp(one) for one in self.params.warp_rates},
            "factorisation": lambda: {f"confidence {one:g}": self._factorised(one) for one in self.params.confidences},
        }[name]()

    def _interpolated(self, weight: float) -> Scores:
        return lambda rows: interpolated(self.histories(rows), self.counts, weight)

    def _user_groups(self, restart: float) -> Scores:
        posts, params = self.posts, self.params
        x = np.asarray(posts.pictures, np.float64)[posts.image_rows]
        has_pictures = x.shape[1] > 0
        walk = GroupParams(params.groups, params.neighbours, restart, params.steps)
        users, tags = posts.users[self.trained], sparse.csr_array(posts.labels(self.trained))
        shown = x[self.trained] if has_pictures else None
        fitted = fit_groups(posts.histories.counts, users, tags, shown, walk, self.seed)
        return lambda rows: fitted.scores(self.histories(rows), x[rows] if has_pictures else None)

    @cached_property
    def _components(self) -> np.ndarray:
        """Principal components of each post's picture, and a column of ones: (P, D + 1)."""
        parts = principal_components(np.asarray(self.posts.pictures), self.params.components, self.shown)
        return np.c_[parts, np.ones(len(parts))][self.posts.image_rows]

    def _fast_tag(self, penalty: float) -> Scores:
        params, x = self.params, self._components
        labels = self.posts.labels(self.trained)
        maps = fit_fast_tag(x[self.trained], labels, params.corruption, params.completion, penalty, params.rounds)
        return lambda rows: maps.scores(x[rows])

    def _warp(self, rate: float) -> Scores:
        params, x = self.params, self._components
        training = WarpParams(rate, params.warp_epochs, params.warp_batch)
        weights = fit_warp(x[self.trained], self.posts.labels(self.trained), training, self.seed)
        return lambda rows: np.asarray(x[rows] @ weights.T)

    def _factorised(self, alpha: float) -> Scores:
        counts, params = self.posts.histories.counts, self.params
        found = factorise(counts, params.factors, alpha, params.regularisation, params.rounds, self.seed)
        return lambda rows: found.scores(self.histories(rows))

    def best(self, name: str, k: int) -> tuple[str, Scores]:
        """Return the choice with the best precision at k on the validation posts; of equal ones the first.

        Raises:
            UserError: a choice is to be made and there are no validation posts.
        """
        choices, rows = self.choices(name), self.posts.row_numbers("validation")
        if len(choices) > 1 and not len(rows):
            raise UserError(f"tagging.baselines: {name} has {len(choices)} values and no validation post; list one")
        if len(choices) == 1:
            return next(iter(choices.items()))
        labels, names = self.posts.labels(rows), [str(row) for row in rows]
        values = {
            text: reduce_units(precision_at_k("p", names, scores(rows), labels, k))["p"] or 0.0
            for text, scores in choices.items()
        }
        best = max(values, key=values.__getitem__)
        return best, choices[best]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("tagging baselines") as closing:
        plan = load_section(PlanParams, "tagging.plan", arguments.params)
        params = load_section(BaselineParams, "tagging.baselines", arguments.params)
        measured = load_section(EvaluateParams, "tagging.evaluate", arguments.params)
        seeds = read_seeds(arguments.params) if plan.baselines else []
        if arguments.images is None and (needing := sorted({*plan.baselines} & {*OF_PICTURES})):
            raise UserError(f"{', '.join(needing)} need pictures; give --images, or leave them out of tagging.plan")
        k = measured.lengths_at
        found: dict[str, list[float]] = {name: [] for name in plan.baselines}
        with whole_directory(arguments.output) as folder:
            for seed in progress(seeds, "baselines", "seeds", len(seeds)):
                posts = Posts.read(sources_of(arguments, seed), ["train", "validation", "test"], None, cache=False)
                fitted = Fitted(posts, params, seed)
                rows, tested = posts_to_test(posts, measured.least_tags)
                for name in plan.baselines:
                    text, scores = fitted.best(name, k)
                    units = all_units(tested, scores(rows), measured).sort("metric", "unit")
                    metrics: dict[str, Any] = metrics_of(units, number_of_posts(tested, posts)) | {"chosen": text}
                    write_json(metrics, folder / name / f"seed-{seed}" / "metrics.json")
                    table = units.to_arrow().cast(schemas.UNITS)
                    write_table(table, folder / name / f"seed-{seed}" / "units.parquet")
                    found[name].append(metrics[f"precision{k}"])
            write_json({name: round(float(np.mean(of)), 4) for name, of in found.items()}, folder / "summary.json")
        closing.counts = {f"precision{k}, {name}": float(np.mean(values)) for name, values in found.items()}
        closing.wrote[str(arguments.output)] = f"{len(found)} baselines, {len(seeds)} seeds"
        closing.next_command = "python -m systems.tagging.report (see stages/tagging/dvc.yaml)"


if __name__ == "__main__":
    main()
