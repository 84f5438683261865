"""What holds of every system, on the smallest run that its tests have (``tests/systems/NAME/tiny_run.py``)."""

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

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module tiny_run of the system that the test is for; a system of the test tree can be imported, too."""
    monkeypatch.setattr(systems, "__path__", [*systems.__path__, str(HERE)])
    path = HERE / request.param / "tiny_run.py"
    spec = importlib.util.spec_from_file_location(f"tiny_run_{request.param}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SYSTEM = request.param  # type: ignore[attr-defined]
    return module


def weights(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}
    assert found
    return found


def test_the_systems_are_found() -> None:
    assert {"backgrounds", "cleaning", "mtmdd"} <= set(TRAINED)
    assert {"backgrounds", "mtmdd"} <= set(EVALUATED)


@pytest.mark.parametrize("tiny", TRAINED, indirect=True)
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
        assert any(not torch.equal(value, before[task.name][key]) for key, value in after.items()), task.name


@pytest.mark.parametrize("tiny", TRAINED, indirect=True)
def test_a_killed_run_goes_on_to_the_same_bytes(tiny: ModuleType, request, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny.run(request, 3), Path("whole"))
    run, steps = tiny.run(request, 3), []
    last = run.tasks[-1]
    step = last.step

    def killed_in_its_second_epoch(learner: Learner):
        steps.append(learner.epoch)
        if steps.count(1) == 2:  # in the middle of it
            raise KeyboardInterrupt
        return step(learner)

    monkeypatch.setattr(last, "step", killed_in_its_second_epoch)
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
    assert {epoch for _, epoch in again} == {1, 2}  # what had been saved is not trained again
    assert {name for name, _ in again} == {last.name}
    assert weights(Path("model")) == weights(Path("whole"))
    saved, whole = (json.loads((Path(name) / "run.json").read_text()) for name in ("model", "whole"))
    assert saved["chosen"] == whole["chosen"]


@pytest.mark.parametrize("tiny", TRAINED, indirect=True)
def test_every_parameter_gets_a_finite_gradient(tiny: ModuleType, request, monkeypatch: pytest.MonkeyPatch) -> None:
    update, seen = Learner.update, set[str]()

    def checked(learner: Learner, number: int = 0) -> None:
        for name, weight in learner.module.named_parameters():
            if weight.requires_grad:
                assert weight.grad is not None, name
                assert torch.isfinite(weight.grad).all(), name
                seen.add(name)
        update(learner, number)

    monkeypatch.setattr(Learner, "update", checked)
    run = tiny.run(request, 1)
    train(run, Path("model"))
    assert len(seen) >= 4


@pytest.mark.parametrize("tiny", EVALUATED, indirect=True)
def test_metrics_reduce_from_units(tiny: ModuleType, request, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny.run(request, 1), Path("model"))
    arguments = tiny.evaluate(request, Path("model"), Path("evaluation"))
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    command = f"systems.{tiny.SYSTEM}.evaluate"
    monkeypatch.delitem(sys.modules, command, raising=False)  # runpy warns of a module that is imported already
    runpy.run_module(command, run_name="__main__")
    units = pl.read_parquet("evaluation/units.parquet")
    metrics = json.loads(Path("evaluation/metrics.json").read_text())
    assert units.schema == pl.DataFrame(UNITS.empty_table()).schema
    assert not units.select("metric", "unit").is_duplicated().any()
    assert set(reduce_units(units)) & metrics.keys(), "no metric is stated that units reduce to"
    check_reduces(metrics, units, scale=tiny.SCALE, tolerance=1e-4)
