import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from base.console import UserError
from model.data.batches import Loaded, Shares, draws_of_step, evaluation_batches, training_batches
from systems.mtmdd.batches import ImageLoader
from systems.mtmdd.examples import Examples

ROOT = Path(__file__).parents[3]
SMALL_SHM = [
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=1m shm /dev/shm && exec "$@"',
    "-",
]


def run_loaders(kind: str, within: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run faulty_loading.py, within another command; it must not wait for ever."""
    command = [*within, sys.executable, str(ROOT / "tests/model/faulty_loading.py"), kind]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CLICKSIGHT_NO_STATE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)


def errors(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the error lines without their time of day; torch may warn that there are few cores."""
    assert "Traceback" not in ended.stderr
    return [line.partition(" ")[2] for line in ended.stderr.splitlines() if "error" in line.lower()]


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_every_image_once_per_pass(number, batch_size, seed):
    rows = np.arange(100, 100 + number)
    stream = [pair for step in range(number) for pair in draws_of_step(rows, batch_size, step, seed, "x")]
    assert len(stream) == number * batch_size  # all batches are full; there are as many passes as images in a batch
    assert Counter(stream) == {(int(row), number): 1 for row in rows for number in range(batch_size)}
    assert [number for _, number in stream] == sorted(number for _, number in stream)


def test_orders_differ_between_passes_seeds_and_purposes():
    rows = np.arange(50)
    orders = {
        tuple(row for row, _ in draws_of_step(rows, 50, step, seed, purpose))
        for step in (0, 1)
        for seed in (0, 1)
        for purpose in ("joint/source", "joint/target")
    }
    assert len(orders) == 8


def rows_of(examples: Examples) -> dict[str, np.ndarray]:
    return {domain: examples.row_numbers(domain, "train") for domain in ("source", "target")}


def load(examples: Examples, steps: range, workers: int) -> list[Loaded]:
    loader = ImageLoader(examples, 16, seed=3, with_clicks=True)
    return list(training_batches(loader, rows_of(examples), 4, steps, 3, "joint", workers))


def assert_equal(one: Loaded, other: Loaded) -> None:
    assert one.rows == other.rows
    assert list(one.batch) == list(other.batch) == list(one.rows)
    for domain in one.batch:
        for mine, yours in zip(one.batch[domain], other.batch[domain], strict=True):
            assert (mine is None) == (yours is None)
            assert mine is None or torch.equal(mine, yours)


def test_domains_of_one_size_have_orders_of_their_own(examples):
    loader = ImageLoader(examples, 16, seed=3, with_clicks=False)
    rows = {domain: of_domain[:15] for domain, of_domain in rows_of(examples).items()}
    (loaded,) = training_batches(loader, rows, 15, range(1), 3, "joint", 0)
    of_source, of_target = (np.array(loaded.rows[domain]) - rows[domain][0] for domain in ("source", "target"))
    assert set(of_source) == set(of_target) == set(range(15))
    assert of_source.tolist() != of_target.tolist()


def test_either_domain_runs_out_on_its_own(examples):
    batches = load(examples, range(16), workers=0)  # 64 draws per domain, of 21 source and 15 target images
    counts = {
        domain: Counter(row for loaded in batches for row in loaded.rows[domain]) for domain in ("source", "target")
    }
    assert set(counts["source"].values()) == {3, 4}
    assert set(counts["target"].values()) == {4, 5}
    assert len(counts["source"]) == 21
    assert len(counts["target"]) == 15


def test_a_continued_run_sees_the_same_steps(examples):
    for one, other in zip(load(examples, range(9), 0)[5:], load(examples, range(5, 9), 0), strict=True):
        assert_equal(one, other)


def test_loader_processes_change_nothing(examples):
    # Loaders are forked, so they are forked from a new process: earlier tests in this one may have left threads with
    # locks.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for one, other in zip(
            load(examples, range(5), 0), pool.submit(load, examples, range(5), 2).result(), strict=True
        ):
            assert_equal(one, other)


def test_one_batch_is_made_while_another_is_used(examples):
    used, made, second = 0, [], threading.Event()
    loader = ImageLoader(examples, 16, seed=3, with_clicks=True)

    def noted(stream, draws):
        made.append((threading.current_thread() is threading.main_thread(), used))
        if len(made) == 2:
            second.set()
        return loader(stream, draws)

    batches = training_batches(noted, {"target": examples.row_numbers("target", "train")}, 4, range(5), 3, "joint", 0)
    for number, _ in enumerate(batches):
        assert number > 0 or second.wait(180)  # the second batch is loaded before it is requested
        used += 1
    assert len(made) == 5
    for number, (is_in_main_thread, used_then) in enumerate(made):
        assert not is_in_main_thread
        assert number - used_then <= 1


def test_what_cannot_be_loaded_fails_in_its_own_step(examples):
    loader, broken = (
        ImageLoader(examples, 16, 3, True),
        UserError("source image 'x': cannot decode an image of 3 bytes"),
    )
    of_source = iter([None, None, broken])

    def third_is_broken(stream, draws):
        if stream == "source" and (error := next(of_source)):
            raise error
        return loader(stream, draws)

    expected = load(examples, range(2), workers=0)
    batches = training_batches(third_is_broken, rows_of(examples), 4, range(5), 3, "joint", 0)
    for batch in expected:
        assert_equal(next(batches), batch)
    with pytest.raises(UserError, match="source image 'x'") as raised:
        next(batches)
    assert raised.value is broken


@pytest.mark.parametrize("of", [2, 3])
def test_parts_of_a_step_are_the_step(examples, of):
    loader = ImageLoader(examples, 16, seed=3, with_clicks=True)
    whole = load(examples, range(2, 5), workers=0)
    parts = [
        list(training_batches(loader, rows_of(examples), 4, range(2, 5), 3, "joint", 0, shares=Shares(part, of)))
        for part in (range(1), range(1, of))  # the first part, and all other parts one after another
    ]
    for number, loaded in enumerate(whole):
        found = [parts[0][number], *parts[1][number * (of - 1) : (number + 1) * (of - 1)]]
        sizes = [len(part.batch["target"].labels) for part in found]
        assert sizes == {2: [2, 2], 3: [1, 1, 2]}[of]
        for domain, of_domain in loaded.batch.items():
            for name in ("images", "labels"):
                together = torch.cat([getattr(part.batch[domain], name) for part in found])
                assert torch.equal(together, getattr(of_domain, name))
            assert [row for part in found for row in part.rows[domain]] == loaded.rows[domain]


def test_rows_chosen_later_begin_new_passes():
    # chosen at step 3, with batches of 4: passes are numbered from 12, and every pass is complete
    chosen = np.array([7, 8, 9])
    stream = [pair for step in (3, 4, 5) for pair in draws_of_step(chosen, 4, step, 0, "x", start=3)]
    assert Counter(stream) == {(row, number): 1 for row in (7, 8, 9) for number in (12, 13, 14, 15)}
    assert [number for _, number in stream] == sorted(number for _, number in stream)
    assert list(draws_of_step(chosen, 4, 3, 0, "x", start=0)) != stream[:4]


def test_loading_leaves_the_random_numbers_alone(examples):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load(examples, range(2), workers=0)
    assert torch.equal(torch.rand(3), expected)


def test_evaluation_sees_each_row_once_in_order(examples):
    loader = ImageLoader(examples, 16, seed=3, with_clicks=False)
    seen = []

    def noted(stream, draws):
        seen.extend((stream, *draw) for draw in draws)
        return loader(stream, draws)

    rows = examples.row_numbers("source", "validation")
    batches = list(evaluation_batches(noted, "source", rows, 4, workers=0))
    assert [len(batch.labels) for batch in batches] == [4, 4, 1]
    assert seen == [("source", row, None) for row in rows.tolist()]
    assert batches[0].clicks is None
    for index, row in enumerate(rows.tolist()):
        middle = examples.images.crop(row, 16, 0, None)
        assert np.array_equal(batches[index // 4].images[index % 4].permute(1, 2, 0).numpy(), middle)


@pytest.mark.slow
def test_batches_need_no_room_in_shared_memory():
    if subprocess.run([*SMALL_SHM, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small /dev/shm")
    ended = run_loaders("whole", within=tuple(SMALL_SHM))
    assert ended.stdout == f"{2 * sum(range(16)) << 20}\n", ended.stderr  # 4 MiB in a batch, in 1 MiB of /dev/shm


@pytest.mark.slow
def test_a_killed_loader_process_ends_the_command_with_one_line():
    ended = run_loaders("killed")
    assert ended.returncode == 2
    (line,) = errors(ended)
    assert re.fullmatch(
        r"load: error: a process that loads images has died \((DataLoader worker \(pid.*|.*reset by peer)\); probably"
        r" the memory ran out: lower train\.workers or train\.batch_size",
        line,
    )


@pytest.mark.slow
def test_a_user_error_of_a_loader_process_is_one_line():
    ended = run_loaders("unreadable")
    assert ended.returncode == 2
    assert errors(ended) == ["load: error: images image '7': cannot decode an image of 3 bytes"]


@pytest.mark.slow
def test_a_defect_in_a_loader_process_keeps_its_traceback():
    ended = run_loaders("defect")
    assert ended.returncode == 1
    assert "faulty_loading.py" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr


def drawn(rows: np.ndarray, batch_size: int, steps: range, shares: Shares, start: int = 0) -> list[list[tuple]]:
    """Return the draws of each loaded part."""
    parts = []

    def load(stream, draws):
        parts.append([tuple(draw) for draw in draws])

    list(training_batches(load, {"images": rows}, batch_size, steps, 3, "joint", 0, start, shares))
    return parts


@given(
    st.integers(1, 60), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.sampled_from([1, 2, 3]),
    st.integers(0, 5),
)  # fmt: skip
def test_processes_share_the_draws_of_groups(number, processes, factor, parts_each, first):
    groups, batch_size, rows = processes * factor, 24, np.arange(100, 100 + number)
    steps = range(first, first + 4)
    whole = drawn(rows, batch_size, steps, Shares(groups=groups))
    num_parts = processes * parts_each
    read = []
    for process in range(processes):
        shares = Shares(range(process * parts_each, (process + 1) * parts_each), num_parts, groups)
        found = drawn(rows, batch_size, steps, shares)
        for place, step in enumerate(whole):
            mine = [draw for part in found[place * parts_each : (place + 1) * parts_each] for draw in part]
            assert mine == step[shares.inside(batch_size)]
        read.append(set(shares.rows_read(rows, batch_size).tolist()))
        assert {row for part in found for row, _ in part} <= read[-1]
    assert set.union(*read) == set(rows.tolist())
    if number >= groups:
        assert sum(map(len, read)) == number  # no row is read by two processes
        assert max(map(len, read)) - min(map(len, read)) <= 1
    else:
        assert all(len(mine) == number for mine in read)


def test_each_group_has_passes_of_its_own():
    # 10 rows in 4 groups of 2, 3, 2 and 3; each step has two draws of each
    draws = drawn(np.arange(10), 8, range(6), Shares(groups=4))
    groups = [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8, 9}]
    for step in draws:
        for group, rows in enumerate(groups):
            assert {row for row, _ in step[2 * group : 2 * group + 2]} <= rows
    for rows in groups:
        counts = Counter(draw for step in draws for draw in step if draw[0] in rows)
        assert set(counts.values()) == {1}  # once in each pass
        assert len(counts) == 12
        assert {number for _, number in counts} == set(range(12 // len(rows)))


def test_one_group_is_drawn_from_as_ever():
    rows = np.array([3, 5, 8, 9, 11])
    expected = [list(map(tuple, draws_of_step(rows, 4, step, 3, "joint/images"))) for step in range(5)]
    assert drawn(rows, 4, range(5), Shares()) == expected
    assert drawn(rows, 4, range(5), Shares(groups=2)) != expected


def test_rows_chosen_later_have_new_passes_in_groups_too():
    chosen = drawn(np.arange(6), 4, range(3, 6), Shares(groups=2), start=3)
    assert {number for step in chosen for _, number in step} == {6, 7}  # six draws of three rows before and after
    assert Counter(draw for step in chosen for draw in step) == {
        (row, number): 1 for row in range(6) for number in (6, 7)
    }
