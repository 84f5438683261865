"""The matrix of labels, soft or not."""

import numpy as np
import polars as pl

from systems.siamese.soft_labels import label_matrix, with_soft_labels


def test_labels_by_hand() -> None:
    rows = pl.DataFrame(
        {
            "domain": ["source", "source", "source", "target"],
            "image_id": ["a", "b", "c", "a"],
            "category": ["bee", "cat", "ant", "ant"],
        }
    )
    soft = pl.DataFrame(
        {
            "image_id": ["b", "a", "gone"],
            "categories": [["cat", "dog"], ["bee", "cat", "ant"], ["ant"]],
            "probabilities": [[0.6, 0.4], [0.5, 0.3, 0.1], [1.0]],
        }
    )
    found = label_matrix(with_soft_labels(rows, soft), ["ant", "bee", "cat"])
    # dog is no category of the run; c has no soft labels; the target's image a is another one
    expected = [[0.1 / 0.9, 0.5 / 0.9, 0.3 / 0.9], [0, 0, 1], [1, 0, 0], [1, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    plain = label_matrix(with_soft_labels(rows, None), ["ant", "bee", "cat"])
    assert plain.tolist() == np.eye(3)[[1, 2, 0, 0]].tolist()
