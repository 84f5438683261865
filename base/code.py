"""Which files each command runs as code, and their digests, on which the stages that run the command depend.

    python -m base.code --packages base pipelines model report systems --output data/code

DVC does not see imported modules. The import closure of a module is each local module it reaches, however deep, the
``__init__`` files of their packages, and the data files (templates, word lists) beside them that they name. It is read
from the source, nothing is imported: imports inside functions count, those under ``if TYPE_CHECKING`` do not.

In: the source files. Out: ``MODULE.json`` for each module that can be run, the digest of each file of its closure by
its path. A stage depends on this one file instead of on thirty: DVC writes dvc.lock anew after every stage, and that
took longer than many a stage. An edit reruns this stage, and then the stages whose file it has changed.
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
    """The project's own modules, and what each of them imports and reads.

    Args:
        root: the repository root; paths of modules are relative to it, with forward slashes.
        packages: names of the local top-level packages. Imports of anything else are none of ours.
    """

    def __init__(self, root: Path, packages: Sequence[str]) -> None:
        self.root = root
        self.packages = tuple(packages)
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
            raise UserError(f"{where}import_module of a computed name hides code from its stage; name the module")
        yield node.args[0].value, []


def commands(code: Code) -> list[str]:
    """Return the modules of the packages that can be run: those that end in ``if __name__ == "__main__"``, by name."""
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
