"""Learning-rate schedules as pure functions of the step and, for plateau, of the validations so far.

A continued run needs no saved schedule state, except the epochs of the drops (`model.training.trainer.Progress`).
"""

import math
from collections.abc import Sequence

from model.training.params import ScheduleParams

START = 1 / 25  # one-cycle: first rate, share of the peak (torch.optim.lr_scheduler.OneCycleLR's defaults)
END = START * 1e-4  # one-cycle: last rate, share of the peak


def rate_factor(schedule: ScheduleParams, step: int, num_steps: int, num_drops: int = 0) -> float:
    """Return the factor on the peak learning rate at a step.

    One-cycle rises by half a cosine from 1/25 to 1 until the warm-up ends, then falls by half a cosine to 4e-6 at the
    last step. In all other kinds a warm-up factor rises linearly, from 1/(steps of the warm-up) to 1, and is multiplied
    by

    - constant: 1
    - cosine: half a cosine from 1 towards 0, which begins when the warm-up ends
    - step: drop_factor ** floor(p / drop_every), p = step / num_steps, independent of the warm-up
    - plateau: drop_factor ** num_drops; the validations decide when the rate drops (:func:`on_plateau`)
    - inv: (1 + gamma * step) ** -power, Caffe's policy of that name, which doesn't depend on the number of steps

    Args:
        schedule: the parameters.
        step: 0 .. num_steps - 1.
        num_steps: number of steps of the phase; for plateau, of the most epochs that it may have.
        num_drops: plateau: number of drops before this step.

    Reference: one-cycle as in Smith and Topin, "Super-convergence" (2018), in torch's two-phase form.
    """
    if schedule.kind == "one-cycle":
        peak = max(schedule.warm_up * num_steps - 1, 0.0)
        if step <= peak:
            return _half_cosine(START, 1.0, step / peak if peak > 0 else 1.0)
        return _half_cosine(1.0, END, (step - peak) / (num_steps - 1 - peak))
    rising = math.ceil(schedule.warm_up * num_steps)
    warm_up_factor = min((step + 1) / rising, 1.0) if rising else 1.0
    if schedule.kind == "constant":
        return warm_up_factor
    if schedule.kind == "cosine":
        return warm_up_factor * _half_cosine(1.0, 0.0, max(step - rising, 0) / max(num_steps - rising, 1))
    if schedule.kind == "inv":
        assert schedule.gamma is not None
        assert schedule.power is not None
        return warm_up_factor * float((1 + schedule.gamma * step) ** -schedule.power)
    assert schedule.drop_factor is not None
    if schedule.kind == "plateau":
        return warm_up_factor * schedule.drop_factor**num_drops
    assert schedule.drop_every is not None
    # The tiny term makes a third of 30 steps end at step 10; the rounding of 1/3 would make it end at step 11.
    return warm_up_factor * schedule.drop_factor ** math.floor(step / num_steps / schedule.drop_every + 1e-9)


def on_plateau(schedule: ScheduleParams, epoch: int, best_epoch: int, drops: Sequence[int]) -> bool:
    """Return True if a plateau schedule must act after an epoch: drop the rate, or end the phase after all drops.

    It acts if the last `patience` epochs had no better validation; after a drop, the epochs are counted anew.

    Args:
        schedule: the parameters.
        epoch: number of epochs trained.
        best_epoch: the epoch (from 1) with the best validation so far; of equal ones, the first.
        drops: the epochs after which the rate dropped.

    Reference: torch's ReduceLROnPlateau with threshold 0, whose patience is smaller by one; He et al., "Deep residual
    learning for image recognition" (2016), section 3.4, divide the rate by 10 "when the error plateaus".
    """
    if schedule.kind != "plateau":
        return False
    assert schedule.patience is not None
    return epoch - max(best_epoch, *drops, 0) >= schedule.patience


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
