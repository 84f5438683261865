"""Measure the test images: metrics.json, and units.parquet with each image's squared error."""

import argparse
from pathlib import Path

import torch
from systems.backgrounds.task import Backgrounds

from base.artifacts import whole_directory, write_json, write_table
from base.console import stage
from base.schemas import UNITS
from model.data.batches import evaluation_batches
from model.folder import load_weights, read_run
from model.measures.units import reduce_units, units_of
from model.nets.params import BackboneParams
from model.training.params import TrainParams

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model", "--images", "--split", "--output"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    with stage("evaluate backgrounds") as closing:
        run = read_run(options.model)
        network, params = BackboneParams(**run["network"]), TrainParams.model_validate(run["train"])
        task = Backgrounds(network, params, options.images, options.split, run["seed"])
        model, rows = task.network(lambda phase: {}).eval(), task.row_numbers("test")
        load_weights(model, options.model, task.name)
        with torch.no_grad():
            batches = evaluation_batches(task.load, "images", rows, 64, workers=0)
            errors = torch.cat([task.errors(model, batch) for batch in batches])
        units = units_of("squared_error", task.names("images", rows.tolist()), errors.numpy(), 1.0)
        with whole_directory(options.output) as folder:
            write_table(units.to_arrow().cast(UNITS), folder / "units.parquet")
            write_json(reduce_units(units), folder / "metrics.json")
        closing.wrote[str(options.output)] = f"{len(units)} images"
