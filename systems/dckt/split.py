"""Split one of the two sets of image-text pairs, once per seed.

    python -m systems.dckt.split --domain source --ingested data/dckt/source/ingested --output data/dckt/source/splits

It is :mod:`pipelines.pairs.split` with its options from the parameter file.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from base.params import DEFAULT_PATH, load_section, read_seeds
from pipelines.pairs.split import closing_counts, run
from systems.dckt.data import DataParams


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", required=True, help="source or target")
    parser.add_argument("--ingested", type=Path, required=True, help="its ingested pairs")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("split", describe=arguments.domain) as closing:
        splits = load_section(DataParams, "dckt.data", arguments.params).domain(arguments.domain).splits
        seeds = read_seeds(arguments.params)
        summary = run(arguments.ingested, arguments.output, splits, seeds)
        closing.counts.update(closing_counts(summary))
        closing.wrote[str(arguments.output)] = f"{len(seeds)} splits"
        closing.next_command = "python -m pipelines.words.segment (see stages/dckt/dvc.yaml)"


if __name__ == "__main__":
    main()
