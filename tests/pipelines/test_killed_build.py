"""A build that is killed with all its processes leaves the old output or none, and does not affect the next build."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click_builds import build, digest, write_log

ROOT = Path(__file__).parents[2]
HIDDEN = ".out.*.partial"
PATIENCE_S = 120.0


def draw_rows(seed: int) -> list[tuple[str, str, int]]:
    generator = np.random.default_rng(seed)
    columns = (
        generator.integers(0, 3_000, 40_000),
        generator.integers(0, 5_000, 40_000),
        generator.integers(1, 9, 40_000),
    )
    return [(f"i{image}", f"w{word % 97} w{word}", int(n)) for image, word, n in zip(*columns, strict=True)]


def has_begun(folder: Path) -> bool:
    return any(folder.glob(HIDDEN))


def has_written(name: str) -> Callable[[Path], bool]:
    """Return a check of whether the hidden folder holds a file; only whole files have names without a dot."""
    return lambda folder: any(folder.glob(f"{HIDDEN}/{name}"))


@pytest.fixture(scope="module", autouse=True)
def _own_state() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICKSIGHT_NO_STATE", "1")
        yield


class Built(NamedTuple):
    """A log, and the output of an undisturbed build of it."""

    log: Path
    output: Path


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("old")
    log = write_log(draw_rows(1), folder / "log.tsv")
    return Built(log, build(log, folder / "out"))


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("new")
    log = write_log(draw_rows(2), folder / "log.tsv")
    return Built(log, build(log, folder / "out"))


def kill_when(moment: Callable[[Path], bool], log: Path, output: Path, *options: str) -> None:
    """Start the command, and kill its process group as soon as `moment` is true."""
    command = [sys.executable, "-m", "pipelines.build_click_features", "--clicks", str(log), "--output", str(output)]
    process = subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and not moment(output.parent):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it had ended before it could be killed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "is_old_there"),
    [
        pytest.param(has_begun, False, id="hidden folder"),
        pytest.param(has_written("vocabulary.parquet"), True, id="vocabulary, old output"),
        pytest.param(has_written("click_features/part-*.parquet"), False, id="first features"),
        pytest.param(has_written("click_features/part-*.parquet"), True, id="first features, old output"),
    ],
)
def test_a_killed_build_leaves_old_or_nothing_and_the_next_one_ends_right(tmp_path, old, new, moment, is_old_there):
    output = tmp_path / "results" / "out"
    output.parent.mkdir()
    if is_old_there:
        shutil.copytree(old.output, output)
    kill_when(moment, new.log, output)
    assert output.exists() == is_old_there
    assert digest(output) == (digest(old.output) if is_old_there else {})
    assert any(output.parent.glob(HIDDEN))
    assert digest(build(new.log, output)) == digest(new.output) != digest(old.output)
    assert [path.name for path in output.parent.iterdir()] == ["out"]


@pytest.mark.slow
def test_a_killed_addition_leaves_the_build_that_it_adds_to(tmp_path, old, new):
    added = build(new.log, tmp_path / "added", "--previous", str(old.output))
    output = tmp_path / "results" / "out"
    shutil.copytree(old.output, output)
    kill_when(has_written("click_features/part-*.parquet"), new.log, output, "--previous", str(output))
    assert digest(output) == digest(old.output)
    assert digest(build(new.log, output, "--previous", str(output))) == digest(added) != digest(old.output)
    assert [path.name for path in output.parent.iterdir()] == ["out"]
