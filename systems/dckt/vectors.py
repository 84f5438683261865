"""Read or train the word vectors of one of the two sets of texts.

    python -m systems.dckt.vectors --domain source --queries data/dckt/source/words/queries \
        --output data/dckt/source/word_vectors.parquet

It is :mod:`pipelines.words.word_vectors` with its options from the parameter file.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from base.params import DEFAULT_PATH, load_section
from pipelines.words.word_vectors import run
from systems.dckt.data import DataParams


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", required=True, help="source or target")
    parser.add_argument("--queries", type=Path, required=True, help="its segmented texts")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("vectors", describe=arguments.domain) as closing:
        params = load_section(DataParams, "dckt.data", arguments.params)
        name = params.domain(arguments.domain).word_vectors
        file = None if name is None else Path(name)
        closing.counts.update(run(arguments.queries, file, arguments.output, params.word_vectors))
        closing.wrote[str(arguments.output)] = name or "trained on the texts"
        closing.next_command = "python -m systems.dckt.text_features"


if __name__ == "__main__":
    main()
