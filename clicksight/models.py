"""Opens a model folder of any system for predictions."""

import importlib.util
import pkgutil
import re
from pathlib import Path

from base.console import UserError
from model.folder import read_run
from model.prediction import Predictor

NAME = re.compile("[a-z][a-z0-9_]*")


def has_predictor(system: str) -> bool:
    """Return whether a system's models can be applied to pictures."""
    parts = (f"systems.{system}", f"systems.{system}.predictor")
    return bool(NAME.fullmatch(system)) and all(importlib.util.find_spec(part) for part in parts)


def load_model(folder: str | Path, evaluation: str | Path | None = None) -> Predictor:
    """Return the predictor of a trained run.

    Args:
        folder: a model folder, written by a train stage.
        evaluation: of the same run, which calibrates the probabilities of systems that do so (annotation).

    Raises:
        UserError: it is no model folder, or none of a system whose models can be applied to pictures.
    """
    folder = Path(folder)
    system = read_run(folder).get("system")
    if not isinstance(system, str) or not NAME.fullmatch(system):
        raise UserError(f"{folder}/run.json: names no system; was it trained by an earlier version? train it again")
    if not has_predictor(system):
        raise UserError(f"{folder}: models of the system {system!r} can't be applied to single pictures")
    load = pkgutil.resolve_name(f"systems.{system}.predictor:load")
    predictor: Predictor = load(folder, None if evaluation is None else Path(evaluation))
    return predictor
