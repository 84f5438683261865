import json
import re
from collections import Counter
from pathlib import Path

import pytest
from launched import HERE, run_in_two_processes, run_on_two_machines
from safetensors.torch import load_file
from training_runs import contents, read_curve, train_recipe
from unnormalised import build_network_without_norms, largest_difference, unnormalised_recipe

from base.artifacts import write_json
from systems.mtmdd import task
from systems.mtmdd.examples import Examples
from systems.mtmdd.recipes import build_recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_data, network_params, objective_params, train_params) -> Path:
    """Return the output folder of two processes that were launched as by a user."""
    folder = tmp_path_factory.mktemp("several")
    data = folder / "data"
    data.mkdir()
    for name in ("images", "split", "features"):
        path = getattr(tiny_data, name)
        (data / path.name).symlink_to(path)
    params = train_params.model_copy(update={"batch_size": 6})
    recipe = build_recipe("MTMDD-VM", network_params, objective_params, params)
    write_json(recipe.model_dump(mode="json", exclude_none=True), data / "recipe.json")
    run_in_two_processes([str(HERE / "several_processes.py"), str(data), str(folder)], folder)
    return folder


@pytest.fixture(scope="module")
def found(folder) -> list[dict]:
    return [json.loads((folder / f"process-{number}.json").read_text()) for number in (0, 1)]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_without_batch_statistics_they_find_what_one_process_finds(
    folder, tiny_data, tiny_rows, network_params, train_params, tmp_path, monkeypatch, accumulation
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(task, "build_network", build_network_without_norms)
    examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, network_params, cache=True)
    train_recipe(unnormalised_recipe(train_params, batch_size=8), examples, 0, tmp_path / "one", "one")
    one = load_file(tmp_path / "one" / "joint.safetensors")
    two = load_file(folder / f"parts-{accumulation}" / "joint.safetensors")
    assert largest_difference(one, two) < 1e-4  # the sums have another order
    for name in ("train/objective", "train/source count", "validation/target recognition"):
        curves = [read_curve(path / "curves" / "joint", name) for path in (tmp_path / "one", folder / "parts-1")]
        assert curves[0] == pytest.approx(curves[1], rel=1e-4)


@pytest.fixture(scope="module")
def grouped(tiny_data, tiny_rows, network_params, train_params, tmp_path_factory):
    """Return the model folder of one process that trains with the same groups, and its examples and draws."""
    folder = tmp_path_factory.mktemp("grouped")
    examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, network_params, cache=True, read=False)
    draws, load = [], task.PhaseTask.load

    def noted(self, stream, drawn):
        draws.extend([stream, draw.row, draw.pass_number] for draw in drawn)
        return load(self, stream, drawn)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(task, "build_network", build_network_without_norms)
        patch.setattr(task.PhaseTask, "load", noted)
        recipe = unnormalised_recipe(train_params, batch_size=8, groups=4)
        train_recipe(recipe, examples, 0, folder / "one", "one")
    return folder / "one", examples, draws


def test_groups_are_drawn_as_by_one_process(folder, found, grouped):
    one, _, draws = grouped
    weights = [load_file(path / "joint.safetensors") for path in (one, folder / "groups")]
    assert largest_difference(*weights) < 1e-4
    for name in ("train/objective", "validation/target recognition"):
        curves = [read_curve(path / "curves" / "joint", name) for path in (one, folder / "groups")]
        assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    together = Counter(tuple(draw) for process in found for draw in process["draws"])
    assert together == Counter(map(tuple, draws))
    assert all(number == 1 for (_, _, pass_number), number in together.items() if pass_number is not None)


def test_with_groups_no_image_is_read_by_two_processes(found, grouped):
    examples = grouped[1]
    read = [{row for _, row, _ in process["draws"]} for process in found]
    assert not read[0] & read[1]
    assert read[0] | read[1] == set(range(len(examples.rows)))
    assert [process["decoded"] for process in found] == [len(rows) for rows in read]
    assert abs(len(read[0]) - len(read[1])) <= 4  # streams and validated images, each to one row
    assert examples.images.num_decoded == len(examples.rows)


def test_groups_continue_with_the_same_bytes(found):
    assert [process["same groups"] for process in found] == [True, True]


def test_all_have_the_same_weights_after_every_epoch(found):
    states = found[0]["states"]
    assert states == found[1]["states"]
    # in brackets: epochs before and after a kill
    assert len(states) == 2 + 2 + (2 + (1 + 1)) + 6 + (4 + 2) + 2 + 3 + 2
    assert all(one == other for one, other in states)


def test_each_process_drops_its_own(found):
    first, second = (process["dropout"] for process in found)
    assert len(first) == len(second) > 6
    assert not set(first) & set(second)


def test_a_continued_run_ends_with_the_same_bytes(found):
    assert [process["killed"] for process in found] == [True, True]
    assert [process["same"] for process in found] == [True, True]
    # the run is killed in the fifth epoch: the rate drops before and after that
    assert [process["drops"] for process in found] == [[3, 5, 6], [3, 5, 6]]


def test_all_choose_the_same_images(found):
    chosen = found[0]["chosen"]
    assert chosen == found[1]["chosen"]
    assert [epoch and sorted(map(len, epoch.values())) for epoch in chosen] == [[7, 7], None, [7, 7]]
    assert chosen[0] != chosen[2]


def test_only_the_first_writes(folder):
    assert {path.name for path in folder.iterdir()} == {
        "data", "parts-1", "parts-2", "groups", "groups-continued", "whole", "continued", "adversarial", "chosen",
        "nodes", "process-0.json", "process-1.json", ".state",
    }  # fmt: skip
    assert {path.name for path in (folder / "whole").iterdir()} == {"joint.safetensors", "run.json", "curves"}


def test_a_nan_of_one_process_stops_all(found, tiny_rows):
    errors = [process["error"].splitlines() for process in found]
    assert errors[0] == errors[1]
    assert errors[0][0].startswith("spoilt, phase joint: the loss is nan at step 1 (epoch 1): source recognition ")
    assert "images" not in found[0]
    read = tiny_rows.filter(tiny_rows["split"] != "test")["image_id"]
    ids = [read[row] for row in found[1]["images"]]
    assert len(ids) == 3  # out of six
    assert f"'target': {ids}" in errors[0][1]


@pytest.fixture(scope="module")
def machines(folder, tmp_path_factory) -> tuple[Path, list[tuple[int, str]]]:
    """Return the output folder of two machines, the second of which died, and their exit statuses and stderr."""
    output = tmp_path_factory.mktemp("machines")
    return output, run_on_two_machines([str(HERE / "nodes.py"), str(folder / "data"), str(output)], output)


def test_two_machines_find_what_one_with_two_processes_finds(folder, machines):
    found, expected = (contents(path / "nodes") for path in (machines[0], folder))
    assert found.pop("run.json") != expected.pop("run.json")  # the code differs
    assert found == expected


def test_a_machine_that_dies_ends_the_others_with_one_line(machines):
    output, (first, second) = machines
    assert first[0] == second[0] == 1  # of the launchers
    (line,) = [line for line in first[1].splitlines() if "error: " in line and "train dying" in line]
    assert re.search(r"another process of this training has ended or doesn't answer \(.*\); its own last lines", line)
    assert "Traceback" not in first[1].partition(line)[0]
    (checkpoints,) = (output / ".state" / "checkpoints").glob("dying-*")
    assert [path.name for path in checkpoints.iterdir()] == ["joint-epoch-00001"]
