"""The features as a sparse matrix of SciPy, images x words, without a copy of the values: PyArrow's lists are CSR.

python examples/to_scipy.py features
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq
from scipy import sparse


def load(folder: Path) -> tuple[list[str], list[str], sparse.csr_array]:
    """Return the images (rows), the words (columns), and the matrix of weights, float32."""
    words = pq.read_table(folder / "vocabulary.parquet")["word"].to_pylist()
    table = pq.read_table(folder / "click_features").combine_chunks()
    images = table["image_id"].to_pylist()
    if not images:
        return [], words, sparse.csr_array((0, len(words)), dtype="float32")
    word_ids, weights = (table[name].chunk(0) for name in ("word_ids", "tfidf"))
    parts = weights.values.to_numpy(), word_ids.values.to_numpy(), weights.offsets.to_numpy()
    return images, words, sparse.csr_array(parts, shape=(len(images), len(words)))


if __name__ == "__main__":
    print(repr(load(Path(sys.argv[1]))[2]))
