import json
from pathlib import Path

import pytest
from small_code import FIRST, LATE, SECOND, TRAIN, write_small_code

from pipelines.code import main, project_code


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_small_code(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "expected"), [("jobs.first", FIRST), ("net.train", TRAIN), ("jobs.second", SECOND), ("jobs.late", LATE)]
)
def test_closure_is_what_running_the_module_may_read(root: Path, module: str, expected: set[str]) -> None:
    assert project_code(root).closure(module) == expected


def digests(module: str) -> dict[str, str]:
    main(["--module", module, "--output", "data/code.json"])
    return dict(json.loads(Path("data/code.json").read_text()))


def test_the_digests_change_with_the_code_of_the_module_and_no_other(root: Path) -> None:
    before = digests("net.train")
    assert set(before) == TRAIN
    assert len(set(before.values())) == len({(root / file).read_bytes() for file in TRAIN})
    (root / "jobs/second.py").write_text("other = 1\n")
    assert digests("net.train") == before
    (root / "net/words/en.txt").write_text("the a")
    after = digests("net.train")
    assert {file for file in TRAIN if after[file] != before[file]} == {"net/words/en.txt"}


def test_a_module_that_is_not_there_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        digests("net.trian")
    assert "no module net.trian (expected net/trian.py)" in caplog.text
