"""Finds the files that each command runs as code, and writes their digests, on which the command's stages depend.

    python -m base.code --packages base pipelines model report systems --output data/code

DVC does not see imported modules. The import closure of a module holds every local module that it imports, directly or
indirectly, the ``__init__`` files of their packages, and the data files (templates, word lists) beside them that they
name. The closure is read from the source without importing anything: imports inside functions count, imports under
``if TYPE_CHECKING`` do not.

In: the source files. Out: ``MODULE.json`` for each module that can be run; it maps the path of each file in the closure
to the file's digest. A stage depends on this one file instead of on thirty: DVC rewrites dvc.lock after every stage,
and that took longer than many stages. An edit reruns this stage, and then the stages whose ``MODULE.json`` changed.
"""

import argparse
import ast
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from base.artifacts import whole_directory, write_json
from base.console import UserError, stage

RUN_AS_MAIN = re.compile(r'^if __name__ == "__main__":', re.MULTILINE)


class Code:
    """The project's own modules, and the files that each of them imports and reads.

    Args:
        root: the repository root; paths of modules are relative to it, with forward slashes.
        packages: names of the local top-level packages. Imports of other packages are ignored.
    """

    def __init__(self, root: Path, packages: Sequence[str]) -> None:
        self.root = root
        self.packages = tuple(packages)
        self._direct: dict[str, frozenset[str]] = {}

    def is_ours(self, name: str) -> bool:
        """Return whether a module's dotted name or a file's path lies in one of the packages."""
        return re.split(r"[./]", name, maxsplit=1)[0] in self.packages

    def file_of(self, module: str) -> str | None:
        """Return the path of a module's source, ``model/__init__.py`` for a package; None if it doesn't exist."""
        stem = module.replace(".", "/")
        for candidate in (f"{stem}.py", f"{stem}/__init__.py"):
            if (self.root / candidate).is_file():
                return candidate
        return None

    def closure(self, module: str) -> frozenset[str]:
        """Return the files that running a module may read as code, its own file included.

        Raises:
            UserError: the module, or a local module in its closure, does not exist.
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
        """Return the local files that one source file imports or names; an empty set for a data file."""
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
    """Yield the nodes of a syntax tree, without the code that only type checkers read."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for statement in tree.orelse:
            yield from _running_nodes(statement)
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _running_nodes(child)


def _imports(node: ast.AST, package: str, where: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (absolute module, imported names) of an import statement or of ``import_module("...")``."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, []) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield module, [alias.name for alias in node.names]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        if not (node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)):
            raise UserError(
                f"{where}import_module of a computed name hides the code that a stage runs; write the module's name"
            )
        yield node.args[0].value, []


def commands(code: Code) -> list[str]:
    """Return the sorted names of the modules that can be run: those with ``if __name__ == "__main__"``."""
    files = (path.relative_to(code.root) for package in code.packages for path in (code.root / package).rglob("*.py"))
    return sorted(
        ".".join(file.with_suffix("").parts)
        for file in files
        if RUN_AS_MAIN.search((code.root / file).read_text(encoding="utf-8"))
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--packages", nargs="+", required=True, help="folders of the code that stages run")
    arguments = parser.parse_args(argv)
    with stage("code") as closing:
        root = Path()
        code = Code(root, arguments.packages)
        digests: dict[str, str] = {}
        with whole_directory(arguments.output, holds=("*.json",)) as folder:
            modules = commands(code)
            for module in modules:
                files = sorted(code.closure(module))
                for file in files:
                    if file not in digests:
                        digests[file] = hashlib.blake2b((root / file).read_bytes(), digest_size=16).hexdigest()
                write_json({file: digests[file] for file in files}, folder / f"{module}.json")
        closing.counts["files"] = len(digests)
        closing.wrote[str(arguments.output)] = f"the code of {len(modules)} commands"


if __name__ == "__main__":
    main()
