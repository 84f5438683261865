"""Write our data as neighbouring tools read it.

    clicksight export --as open_clip --images data/sets/toy/ingested/images --clicks data/sets/toy/ingested/clicks \\
        --output pairs
    clicksight export --as trec --features features --output judgements

Formats: open_clip (a table of pictures and texts), imagefolder (Hugging Face), webdataset (shards), sidecars (a .txt
beside each picture), recbole (atomic files, from a tag log or clicks), trec (qrels, from features or clicks). Texts are
the queries of ``--clicks``, the words of ``--features`` by weight, or the texts of image-text pairs. The output appears
whole or not at all.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from base.artifacts import whole_directory
from base.console import UserError, stage
from clicksight.neighbours import imagefolder, open_clip, recbole, sidecars, trec, wds
from clicksight.neighbours.items import Source


class Format(NamedTuple):
    """A format of another tool.

    Attributes:
        write: fills an empty folder from a source; returns counts.
        holds: patterns of the names that it writes.
    """

    write: Callable[[Source, Path], dict[str, int]]
    holds: tuple[str, ...]


FORMATS = {
    "open_clip": Format(open_clip.write, ("train.csv", "images")),
    "imagefolder": Format(imagefolder.write, ("metadata.jsonl", "images")),
    "webdataset": Format(wds.write, ("part-*.tar",)),
    "sidecars": Format(sidecars.write, ("images",)),
    "recbole": Format(recbole.write, ("clicksight.inter", "clicksight.user", "clicksight.item")),
    "trec": Format(trec.write, ("qrels.txt", "topics.tsv")),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as", dest="format", required=True, choices=FORMATS, help="the format")
    parser.add_argument("--images", type=Path, metavar="DIR", help="shards of ingested images or pairs")
    parser.add_argument("--clicks", type=Path, metavar="DIR", help="shards of ingested clicks")
    parser.add_argument("--features", type=Path, metavar="DIR", help="vocabulary.parquet and click_features/")
    parser.add_argument("--tags", type=Path, metavar="DIR", help="a tag log: vocabulary.parquet and posts/")
    parser.add_argument("--texts", type=int, default=5, metavar="N", help="texts of a picture at most (5)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    arguments = parser.parse_args(argv)
    with stage(f"export as {arguments.format}") as closing:
        if arguments.texts < 1:
            raise UserError(f"--texts {arguments.texts}: at least 1")
        if arguments.clicks is not None and arguments.features is not None:
            raise UserError("--clicks and --features: both name texts; leave one out")
        source = Source(arguments.images, arguments.clicks, arguments.features, arguments.tags, arguments.texts)
        chosen = FORMATS[arguments.format]
        with whole_directory(arguments.output, holds=chosen.holds) as folder:
            closing.counts.update(chosen.write(source, folder))
        closing.wrote[str(arguments.output)] = arguments.format


if __name__ == "__main__":
    main()
