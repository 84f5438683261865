"""Resolve methods and parameters into recipes, one file per method and study point.

    python -m systems.mtmdd.recipes --output data/recipes

In: the parameter file's sections network, objective, train, methods, components, out_of_class, one_shot, cross_object.
Out: ``methods/<method>.json``, ``components/<study>=<value>.json``, ``out_of_class/<method>/<categories>.json``,
``one_shot/<method>/<domain>-<share>.json`` and ``cross_object/<method>/<source>.json``; and ``studies.json``: which of
them each component study is made of.

A recipe has only what its phases use. So tau or the size of the embedding make stale just the trainings with a click
branch, and mu just those on both domains.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, field_validator

from base.artifacts import whole_directory, write_json
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section
from systems.mtmdd.config import Domain, Fewer, NetworkParams, ObjectiveParams, PositionParams, Recipe, TrainParams
from systems.mtmdd.methods import METHODS, Method, MethodsParams, check_names, weigh
from systems.mtmdd.studies import STUDIES, ComponentsParams, candidates, point_setup


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


class CrossObjectParams(Params):
    """Table IX: another data set's source, of another kind of object, takes the place of the own one."""

    methods: list[str] = Field(description="with a head for each domain; empty: the study is left out")
    sources: list[str] = Field(description="names of data sets, as in other_objects; each is in data/other/<name>")

    _known = field_validator("methods")(check_names)

    @field_validator("methods")
    @classmethod
    def _separate_heads(cls, methods: list[str]) -> list[str]:
        shared = [name for name in methods if any(phase.shared_head for phase in METHODS[name].phases)]
        if shared:
            raise ValueError(
                f"{shared}: one head for both domains can't be where they have no category in common; "
                "take a method with separate heads, as MTMDD-VM"
            )
        return methods

    @field_validator("sources")
    @classmethod
    def _names(cls, sources: list[str]) -> list[str]:
        if any(not re.fullmatch(r"[\w-]+", name) for name in sources) or len(set(sources)) < len(sources):
            raise ValueError(f"distinct names of letters, digits, _ and - expected, found {sources}")
        return sources


def build_recipe(
    method: str,
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
    source_categories: int | None = None,
    fewer: Fewer | None = None,
    source: str | None = None,
    plan: Method | None = None,
) -> Recipe:
    """Return a method's recipe, without the parameters that none of its phases use.

    Args:
        method: its name.
        network, objective, train: sections of the parameter file.
        source_categories: out-of-class study: how many the source keeps.
        fewer: one-shot study: what is cut.
        source: cross-object study: the data set whose source it is.
        plan: component studies: the method's phases as they are there; else those of `METHODS`.

    Raises:
        UserError: the method has a click branch, and network.embedding is missing.
    """
    plan = plan or METHODS[method]
    phases = [weigh(phase, objective) for phase in plan.phases]
    embedding = None
    if any(phase.has_embedding for phase in phases):
        if network.embedding is None:
            raise UserError(f"network.embedding is missing; {method} predicts clicks")
        embedding = network.embedding.only_used("FC" if plan.linear_embedding else network.embedding.kind)
    shares = network.shared_normalisation and any(len(phase.recognised) > 1 for phase in phases)
    has_position = any(term.kind == "position" for phase in phases for term in phase.losses)
    return Recipe(
        method=method,
        network=network.model_copy(update={"embedding": embedding, "shared_normalisation": shares}),
        train=train,
        position=PositionParams(**{name: getattr(objective, name) for name in PositionParams.model_fields})
        if has_position
        else None,
        phases=phases,
        source_categories=source_categories,
        fewer=fewer,
        source=source,
    )


def build_point(point: str, network: NetworkParams, objective: ObjectiveParams, train: TrainParams) -> Recipe:
    """Return the recipe of a component study's point, as in ``tau=0.4``.

    Raises:
        UserError: a value is out of its range, or network.embedding lacks what the value needs.
    """
    setup = point_setup(point, network, objective)
    return build_recipe(setup.name, setup.network, setup.objective, train, plan=setup.method)


def all_recipes(
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
    methods: MethodsParams,
    components: ComponentsParams,
    out_of_class: OutOfClassParams,
    one_shot: OneShotParams,
    cross_object: CrossObjectParams,
) -> dict[str, Recipe]:
    """Return every recipe by its path, without ``.json``.

    Raises:
        UserError: a parameter that a recipe needs is missing or out of its range; or a component study lists a point
            that is trained already, under another name.
    """
    recipes = {f"methods/{name}": build_recipe(name, network, objective, train) for name in methods.names}
    names = {content_of(recipe): path for path, recipe in recipes.items()}
    for point in components.points:
        recipe = build_point(point, network, objective, train)
        twin = names.setdefault(content_of(recipe), f"components/{point}")
        if twin != f"components/{point}" or twin in recipes:
            raise UserError(
                f"components.points: {point} is the same training as {twin}; take it out: its table finds that one"
            )
        recipes[twin] = recipe
    for name in out_of_class.methods:
        for number in out_of_class.categories:
            recipe = build_recipe(name, network, objective, train, source_categories=number)
            recipes[f"out_of_class/{name}/{number}"] = recipe
    for name in one_shot.methods:
        for domain in one_shot.domains:
            for share in one_shot.shares:
                recipe = build_recipe(name, network, objective, train, fewer=Fewer(domain=domain, share=share))
                recipes[f"one_shot/{name}/{domain}-{share}"] = recipe
    for name in cross_object.methods:
        for source in cross_object.sources:
            recipes[f"cross_object/{name}/{source}"] = build_recipe(name, network, objective, train, source=source)
    return recipes


def content_of(recipe: Recipe) -> str:
    """Return what a training depends on: all of a recipe but the method's name."""
    return recipe.model_dump_json(exclude={"method"}, exclude_none=True)


def study_runs(
    recipes: Mapping[str, Recipe],
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
    components: ComponentsParams,
) -> dict[str, dict[str, str]]:
    """Return for each component study its values with the path of the recipe that is theirs.

    So a value of the paper's table that is a method's own run, or another study's point, is there without being trained
    again; a value that no recipe has is left out.
    """
    paths = {content_of(recipe): path for path, recipe in recipes.items()}
    studies: dict[str, dict[str, str]] = {}
    for name in STUDIES:
        studies[name] = {}
        for point in candidates(name, components.points, network, objective):
            try:
                content = content_of(build_point(point, network, objective, train))
            except UserError:
                continue  # one of the paper's points that these parameters do not allow: so there is no recipe either
            if content in paths:
                studies[name][point.partition("=")[2]] = paths[content]
    return studies


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the recipes")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("recipes") as closing:
        network = load_section(NetworkParams, "network", arguments.params)
        objective = load_section(ObjectiveParams, "objective", arguments.params)
        train = load_section(TrainParams, "train", arguments.params)
        components = load_section(ComponentsParams, "components", arguments.params)
        recipes = all_recipes(
            network,
            objective,
            train,
            load_section(MethodsParams, "methods", arguments.params),
            components,
            load_section(OutOfClassParams, "out_of_class", arguments.params),
            load_section(OneShotParams, "one_shot", arguments.params),
            load_section(CrossObjectParams, "cross_object", arguments.params),
        )
        with whole_directory(arguments.output) as folder:
            for name, recipe in recipes.items():
                write_json(recipe.model_dump(mode="json", exclude_none=True), folder / f"{name}.json")
            write_json(study_runs(recipes, network, objective, train, components), folder / "studies.json")
        closing.wrote[str(arguments.output)] = f"{len(recipes)} recipes"
        closing.next_command = (
            f"python -m systems.mtmdd.train --recipe {arguments.output}/{next(iter(recipes))}.json ..."
        )


if __name__ == "__main__":
    main()
