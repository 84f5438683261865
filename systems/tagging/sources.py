"""The options of all commands that read posts."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from systems.tagging.posts import Sources


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options for the folders of posts, splits and pictures."""
    parser.add_argument("--tags", type=Path, required=True, help="posts and vocabulary, from pipelines.tags.tag_log")
    parser.add_argument("--splits", type=Path, required=True, help="splits and histories, from pipelines.tags.split")
    parser.add_argument(
        "--images", type=Path, help="folder of the ingested images; without it, recommenders that need no picture"
    )
    parser.add_argument("--features", type=Path, help="frozen features of all images, from systems.cleaning.embed")


def sources_of(arguments: argparse.Namespace, seed: int) -> "Sources":
    """Return the folders that a command line names."""
    from systems.tagging.posts import Sources  # imported here, because it needs torch, which takes seconds to import

    return Sources(arguments.tags, arguments.splits, seed, arguments.images, arguments.features)
