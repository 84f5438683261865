"""Paths that an output must not replace are reported before any work."""

import sys
from pathlib import Path

import pytest

from base.console import stage
from base.outputs import named_paths, reason_not_to_write


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project folder with some data the current folder."""
    project = tmp_path / "home" / "project"
    (project / "raw" / "source").mkdir(parents=True)
    (project / "raw" / "source" / "clicks.tsv").write_text("a\tcat\t1\n")
    (project / "data").symlink_to(project / "raw")
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    return project


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("--output new", ""),
        ("--raw raw --output new", ""),
        ("--raw raw --output raw/new", ""),  # an input may contain the output, as data/ does
        ("--raw raw --output raw", "is or holds raw, which this command reads"),
        ("--output raw --raw raw/", "is or holds raw, which this command reads"),
        ("--raw=raw --out=raw", "is or holds raw, which this command reads"),
        ("--raw data --output raw", "is or holds data, which"),  # data is a link to raw
        ("--raw raw --output data", "is or holds raw, which"),
        ("--clicks raw/source/clicks.tsv --output raw", "is or holds raw/source/clicks.tsv, which"),
        ("--clicks raw/*/*.tsv --output raw/source", "is or holds raw/source/clicks.tsv, which"),
        ("--clicks none raw/source --output raw", "is or holds raw/source, which"),
        ("--output raw raw/source/clicks.tsv", "is or holds raw/source/clicks.tsv, which"),
        ("--previous raw --clicks none --output raw", ""),
        ("--previous raw --clicks raw/source --output raw", "is or holds raw/source, which"),
        ("--previous raw/source --output raw", "is or holds raw/source, which"),
        ("--output .", "is or holds the current folder"),
        ("--output ..", "is or holds the current folder"),
        ("--output=", "is or holds the current folder"),
        ("--output {project}", "is or holds the current folder"),
        ("--output /", "is or holds the current folder"),
        ("--output raw/source/clicks.tsv/new", "/raw/source/clicks.tsv is a file and can't contain a folder"),
    ],
)
def test_an_output_replaces_nothing_that_is_read_or_stood_in(command: str, reason: str, here: Path) -> None:
    output, inputs = named_paths(command.format(project=here).split(" "))
    assert output is not None
    found = reason_not_to_write(output, inputs)
    assert reason in found
    assert bool(found) == bool(reason)


def test_the_home_folder_is_no_output(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert reason_not_to_write(here) == ""
    assert "is or holds your home folder" in reason_not_to_write(here.parent)


def test_every_stage_looks_at_its_command_line_before_it_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["ingest", "--raw", "raw", "--output", "raw"])
    with pytest.raises(SystemExit) as left, stage("ingest"):
        raise AssertionError("it has begun")
    assert left.value.code == 2
    assert "ingest: error: --output raw: is or holds raw, which this command reads; name another" in caplog.text
