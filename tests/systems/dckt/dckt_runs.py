"""Recipes and pairs of the smallest runs."""

from pathlib import Path

from dckt_data import write_domain

from model.training.params import ScheduleParams
from systems.dckt.config import (
    NetworkParams,
    ObjectiveParams,
    PhasesParams,
    Recipe,
    TransferParams,
    read_run,
    recipe_of,
)
from systems.dckt.features import PairFeatures, read_features

NETWORK = NetworkParams(hidden=8, normalise="both", dropout=0.1)
OBJECTIVE = ObjectiveParams(media=1.0, fc8=1.0, fc9=2.0, pairs=0.01, source=0.2, target=1.0, estimator="all pairs")
TRAIN = PhasesParams(
    epochs=1,
    target_epochs=1,
    batch_size=6,
    accumulation=1,
    learning_rate=0.05,
    bias_rate=2.0,
    momentum=0.9,
    weight_decay=5e-4,
    weight_decay_on_biases=False,
    schedule=ScheduleParams(kind="constant", warm_up=0.0),
    mixed_precision="no",
    compile=False,
    channels_last=False,
    workers=0,
    threads=1,
    cache_images=False,
)
TRANSFER = TransferParams(
    iterations=1,
    source_passes=1,
    alpha=0.5,
    rule="paper",
    rate=1.0,
    schedule=ScheduleParams(kind="inv", warm_up=0.0, gamma=1e-4, power=0.75),
)


def recipe(run: str = "DCKT", epochs: int = 1) -> Recipe:
    """The recipe of a run with the tests' parameters; every phase has as many epochs."""
    train = TRAIN.model_copy(update={"epochs": epochs, "target_epochs": epochs})
    transfer = TRANSFER.model_copy(update={"iterations": epochs})
    return recipe_of(read_run(run), NETWORK, OBJECTIVE, train, transfer)


def write_domains(folder: Path, seed: int = 0) -> Path:
    """Write both domains, which share the category bee, and return their folder."""
    write_domain(folder / "source", {"cat": 10, "bee": 10, "dog": 15}, seed)
    write_domain(folder / "target", {"wasp": 10, "Bee": 10, "ant": 10}, seed)
    return folder


def domains(folder: Path, seed: int = 0) -> tuple[PairFeatures, PairFeatures]:
    """Write both domains, and return the pairs of source and target."""
    data = write_domains(folder, seed)
    return read_features(data / "source", seed), read_features(data / "target", seed)
