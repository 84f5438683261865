"""bash completes doors, their options, choices and files, by the printed script."""

import importlib
import shutil
import subprocess
from pathlib import Path

import pytest

from clicksight import completion
from clicksight.doors import DOORS

# What bash does when the tab key is pressed: it sets the words and calls the function.
PRESS_TAB = (
    'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_clicksight; printf "%s\\n" "${COMPREPLY[@]}"'
)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, as the command prints it."""
    path = tmp_path_factory.mktemp("completion") / "clicksight"
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("sys.stdout.write", lines.append)
        completion.main(["bash"])
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("name", DOORS)
def test_every_door_has_a_parser_to_complete(name: str) -> None:
    parser = importlib.import_module(DOORS[name].module).build_parser()
    assert "--help" in parser.format_help()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["exp"], ["export"]),
        (["cut"], ["cut-offs"]),
        (["search", "--fo"], ["--format"]),
        (["search", "pictures.index", "--format", ""], ["table", "jsonl"]),
        (["cut-offs", "--ri"], ["--right"]),
        (["export", "--as", "re"], ["recbole"]),
        (["features", "--prev"], ["--previous"]),
        (["predict", "mod"], ["models"]),
        (["predict", "models", "pic"], ["picture.png"]),
        (["predict", "models", "picture.png", "--cut-offs", "cut"], ["cut_offs.parquet"]),
        (["search", "--right"], [""]),
    ],
)
def test_bash_completes(script: Path, tmp_path: Path, typed: list[str], expected: list[str]) -> None:
    (tmp_path / "models").mkdir()
    for name in ("picture.png", "cut_offs.parquet"):
        (tmp_path / name).touch()
    pressed = subprocess.run(
        ["bash", "--norc", "-c", PRESS_TAB, "bash", script, "clicksight", *typed],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert pressed.stderr == ""
    assert pressed.stdout.split("\n")[:-1] == expected


def test_zsh_gets_every_door(capsys: pytest.CaptureFixture[str]) -> None:
    completion.main(["zsh"])
    shown = capsys.readouterr().out
    assert shown.startswith("#compdef clicksight\n")
    assert all(f"    {name}:" in shown for name in DOORS)
    if shutil.which("zsh") is not None:
        subprocess.run(["zsh", "-n"], input=shown, text=True, check=True)
