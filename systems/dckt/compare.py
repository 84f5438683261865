"""Fit a comparison method on the target's pairs, and measure it as systems.dckt.evaluate measures a network.

    python -m systems.dckt.compare --run CCA --seed 0 --data data/dckt --output data/dckt/evaluations/CCA/seed-0

In: the features and the split of the target, and the methods' parameters.
Out: ``metrics.json`` and ``units.parquet``, with the metrics of systems.dckt.evaluate.

The method sees no source. Its parameters and its epoch are chosen by the target's validation pairs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.artifacts import whole_directory
from base.console import UserError, stage
from base.params import DEFAULT_PATH, load_section
from systems.dckt.baselines.config import BaselineParams
from systems.dckt.config import TARGET, read_run
from systems.dckt.evaluate import METRICS, EvaluateParams, measure, write_evaluation
from systems.dckt.features import TEST, TRAIN, VALIDATION, read_features


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="the method, as in two-tower or CCA_pairs=10")
    parser.add_argument("--seed", type=int, required=True, help="of the split, initialisation and batches")
    parser.add_argument("--data", type=Path, required=True, help="folder of the domains' folders")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"compare {arguments.run}, seed {arguments.seed}") as closing:
        try:
            point = read_run(arguments.run)
        except ValueError as error:
            raise UserError(f"--run: {error}") from None
        if not point.is_baseline:
            raise UserError(f"--run {arguments.run}: no comparison method; train it with systems.dckt.train")
        params = load_section(BaselineParams, "dckt.baselines", arguments.params)
        at_once = load_section(EvaluateParams, "dckt.evaluate", arguments.params).at_once
        pairs = read_features(arguments.data / TARGET, arguments.seed)
        if point.pairs is not None:
            pairs = pairs.limited(point.pairs, arguments.seed)
        train, validation, test = (pairs.subset(split) for split in (TRAIN, VALIDATION, TEST))
        from systems.dckt.baselines.methods import fit  # torch takes seconds to import

        fitted = fit(point.base, params, train.views, validation.views, arguments.seed)
        metrics, units = measure(fitted.images(test.images), fitted.texts(test.texts), test, at_once)
        metrics |= {
            "trained on": {"target train": len(train), "target validation": len(validation)},
            "chosen": {"target validation MAP": fitted.validation_map, **fitted.chosen},
        }
        with whole_directory(arguments.output) as folder:
            write_evaluation(metrics, units, folder)
        closing.counts = {name: round(metrics[name], 4) for name in METRICS}
        closing.counts["test pairs"] = len(test)
        closing.wrote[str(arguments.output)] = "metrics.json, units.parquet"
        closing.next_command = "python -m systems.dckt.report.write (see stages/dckt/dvc.yaml)"


if __name__ == "__main__":
    main()
