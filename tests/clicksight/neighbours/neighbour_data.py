"""A few pictures with texts, clicks and tags in the artifacts' schemas, two shards each."""

import io
from pathlib import Path

import pyarrow as pa
from PIL import Image

from base import schemas
from base.artifacts import shard_name, write_table
from clicksight.neighbours.items import Source

NASTY = [
    "../../etc/passwd",
    "a.b/c.jpg",
    'say "hi"',
    "tab\tis",
    "金毛犬",
    "naïve cafe\u0301",
    "NA",
    "100%25",
    " x ",
    "c,d",
]


def picture(number: int, kind: str = "JPEG") -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (9 + number, 7), (20 * number % 256, 99, 3)).save(encoded, kind)
    return encoded.getvalue()


def write_shards(folder: Path, rows: list[dict], schema: pa.Schema) -> Path:
    """Write rows as two shards of unequal size, and a third without rows."""
    cut = len(rows) // 3 + 1
    for number, part in enumerate((rows[:cut], rows[cut:], [])):
        write_table(pa.Table.from_pylist(part, schema), folder / shard_name(number))
    return folder


def source(folder: Path, ids: list[str], clicks: list[tuple[str, str, int]], texts: int = 5) -> Source:
    """Write pictures, every second a PNG, and clicks (image, query, clicks)."""
    images = [
        {
            "image_id": id_, "domain": "source", "category": f"kind {number % 2}", "width": 9 + number, "height": 7,
            "image": {"bytes": picture(number, "PNG" if number % 2 else "JPEG"), "path": None},
        }
        for number, id_ in enumerate(ids)
    ]  # fmt: skip
    rows = [dict(zip(schemas.CLICKS.names, row, strict=True)) for row in clicks]
    return Source(
        images=write_shards(folder / "images", images, schemas.IMAGES),
        clicks=write_shards(folder / "clicks", rows, schemas.CLICKS),
        texts=texts,
    )


def small(folder: Path) -> Source:
    """Return pictures with nasty ids; the first has three texts, the second one, the last none."""
    clicks = [(id_, f"{id_} one", 3 + number) for number, id_ in enumerate(NASTY[1:-1])]
    first = [(NASTY[0], "zebra", 4), (NASTY[0], "line\nbreak\tand \"quotes\", 'too'", 9), (NASTY[0], "NA", 4)]
    return source(folder, NASTY, [*first, *clicks])
