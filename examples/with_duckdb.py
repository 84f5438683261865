"""The same table by SQL, with DuckDB.

python examples/with_duckdb.py features
"""

import sys
from pathlib import Path

import duckdb

QUERY = """
    select image_id, word, weight as tfidf
    from (select image_id, unnest(word_ids) as word_id, unnest(tfidf) as weight from read_parquet($features))
    join read_parquet($words) using (word_id)
    order by image_id, word_id
"""


def load(folder: Path) -> list[tuple[str, str, float]]:
    """Return image_id, word and tfidf, a row for each word of an image."""
    files = {"features": f"{folder}/click_features/*.parquet", "words": f"{folder}/vocabulary.parquet"}
    return duckdb.connect().execute(QUERY, files).fetchall()


if __name__ == "__main__":
    print(*load(Path(sys.argv[1])), sep="\n")
