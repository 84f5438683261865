import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from small_code import FIRST, LATE, SECOND, TRAIN, write_small_code

from flows.closure import differences, main, mend
from pipelines.console import UserError

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
  code_late:
    cmd: python -m pipelines.code --module jobs.late --output data/code/jobs.late.json
    deps:
      - net/gone.py
    outs: [data/code/jobs.late.json]
  late:
    cmd: python -m jobs.late
    deps:
      - data/code/jobs.late.json
      - jobs/late.py
  shell:
    cmd: sort in > sorted
    deps: [in]
    outs: [sorted]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_small_code(tmp_path)
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    return tmp_path


def test_differences_name_stage_and_files(root: Path) -> None:
    found = {difference.stage: difference for difference in differences(root)}
    assert set(found) == {"plain", "swept", "each", "code_late", "late"}
    assert set(found["plain"].missing) == FIRST - {"jobs/first.py"}
    assert found["swept"].superfluous == ("net/gone.py",)
    assert set(found["each"].missing) == SECOND - {"jobs/second.py"}
    assert (set(found["code_late"].missing), found["code_late"].superfluous) == (LATE, ("net/gone.py",))
    assert (found["late"].missing, found["late"].superfluous) == ((), ("jobs/late.py",))


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
    assert stages["code_late"]["deps"] == sorted(LATE)
    assert stages["late"]["deps"] == ["data/code/jobs.late.json"]  # whose writer has the code

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
