"""Ingest one of the two sets of image-text pairs that `dckt.data` describes.

    python -m systems.dckt.ingest --domain source --output data/dckt/source/ingested

It is :mod:`pipelines.pairs.ingest` with its options from the parameter file.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from base.params import DEFAULT_PATH, load_section
from pipelines.pairs.ingest import closing_counts, run
from pipelines.pairs.layouts import find_pairs
from systems.dckt.data import DataParams


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", required=True, help="source or target")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("ingest", describe=arguments.domain) as closing:
        params = load_section(DataParams, "dckt.data", arguments.params)
        found = find_pairs(params.domain(arguments.domain))
        summary = run(found, arguments.output, params.ingest, beam_arguments)
        closing.counts.update(closing_counts(summary))
        closing.wrote[str(arguments.output)] = f"{summary['pairs']['rows_kept']:,} pairs"
        closing.next_command = "python -m systems.dckt.split"


if __name__ == "__main__":
    main()
