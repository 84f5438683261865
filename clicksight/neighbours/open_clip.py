"""A table for open_clip's training: ``train.csv`` (tab-separated: filepath, title) and the pictures.

Paths are relative to the folder, so train from inside it: ``--train-data train.csv --csv-separator '\t'``, the default.
A picture has a row for each of its texts; one without a text has none. White space in texts becomes single spaces, and
a text that pandas would read as missing (``NA``, ``null``) ends with a space, which CLIP's tokenizer removes. If all
texts are numbers, pandas reads them as such, and ``00`` becomes ``0``.

Reference: `open_clip_train.data.CsvDataset` of open_clip 3.3.
"""

import csv
from pathlib import Path

from clicksight.neighbours.items import Source, one_line, write_picture

# What pandas.read_csv takes for a missing value (pandas 3, pandas._libs.parsers.STR_NA_VALUES), but the empty text.
MISSING = frozenset([
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
])  # fmt: skip


def write(source: Source, folder: Path) -> dict[str, int]:
    """Fill the folder; return counts."""
    counts = {"pictures": 0, "pictures without a text": 0, "rows": 0}
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["filepath", "title"])
        for item in source.items():
            titles = list(filter(None, map(one_line, item.texts)))
            if not titles:
                counts["pictures without a text"] += 1
                continue
            write_picture(item, folder)
            counts["pictures"] += 1
            counts["rows"] += len(titles)
            table.writerows([item.path, title + " " * (title in MISSING)] for title in titles)
    return counts
