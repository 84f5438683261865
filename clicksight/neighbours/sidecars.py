"""A ``.txt`` beside each picture with its texts, separated by commas, as programs that tag pictures read and write.

A comma inside a text becomes a space, and so does every run of white space. A picture without a text has an empty file.
"""

from pathlib import Path

from clicksight.neighbours.items import Source, one_line, write_picture


def write(source: Source, folder: Path) -> dict[str, int]:
    """Fill the folder; return counts."""
    number = 0
    for item in source.items():
        tags = filter(None, (one_line(text.replace(",", " ")) for text in item.texts))
        write_picture(item, folder).with_suffix(".txt").write_text(", ".join(tags), encoding="utf-8")
        number += 1
    return {"pictures": number}
