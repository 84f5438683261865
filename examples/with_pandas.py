"""The same table with pandas.

python examples/with_pandas.py features
"""

import sys
from pathlib import Path

import pandas as pd


def load(folder: Path) -> pd.DataFrame:
    """Return image_id, word and tfidf, a row for each word of an image."""
    words = pd.read_parquet(folder / "vocabulary.parquet")[["word_id", "word"]]
    features = pd.read_parquet(folder / "click_features").explode(["word_ids", "clicks", "tfidf"])
    rows = features.dropna(subset=["word_ids"]).astype({"word_ids": "int32", "tfidf": "float32"})
    return rows.merge(words, left_on="word_ids", right_on="word_id")[["image_id", "word", "tfidf"]]


if __name__ == "__main__":
    print(load(Path(sys.argv[1])))
