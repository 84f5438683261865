"""What a terminal shows of a flow: as plain text when piped, and what a real terminal gets."""

import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc_projects import ROOT
from rich.console import Console
from served import until

from flows.display import KEPT_LOGS, LOGS, WARNING, Display, display, label_of
from flows.stages import Stage
from flows.time_left import TimeLeft

GRAPH = """\
stages:
  first: {cmd: 'echo by the way; printf "12:00:00 warning: it \\033[31mrains\\n"; date > first.txt', outs: [first.txt]}
  train:
    matrix: {run: [TDL, MTTDL], seed: [0]}
    cmd: test -e ${item.run}-breaks && exit 3; sleep 1; date > ${item.run}.txt
    deps: [first.txt]
    outs: ["${item.run}.txt"]
"""


@pytest.mark.parametrize(
    ("name", "values", "label"),
    [
        ("mtmdd:train@TDL-0", {"run": "TDL", "seed": 0}, "mtmdd train TDL seed 0"),
        ("mtmdd:train@features=C-1", {"run": "features=C", "seed": 1}, "mtmdd train features=C seed 1"),
        ("ingest@toy_birds", None, "ingest toy_birds"),
        ("cleaning:train@toy", None, "cleaning train toy"),
        ("report", None, "report"),
    ],
)  # fmt: skip
def test_a_label_has_no_signs_of_dvcs(name: str, values: dict[str, object] | None, label: str) -> None:
    assert label_of(name, values) == label


@pytest.mark.parametrize(
    ("line", "is_warning"),
    [
        ("22:49:38 warning: 3 images have no category", True),
        ("/a/b.py:12: UserWarning: deprecated", True),
        ("WARNING: Output 'x' is empty.", True),
        ("WARNING:root:something", True),
        ("22:49:38 ingest: warning: is a word here", False),
        ("22:49:38 score: started", False),
        ("    a query: warning: x", False),
    ],
)
def test_warnings_of_stages_are_known_by_how_they_begin(line: str, is_warning: bool) -> None:
    assert bool(WARNING.match(line)) == is_warning


def shown(tmp_path: Path, ends: list[tuple[str, str]]) -> list[str]:
    """Return what a pipe gets of stages that start one after the other, and end so."""
    names = [name for name, _ in ends]
    stages = {name: Stage(name, frozenset(), on_gpu=False) for name in names}
    with (tmp_path / "out").open("w") as file, Display(Console(file=file)) as there:
        time_left = TimeLeft(stages, 1, 0, dict.fromkeys(names, 60.0))
        there.begin(stages, {name: f"the {name}" for name in names}, time_left)
        for name, outcome in ends:
            there.started(name)
            there.ended(name, outcome)
    return (tmp_path / "out").read_text().splitlines()


def test_one_line_per_stage_and_one_for_what_was_up_to_date(tmp_path: Path) -> None:
    ends = [("a", "Cached"), ("bcd", "Cached"), ("e", "Completed"), ("f", "Failed"), ("g", "Cached")]
    assert shown(tmp_path, ends) == [
        "[2/5] 2 stages are up to date",
        "[3/5] the e           0 s  ~5 s left",  # the pace of `e`: 0 of 60 s
        "[4/5] the f    failed after 0 s  ~5 s left",
        "[5/5] 1 stage is up to date",
    ]


def test_time_left_goes_with_the_last_stage(tmp_path: Path) -> None:
    lines = shown(tmp_path, [("a", "Failed"), ("b", "Failed"), ("c", "Failed")])
    assert [line.rpartition("  ")[2] for line in lines] == ["~2 min left", "~60 s left", "failed after 0 s"]


def test_a_line_names_what_runs_when_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.display.QUIET_S", 0.3)
    with (tmp_path / "out").open("w") as file, Display(Console(file=file)) as there:
        there.begin({}, {"a": "train a", "b": "train b"}, TimeLeft({}, 1, 0, {}))
        there.started("b")
        there.started("a")
        until((tmp_path / "out").read_text, pause=0.05)
    lines = (tmp_path / "out").read_text().splitlines()
    assert 1 <= len(lines) <= 2
    assert re.fullmatch(r"\[0/0\] running: train b \d s, train a \d s", lines[0])


def test_logs_are_kept_for_some_runs_and_read_by_nobody_else(own_folder: None) -> None:
    for number in range(KEPT_LOGS + 3):
        LOGS.mkdir(parents=True, exist_ok=True)
        (LOGS / f"old-{number:02}.log").touch()
        os.utime(LOGS / f"old-{number:02}.log", (number, number))
    with display("reproduce", verbose=False) as file:
        logging.getLogger("clicksight").warning("a\x1b[31mb")
        assert file.stat().st_mode & 0o777 == 0o600
    assert "a\\x1b[31mb" in file.read_text()
    assert len(list(LOGS.iterdir())) == KEPT_LOGS
    assert not (LOGS / "old-03.log").exists()
    assert (LOGS / "old-04.log").exists()


def run_flow(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.reproduce", "--cpu-slots", "1", *options],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_piped_run_prints_a_line_a_stage_and_its_log_has_everything(project: Path) -> None:
    """Its server, which the run starts for itself, prints nothing there."""
    (project / "dvc.yaml").write_text(GRAPH)
    done = run_flow(PREFECT_HOME=str(project / ".state/prefect"))
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    log = Path(lines[0].removeprefix("log: "))
    patterns = [
        r"log: \.state/logs/reproduce-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d+\.log",
        r"first: warning: it \\x1b\[31mrains",
        r"\[1/3\] first +\d+ s  ~\d+ (s|min) left",
        r"\[2/3\] train TDL seed 0 +\d+ s  ~\d+ (s|min) left",
        r"\[3/3\] train MTTDL seed 0 +\d+ s",
        r"",
        r"Completed: 3 stages: 3 ran, 0 were up to date",
        r"took (\d+ min )?\d+ s; all output: \.state/logs/\S+",
    ]
    assert len(lines) == len(patterns), done.stderr
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    assert len({re.search(r"\d s(  |$)", line).start() for line in lines[2:5]}) == 1  # the seconds stand in one column
    assert "by the way" in (project / log).read_text()
    assert "by the way" not in done.stderr


@pytest.mark.slow
def test_verbose_prints_every_line_once(prefect_server: str, project: Path) -> None:
    (project / "dvc.yaml").write_text(GRAPH)
    done = run_flow("--verbose", "--targets", "first", PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("by the way\n") == 1
    assert done.stderr.count("rains") == 2  # DVC prints the command, too
    assert "[1/1] first" in done.stderr


@pytest.mark.slow
def test_a_failed_stage_shows_at_once_and_with_its_last_lines_at_the_end(prefect_server: str, project: Path) -> None:
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "TDL-breaks").touch()
    done = run_flow(PREFECT_API_URL=prefect_server)
    assert done.returncode == 1
    assert re.search(r"^\[2/3\] train TDL seed 0 +failed after \d+ s", done.stderr, re.MULTILINE), done.stderr
    assert done.stderr.count("stage train@TDL-0 failed with exit code 3") == 1
    (project / "TDL-breaks").unlink()
    done = run_flow(PREFECT_API_URL=prefect_server)
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert re.match(r"\[[123]/3\] train TDL seed 0 ", next(line for line in lines if "train" in line)), lines
    assert sum(int(line.split()[1]) for line in lines if "up to date" in line) == 2


@pytest.mark.slow
def test_a_terminal_has_a_live_line_that_leaves_no_trace(prefect_server: str, project: Path) -> None:
    (project / "dvc.yaml").write_text(GRAPH)
    ours, theirs = pty.openpty()
    flow = subprocess.Popen(
        [sys.executable, "-m", "flows.reproduce", "--cpu-slots", "1"], stdin=theirs, stdout=theirs, stderr=theirs,
        env={
            **os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT), "PREFECT_API_URL": prefect_server,
        },
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(ours)
    assert flow.wait(180) == 0, seen
    text = seen.decode()
    assert re.search(r"  train TDL seed 0  \d s", text), text
    assert "[1/3] stages have ended" in text
    assert "Collecting" not in text  # DVC's own bars
    assert re.search(r"\[3/3\] train MTTDL seed 0  +\d+ s", text)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is there again
