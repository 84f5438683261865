"""Resolve methods and parameters into recipes, one file per method and study point.

    python -m model.recipes --output data/recipes

In: the sections network, objective, train, methods, out_of_class and one_shot of the parameter file.
Out: ``methods/<method>.json``, ``out_of_class/<method>/<categories>.json`` and
``one_shot/<method>/<domain>-<share>.json``.

A recipe has only what its phases use. So tau or the size of the embedding make stale just the trainings with a click
branch, and mu just those on both domains.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from model.config import Domain, Fewer, NetworkParams, ObjectiveParams, PositionParams, Recipe, TrainParams
from model.methods import METHODS, MethodsParams, check_names, weigh
from pipelines.artifacts import whole_directory, write_json
from pipelines.console import UserError, stage
from pipelines.params import DEFAULT_PATH, Params, load_section


class OutOfClassParams(Params):
    """Fig. 13: the source keeps fewer categories, the target all of its own."""

    methods: list[str] = Field(description="empty: the study is left out")
    categories: list[int] = Field(description="numbers of source categories; of one seed, fewer are part of more")

    _known = field_validator("methods")(check_names)

    @field_validator("categories")
    @classmethod
    def _positive(cls, categories: list[int]) -> list[int]:
        if any(number < 1 for number in categories) or len(set(categories)) < len(categories):
            raise ValueError(f"distinct numbers of at least 1 expected, found {categories}")
        return categories


class OneShotParams(Params):
    """Fig. 14: one domain keeps ceil(share * n_k) training images of each category k."""

    methods: list[str] = Field(description="empty: the study is left out")
    shares: list[float] = Field(description="in (0, 1); of one seed, fewer images are part of more")
    domains: list[Domain] = Field(description="reduced one at a time")

    _known = field_validator("methods")(check_names)

    @field_validator("shares")
    @classmethod
    def _below_one(cls, shares: list[float]) -> list[float]:
        if any(not 0 < share < 1 for share in shares) or len(set(shares)) < len(shares):
            raise ValueError(f"distinct shares above 0 and below 1 expected (1 is the method itself), found {shares}")
        return shares


def build_recipe(
    method: str,
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
    source_categories: int | None = None,
    fewer: Fewer | None = None,
) -> Recipe:
    """Return a method's recipe, without the parameters that none of its phases use.

    Raises:
        UserError: the method has a click branch, and network.embedding is missing.
    """
    plan = METHODS[method]
    phases = [weigh(phase, objective) for phase in plan.phases]
    embedding = None
    if any(phase.has_embedding for phase in phases):
        if network.embedding is None:
            raise UserError(f"network.embedding is missing; {method} predicts clicks")
        embedding = network.embedding.only_used("FC" if plan.linear_embedding else network.embedding.kind)
    has_position = any(term.kind == "position" for phase in phases for term in phase.losses)
    return Recipe(
        method=method,
        network=network.model_copy(update={"embedding": embedding}),
        train=train,
        position=PositionParams(bandwidth=objective.bandwidth, threshold=objective.threshold) if has_position else None,
        phases=phases,
        source_categories=source_categories,
        fewer=fewer,
    )


def all_recipes(
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
    methods: MethodsParams,
    out_of_class: OutOfClassParams,
    one_shot: OneShotParams,
) -> dict[str, Recipe]:
    """Return every recipe by its path, without ``.json``."""
    recipes = {f"methods/{name}": build_recipe(name, network, objective, train) for name in methods.names}
    for name in out_of_class.methods:
        for number in out_of_class.categories:
            recipe = build_recipe(name, network, objective, train, source_categories=number)
            recipes[f"out_of_class/{name}/{number}"] = recipe
    for name in one_shot.methods:
        for domain in one_shot.domains:
            for share in one_shot.shares:
                recipe = build_recipe(name, network, objective, train, fewer=Fewer(domain=domain, share=share))
                recipes[f"one_shot/{name}/{domain}-{share}"] = recipe
    return recipes


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the recipes")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("recipes") as closing:
        recipes = all_recipes(
            load_section(NetworkParams, "network", arguments.params),
            load_section(ObjectiveParams, "objective", arguments.params),
            load_section(TrainParams, "train", arguments.params),
            load_section(MethodsParams, "methods", arguments.params),
            load_section(OutOfClassParams, "out_of_class", arguments.params),
            load_section(OneShotParams, "one_shot", arguments.params),
        )
        with whole_directory(arguments.output) as folder:
            for name, recipe in recipes.items():
                write_json(recipe.model_dump(mode="json", exclude_none=True), folder / f"{name}.json")
        closing.wrote[str(arguments.output)] = f"{len(recipes)} recipes"
        closing.next_command = f"python -m model.train --recipe {arguments.output}/{next(iter(recipes))}.json ..."


if __name__ == "__main__":
    main()
