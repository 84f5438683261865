"""Train the two towers of one run with one seed on a click log.

    python -m systems.dckt.clicks.train --run weighted --seed 0 --data data/sets/toy \\
        --features data/dckt/clicks/embedded --queries data/dckt/clicks/queries.parquet \\
        --output data/dckt/clicks/models/weighted/seed-0

In: a data set's log and its split of that seed, frozen features of its images, features of its queries.
Out: a model folder, see `model.training.trainer.train`, with the weights of the phase ``towers``.

Test queries and test images are not used. A repeated call continues an interrupted run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from base.params import DEFAULT_PATH, load_section
from model.training.curves import run_name
from systems.dckt.clicks.config import RUNS, ClickEvaluateParams, ClickTrainParams


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, choices=RUNS, help="what a pair counts; systems/dckt/clicks/config.py")
    parser.add_argument("--seed", type=int, required=True, help="of the split, initialisation, batches and dropout")
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--features", type=Path, required=True, help="frozen features of its images")
    parser.add_argument("--queries", type=Path, required=True, help="features of its queries")
    parser.add_argument("--output", type=Path, required=True, help="the model folder")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    name = f"dckt/clicks/{run_name(arguments.output)}"
    with stage(f"train {name}") as closing:
        params = load_section(ClickTrainParams, "dckt.clicks.train", arguments.params)
        evaluate = load_section(ClickEvaluateParams, "dckt.clicks.evaluate", arguments.params)
        # imported here, because torch takes seconds to import and a wrong parameter is reported first
        from model.training.trainer import train
        from systems.dckt.clicks.data import read_clicks
        from systems.dckt.clicks.task import click_run

        clicks, counts = read_clicks(arguments.data, arguments.features, arguments.queries, arguments.seed)
        run = click_run(arguments.run, clicks, params, evaluate, arguments.seed, name)
        chosen = train(run, arguments.output)
        closing.counts = {**counts, "pairs trained on": run.description["pairs"]}
        phases = ", ".join(f"{epoch.phase}: epoch {epoch.epoch} of {epoch.of}" for epoch in chosen)
        closing.wrote[str(arguments.output)] = phases
        closing.next_command = f"python -m systems.dckt.clicks.evaluate --model {arguments.output} ..."


if __name__ == "__main__":
    main()
