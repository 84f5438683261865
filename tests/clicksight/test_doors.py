import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from clicksight import doors

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("clicksight")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)


def test_help_names_every_door_with_its_purpose() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for name, door in doors.DOORS.items():
        assert any(line.split() == [name, *door.purpose.split()] for line in shown.stdout.splitlines())


@pytest.mark.parametrize("name", doors.DOORS)
def test_every_door_leads_to_a_command(name: str) -> None:
    assert callable(importlib.import_module(doors.DOORS[name].module).main)


def test_a_door_shows_the_help_of_its_module_under_its_own_name() -> None:
    shown = run("features", "--help")
    assert shown.returncode == 0
    assert "usage: clicksight features" in shown.stdout
    assert "--top-words" in shown.stdout


def test_exports_of_data_go_through_the_same_door() -> None:
    assert "--format {safetensors,torch,onnx}" in run("export", "--help").stdout
    assert "--as {open_clip," in run("export", "--as", "trec", "--help").stdout


def test_a_closed_pipe_is_no_error() -> None:
    # far more than a pipe holds, so that the door writes after the reader has gone
    written = (
        "import sys\nfrom clicksight import doors\ndoors.DOORS = {'x': doors.Door('endless', '')}\ndoors.main(['x'])"
    )
    module = "def main(argv):\n    for _ in range(100_000):\n        print('a line of text')\n"
    door = subprocess.Popen(
        [sys.executable, "-c", f"import sys, types\nm = types.ModuleType('endless')\nexec({module!r}, m.__dict__)\n"
         f"sys.modules['endless'] = m\n{written}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert door.stdout is not None
    assert door.stderr is not None
    assert door.stdout.readline() == b"a line of text\n"
    door.stdout.close()
    assert door.stderr.read() == b""
    assert door.wait() == doors.PIPE_CLOSED


def test_a_door_runs_its_module_and_keeps_its_exit_code(tmp_path: Path) -> None:
    shown = run("features", "--clicks", str(tmp_path / "missing.tsv"), "--output", str(tmp_path / "features"))
    assert shown.returncode == 2
    assert "missing.tsv" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("arguments", [(), ("feature",), ("--version",)])
def test_an_unknown_command_is_an_error_with_the_usage(arguments: tuple[str, ...]) -> None:
    shown = run(*arguments)
    assert shown.returncode == 2
    assert "usage: clicksight COMMAND" in shown.stderr
