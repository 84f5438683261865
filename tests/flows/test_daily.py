import os
import re
from pathlib import Path

import polars as pl
import pytest
from click_builds import build, digest, write_log

from base.console import UserError
from flows.daily import daily, main
from flows.day import Day
from flows.stages import Workspace

# The graph counts the rows of the raw data's log, over all of its files.
GRAPH = """\
stages:
  count: {cmd: 'cat raw/source/clicks.tsv raw/source/clicks/* 2> /dev/null | wc -l > rows', deps: [raw], outs: [rows]}
"""
PARAMS = """\
data_sets: {own: raw, others: elsewhere}
segment: {stop_words: stop.txt, dictionary: null, user_dictionary: null, minimum_length: 1, lemmas: null}
vocabulary: {top_words: 3, fit_on: all}
"""
DAYS = [
    [("a", "red dog", 5), ("b", "the dog", 2), ("c", "fox", 1)],
    [("a", "grey fox", 4), ("d", "dog", 1)],
    [("b", "grey dog", 3)],
]


@pytest.fixture
def days(project: Path, tmp_path: Path) -> list[Path]:
    """Make a project whose raw data set has the first day's log; return the paths of all days' logs."""
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "params.yaml").write_text(PARAMS)
    (project / "stop.txt").write_text("the\n")
    for raw in ("raw", "elsewhere"):
        (project / raw / "source").mkdir(parents=True)
    write_log(DAYS[2], project / "elsewhere/source/clicks.tsv")
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    return [
        write_log(DAYS[0], project / "raw/source/clicks.tsv"),
        *(write_log(rows, incoming / f"day-{number}.tsv") for number, rows in enumerate(DAYS[1:], 1)),
    ]


@pytest.mark.slow
def test_days_come_in_and_nothing_counts_twice(
    prefect_server: str, project: Path, days: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = daily(str(days[1]), return_state=True)
    assert state.message == "1 stages: 1 ran, 0 were up to date"
    assert (project / "raw/source/clicks/day-1.tsv").read_bytes() == days[1].read_bytes()
    assert (project / "rows").read_text().strip() == "5"
    words = pl.read_parquet(project / "features/vocabulary.parquet")["word"].to_list()
    assert words == ["dog", "fox", "red"]  # 8, 5 and 5 clicks; grey has 4

    state = daily(str(days[2]), return_state=True)
    assert state.is_completed(), state.message
    assert (project / "rows").read_text().strip() == "6"
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    options = ["--top-words", "3", "--stop-words", "stop.txt"]
    at_once = digest(build(days, tmp_path / "at-once", *options))
    assert digest(project / "features") == at_once

    # A log with the same content under another name is the same log.
    again = tmp_path / "again.tsv"
    again.write_bytes(days[1].read_bytes())
    state = daily(str(again), return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert re.search(r"again\.tsv: was added before, as .*clicks/day-1\.tsv; a log is counted once", state.message)
    assert digest(project / "features") == at_once
    assert len(list((project / "raw/source/clicks").iterdir())) == 2
    assert daily(return_state=True).message == "1 stages: 0 ran, 1 were up to date"


@pytest.mark.slow
def test_a_log_that_cannot_be_read_changes_nothing(prefect_server: str, project: Path, days: list[Path]) -> None:
    daily(str(days[1]), return_state=True)
    before = digest(project / "features")
    bad = days[1].with_name("day-2.parquet")
    bad.write_text("no Parquet")
    state = daily(str(bad), return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert state.message.startswith("the click features are unchanged: their build had exit code 2; its last lines:")
    assert "day-2.parquet: named .parquet, but its content is not Parquet" in state.message
    assert digest(project / "features") == before
    assert sorted(path.name for path in (project / "raw/source/clicks").iterdir()) == ["day-1.tsv"]


def day(project: Path, log: Path | None) -> Day:
    return Day(Workspace(project), Path("features"), log)


def test_a_killed_run_is_finished_from_either_side(
    project: Path, days: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    options = ["--top-words", "3", "--stop-words", "stop.txt"]
    assert day(project, days[1]).missing() == days[:2]
    # A run was killed after it had added the log to the features, but not to the raw data set.
    build(days[:2], project / "features", *options)
    with pytest.raises(
        UserError, match=r"features: counts incoming/day-1\.tsv, which .*raw lacks\. If a run was killed, give"
    ):
        day(project, None)
    again = day(project, days[1])
    assert again.missing() == []
    assert again.join() == project / "raw/source/clicks/day-1.tsv"
    assert again.join() is not None  # this Day has read the raw data set before the first join
    # The raw data set has a log that the features lack.
    other = write_log(DAYS[2], project / "raw/source/clicks/by-hand.tsv")
    assert day(project, None).missing() == [other]
    assert day(project, None).command(["x"])[:5] == ["python", "-m", "pipelines.build_click_features", "--clicks", "x"]
    assert "--previous" in day(project, None).command(["x"])


def test_logs_of_one_name_and_empty_logs(project: Path, days: list[Path], tmp_path: Path) -> None:
    path = project / "raw/source/clicks/day-1.tsv"
    assert day(project, days[1]).join() == path
    other = tmp_path / "day-1.tsv"
    write_log(DAYS[2], other)
    joined = day(project, other).join()
    assert joined is not None
    assert re.fullmatch(r"[0-9a-f]{12}-day-1\.tsv", joined.name)
    assert path.read_bytes() == days[1].read_bytes()
    for hour in ("hour-1.tsv", "hour-2.tsv"):
        (tmp_path / hour).touch()
        assert (tmp_path / hour) not in day(project, tmp_path / hour).missing()
        day(project, tmp_path / hour).join()


def test_a_log_joins_the_data_set_that_is_named(project: Path, days: list[Path]) -> None:
    other = Day(Workspace(project), Path("features"), days[1], "others")
    assert other.join() == project / "elsewhere/source/clicks/day-1.tsv"
    assert not (project / "raw/source/clicks").exists()
    assert day(project, days[1]).join() == project / "raw/source/clicks/day-1.tsv"  # without a name, the first data set
    with pytest.raises(UserError, match=r"params\.yaml: data_sets has no 'theirs'; it has own, others"):
        Day(Workspace(project), Path("features"), days[1], "theirs")
    (project / "params.yaml").write_text(PARAMS.replace("{own: raw, others: elsewhere}", "{}"))
    with pytest.raises(UserError, match=r"data_sets is empty; add the data set"):
        day(project, days[1])


@pytest.mark.parametrize("options", [(), ("--data-set", "others")])
def test_the_command_hands_over_the_data_set(
    project: Path, days: list[Path], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    arguments: list[tuple] = []
    monkeypatch.setattr("flows.daily.daily", lambda *values, **_: arguments.append(values))
    monkeypatch.setattr("flows.daily.run_here", lambda name, run, check, verbose: (check(), run()))
    main(["--log", str(days[1]), *options])
    assert arguments == [(str(days[1]), "features", options[1] if options else None, None)]


def test_a_logs_name_stays_text_on_the_page(project: Path, days: list[Path]) -> None:
    plain = day(project, days[1])
    folder = project / "features"
    assert plain.summary([days[1]], Path("raw/day-1.tsv")) == (
        f"- added to the click features in `{folder}`: `day-1.tsv`\n- added to the raw data set: `raw/day-1.tsv`\n"
    )
    nasty = Path("a`|<img src=x>\n\n# [b](c)")
    assert plain.summary([nasty, Path("`c")], nasty) == (
        f"- added to the click features in `{folder}`: ``a`|<img src=x>\\n\\n# [b](c)``, `` `c ``\n"
        "- added to the raw data set: ``a`|<img src=x>\\n\\n# [b](c)``\n"
    )
    assert plain.summary([], None) == (
        f"- added to the click features in `{folder}`: nothing, all logs are counted already\n"
        "- added to the raw data set: nothing new\n"
    )


def test_what_cannot_be_taken_in_is_told(project: Path, days: list[Path]) -> None:
    with pytest.raises(UserError, match=r"nowhere\.tsv: no such file on this machine"):
        day(project, project / "nowhere.tsv")
    os.mkfifo(project / "pipe.tsv")
    with pytest.raises(UserError, match=r"pipe\.tsv: is a named pipe, and only regular files are read"):
        day(project, project / "pipe.tsv")
    (project / "dvc.yaml").write_text("stages: {draw@toy: {cmd: mkdir raw, outs: [raw]}}\n".replace("@toy", ""))
    with pytest.raises(UserError, match=r"raw: stage draw writes this data set and would delete the added log"):
        day(project, days[1])
