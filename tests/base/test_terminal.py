import subprocess
import sys
from pathlib import Path

import pytest

from base.terminal import printable

ROOT = Path(__file__).parents[2]
RAISING = """
import logging, sys
from base import console
with console.stage("clean", "b\\x1b[2Jad") as closing:
    raise {error}
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jdog\x07", "\\x1b[2Jdog\\x07"),
        ("a\r\n\tb\x0b\x7f\x00", "a\\r\\n\\tb\\x0b\\x7f\\x00"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        *(
            (chr(code), f"\\u{code:04x}")
            for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x61C)
        ),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("d\udcff", "d\\udcff"),
        ("狗 chó שלום \U0001f415\u200d e\u0301 \\ \u00a0", "狗 chó שלום \U0001f415\u200d e\u0301 \\ \u00a0"),
    ],
)
def test_what_controls_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_our_own_line_breaks_stay() -> None:
    assert printable("a\n\tb\x1b\r", keep="\n\t") == "a\n\tb\\x1b\\r"


def output_of(code: str, tmp_path: Path) -> tuple[int, list[str]]:
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "CLICKSIGHT_NO_STATE": "1"},
        capture_output=True, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stderr.decode("utf-8").split("\n")


def test_log_lines_of_a_stage_are_printable_and_not_forged(tmp_path: Path) -> None:
    code = """
import logging
from base import console
with console.stage("clean", "b\\x1b[2Jad") as closing:
    closing.wrote["x\\n12:00:00 clean: wrote y"] = "\\u202e"
    closing.counts["quarantined: \\x9bm"] = 1
    logging.getLogger("beam").warning("one\\n12:00:00 clean: two\\x07")
"""
    returncode, lines = output_of(code, tmp_path)
    assert returncode == 0
    texts = [line[9:] for line in lines if line[:2].isdigit()]
    assert texts[0] == "clean: started (b\\x1b[2Jad)"
    assert texts[1] == "one"
    assert "    12:00:00 clean: two\\x07" in lines
    assert texts[2:4] == ["clean: quarantined: \\x9bm 1", "clean: wrote x\\n12:00:00 clean: wrote y (\\u202e)"]
    assert len(texts) == 5


@pytest.mark.parametrize(
    ("error", "exit_code", "last"),
    [
        ('console.UserError("x\\x1b[2J\\r.tsv: bad\\n12:00:00 clean: done")', 2, "clean: error: 12:00:00 clean: done"),
        ('ValueError("x\\x1b[2J\\r.tsv: bad")', 1, "ValueError: x\\x1b[2J\\r.tsv: bad"),
    ],
)
def test_errors_are_printable(tmp_path: Path, error: str, exit_code: int, last: str) -> None:
    returncode, lines = output_of(RAISING.format(error=error), tmp_path)
    assert returncode == exit_code
    assert lines[-1] == ""
    assert lines[-2].endswith(last)
    assert (lines[-2] == last) == (exit_code == 1)  # a user error is a log line, which begins with the time
    assert "\x1b" not in "".join(lines)


def test_a_bars_label_is_printable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from base import console

    labels: list[str] = []
    monkeypatch.setattr(console, "tqdm", lambda items, desc, **_: labels.append(desc) or items)
    list(console.progress([1], "score \x1b[2J", "images"))
    assert labels == ["score \\x1b[2J"]
