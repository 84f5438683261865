import json
import re
from pathlib import Path

import pytest
from small_code import FIRST, LATE, SECOND, TRAIN, write_small_code

from base.code import Code, commands, main


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_small_code(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "expected"), [("jobs.first", FIRST), ("net.train", TRAIN), ("jobs.second", SECOND), ("jobs.late", LATE)]
)
def test_closure_is_what_running_the_module_may_read(root: Path, module: str, expected: set[str]) -> None:
    assert Code(root, ["jobs", "net"]).closure(module) == expected


def digests(module: str) -> dict[str, str]:
    main(["--packages", "jobs", "net", "--output", "data/code"])
    return dict(json.loads(Path(f"data/code/{module}.json").read_text()))


def test_each_module_that_can_be_run_has_a_file_of_digests(root: Path) -> None:
    digests("net.train")
    assert {path.name for path in Path("data/code").iterdir()} == {
        "jobs.first.json",
        "jobs.second.json",
        "net.train.json",
    }
    assert commands(Code(root, ["jobs", "net"])) == ["jobs.first", "jobs.second", "net.train"]


def test_the_digests_change_with_the_code_of_the_module_and_no_other(root: Path) -> None:
    before = digests("net.train")
    assert set(before) == TRAIN
    assert len(set(before.values())) == len({(root / file).read_bytes() for file in TRAIN})
    other = digests("jobs.second")
    (root / "jobs/second.py").write_text("other = 1\n" + (root / "jobs/second.py").read_text())
    assert digests("net.train") == before
    assert digests("jobs.second") != other
    (root / "net/words/en.txt").write_text("the a")
    after = digests("net.train")
    assert {file for file in TRAIN if after[file] != before[file]} == {"net/words/en.txt"}


def test_a_command_that_is_gone_has_no_digests_left(root: Path) -> None:
    digests("net.train")
    (root / "jobs/second.py").unlink()
    digests("net.train")
    assert not Path("data/code/jobs.second.json").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "jobs/tools.py",
            "\nimport net.nowhere\n",
            r"tools\.py, line 2: no module net\.nowhere \(expected net/nowhere\.py\)",
        ),
        (
            "jobs/deep.py",
            "import importlib\nimportlib.import_module(name)\n",
            r"jobs/deep\.py, line 2: import_module of a",
        ),
    ],
)
def test_code_that_cannot_be_followed_is_an_error(
    root: Path, file: str, text: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    (root / file).write_text(text)
    with pytest.raises(SystemExit, match="2"):
        digests("net.train")
    assert re.search(message, caplog.text)
    assert not Path("data/code").exists()
