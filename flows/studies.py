"""The studies that dvc.yaml declares: sweeps over methods, points and seeds, each a matrix of stages.

A study X is a matrix ``evaluate_X`` beside a ``train_X``. Its keys ``method`` and ``seed`` say which method and seed;
the others are its axes, and their values, joined by dashes in dvc.yaml's order, name a point: ``source-0.4``.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from base.console import UserError
from flows.stages import Matrix

METHOD, SEED = "method", "seed"
TRAIN, EVALUATE = "train_", "evaluate_"


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        name: as in ``out_of_class``.
        matrix: its evaluation stages.
    """

    name: str
    matrix: Matrix

    @property
    def axes(self) -> list[str]:
        """Return the keys that name its points."""
        return [key for key in self.matrix.where if key not in (METHOD, SEED)]

    def point(self, values: Mapping[str, Any]) -> str:
        """Return the name of a stage's point."""
        return "-".join(str(values[axis]) for axis in self.axes)

    def declared(self) -> dict[str, list[Any]]:
        """Return the methods, points and seeds that there are, each once, in order; an absent key has none."""
        rows = self.matrix.points.values()
        return {
            "methods": list(dict.fromkeys(row[METHOD] for row in rows if METHOD in row)),
            "points": list(dict.fromkeys(self.point(row) for row in rows)),
            "seeds": list(dict.fromkeys(row[SEED] for row in rows if SEED in row)),
        }

    def select(
        self, methods: Collection[str] = (), points: Collection[str] = (), seeds: Collection[int] = ()
    ) -> dict[str, Mapping[str, Any]]:
        """Return the evaluation stages of some methods, points and seeds, with their values; none given means all.

        Raises:
            UserError: one that is not declared; says which are, and where another can be.
        """
        declared = self.declared()
        for what, chosen, keys in (
            ("methods", methods, [METHOD]), ("points", points, self.axes), ("seeds", seeds, [SEED]),
        ):  # fmt: skip
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
            if (not methods or values.get(METHOD) in methods)
            and (not points or self.point(values) in points)
            and (not seeds or values.get(SEED) in seeds)
        }


def studies(matrices: Mapping[str, Matrix]) -> dict[str, Study]:
    """Return the studies among a project's matrices, by name."""
    names = [name.removeprefix(EVALUATE) for name in matrices if name.startswith(EVALUATE)]
    return {name: Study(name, matrices[EVALUATE + name]) for name in names if TRAIN + name in matrices}


def study_of(name: str, known: Mapping[str, Study]) -> Study:
    """Return the study of a name.

    Raises:
        UserError: there is none; says which there are.
    """
    if name not in known:
        raise UserError(
            f"study {name!r}: dvc.yaml declares {', '.join(known) or 'none'}; a study X is a matrix {TRAIN}X with a "
            f"matrix {EVALUATE}X"
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
    """Yield a row per evaluation: its method, its values on the axes, its seed, how its stage ended, its metrics."""
    for stage, values in selected.items():
        yield {**values, "outcome": outcome.get(stage, "?"), **metrics.get(stage, {})}
