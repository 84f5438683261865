"""Train the system on ingested images and a split, and write a model folder."""

import argparse
from pathlib import Path

from systems.backgrounds.task import Backgrounds, run_of

from base.console import stage
from base.params import load_section
from model.nets.params import BackboneParams
from model.training.params import TrainParams
from model.training.trainer import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--images", "--split", "--output"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    with stage("train backgrounds") as closing:
        network = load_section(BackboneParams, "backgrounds.network")
        task = Backgrounds(
            network, load_section(TrainParams, "backgrounds.train"), options.images, options.split, seed=0
        )
        train(run_of(task, "backgrounds"), options.output)
        closing.wrote[str(options.output)] = "a model"
