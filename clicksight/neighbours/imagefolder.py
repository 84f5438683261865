"""Hugging Face's imagefolder: the pictures and ``metadata.jsonl`` with file_name, image_id, category, texts.

datasets.load_dataset("imagefolder", data_dir=FOLDER)
"""

import json
from pathlib import Path

from clicksight.neighbours.items import Source, write_picture


def write(source: Source, folder: Path) -> dict[str, int]:
    """Fill the folder; return counts."""
    number = 0
    with (folder / "metadata.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for item in source.items():
            write_picture(item, folder)
            about = {"file_name": item.path, "image_id": item.id, "category": item.category, "texts": item.texts}
            lines.write(json.dumps(about, ensure_ascii=True) + "\n")
            number += 1
    return {"pictures": number}
