"""Compute frozen features of all images: mean and maximum over the positions of a ConvNet's last map.

    python -m systems.cleaning.embed --images data/sets/toy/ingested/images --output data/sets/toy/embedded

In: the ingested images (`schemas.IMAGES`), both domains. Out: shards of `schemas.EMBEDDED`, those of the images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from base.params import DEFAULT_PATH, load_section
from model.frozen_features import FrozenParams, embed
from pipelines.beam.shards import shard_files


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("embed") as closing:
        params = load_section(FrozenParams, "cleaning.embed", arguments.params)
        closing.counts = {"images": embed(shard_files(arguments.images), arguments.output, params)}
        closing.wrote[str(arguments.output)] = f"features of {params.backbone}"
        closing.next_command = "python -m systems.cleaning.denoise"


if __name__ == "__main__":
    main()
