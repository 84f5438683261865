"""A new day's click log, with the click features and the raw data set that the daily flow adds it to.

This is a module of its own because it imports Beam, which takes seconds: whatever only serves or names the daily flow
(flows/deployments.py) does not need it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from base.artifacts import whole_file
from base.console import UserError
from base.inputs import is_file
from base.markdown import code
from base.params import load_section, read_data_sets, read_params, validate_section
from flows.stages import Workspace
from pipelines.ingest.click_data import LATER_LOGS, find_click_logs
from pipelines.ingest.log_format import LogParams, options_of
from pipelines.ingest.log_slices import LogFile
from pipelines.words.history import NOTHING, digests_of, known_files
from pipelines.words.segmentation import SegmentParams
from pipelines.words.vocabulary import VocabularyParams


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
