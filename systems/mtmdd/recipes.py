"""Resolve runs and parameters into recipes, one file per run.

    python -m systems.mtmdd.recipes --output data/mtmdd/recipes

In: the parameter file's sections mtmdd.network, .objective, .train, .runs and .cross_object.
Out: ``<run>.json`` for each run (`systems.mtmdd.runs`), and ``studies.json``, the runs of each component study and of
equal images.

A recipe has only the parameters that its phases use. So a change of tau or of the embedding's size makes only trainings
with a click branch stale, and a change of mu only those on both domains.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from base.artifacts import whole_directory, write_json
from base.console import UserError, stage
from base.params import DEFAULT_PATH, load_section
from model.training.params import ScheduleParams
from systems.mtmdd.baselines.methods import COMPARED
from systems.mtmdd.budgets import within_budget
from systems.mtmdd.config import (
    ClickBranchParams,
    Fewer,
    NetworkParams,
    ObjectiveParams,
    Phase,
    PositionParams,
    Recipe,
    TrainParams,
)
from systems.mtmdd.methods import Method, weigh, with_second_step, without_target_labels
from systems.mtmdd.runs import Point, load_points, read_run
from systems.mtmdd.studies import STUDIES, candidates, point_setup


def build_recipe(
    method: str,
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
    source_categories: int | None = None,
    fewer: Fewer | None = None,
    source: str | None = None,
    plan: Method | None = None,
    unlabelled: bool = False,
) -> Recipe:
    """Return a method's recipe, without the parameters that none of its phases use.

    Args:
        method: name of the method.
        network, objective, train: sections of the parameter file.
        source_categories: out-of-class study: number of categories that the source keeps.
        fewer: one-shot study: the domain with fewer training images, and their share.
        source: cross-object study: the data set that provides the source.
        plan: component studies: the method's changed phases; None: those of `COMPARED`.
        unlabelled: study of a target without labels.

    Raises:
        UserError: the method has a click branch, and network.embedding is missing; or it needs the target's labels.
    """
    plan = plan or COMPARED[method]
    if plan.lambda_ is not None:
        objective = objective.model_copy(update={"lambda_": plan.lambda_})
    if unlabelled:
        plan = without_target_labels(f"mtmdd.runs: unlabelled={method}: {method}", plan, objective.lambda_)
    phases = [weigh(with_second_step(phase, network.second_step), objective) for phase in plan.phases]
    phases = [phase.model_copy(update={"train": once(train)}) if phase.fitted else phase for phase in phases]
    embedding = None
    if any(phase.uses_clicks for phase in phases):
        if network.embedding is None:
            raise UserError(f"network.embedding is missing, but {method} predicts clicks; add it to the parameter file")
        embedding = network.embedding.only_used("FC" if plan.linear_embedding else network.embedding.kind)
    shares = network.shared_normalisation and any(len(phase.recognised) > 1 for phase in phases)
    has_position = any(term.kind == "position" for phase in phases for term in phase.losses)
    return Recipe(
        method=method,
        network=network.model_copy(
            update={"embedding": embedding, "shared_normalisation": shares, "second_step": None}
        ),
        train=train,
        position=PositionParams(**{name: getattr(objective, name) for name in PositionParams.model_fields})
        if has_position
        else None,
        click_branch=click_branch_of(phases, objective),
        phases=phases,
        source_categories=source_categories,
        fewer=fewer,
        source=source,
        unlabelled_target=unlabelled or None,
        train_command=plan.train,
        evaluate_command=plan.evaluate,
    )


def once(train: TrainParams) -> TrainParams:
    """Return the parameters of a phase that is fitted: one epoch, without what depends on several."""
    return train.model_copy(
        update={
            "epochs": 1, "schedule": ScheduleParams(kind="constant", warm_up=0), "ema": None, "early_stopping": None
        }
    )  # fmt: skip


def click_branch_of(phases: Sequence[Phase], objective: ObjectiveParams) -> ClickBranchParams | None:
    """Return the objective's options of the click branch that change these phases; None if none of them does.

    g is for phases that recognise by their own v^, b for those that train the ConvNet under their own embedding, c and
    soft targets for those with a click loss.
    """
    own = [phase for phase in phases if phase.has_embedding]
    learned = [phase for phase in own if "embedding" not in phase.frozen or "backbone" not in phase.frozen]
    nothing = used = ClickBranchParams(convnet_gradient=1.0)
    if any(phase.features is not None and "click" in phase.features for phase in learned):
        used = used.model_copy(update={"recogniser_gradient": objective.recogniser_gradient})
    if any("backbone" not in phase.frozen for phase in own):
        used = used.model_copy(update={"convnet_gradient": objective.factor_at_convnet})
    if any(phase.predicts_clicks for phase in own):
        changes = {name: getattr(objective, name) for name in ("click_gradient", "soft_targets")}
        used = used.model_copy(update=changes)
    return used if used != nothing else None


def build_point(
    point: str,
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
    source_categories: int | None = None,
    fewer: Fewer | None = None,
    unlabelled: bool = False,
) -> Recipe:
    """Return the recipe of a component study's point, for example of ``tau=0.4``; the rest as in :func:`build_recipe`.

    Raises:
        UserError: a value is out of its range, or network.embedding lacks what the value needs.
    """
    setup = point_setup(point, network, objective)
    return build_recipe(
        setup.name,
        setup.network,
        setup.objective,
        train,
        source_categories,
        fewer,
        plan=setup.method,
        unlabelled=unlabelled,
    )


def recipe_of(point: Point, network: NetworkParams, objective: ObjectiveParams, train: TrainParams) -> Recipe:
    """Return the recipe of a point.

    Raises:
        UserError: a value is out of its range, or network.embedding lacks what the value needs.
    """
    categories = int(point.value) if point.study == "out_of_class" and point.value is not None else None
    fewer = Fewer.model_validate({"domain": point.domain, "share": point.value}) if point.domain else None
    unlabelled = point.study == "unlabelled"
    if point.whole.study == "components":
        return build_point(point.method, network, objective, train, categories, fewer, unlabelled)
    recipe = build_recipe(
        point.method, network, objective, train, categories, fewer, point.source, unlabelled=unlabelled
    )
    return within_budget(recipe, int(point.value or 0)) if point.study == "equal_images" else recipe


def all_recipes(
    points: Sequence[Point], network: NetworkParams, objective: ObjectiveParams, train: TrainParams
) -> dict[str, Recipe]:
    """Return every point's recipe by the run's name.

    Raises:
        UserError: a parameter that a recipe needs is missing or out of its range; or another run has the same recipe as
            a point of a component study, of equal images or of a target without labels.
    """
    recipes: dict[str, Recipe] = {}
    names: dict[str, str] = {}
    for point in sorted(points, key=lambda point: point.study != "methods"):  # methods come first
        recipe = recipe_of(point, network, objective, train)
        twin = names.setdefault(content_of(recipe), point.name)
        if point.study in ("components", "unlabelled", "equal_images") and twin != point.name:
            raise UserError(
                f"mtmdd.runs: {point.name} is the same training as {twin}; remove it, the study's table uses {twin}"
            )
        recipes[point.name] = recipe
    return recipes


def content_of(recipe: Recipe) -> str:
    """Return the part of a recipe that a training depends on: everything except the method's name."""
    return recipe.model_dump_json(exclude={"method"}, exclude_none=True)


def study_runs(
    recipes: Mapping[str, Recipe], network: NetworkParams, objective: ObjectiveParams, train: TrainParams
) -> dict[str, dict[str, str]]:
    """Return for each component study its values, each with the run that has the value's recipe.

    So a value of the paper's table that is a method's own run, or another study's point, is not trained again. A value
    without a run is left out.
    """
    listed = [name for name in recipes if name.partition("=")[0] in STUDIES]
    paths = {content_of(recipe): path for path, recipe in recipes.items()}
    studies: dict[str, dict[str, str]] = {}
    for name in STUDIES:
        studies[name] = {}
        for point in candidates(name, listed, network, objective):
            try:
                content = content_of(build_point(point, network, objective, train))
            except UserError:
                continue  # these parameters do not allow this point of the paper, so it has no run
            if content in paths:
                studies[name][point.partition("=")[2]] = paths[content]
    return studies | {"equal_images": _equal_images(recipes, paths, network, objective, train)}


def _equal_images(
    recipes: Mapping[str, Recipe],
    paths: Mapping[str, str],
    network: NetworkParams,
    objective: ObjectiveParams,
    train: TrainParams,
) -> dict[str, str]:
    """Return each method within each listed budget, with its run: maybe the method's own, as with fixed epochs."""
    points = [read_run(name) for name in recipes if name.startswith("equal_images=")]
    found = {}
    for epochs in sorted({int(point.value or 0) for point in points}):
        for method in COMPARED:
            try:
                content = content_of(recipe_of(Point("equal_images", method, epochs), network, objective, train))
            except UserError:
                continue  # a fitted method has no such run; nor one that predicts clicks, without a word embedding
            if content in paths:
                found[f"{method}-{epochs}"] = paths[content]
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the recipes")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("recipes") as closing:
        network = load_section(NetworkParams, "mtmdd.network", arguments.params)
        objective = load_section(ObjectiveParams, "mtmdd.objective", arguments.params)
        train = load_section(TrainParams, "mtmdd.train", arguments.params)
        recipes = all_recipes(load_points(arguments.params), network, objective, train)
        with whole_directory(arguments.output) as folder:
            for name, recipe in recipes.items():
                write_json(recipe.model_dump(mode="json", exclude_none=True), folder / f"{name}.json")
            write_json(study_runs(recipes, network, objective, train), folder / "studies.json")
        closing.wrote[str(arguments.output)] = f"{len(recipes)} recipes"
        closing.next_command = (
            f"python -m systems.mtmdd.train --recipe {arguments.output}/{next(iter(recipes), 'RUN')}.json ..."
        )


if __name__ == "__main__":
    main()
