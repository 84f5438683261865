"""Which code each stage runs, and whether dvc.yaml says so.

    python -m flows.closure            # what is missing or superfluous; exit code 1 if anything is
    python -m flows.closure --write    # mends dvc.yaml in place

DVC does not see imported modules. So every stage lists, among its ``deps``, the import closure of the module that its
``cmd`` runs: each local module it reaches, however deep, the ``__init__`` files of their packages, and the data files
(templates, word lists) beside them that they name. The closure is read from the source, nothing is imported: imports
inside functions count, those under ``if TYPE_CHECKING`` do not.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.artifacts import whole_file
from pipelines.console import UserError

MODULE_RUN = re.compile(r"\bpython[\d.]* -m ([\w.]+)")


class Code:
    """The project's own modules, and what each of them imports and reads.

    Args:
        root: the repository root; paths of modules are relative to it, with forward slashes.
        packages: names of the local top-level packages. Imports of anything else are none of ours.
    """

    def __init__(self, root: Path, packages: Sequence[str]) -> None:
        self.root = root
        self.packages = frozenset(packages)
        self._direct: dict[str, frozenset[str]] = {}

    def is_ours(self, name: str) -> bool:
        """Whether a module's dotted name or a file's path lies in one of the packages."""
        return re.split(r"[./]", name, maxsplit=1)[0] in self.packages

    def file_of(self, module: str) -> str | None:
        """Return the path of a module's source, ``model/__init__.py`` for a package; None if there is none."""
        stem = module.replace(".", "/")
        for candidate in (f"{stem}.py", f"{stem}/__init__.py"):
            if (self.root / candidate).is_file():
                return candidate
        return None

    def closure(self, module: str) -> frozenset[str]:
        """Return the files that running a module may read as code, itself included.

        Raises:
            UserError: the module, or a local module that one of them imports, does not exist.
        """
        pending = [self._existing(module, "")]
        pending += self._packages_of(module)
        found: set[str] = set()
        while pending:
            file = pending.pop()
            if file not in found:
                found.add(file)
                pending += self.direct(file)
        return frozenset(found)

    def direct(self, file: str) -> frozenset[str]:
        """Return the local files that one source file imports or names; nothing for a data file."""
        if file not in self._direct:
            self._direct[file] = frozenset(self._read(file)) if file.endswith(".py") else frozenset()
        return self._direct[file]

    def _read(self, file: str) -> Iterator[str]:
        package = file.removesuffix("/__init__.py") if file.endswith("/__init__.py") else file.rpartition("/")[0]
        data_files = self._data_files(package)
        for node in _running_nodes(ast.parse((self.root / file).read_text(encoding="utf-8"), file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from (path for path in data_files if f"/{path}".endswith(f"/{node.value}"))
            where = f"{file}, line {getattr(node, 'lineno', 0)}: "
            for module, names in _imports(node, package.replace("/", "."), where):
                if self.is_ours(module):
                    yield self._existing(module, where)
                    yield from self._packages_of(module)
                    submodules = (self.file_of(f"{module}.{name}") for name in names)
                    yield from (submodule for submodule in submodules if submodule)

    def _existing(self, module: str, where: str) -> str:
        file = self.file_of(module)
        if not file:
            raise UserError(f"{where}no module {module} (expected {module.replace('.', '/')}.py)")
        return file

    def _packages_of(self, module: str) -> list[str]:
        parts = module.split(".")
        inits = ("/".join([*parts[:depth], "__init__.py"]) for depth in range(1, len(parts)))
        return [init for init in inits if (self.root / init).is_file()]

    def _data_files(self, package: str) -> list[str]:
        files = (path.relative_to(self.root) for path in (self.root / package).rglob("*") if path.is_file())
        return [path.as_posix() for path in files if path.suffix != ".py" and "__pycache__" not in path.parts]


def _running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a syntax tree without what only type checkers read."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for statement in tree.orelse:
            yield from _running_nodes(statement)
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _running_nodes(child)


def _imports(node: ast.AST, package: str, where: str) -> Iterator[tuple[str, list[str]]]:
    """Return (absolute module, names taken from it) of an import statement or of ``import_module("...")``."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, []) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield module, [alias.name for alias in node.names]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        if not (node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)):
            raise UserError(f"{where}import_module of a computed name hides code from dvc.yaml; name the module")
        yield node.args[0].value, []


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


def project_code(root: Path) -> Code:
    """Return the code of the packages that pyproject.toml lists."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return Code(root, sorted({package.split(".")[0] for package in project["tool"]["setuptools"]["packages"]}))


def stage_definitions(graph: Path) -> dict[str, Any]:
    """Return each stage's body as it stands in dvc.yaml, templates unresolved, ``foreach`` unwrapped."""
    content = YAML().load(graph)  # round trip, for the line numbers
    return {name: definition.get("do", definition) for name, definition in content["stages"].items()}


def modules_run(definition: Any) -> list[str]:
    """Return the modules that a stage's ``cmd`` runs, as in ``python -m model.train``."""
    commands = definition["cmd"] if isinstance(definition["cmd"], list) else [definition["cmd"]]
    return MODULE_RUN.findall("\n".join(commands))


def expected_code(code: Code, definition: Any) -> frozenset[str]:
    """Return the code files that a stage has to depend on."""
    modules = [module for module in modules_run(definition) if code.is_ours(module)]
    return frozenset().union(*(code.closure(module) for module in modules))


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
