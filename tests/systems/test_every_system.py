"""What holds of every system, on the smallest run that its tests have (``tests/systems/NAME/tiny_run.py``).

A system with comparison methods lists them as VARIANTS; each is tested like a system of its own.
"""

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
import safetensors.torch
import torch
from graph import ROOT

import systems
from base.schemas import UNITS
from model.measures.units import check_reduces, reduce_units
from model.training.learner import Learner
from model.training.trainer import train

HERE = Path(__file__).parent
TRAINED = sorted(path.parent.name for home in (ROOT / "systems", HERE) for path in home.glob("*/train.py"))
EVALUATED = sorted(path.parent.name for home in (ROOT / "systems", HERE) for path in home.glob("*/evaluate.py"))


def tiny_module(name: str) -> ModuleType:
    """Return the module tiny_run of a system."""
    spec = importlib.util.spec_from_file_location(f"tiny_run_{name}", HERE / name / "tiny_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VARIANTS = [f"mtmdd:{name}" for name in tiny_module("mtmdd").VARIANTS]

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module tiny_run of the system, or SYSTEM:VARIANT, that the test is for.

    A system of the test tree can be imported, too.
    """
    monkeypatch.setattr(systems, "__path__", [*systems.__path__, str(HERE)])
    system, _, variant = request.param.partition(":")
    module = tiny_module(system)
    module.SYSTEM = system  # type: ignore[attr-defined]
    if variant:
        module.variant = variant  # type: ignore[attr-defined]
    return module


def weights(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}
    assert found
    return found


def test_the_systems_are_found() -> None:
    assert {"backgrounds", "cleaning", "mtmdd", "siamese", "tagging"} <= set(TRAINED)
    assert {"backgrounds", "mtmdd", "siamese", "tagging"} <= set(EVALUATED)


@pytest.mark.parametrize("tiny", [*TRAINED, *VARIANTS], indirect=True)
def test_two_steps_train(tiny: ModuleType, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    run, before = tiny.run(request, 1), {}
    for task in run.tasks:
        build = task.network

        def network(earlier, build=build, name=task.name):
            built = build(earlier)
            before[name] = {key: value.clone() for key, value in built.state_dict().items()}
            return built

        monkeypatch.setattr(task, "network", network)
    train(run, Path("model"))
    assert (Path("model") / "run.json").is_file()
    for task in run.tasks:
        after = safetensors.torch.load_file(Path("model") / f"{task.name}.safetensors")
        assert after.keys() == before[task.name].keys()
        assert all(torch.isfinite(value).all() for value in after.values())
        is_trained = any(not torch.equal(value, before[task.name][key]) for key, value in after.items())
        assert is_trained == (task.name not in untrained(tiny)), task.name


def untrained(tiny: ModuleType) -> set[str]:
    """Return the names of the phases that leave all weights as they are."""
    return getattr(tiny, "UNTRAINED", {}).get(getattr(tiny, "variant", ""), set())


@pytest.mark.parametrize("tiny", [*TRAINED, *VARIANTS], indirect=True)
def test_a_killed_run_goes_on_to_the_same_bytes(tiny: ModuleType, request, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny.run(request, 3), Path("whole"))
    run, steps = tiny.run(request, 3), []
    names = [task.name for task in run.tasks]
    # the last phase with three epochs; after it there may be phases that are fitted in one
    last = max(range(len(names)), key=lambda number: (run.tasks[number].params.epochs, number))
    killed, epochs = run.tasks[last], run.tasks[last].params.epochs
    in_epoch = min(1, epochs - 1)
    step = killed.step

    def killed_in_its_second_epoch(learner: Learner):
        steps.append(learner.epoch)
        if steps.count(in_epoch) == 2:  # in the middle of it
            raise KeyboardInterrupt
        return step(learner)

    monkeypatch.setattr(killed, "step", killed_in_its_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(run, Path("model"))
    assert not Path("model").exists()
    run, again = tiny.run(request, 3), []
    for task in run.tasks:
        step_of = task.step

        def counted(learner: Learner, step=step_of, name=task.name):
            again.append((name, learner.epoch))
            return step(learner)

        monkeypatch.setattr(task, "step", counted)
    train(run, Path("model"))
    # what had been saved is not trained again
    assert {epoch for name, epoch in again if name == killed.name} == set(range(in_epoch, epochs))
    assert {name for name, _ in again} == set(names[last:])
    assert weights(Path("model")) == weights(Path("whole"))
    saved, whole = (json.loads((Path(name) / "run.json").read_text()) for name in ("model", "whole"))
    assert saved["chosen"] == whole["chosen"]


@pytest.mark.parametrize("tiny", [*TRAINED, *VARIANTS], indirect=True)
def test_every_parameter_gets_a_finite_gradient(tiny: ModuleType, request, monkeypatch: pytest.MonkeyPatch) -> None:
    update, seen, optimised = Learner.update, set[tuple[str, str]](), set[tuple[str, str]]()

    def checked(learner: Learner, number: int = 0) -> None:
        # an optimiser's parameters, because in alternating steps the others have no gradient
        unused = tiny.unused(learner.task) if hasattr(tiny, "unused") else ()
        names = {id(weight): name for name, weight in learner.module.named_parameters() if not name.startswith(unused)}
        for group in learner.optimizers[number].param_groups:
            for weight in (weight for weight in group["params"] if id(weight) in names):
                name = names[id(weight)]
                assert weight.grad is not None, name
                assert torch.isfinite(weight.grad).all(), name
                seen.add((learner.task.name, name))
        optimised.update(
            (learner.task.name, names[id(weight)])
            for weight in learner.module.parameters()
            if weight.requires_grad and id(weight) in names
        )
        update(learner, number)

    monkeypatch.setattr(Learner, "update", checked)
    run = tiny.run(request, 1)
    train(run, Path("model"))
    assert seen == optimised
    fitted = {task.name for task in run.tasks if getattr(getattr(task, "phase", None), "fitted", None)}
    assert {name for name, _ in seen} == {task.name for task in run.tasks} - fitted


@pytest.mark.parametrize("tiny", [*EVALUATED, *VARIANTS], indirect=True)
def test_metrics_reduce_from_units(tiny: ModuleType, request, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny.run(request, 1), Path("model"))
    arguments = tiny.evaluate(request, Path("model"), Path("evaluation"))
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    command = tiny.evaluation() if hasattr(tiny, "evaluation") else f"systems.{tiny.SYSTEM}.evaluate"
    monkeypatch.delitem(sys.modules, command, raising=False)  # runpy warns of a module that is imported already
    runpy.run_module(command, run_name="__main__")
    units = pl.read_parquet("evaluation/units.parquet")
    metrics = json.loads(Path("evaluation/metrics.json").read_text())
    assert units.schema == pl.DataFrame(UNITS.empty_table()).schema
    assert not units.select("metric", "unit").is_duplicated().any()
    assert set(reduce_units(units)) & metrics.keys(), "no metric is stated that units reduce to"
    check_reduces(metrics, units, scale=tiny.SCALE, tolerance=1e-4)
