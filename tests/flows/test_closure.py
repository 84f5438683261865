import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.closure import differences, main, mend, project_code
from pipelines.console import UserError

PYPROJECT = '[tool.setuptools]\npackages = ["jobs", "net", "net.losses"]\n'
GRAPH = """\
# the head comment stays
vars: [{n: [1, 2]}]
stages:
  plain:
    cmd: python -m jobs.first --output out   # so does this one
    deps:
      - data/in.parquet
      - jobs/first.py
    outs: [out]

  # and this
  swept:
    matrix: {seed: [0, 1]}
    cmd: >-
      python -m
      net.train --seed ${item.seed}
    deps:
      - out
      - net/train.py
      - net/gone.py
    outs: ["model-${item.seed}"]
  each:
    foreach: ${n}
    do:
      cmd:
        - echo begin
        - python -m jobs.second
      deps:
        - jobs/second.py
      outs: ["second-${item}"]
  shell:
    cmd: sort in > sorted
    deps: [in]
    outs: [sorted]
"""
FILES = {
    "jobs/__init__.py": "",
    "jobs/first.py": '"""Not other.html."""\nimport json\nfrom jobs import tools\nPAGE = "page.html"\n',
    "jobs/tools.py": "def late():\n    from .deep import thing\n    return thing\n",
    "jobs/deep.py": "thing = 1\n",
    "jobs/page.html": "<p>",
    "jobs/other.html": "<p>",
    "jobs/second.py": (
        "from typing import TYPE_CHECKING\nfrom net.losses import count\nimport net.words.stop\n"
        "if TYPE_CHECKING:\n    from jobs.first import PAGE\nelse:\n    from . import deep\n"
    ),
    "net/__init__.py": "from net import base\n",
    "net/base.py": "",
    "net/train.py": 'import importlib\nimportlib.import_module("jobs.deep")\nLIST = "words/en.txt"\n',
    "net/words/stop.py": "",
    "net/words/en.txt": "the",
    "net/losses/__init__.py": "from net.losses.count import count\n",
    "net/losses/count.py": "from ..base import *\ncount = 1\n",
}
FIRST = {"jobs/__init__.py", "jobs/first.py", "jobs/tools.py", "jobs/deep.py", "jobs/page.html"}
TRAIN = {"net/__init__.py", "net/base.py", "net/train.py", "net/words/en.txt", "jobs/__init__.py", "jobs/deep.py"}
SECOND = {
    "jobs/__init__.py", "jobs/second.py", "jobs/deep.py", "net/__init__.py", "net/base.py",
    "net/losses/__init__.py", "net/losses/count.py", "net/words/stop.py",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {**FILES, "pyproject.toml": PYPROJECT, "dvc.yaml": GRAPH}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("module", "expected"), [("jobs.first", FIRST), ("net.train", TRAIN), ("jobs.second", SECOND)])
def test_closure_is_what_running_the_module_may_read(root: Path, module: str, expected: set[str]) -> None:
    assert project_code(root).closure(module) == expected


def test_differences_name_stage_and_files(root: Path) -> None:
    found = {difference.stage: difference for difference in differences(root)}
    assert set(found) == {"plain", "swept", "each"}
    assert set(found["plain"].missing) == FIRST - {"jobs/first.py"}
    assert found["swept"].superfluous == ("net/gone.py",)
    assert set(found["each"].missing) == SECOND - {"jobs/second.py"}


def test_write_mends_code_lines_and_touches_nothing_else(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--root", str(root)])
    assert exit_.value.code == 1
    assert "stage swept: superfluous in deps: net/gone.py" in capsys.readouterr().err
    main(["--root", str(root), "--write"])
    text = (root / "dvc.yaml").read_text()
    stages = YAML(typ="safe").load(text)["stages"]
    assert stages["plain"]["deps"] == ["data/in.parquet", *sorted(FIRST)]
    assert stages["swept"]["deps"] == ["out", *sorted(TRAIN)]
    assert stages["each"]["do"]["deps"] == sorted(SECOND)

    def without_code(content: str) -> list[str]:
        return [line for line in content.splitlines() if not line.strip().startswith(("- jobs/", "- net/"))]

    assert without_code(text) == without_code(GRAPH)
    mend(root)
    assert (root / "dvc.yaml").read_text() == text


def test_a_stage_without_code_deps_gets_them_before_its_data(root: Path) -> None:
    graph = root / "dvc.yaml"
    graph.write_text(GRAPH.replace("      - jobs/first.py\n", ""))
    mend(root)
    assert YAML(typ="safe").load(graph)["stages"]["plain"]["deps"] == [*sorted(FIRST), "data/in.parquet"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("jobs/first.py", None, r"stage plain: no module jobs\.first \(expected jobs/first\.py\)"),
        ("jobs/tools.py", "\nimport net.nowhere\n", r"jobs/tools\.py, line 2: no module net\.nowhere"),
        ("jobs/deep.py", "import importlib\nimportlib.import_module(name)\n", r"jobs/deep\.py, line 2: import_module"),
    ],
)
def test_code_that_cannot_be_followed_is_told(root: Path, file: str, text: str | None, message: str) -> None:
    if text is None:
        (root / file).unlink()
    else:
        (root / file).write_text(text)
    told = "\n".join(map(str, differences(root)))
    assert re.search(message, told), told


def test_a_flow_style_list_is_refused(root: Path) -> None:
    (root / "dvc.yaml").write_text(GRAPH.replace("cmd: sort in", "cmd: python -m jobs.deep; sort in"))
    with pytest.raises(UserError, match="stage shell needs a `deps:` list"):
        mend(root)
