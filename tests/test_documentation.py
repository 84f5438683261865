"""The commands in README's and the docs' blocks of code run, or what stands in for them does; all others are accepted.

A document's commands run in their order, in a folder of its own with a small trained model, pictures, logs and presets,
in this process: `clicksight X` and `python -m X` are their module's main. Commands that take minutes, serve until they
are stopped, or need data that isn't there have a line in STAND_INS: what runs instead, and where else they are tested.
"""

import argparse
import gzip
import importlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import polars as pl
import pytest
import uvicorn
from apache_beam.options.pipeline_options import PipelineOptions
from conftest import TinyData
from documented import DOCUMENTS, ROOT, Command, commands_of, examples_of, programs_of
from PIL import Image
from training_runs import train_methods

from clicksight import doors
from flows.stages import Workspace

WORDS = ["brown", "spotted", "albatross", "lazuli", "bunting"]
PICTURES = ["picture.jpg", "holiday.jpg", "dog.jpg", "pictures/a.jpg", "pictures/b.jpg", "more/c.png", "holiday/d.jpg"]
LOG = [("a", "brown dog", 7), ("b", "lazuli bunting", 3), ("c", "albatross", 5), ("d", "brown spotted dog", 2)]
RUN = ["README.md", "docs/labels_from_clicks.md", "docs/page.md", "docs/predict.md", "docs/search.md"]
# What a document takes from another.
BEFORE = {"docs/page.md": [Command(("clicksight", "index", "MODEL", "pictures/", "--output", "pictures.index"))]}


class Accepted(Exception):
    """The command's parser has read all arguments."""


def accept(command: Command) -> None:
    """Let the command's own parser read it, and do nothing else; options that it leaves over must be Beam's."""
    depth = 0  # argparse's methods call each other
    left_over: list[str] = []

    def only(parse: Callable[..., Any]) -> Callable[..., Any]:
        def parse_only(*arguments: Any, **options: Any) -> Any:
            nonlocal depth
            depth += 1
            try:
                found = parse(*arguments, **options)
            finally:
                depth -= 1
            if depth:
                return found
            left_over.extend(found[1] if isinstance(found, tuple) else [])
            raise Accepted

        return parse_only

    with pytest.MonkeyPatch.context() as patch:
        for name in ("parse_args", "parse_known_args", "parse_intermixed_args"):
            patch.setattr(argparse.ArgumentParser, name, only(getattr(argparse.ArgumentParser, name)))
        with pytest.raises(Accepted):
            start(command._replace(read=""), patch)
    names = {word.removeprefix("--") for word in left_over if word.startswith("--")}
    assert names <= set(PipelineOptions(left_over).get_all_options()), f"{command}: unknown options"


def start(command: Command, patch: pytest.MonkeyPatch) -> None:
    """Run a command of ours in this process."""
    words = command.words
    module, given = (doors.DOORS[words[1]].module, words[2:]) if words[0] == "clicksight" else (words[2], words[3:])
    patch.setattr(sys, "argv", [module, *given])
    if command.read:
        data = Path(command.read).read_bytes()
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    main = importlib.import_module(module).main
    code = None
    try:
        main(list(given)) if main.__code__.co_argcount else main()
    except SystemExit as end:
        code = end.code
    assert not code, f"{command}: exit code {code}"


def resolve(command: Command) -> None:
    """Let the parser read it, and look its targets up among the stages."""
    accept(command)
    assert set(command.words[4:]) <= {name.partition("@")[0] for name in stages()}


@cache
def stages() -> list[str]:
    """Return the names of all stages of this repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # where DVC looks for the systems' files
        return list(Workspace(ROOT).stages())


def serve_once(command: Command) -> None:
    """Serve, ask for the page once, and stop."""
    pages: list[str] = []

    async def serve(self: uvicorn.Server, sockets: list[Any]) -> None:
        address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.config.app), base_url=address) as client:
            pages.append((await client.get("/")).text)
        sockets[0].close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.Server, "serve", serve)
        start(command._replace(words=(*command.words, "--port", "0")), patch)
    assert ["What does a picture show?" in page for page in pages] == [True]


def compiles(command: Command) -> None:
    """Compile the program in a command, which reads data that isn't there."""
    compile(command.words[2], "shown", "exec")


def nothing(command: Command) -> None:
    """Run nothing: another test runs this very command."""


class StandIn(NamedTuple):
    """What runs in place of a command, and the tests of the command itself."""

    run: Callable[[Command], None]
    tests: str = ""


LABELS = "tests/pipelines/test_label_from_clicks.py"
STAND_INS = {  # by the beginning of the command
    "python -m clicksight.hello": StandIn(accept, "tests/clicksight/test_hello.py"),  # 20 s
    "python -m flows.reproduce": StandIn(resolve, "tests/test_reproduction.py"),  # minutes
    "python -m pytest": StandIn(nothing, "tests"),
    "python -m clicksight.serve": StandIn(serve_once, "tests/clicksight/test_serve.py"),  # until it is stopped
    "clicksight serve": StandIn(serve_once, "tests/clicksight/test_serve.py"),
    "dvc get": StandIn(nothing, "tests/examples/test_dvc_get.py"),  # from a clone with a remote
    "dvc import": StandIn(nothing, "tests/examples/test_dvc_get.py"),
    "python -m benchmarks": StandIn(accept, "tests/benchmarks"),  # minutes to hours; some parts are tested
    "python -c": StandIn(compiles),
    "python -m pipelines.label_from_clicks --clicks ../shared": StandIn(accept, LABELS),
    "python -m pipelines.label_from_clicks --params presets/unsplash": StandIn(accept, LABELS),
}
SHELL = ("cp", "git")  # programs that are run as they stand


def run(command: Command) -> None:
    """Run a command, what stands in for it, or what `make` would run."""
    text = " ".join(command.words)
    stand_in = next((one for beginning, one in STAND_INS.items() if text.startswith(beginning)), None)
    if stand_in is not None:
        assert (ROOT / stand_in.tests).exists()
        stand_in.run(command)
    elif command.words[0] == "make":
        planned = subprocess.run(
            [*command.words, "--dry-run", "--no-print-directory", f"CLICKSIGHT_VENV={sys.prefix}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        recipes = re.findall(r"\bpython (-m .*)", planned.stdout)
        assert recipes, f"{command}: runs no command of ours"
        for recipe in recipes:
            words = [word.strip("'") for word in recipe.split()]
            run(Command(("python", *words)))
    elif command.words[0] in SHELL:
        subprocess.run(command.words, check=True, capture_output=True)
    elif command.words[0] == "clicksight" or command.words[:2] == ("python", "-m"):
        with pytest.MonkeyPatch.context() as patch:
            start(command, patch)
    else:
        pytest.fail(f"{command}: neither run here nor in STAND_INS")


@pytest.fixture(scope="module")
def example(tmp_path_factory, tiny_data: TinyData, network_params, objective_params, train_params) -> Path:
    """A folder with what the documents' commands read."""
    folder = tmp_path_factory.mktemp("example")
    params = train_params.model_copy(update={"epochs": 1})
    models = folder / "data/mtmdd/models"
    models.mkdir(parents=True)
    trained = train_methods(models, ["MTMDD-VM"], tiny_data, network_params, objective_params, params) / "MTMDD-VM"
    model = models / "MTMDD-VM-star/seed-0"
    shutil.move(trained, model)
    shutil.rmtree(models / ".state", ignore_errors=True)
    about = json.loads((model / "run.json").read_text())
    (model / "run.json").write_text(json.dumps({**about, "words": WORDS}))
    shutil.copytree(model, folder / "MODEL")

    data = folder / "data/sets/birds50"
    shutil.copytree(tiny_data.images, data / "ingested/images")
    shutil.copytree(tiny_data.features, data / "features")
    (data / "splits").mkdir()
    shutil.copy(tiny_data.split, data / "splits/seed-0.parquet")
    vocabulary = pl.read_parquet(data / "features/vocabulary.parquet").with_columns(word=pl.Series(WORDS))
    vocabulary.write_parquet(data / "features/vocabulary.parquet")
    shutil.copytree(data / "features", folder / "data/sets/toy/features")

    for number, name in enumerate(PICTURES):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (30 * number, 80, 200)).save(folder / name)
    shutil.make_archive(str(folder / "archive"), "zip", folder, "pictures")
    (folder / "logs").mkdir()
    lines = [f"{image}\t{query}\t{clicks}\n" for image, query, clicks in LOG]
    for number in range(2):
        (folder / f"logs/{number}.tsv.gz").write_bytes(gzip.compress("".join(lines[number::2]).encode()))
    for name in ("new_day.tsv", "log.tsv"):
        (folder / name).write_text("e\tbrown albatross\t4\n")
    (folder / "names.txt").write_text("albatross\nlazuli bunting\n")
    (folder / "aliases.tsv").write_text("mollymawk\talbatross\n")

    shutil.copytree(ROOT / "presets", folder / "presets")
    for name in ("params.yaml", "Makefile"):
        shutil.copy(ROOT / name, folder)
    for words in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "toy"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def own_example(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a copy of the folder, for one document."""
    shutil.copytree(example, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")


@pytest.mark.slow
@pytest.mark.parametrize("document", RUN)
@pytest.mark.usefixtures("own_example")
def test_the_commands_of_a_document_run(document: str) -> None:
    found = commands_of(document)
    assert found
    for command in [*BEFORE.get(document, []), *found]:
        run(command)


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name not in RUN])
def test_the_commands_of_other_documents_are_accepted(document: str) -> None:
    for command in commands_of(document):
        if command.words[0] == "clicksight" or command.words[:2] == ("python", "-m"):
            accept(command)


@pytest.mark.slow
@pytest.mark.usefixtures("own_example")
@pytest.mark.parametrize("document", [name for name in (*DOCUMENTS, "data/README.md") if programs_of(name)])
def test_the_programs_of_a_document_run(document: str) -> None:
    for program in programs_of(document):
        compiled = compile(program, document, "exec")
        if not re.search("(s3|gs)://", program):  # stores that aren't there
            exec(compiled, {})


def test_readme_counts_the_stages_and_the_trainings() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"with its (\d+) stages and (\d+)\s+trainings", text)
    trainings = [name for name in stages() if name.partition("@")[0].endswith("train")]
    assert tuple(map(int, shown)) == (len(stages()), len(trainings))


@pytest.mark.parametrize("door", doors.DOORS)
def test_the_help_of_a_door_has_examples_that_are_accepted(door: str) -> None:
    found = examples_of(importlib.import_module(doors.DOORS[door].module).__doc__ or "")
    assert found
    for command in found:
        accept(command)


@pytest.mark.usefixtures("own_example")
def test_a_command_that_is_wrong_or_unknown_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="neither run here nor in STAND_INS"):
        run(Command(("curl", "example.org")))
    for words in (("clicksight", "index", "MODEL"), ("clicksight", "labels", "--nonsense")):
        with pytest.raises(AssertionError, match="exit code 2"):
            accept(Command(words))
    with pytest.raises(AssertionError, match="unknown options"):
        accept(Command(("clicksight", "features", "--clicks", "log.tsv", "--output", "out", "--nonsense", "1")))
    with pytest.raises(AssertionError, match="exit code 2"):
        run(Command(("clicksight", "search", "pictures", "albatross")))
    with pytest.raises(KeyError):
        run(Command(("clicksight", "nonsense")))
