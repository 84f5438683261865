"""The flow for a new day's log: add it to the click features and the raw data set, then bring everything up to date.

    python -m flows.daily --log /incoming/2026-11-22.tsv
    python -m flows.daily                     # finishes the work of a killed run

1. Add the log to the click features in the folder ``features``, which other projects read
   (`build_click_features --previous`). The folder is replaced whole or not at all. The first run builds the features
   from the whole raw log.
2. Copy the log into the raw data set, to ``source/clicks/``.
3. Bring DVC's graph up to date: features, models, report.

Logs are identified by their content (SHA-256). A log that is already in the features and in the raw data set is
refused, so no click is counted twice. If a killed run has added the log to only one of the two, it is added to the
other. ``segment`` and ``vocabulary`` of params.yaml set how queries become words. After a change of
those parameters the features have to be built anew: move the folder away and run without a log.
"""

import argparse
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from base.artifacts import whole_file
from base.console import UserError
from base.inputs import is_file
from base.markdown import code
from base.params import load_section, read_data_sets, read_params, validate_section
from flows import page
from flows.command import add_options, run_here
from flows.processes import Stopped
from flows.stages import Workspace
from flows.walk import CpuSlots, in_workspace, run_graph
from pipelines.ingest.click_data import LATER_LOGS, find_click_logs
from pipelines.ingest.log_format import LogParams, options_of
from pipelines.ingest.log_slices import LogFile
from pipelines.words.history import NOTHING, digests_of, known_files
from pipelines.words.segmentation import SegmentParams
from pipelines.words.vocabulary import VocabularyParams

FEATURES = "features"


def _run_name() -> str:
    return f"daily {Path(flow_run.parameters['log'] or 'no new log').name}"


@flow(name="daily", flow_run_name=_run_name, persist_result=False)
def daily(
    log: str | None = None, features: str = FEATURES, data_set: str | None = None, cpu_slots: CpuSlots = None
) -> State[Any]:
    """Add a new day's click log: first the features for other projects, then the models and the report.

    Args:
        log: the file, on the machine that runs the flow; none finishes the work of a killed run.
        features: the folder of click features that other projects use.
        data_set: the one of `data_sets` that gets the log; none means the first.
        cpu_slots: the number of stages that run at once on the CPUs; none means one per core.
    """
    return in_workspace(partial(_daily, log, features, data_set, cpu_slots))


def _daily(
    log: str | None, features: str, data_set: str | None, cpu_slots: int | None, workspace: Workspace
) -> State[Any]:
    day = Day(workspace, Path(features), None if log is None else Path(log), data_set)
    to_add = day.missing()
    if to_add:
        state = add_to_features(day, [str(file) for file in to_add], return_state=True)
        if not state.is_completed():
            return Failed(message=state.message)
    joined = day.join()
    page.show_markdown("daily", day.summary(to_add, joined))
    state = run_graph(workspace, [], cpu_slots).state()
    if state.is_completed():
        page.show_report(workspace.root)
    return state


@task(name="add to the click features", cache_policy=NO_CACHE, persist_result=False)
def add_to_features(day: "Day", logs: Sequence[str]) -> State[Any]:
    """Build the click features, or add logs to them, in a separate process."""
    try:
        exit_code, lines = day.workspace.processes.run(day.command(logs), {}, get_run_logger().info)
    except Stopped as error:
        return Failed(message=f"the build of the click features {error}")
    if exit_code:
        return Failed(
            message=f"the click features are unchanged: their build had exit code {exit_code}; its last lines:\n"
            + "\n".join(lines)
        )
    return Completed(message=f"{len(logs)} files added to {day.features}")


class Day:
    """A new log, and the click features and the raw data set that it is added to.

    Args:
        workspace: the project.
        features: the folder of click features, relative to the project.
        log: the new log, if there is one.
        data_set: the one of `data_sets` that gets the log; None means the first.

    Raises:
        UserError: the log does not exist, it was added before, a stage writes the raw data set, or the features count
            a log that the raw data set lacks.
    """

    def __init__(self, workspace: Workspace, features: Path, log: Path | None, data_set: str | None = None) -> None:
        self.workspace, self.features, self.log = workspace, features, log
        params = workspace.root / "params.yaml"
        self.raw = workspace.root / _raw_folder(params, data_set)
        self._segment = load_section(SegmentParams, "segment", params)
        log_params = (read_params(params).get("ingest") or {}).get("log")
        self._log = validate_section(LogParams, "ingest.log", log_params, where=str(params))
        self._top_words = load_section(VocabularyParams, "vocabulary", params).top_words
        if log is not None and not is_file(log):
            raise UserError(f"{log}: no such file on this machine; give the path of the day's log")
        writer = workspace.writer_of(self.raw)
        if writer is not None:
            raise UserError(
                f"{self.raw}: stage {writer} writes this data set and would delete the added log; copy the data set to "
                f"another folder and name that folder in data_sets of {params}"
            )
        self._joined = {digest: Path(file.path) for file, digest in _digests(find_click_logs(self.raw)).items()}
        self._built = known_files(workspace.root / features)
        self._digest = None if log is None else next(iter(_digests([LogFile(str(log), log.name)]).values()))
        foreign = [name for digest, name in self._built.items() if digest not in {*self._joined, self._digest}]
        if foreign:
            raise UserError(
                f"{features}: counts {', '.join(foreign)}, which {self.raw} lacks. If a run was killed, give that "
                "log again; if the log was changed or removed, move the folder away, and the next run builds it anew"
            )
        if self._digest in self._joined and self._digest in self._built:
            raise UserError(
                f"{log}: was added before, as {self._joined[self._digest]}; a log is counted once. To bring "
                "models and report up to date, run the flow reproduce"
            )

    def missing(self) -> list[Path]:
        """Return the log files, old and new, that the click features do not count yet."""
        logs = dict(self._joined)
        if self.log is not None and self._digest is not None:
            logs.setdefault(self._digest, self.log.absolute())
        return [path for digest, path in logs.items() if digest not in self._built and digest != NOTHING]

    def command(self, logs: Sequence[str]) -> list[str]:
        """Return the command that adds logs to the features, or builds the features."""
        command = ["python", "-m", "pipelines.build_click_features", "--clicks", *logs]
        command += ["--output", str(self.features), "--top-words", str(self._top_words)]
        if self._built:
            command += ["--previous", str(self.features)]
        for name, value in self._segment.model_dump().items():
            if value is not None:
                command += [f"--{name.replace('_', '-')}", str(value)]
        return command + options_of(self._log)

    def join(self) -> Path | None:
        """Copy the log into the raw data set, whole or not at all; return the copy's path, None if there was one."""
        if self.log is None or self._digest in self._joined:
            return None
        path = self.raw / LATER_LOGS / self.log.name
        if path.exists():  # another day's log has the same name
            path = path.with_name(f"{str(self._digest)[:12]}-{path.name}")
        with whole_file(path) as temporary:
            shutil.copyfile(self.log, temporary)
        return path

    def summary(self, added: Sequence[Path], joined: Path | None) -> str:
        """Return the Markdown text about this day for Prefect's page."""
        names = ", ".join(code(path.name) for path in added) or "nothing, all logs are counted already"
        return (
            f"- added to the click features in {code(str(self.workspace.root / self.features))}: {names}\n"
            f"- added to the raw data set: {code(str(joined)) if joined else 'nothing new'}\n"
        )


def _raw_folder(params: Path, data_set: str | None) -> str:
    """Return the raw folder of a data set; without a name, that of the first data set.

    Raises:
        UserError: no data set has that name, or there are no data sets.
    """
    folders = read_data_sets(params)
    if data_set is None and folders:
        data_set = next(iter(folders))
    if data_set not in folders:
        what = "is empty" if data_set is None else f"has no {data_set!r}; it has {', '.join(folders) or 'none'}"
        raise UserError(f"{params}: data_sets {what}; add the data set's name and raw folder there")
    return folders[data_set]


def _digests(files: Sequence[LogFile]) -> dict[LogFile, str]:
    return {file: digests_of([file])[file.name] for file in files}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow in this process; the exit code is 1 if a stage failed and 2 if nothing could be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", metavar="FILE", help="the new log; without it, finish the work of a killed run")
    parser.add_argument("--features", default=FEATURES, metavar="DIR", help=f"folder of features (default: {FEATURES})")
    parser.add_argument("--data-set", metavar="NAME", help="which of data_sets gets the log (default: the first)")
    add_options(parser)
    options = parser.parse_args(argv)
    log = None if options.log is None else Path(options.log)
    run_here(
        "daily",
        lambda: daily(options.log, options.features, options.data_set, options.cpu_slots, return_state=True),
        check=lambda: Day(Workspace(Path.cwd()), Path(options.features), log, options.data_set),
        verbose=options.verbose,
    )


if __name__ == "__main__":
    main()
