"""The studies that the graph declares: trainings and evaluations over runs and seeds, each a matrix of stages.

A study is a matrix ``evaluate`` or ``evaluate_X`` beside a matrix ``train`` or ``train_X`` of the same dvc.yaml. Its
key ``seed`` says which seed; the others are its axes, and their values, joined by dashes in dvc.yaml's order, name a
run: ``TDL``, ``one_shot=TDL-source-0.4``. A study is named after its system and X: ``mtmdd``, ``mtmdd-cross_object``.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from base.console import UserError
from flows.stages import Matrix

SEED = "seed"
TRAIN, EVALUATE = "train", "evaluate"


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        name: as in ``mtmdd``.
        matrix: its evaluation stages.
    """

    name: str
    matrix: Matrix

    @property
    def axes(self) -> list[str]:
        """Return the keys that name its runs."""
        return [key for key in self.matrix.where if key != SEED]

    def run(self, values: Mapping[str, Any]) -> str:
        """Return the name of a stage's run."""
        return "-".join(str(values[axis]) for axis in self.axes)

    def declared(self) -> dict[str, list[Any]]:
        """Return the runs and seeds that there are, each once, in order; an absent key has none."""
        rows = self.matrix.points.values()
        return {
            "runs": list(dict.fromkeys(self.run(row) for row in rows)),
            "seeds": list(dict.fromkeys(row[SEED] for row in rows if SEED in row)),
        }

    def select(self, runs: Collection[str] = (), seeds: Collection[int] = ()) -> dict[str, Mapping[str, Any]]:
        """Return the evaluation stages of some runs and seeds, with their values; none given means all.

        Raises:
            UserError: one that is not declared; says which are, and where another can be.
        """
        declared = self.declared()
        for what, chosen, keys in (("runs", runs, self.axes), ("seeds", seeds, [SEED])):
            for value in chosen:
                if value not in declared[what]:
                    known = ", ".join(map(str, declared[what])) or "none"
                    where = ", ".join(self.matrix.where[key] for key in keys if key in self.matrix.where)
                    raise UserError(
                        f"study {self.name}: {value!r} is not among its {what} ({known}); dvc.yaml takes them from "
                        f"{where or 'no key of its matrix'}: add it there"
                    )
        return {
            stage: values
            for stage, values in self.matrix.points.items()
            if (not runs or self.run(values) in runs) and (not seeds or values.get(SEED) in seeds)
        }


def studies(matrices: Mapping[str, Matrix]) -> dict[str, Study]:
    """Return the studies among a project's matrices, by name."""
    found = {}
    for name, matrix in matrices.items():
        system, _, stage = name.rpartition(":")
        step, _, study = stage.partition("_")
        twin = f"{name[: len(name) - len(stage)]}{TRAIN}{stage.removeprefix(EVALUATE)}"
        label = "-".join(part for part in (system, study) if part)
        if step == EVALUATE and twin in matrices and label:
            found[label] = Study(label, matrix)
    return found


def study_of(name: str, known: Mapping[str, Study]) -> Study:
    """Return the study of a name.

    Raises:
        UserError: there is none; says which there are.
    """
    if name not in known:
        raise UserError(
            f"study {name!r}: the graph declares {', '.join(known) or 'none'}; a study is a matrix {EVALUATE} or "
            f"{EVALUATE}_X beside a matrix {TRAIN} or {TRAIN}_X of the same dvc.yaml"
        )
    return known[name]


def narrowed(schema: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """Return the schema of the sweep's parameters for one study: the page then offers what is declared, and no more.

    Args:
        schema: properties by name, as Prefect makes them from the flow's signature.
        study: the study.
    """
    properties = {name: dict(content) for name, content in schema.items()}
    properties["study"]["enum"] = [study.name]
    for name, values in study.declared().items():
        properties[name]["items"] = {**properties[name].get("items", {}), "enum": values}
    return {name: content for name, content in properties.items() if _can_be_chosen(name, study)}


def _can_be_chosen(name: str, study: Study) -> bool:
    return bool(study.declared().get(name, True))


def rows_of(
    study: Study,
    selected: Mapping[str, Mapping[str, Any]],
    outcome: Mapping[str, str],
    metrics: Mapping[str, Mapping[str, Any]],
) -> Iterable[dict[str, Any]]:
    """Yield a row per evaluation: its run or its values on the axes, its seed, how its stage ended, its metrics."""
    for stage, values in selected.items():
        yield {**values, "outcome": outcome.get(stage, "?"), **metrics.get(stage, {})}
