"""Trains runs on the small tag log."""

from tagging_data import read_posts, recipe

from model.training.trainer import train
from systems.tagging.posts import Sources
from systems.tagging.task import training_run


def train_run(sources: Sources, run: str, epochs: int = 1, **network) -> None:
    """Train a run with the seed 0 into a model folder of its name."""
    made = recipe(run, epochs, **network)
    train(training_run(made, read_posts(sources, pixels=made.network.pixels), 0, run), run)
