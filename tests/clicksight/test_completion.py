"""bash and zsh complete doors, their options, choices and files, by the printed scripts."""

import importlib
import os
import pty
import shutil
import subprocess
import threading
import time
from contextlib import suppress
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


# After the tab key, control-X writes the line to a file, and empties it.
INTERACTIVE = """
PS1=
fpath=($PWD/functions $fpath)
autoload -U compinit && compinit -u -D
keep() { print -r -- "$BUFFER" >> lines.txt; BUFFER= }
zle -N keep && bindkey '^X' keep
print ready > lines.txt
"""


def lines_of_zsh(folder: Path, typed: list[str]) -> list[str]:
    """Return what zsh makes of some lines when the tab key is pressed at their ends."""
    terminal, side = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder)}
    zsh = subprocess.Popen(
        ["zsh", "-f", "-i"], cwd=folder, env=environment, stdin=side, stdout=side, stderr=side, start_new_session=True
    )
    os.close(side)
    reader = threading.Thread(target=drain, args=(terminal,), daemon=True)  # a full terminal would stop zsh
    reader.start()
    written = folder / "lines.txt"

    def wait_for(number: int) -> list[str]:
        until = time.monotonic() + 60
        while not written.exists() or len(found := written.read_text().splitlines()) < number:
            assert zsh.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        return found

    try:
        os.write(terminal, INTERACTIVE.encode())
        wait_for(1)
        for number, line in enumerate(typed, start=2):
            os.write(terminal, f"{line}\t\x18".encode())
            found = wait_for(number)
        return found[1:]
    finally:
        zsh.kill()
        zsh.wait(30)
        reader.join(30)
        os.close(terminal)


def drain(terminal: int) -> None:
    """Read a terminal to its end."""
    with suppress(OSError):  # the end of a terminal is an error
        while os.read(terminal, 4096):
            pass


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    completion.main(["zsh"])
    for folder in ("functions", "models"):
        (tmp_path / folder).mkdir()
    (tmp_path / "functions/_clicksight").write_text(capsys.readouterr().out)
    for name in ("picture.png", "cut_offs.parquet"):
        (tmp_path / name).touch()
    expected = {
        "clicksight exp": "clicksight export ",
        "clicksight search --fo": "clicksight search --format ",
        "clicksight search picture.png --format js": "clicksight search picture.png --format jsonl ",
        "clicksight export --as re": "clicksight export --as recbole ",
        "clicksight predict mod": "clicksight predict models/",
        "clicksight predict models pic": "clicksight predict models picture.png ",
        "clicksight predict models picture.png --cut-offs cut": (
            "clicksight predict models picture.png --cut-offs cut_offs.parquet "
        ),
    }
    assert dict(zip(expected, lines_of_zsh(tmp_path, list(expected)), strict=True)) == expected
