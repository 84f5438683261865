"""Writes a phase's values per epoch as DVCLive curves: into the model folder, and while training into .state/curves."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from base.console import STATE


def write_curves(curves: Mapping[str, Sequence[Mapping[str, float]]], folder: Path) -> None:
    """Write every phase's history as DVCLive curves, one point per epoch."""
    for phase, history in curves.items():
        live = LiveCurves(folder / phase)
        for values in history:
            live.add(values)
        live.end()


class LiveCurves:
    """Curves that grow by one point per epoch; the folder's earlier content is deleted.

    Args:
        folder: the folder to write; None writes nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._live: Any = None
        if folder is not None:
            from dvclive import Live  # imported here because it takes seconds, which an evaluation need not wait for

            self._live = Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None)
            # DVC Studio gets nothing. For it, Live would read all curves again at each step, and start a thread that
            # never ends.
            self._live.post_data_to_studio = lambda: None

    def add(self, values: Mapping[str, float]) -> None:
        """Add an epoch's values."""
        if self._live is not None:
            for name, value in values.items():
                self._live.log_metric(name, value)
            self._live.next_step()

    def end(self) -> None:
        """Write the remaining values and close the curves."""
        if self._live is not None:
            self._live.end()


def live_folder(run: str, phase: str) -> Path | None:
    """Return the folder of a phase's live curves, which include rates that no artifact may hold.

    With CLICKSIGHT_NO_STATE in the environment, return None: no live curves are written.
    """
    return None if os.environ.get("CLICKSIGHT_NO_STATE") else STATE / "curves" / run / phase


def run_name(output: Path, top: str = "models") -> str:
    """Return a run's unique name, also for logs: its path below the top folder, as in ``methods/TDL/seed-0``."""
    parts = output.resolve().parts
    below = parts[parts.index(top) + 1 :] if top in parts else ()
    return "/".join(below) or parts[-1]
