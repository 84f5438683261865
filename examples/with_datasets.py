"""The features as a Dataset of Hugging Face, whose metadata come along.

python examples/with_datasets.py features
"""

import sys
from pathlib import Path

import datasets


def load(folder: Path, cache: str | None = None) -> datasets.Dataset:
    """Return image_id, word_ids, clicks and tfidf of every image."""
    return datasets.load_dataset(
        "parquet", data_files=f"{folder}/click_features/*.parquet", split="train", cache_dir=cache
    )


if __name__ == "__main__":
    print(load(Path(sys.argv[1])))
