import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model.training.params import ScheduleParams
from model.training.schedules import on_plateau, rate_factor


@pytest.mark.parametrize(("num_steps", "warm_up"), [(20, 0.3), (37, 0.25), (280, 0.1)])
def test_one_cycle_is_torchs(num_steps, warm_up):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=num_steps, pct_start=warm_up)
    schedule = ScheduleParams(kind="one-cycle", warm_up=warm_up)
    for step in range(num_steps):
        assert rate_factor(schedule, step, num_steps) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        with warnings.catch_warnings(action="ignore"):  # torch warns of a scheduler that steps without its optimiser
            oracle.step() if step < num_steps - 1 else None


@pytest.mark.parametrize(
    ("schedule", "num_steps", "expected"),
    [
        (ScheduleParams(kind="constant", warm_up=0.0), 3, [1, 1, 1]),
        # the rate rises in three of five steps: 0.5 * 5 is rounded up
        (ScheduleParams(kind="constant", warm_up=0.5), 5, [1 / 3, 2 / 3, 1, 1, 1]),
        # the paper's schedule: two drops in a run
        (ScheduleParams(kind="step", warm_up=0.0, drop_every=1 / 3, drop_factor=0.1), 6, [1, 1, 0.1, 0.1, 0.01, 0.01]),
        # drops at whole tenths and fifths, although 3 / 10 / 0.1 is below 3 in binary fractions
        (
            ScheduleParams(kind="step", warm_up=0.0, drop_every=0.1, drop_factor=0.5),
            10,
            [0.5**number for number in range(10)],
        ),
        (
            ScheduleParams(kind="step", warm_up=0.0, drop_every=0.2, drop_factor=0.5),
            15,
            [0.5**number for number in range(5) for _ in range(3)],
        ),
        (
            ScheduleParams(kind="step", warm_up=0.0, drop_every=0.1, drop_factor=0.5),
            30,
            [0.5**number for number in range(10) for _ in range(3)],
        ),
        # the first drop comes during the warm-up: the drops keep their steps and multiply the rising rate
        (
            ScheduleParams(kind="step", warm_up=0.5, drop_every=0.25, drop_factor=0.1),
            8,
            [0.25, 0.5, 0.075, 0.1, 0.01, 0.01, 0.001, 0.001],
        ),
        # two steps of warm-up, then half a cosine: 1 and 0.5
        (ScheduleParams(kind="cosine", warm_up=0.5), 4, [0.5, 1.0, 1.0, 0.5]),
        # no warm-up: the rate starts at the peak and ends above 0
        (ScheduleParams(kind="cosine", warm_up=0.0), 2, [1.0, 0.5]),
        # the warm-up takes all steps, so no step is left in which the rate could fall
        (ScheduleParams(kind="cosine", warm_up=0.95), 10, [step / 10 for step in range(1, 11)]),
        (ScheduleParams(kind="cosine", warm_up=0.3), 1, [1.0]),
        # a run that is too short for a warm-up
        (ScheduleParams(kind="one-cycle", warm_up=0.0), 2, [1.0, 4e-6]),
    ],
)
def test_table(schedule, num_steps, expected):
    found = [rate_factor(schedule, step, num_steps) for step in range(num_steps)]
    assert found == pytest.approx(expected, abs=1e-12)


PLATEAU = ScheduleParams(kind="plateau", warm_up=0.0, drop_factor=0.5, patience=3, drops=2)


def test_a_plateaus_rate_rises_in_its_warm_up_and_falls_with_each_drop():
    schedule = PLATEAU.model_copy(update={"warm_up": 0.5})
    found = [rate_factor(schedule, step, 4, num_drops) for step, num_drops in enumerate([0, 1, 1, 2])]
    assert found == [0.5, 0.5, 0.5, 0.25]


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=60),
    st.integers(1, 4),
)
def test_a_plateau_drops_when_torch_drops(values, patience):
    """torch's patience counts the bad epochs that it tolerates, so it is smaller by one."""
    schedule = PLATEAU.model_copy(update={"patience": patience})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=patience - 1, threshold=0.0, threshold_mode="abs", eps=0.0
    )
    drops: list[int] = []
    for epoch in range(1, len(values) + 1):
        best_epoch = values.index(max(values[:epoch])) + 1
        if on_plateau(schedule, epoch, best_epoch, drops):
            drops.append(epoch)
        oracle.step(values[epoch - 1])
        assert rate_factor(schedule, 0, 1, len(drops)) == optimizer.param_groups[0]["lr"]


def test_inv_falls_with_the_step_whatever_the_number_of_steps():
    schedule = ScheduleParams(kind="inv", warm_up=0.0, gamma=1e-4, power=0.75)
    # Caffe's base_lr * (1 + gamma * iter) ^ -power, by hand
    for step, expected in [(0, 1.0), (10_000, 2**-0.75), (70_000, 8**-0.75)]:
        assert rate_factor(schedule, step, 80_000) == rate_factor(schedule, step, 70_001) == pytest.approx(expected)
    rising = schedule.model_copy(update={"warm_up": 0.5})
    assert rate_factor(rising, 0, 4) == pytest.approx(0.5)
    assert rate_factor(rising, 1, 4) == pytest.approx(1.0001**-0.75)


def test_other_schedules_have_no_plateau():
    schedule = ScheduleParams(kind="step", warm_up=0.0, drop_every=0.5, drop_factor=0.5)
    assert not on_plateau(schedule, 100, 1, [])


def test_missing_and_surplus_keys_are_named():
    with pytest.raises(ValidationError, match=r"takes \['warm_up'\]; missing \[\], not used \['drop_every'\]"):
        ScheduleParams(kind="cosine", warm_up=0.1, drop_every=0.5)
    with pytest.raises(ValidationError, match=r"missing \['drop_every'\], not used \[\]"):
        ScheduleParams(kind="step", warm_up=0.1, drop_factor=0.5)
    with pytest.raises(ValidationError, match=r"missing \['patience', 'drops'\], not used \['drop_every'\]"):
        ScheduleParams(kind="plateau", warm_up=0.1, drop_factor=0.5, drop_every=0.5)
    with pytest.raises(ValidationError, match=r"missing \['power'\], not used \[\]"):
        ScheduleParams(kind="inv", warm_up=0.1, gamma=1e-4)
    with pytest.raises(ValidationError, match=r"warm_up\n  Field required"):
        ScheduleParams.model_validate({"kind": "constant"})
