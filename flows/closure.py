"""Which code each stage runs, and whether dvc.yaml says so.

    python -m flows.closure            # what is missing or superfluous; exit code 1 if anything is
    python -m flows.closure --write    # mends dvc.yaml in place

DVC does not see imported modules. So every stage lists, among its ``deps``, the import closure of the module that its
``cmd`` runs (`pipelines.code`); or the digest of that closure, ``data/code/<module>.json``, which a stage of its own
writes: that one lists the closure then.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.artifacts import whole_file
from pipelines.code import Code, project_code
from pipelines.console import UserError

# What fills in names decides on no byte of an output: the module that it runs does.
MODULE_RUN = re.compile(r"\bpython[\d.]* -m (?:pipelines\.with_names\b.*? -- )?([\w.]+)", re.DOTALL)
MODULE_DIGESTED = re.compile(r"\bpython[\d.]* -m pipelines\.code --module ([\w.]+)")


@dataclass(frozen=True)
class Difference:
    """What one stage's ``deps`` lack, and what they list without need."""

    stage: str
    missing: tuple[str, ...]
    superfluous: tuple[str, ...]
    error: str = ""

    def __str__(self) -> str:
        """One line each for what is missing, superfluous or wrong."""
        lines = [self.error] if self.error else []
        lines += [f"missing from deps: {', '.join(self.missing)}"] if self.missing else []
        lines += [f"superfluous in deps: {', '.join(self.superfluous)}"] if self.superfluous else []
        return "\n".join(f"stage {self.stage}: {line}" for line in lines)


def stage_definitions(graph: Path) -> dict[str, Any]:
    """Return each stage's body as it stands in dvc.yaml, templates unresolved, ``foreach`` unwrapped."""
    content = YAML().load(graph)  # round trip, for the line numbers
    return {name: definition.get("do", definition) for name, definition in content["stages"].items()}


def modules_run(definition: Any) -> list[str]:
    """Return the modules that a stage's ``cmd`` runs, as in ``python -m model.train``."""
    return MODULE_RUN.findall(_commands(definition))


def _commands(definition: Any) -> str:
    return "\n".join(definition["cmd"] if isinstance(definition["cmd"], list) else [definition["cmd"]])


def expected_code(code: Code, definition: Any) -> frozenset[str]:
    """Return the code files that a stage has to depend on, besides those whose digest it depends on."""
    run = [module for module in modules_run(definition) if digest_of(module) not in definition.get("deps", [])]
    modules = [module for module in run + MODULE_DIGESTED.findall(_commands(definition)) if code.is_ours(module)]
    return frozenset().union(*(code.closure(module) for module in modules))


def digest_of(module: str) -> str:
    """Return where the digest of a module's closure is written."""
    return f"data/code/{module}.json"


def listed_code(code: Code, definition: Any) -> list[str]:
    """Return the code files among a stage's ``deps``."""
    return [dep for dep in definition.get("deps", []) if isinstance(dep, str) and code.is_ours(dep)]


def differences(root: Path) -> list[Difference]:
    """Compare every stage's ``deps`` with its import closure; empty when they agree."""
    code = project_code(root)
    found = []
    for stage, definition in stage_definitions(root / "dvc.yaml").items():
        try:
            expected = expected_code(code, definition)
        except UserError as error:
            found.append(Difference(stage, (), (), str(error)))
            continue
        listed = listed_code(code, definition)
        missing, superfluous = sorted(expected - set(listed)), sorted(set(listed) - expected)
        if missing or superfluous:
            found.append(Difference(stage, tuple(missing), tuple(superfluous)))
    return found


def mend(root: Path) -> None:
    """Rewrite the code lines of ``deps`` in dvc.yaml; every other line keeps its bytes.

    Raises:
        UserError: a stage has no ``deps`` list in block style to write into.
    """
    graph, code = root / "dvc.yaml", project_code(root)
    lines = graph.read_text(encoding="utf-8").splitlines()
    replaced: dict[int, list[str]] = {}
    for stage, definition in stage_definitions(graph).items():
        try:
            expected = sorted(expected_code(code, definition))
        except UserError:
            continue  # told by differences()
        listed = listed_code(code, definition)
        if listed == expected:
            continue
        deps = definition.get("deps")
        if not deps or deps.fa.flow_style():
            raise UserError(f"{graph}: stage {stage} needs a `deps:` list, one item per line, to write code into")
        own_lines = [deps.lc.item(place)[0] for place, dep in enumerate(deps) if dep in listed]
        first = own_lines[0] if own_lines else deps.lc.item(0)[0]
        indent = lines[first][: lines[first].index("-")]
        replaced |= {line: [] for line in own_lines}
        replaced[first] = [f"{indent}- {file}" for file in expected] + ([] if own_lines else [lines[first]])
    text = "\n".join(out for number, line in enumerate(lines) for out in replaced.get(number, [line]))
    with whole_file(graph) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Compare, or mend and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="mend dvc.yaml in place")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository root (default: here)")
    options = parser.parse_args(argv)
    if options.write:
        mend(options.root)
    found = differences(options.root)
    for difference in found:
        sys.stderr.write(f"{difference}\n")
    if found:
        sys.stderr.write("dvc.yaml does not list the code its stages run; mend: python -m flows.closure --write\n")
        raise SystemExit(1)
    sys.stdout.write("dvc.yaml lists each stage's code, no more and no less\n")


if __name__ == "__main__":
    main()
