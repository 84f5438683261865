"""Equal images: every method sees as many training images as the joint network does in a given number of epochs.

A step of the joint network sees a batch of each domain, a step of the other methods one batch. So with the same number
of epochs, methods differ in the images behind their recognisers. ``equal_images=TDL-24`` is the run of TDL within the
images that MTMDD-VM sees in 24 epochs.

With n target images for training, that is 2 * 24 * n. An epoch of every phase is n draws of each of its streams
(`Phase.epoch_domain`). Each phase behind a recogniser gets the same number of images. With L phases behind it, a phase
of D streams thus has 2 * 24 / (L * D) epochs: VGGimg 48, each phase of the methods of two steps 24. A phase behind
several recognisers has the L of the longest. So Acc-S of VGGsrc, whose source recogniser is the first of its two
phases, has half of the images behind it; the report shows these numbers.

The runs end after these epochs and not by their validation. A plateau schedule has no fixed length, so cosine takes its
place, with the same peak and the same share of warm-up.
"""

from math import gcd

from base.console import UserError
from model.training.params import ScheduleParams
from systems.mtmdd.config import Phase, Recipe, TrainParams

STREAMS = 2  # of the joint network


def within_budget(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with the images that the joint network sees in a number of epochs.

    Args:
        recipe: a method's recipe.
        epochs: of the joint network; passes over the target's training images.

    Raises:
        UserError: a phase would have a part of an epoch, or is fitted, which has no epochs.
    """
    fitted = [phase.name for phase in recipe.phases if phase.fitted]
    if fitted:
        raise UserError(
            f"mtmdd.runs: equal_images={recipe.method}-{epochs}: phase {fitted[0]} is computed from all images at once,"
            " so its number of images can't be chosen; remove the run"
        )
    behind = {phase.name: phases_behind(recipe, phase) for phase in recipe.phases}
    phases = []
    for phase in recipe.phases:
        longest = max(len(names) for names in behind.values() if phase.name in names)
        share = longest * len(phase.domains)
        if STREAMS * epochs % share:
            raise UserError(
                f"mtmdd.runs: equal_images={recipe.method}-{epochs}: phase {phase.name} would have"
                f" {STREAMS * epochs}/{share} epochs; use a multiple of {share // gcd(share, STREAMS)}"
            )
        train = _fixed_length(phase.train or recipe.train, STREAMS * epochs // share)
        own_epochs = None if phase.main_domain == "target" else "target"
        phases.append(
            phase.model_copy(update={"train": None if train == recipe.train else train, "epoch_domain": own_epochs})
        )
    return recipe.model_copy(update={"phases": phases})


def phases_behind(recipe: Recipe, phase: Phase) -> list[str]:
    """Return the names of a phase and of all earlier phases that its weights come from, in the order of training."""
    found = {phase.name}
    for earlier in reversed(recipe.phases):
        if earlier.name in found:
            found.update(earlier.starts_from)
    return [one.name for one in recipe.phases if one.name in found]


def _fixed_length(train: TrainParams, epochs: int) -> TrainParams:
    schedule = train.schedule
    if schedule.kind == "plateau":
        schedule = ScheduleParams(kind="cosine", warm_up=schedule.warm_up)
    return train.model_copy(update={"epochs": epochs, "early_stopping": None, "schedule": schedule})
