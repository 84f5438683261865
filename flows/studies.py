"""The studies that the graph declares: pairs of matrices that train and evaluate several runs with several seeds.

A study is a matrix ``evaluate`` or ``evaluate_X`` with a matrix ``train`` or ``train_X`` in the same dvc.yaml. The key
``seed`` of the matrix is the seed; the other keys are the study's axes. A run's name is its values on the axes, joined
by dashes in dvc.yaml's order: ``TDL``, ``one_shot=TDL-source-0.4``. A study's name is made of its system and X:
``mtmdd``, ``mtmdd-cross_object``.
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
        name: for example ``mtmdd``.
        matrix: the evaluation stages.
    """

    name: str
    matrix: Matrix

    @property
    def axes(self) -> list[str]:
        """Return the keys whose values name a run."""
        return [key for key in self.matrix.where if key != SEED]

    def run(self, values: Mapping[str, Any]) -> str:
        """Return the name of the run with these values of the matrix's keys."""
        return "-".join(str(values[axis]) for axis in self.axes)

    def declared(self) -> dict[str, list[Any]]:
        """Return the distinct runs and seeds in dvc.yaml's order; the seeds are empty if the matrix has no key seed."""
        rows = self.matrix.points.values()
        return {
            "runs": list(dict.fromkeys(self.run(row) for row in rows)),
            "seeds": list(dict.fromkeys(row[SEED] for row in rows if SEED in row)),
        }

    def select(self, runs: Collection[str] = (), seeds: Collection[int] = ()) -> dict[str, Mapping[str, Any]]:
        """Return the evaluation stages of some runs and seeds with their values; an empty collection means all.

        Raises:
            UserError: a run or seed is not declared; the message lists the declared ones and where to add another.
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
        UserError: no study has the name; the message lists the studies.
    """
    if name not in known:
        raise UserError(
            f"study {name!r}: no such study; the graph declares {', '.join(known) or 'none'}; a study is a matrix "
            f"{EVALUATE} or {EVALUATE}_X with a matrix {TRAIN} or {TRAIN}_X in the same dvc.yaml"
        )
    return known[name]


def narrow_schema(schema: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """Return the schema of the sweep's parameters, limited to the runs and seeds that one study declares.

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
    """Yield a row per evaluation: its values on the axes, its seed, the outcome of its stage, and its metrics."""
    for stage, values in selected.items():
        yield {**values, "outcome": outcome.get(stage, "?"), **metrics.get(stage, {})}
