"""A linear classifier of images on their click features alone, without a pixel: its accuracy on held-out images.

python examples/with_scikit_learn.py features splits/seed-0.parquet

The second file has image_id, category and split (train, validation, test), as our own splits. Rows are scaled to length
1, as the networks' targets are. On simulated clicks the accuracy shows nothing about photographs.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

sys.path.insert(0, str(Path(__file__).parent))
from to_scipy import load


def accuracy(folder: Path, splits: Path) -> float:
    """Return the share of the test images that a classifier trained on the training images recognises."""
    images, _, matrix = load(folder)
    row_of = {image: row for row, image in enumerate(images)}
    rows: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    names: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for entry in pq.read_table(splits, columns=["image_id", "category", "split"]).to_pylist():
        if entry["image_id"] in row_of:  # target images have no clicks
            rows[entry["split"]].append(row_of[entry["image_id"]])
            names[entry["split"]].append(entry["category"])
    classifier = make_pipeline(Normalizer(), LogisticRegression(C=10, max_iter=1000))
    classifier.fit(matrix[rows["train"]], names["train"])
    return float(classifier.score(matrix[rows["test"]], names["test"]))


if __name__ == "__main__":
    print(f"accuracy {accuracy(Path(sys.argv[1]), Path(sys.argv[2])):.3f}")
