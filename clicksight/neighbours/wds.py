"""WebDataset: a ``.tar`` for each shard; in it NAME.jpg, NAME.txt (a text on each line), NAME.json for each picture.

    webdataset.WebDataset("FOLDER/part-{00000..00015}.tar", shardshuffle=False)

A name has no dot, since the tool takes what follows the first one for the kind of content; the id is in the JSON. A
shard without pictures has no file.
"""

import io
import json
import tarfile
from itertools import groupby
from pathlib import Path, PurePosixPath

from clicksight.neighbours.items import Item, Source, one_line


def write(source: Source, folder: Path) -> dict[str, int]:
    """Fill the folder; return counts."""
    counts = {"pictures": 0, "shards": 0}
    for shard, items in groupby(source.items(), key=lambda item: PurePosixPath(item.path).parent.name):
        with tarfile.open(folder / f"part-{counts['shards']:05d}.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            for item in items:
                for suffix, content in _parts(item):
                    member = tarfile.TarInfo(f"{shard}-{PurePosixPath(item.path).stem}.{suffix}")
                    member.size = len(content)  # times, owners and rights are TarInfo's defaults: the same everywhere
                    archive.addfile(member, io.BytesIO(content))
                counts["pictures"] += 1
        counts["shards"] += 1
    return counts


def _parts(item: Item) -> list[tuple[str, bytes]]:
    about = {"image_id": item.id, "category": item.category, "texts": item.texts}
    return [
        (PurePosixPath(item.path).suffix[1:], item.data),
        ("json", json.dumps(about).encode()),
        ("txt", "\n".join(map(one_line, item.texts)).encode()),
    ]
