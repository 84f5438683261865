"""Learning-rate schedules as pure functions of the step, so that a continued run needs no schedule state."""

import math

from model.config import ScheduleParams

START = 1 / 25  # one-cycle: first rate, share of the peak (torch.optim.lr_scheduler.OneCycleLR's defaults)
END = START * 1e-4  # one-cycle: last rate, share of the peak


def rate_factor(schedule: ScheduleParams, step: int, num_steps: int) -> float:
    """Return the factor on the peak learning rate at a step.

    With p = step / (num_steps - 1), and w the warm-up share, rises and falls by half a cosine:

    - constant: 1
    - one-cycle: from 1/25 to 1 until the warm-up ends, then down to 4e-6 at the last step
    - cosine: linearly from 1/(steps of the warm-up) to 1, then by a cosine towards 0
    - step: drop_factor ** floor(p' / drop_every), p' = step / num_steps

    Args:
        step: 0 .. num_steps - 1.
        num_steps: of the phase.

    Reference: one-cycle as in Smith and Topin, "Super-convergence" (2018), in torch's two-phase form.
    """
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "step":
        assert schedule.drop_every is not None
        assert schedule.drop_factor is not None
        # the tiny term: a third of 30 steps ends at step 10, not at 11 because of how 1/3 is rounded
        return schedule.drop_factor ** math.floor(step / num_steps / schedule.drop_every + 1e-9)
    assert schedule.warm_up is not None
    if schedule.kind == "one-cycle":
        peak = max(schedule.warm_up * num_steps - 1, 0.0)
        if step <= peak:
            return _half_cosine(START, 1.0, step / peak if peak > 0 else 1.0)
        return _half_cosine(1.0, END, (step - peak) / (num_steps - 1 - peak))
    rising = math.ceil(schedule.warm_up * num_steps)
    if step < rising:
        return (step + 1) / rising
    return _half_cosine(1.0, 0.0, (step - rising) / (num_steps - rising))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
