"""The features of a folder as a table of image, word and weight, with Polars.

python examples/with_polars.py features
"""

import sys
from pathlib import Path

import polars as pl


def load(folder: Path) -> pl.DataFrame:
    """Return image_id, word and tfidf, a row for each word of an image."""
    words = pl.read_parquet(folder / "vocabulary.parquet").select("word_id", "word")
    features = pl.read_parquet(folder / "click_features/*.parquet")
    rows = features.filter(pl.col("word_ids").list.len() > 0).explode("word_ids", "clicks", "tfidf")
    return rows.join(words, left_on="word_ids", right_on="word_id").select("image_id", "word", "tfidf")


if __name__ == "__main__":
    print(load(Path(sys.argv[1])))
