"""Compute the frozen features of one domain's images, once for all runs.

    python -m systems.dckt.embed --domain source --pairs data/dckt/source/ingested/pairs --output \
        data/dckt/source/embedded

Out: shards of `schemas.EMBEDDED`, those of the pairs; image_id is the pair_id.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from base.params import DEFAULT_PATH, load_section
from model.frozen_features import embed
from pipelines.beam.shards import shard_files
from systems.dckt.feature_params import FeatureParams


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", required=True, help="source or target")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of its ingested pairs")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("embed", describe=arguments.domain) as closing:
        params = load_section(FeatureParams, "dckt.features", arguments.params)
        number = embed(
            shard_files(arguments.pairs),
            arguments.output,
            params.images,
            params.kind,
            id_column="pair_id",
            domain=arguments.domain,
        )
        closing.counts = {"images": number}
        closing.wrote[str(arguments.output)] = f"features of {params.images.backbone}"


if __name__ == "__main__":
    main()
