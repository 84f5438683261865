"""Frozen features, their principal components and the head: against scikit-learn, and what is refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.decomposition import PCA

from base import schemas
from base.console import UserError
from model.heads import HeadParams, logits_of, principal_components, read_features, train_head

PARAMS = HeadParams(
    components=8, hidden=16, dropout=0.1, epochs=40, batch_size=100, learning_rate=0.01, weight_decay=0.01, threads=1
)


def write(rows: list[tuple[str, str, list[float]]], folder: Path) -> Path:
    folder.mkdir()
    table = pa.Table.from_pylist(
        [dict(zip(schemas.EMBEDDED.names, row, strict=True)) for row in rows], schemas.EMBEDDED
    )
    pq.write_table(table, folder / "part-00000.parquet")
    return folder


def test_features_are_read_in_the_images_order_and_by_domain(tmp_path: Path) -> None:
    folder = write([("b", "source", [1, 2]), ("a", "source", [3, 4]), ("a", "target", [5, 6])], tmp_path / "features")
    images = pl.DataFrame({"image_id": ["a", "a", "b"], "domain": ["target", "source", "source"]})
    assert read_features(folder, images).tolist() == [[5, 6], [3, 4], [1, 2]]
    assert read_features(folder, pl.DataFrame({"image_id": ["b"]})).tolist() == [[1, 2]]
    with pytest.raises(UserError, match="image 'a' doesn't have one row of features"):
        read_features(folder, pl.DataFrame({"image_id": ["b", "a"]}))


def test_missing_or_impossible_features_are_refused(tmp_path: Path) -> None:
    folder = write([("a", "source", [1.0]), ("b", "source", [float("nan")])], tmp_path / "features")
    with pytest.raises(UserError, match="image 'gone' doesn't have one row of features"):
        read_features(folder, pl.DataFrame({"image_id": ["a", "gone"]}))
    with pytest.raises(UserError, match="NaN or infinite"):
        read_features(folder, pl.DataFrame({"image_id": ["b"]}))


def test_components_are_those_of_scikit_learn_on_the_chosen_images() -> None:
    random = np.random.default_rng(4)
    features = random.normal(size=(50, 6)) @ random.normal(size=(6, 6)) + 3
    chosen = np.arange(50) < 30
    found = principal_components(features, 4, chosen)
    fitted = features[chosen]
    standard = (features - fitted.mean(0)) / (fitted.std(0, ddof=1) + 1e-3)
    expected = PCA(4).fit(standard[chosen]).transform(standard)
    expected /= np.sqrt((expected[chosen] ** 2).mean())
    signs = np.sign((found * expected).sum(0))  # of a component's direction
    np.testing.assert_allclose(found * signs, expected, atol=2e-4)
    others = np.where(chosen[:, None], features, 7 * features)  # images that are not chosen change no component
    np.testing.assert_allclose(principal_components(others, 4, chosen)[chosen], found[chosen], atol=1e-5)


def clouds(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of three categories, and these."""
    random = np.random.default_rng(seed)
    category = random.integers(0, 3, num)
    return (2 * np.eye(3)[category] + random.normal(0, 0.4, (num, 3))).astype(np.float32), category


def test_a_head_recognises_clouds_and_the_seed_decides_all() -> None:
    (x, category), (others, expected) = clouds(200, 1), clouds(100, 2)
    one_hot = np.eye(3)[category]
    head = train_head(x, one_hot, PARAMS, seed=5)
    assert not head.training
    assert (logits_of(head, others).argmax(1) == expected).mean() > 0.9
    again, other = (train_head(x, one_hot, PARAMS, seed=seed) for seed in (5, 6))
    assert logits_of(head, others).tolist() == logits_of(again, others).tolist()
    assert logits_of(head, others).tolist() != logits_of(other, others).tolist()


def test_soft_labels_give_the_probabilities_that_they_have() -> None:
    inputs = np.repeat(np.eye(2, dtype=np.float32), 20, axis=1)  # so that dropped inputs make little difference
    x = np.tile(inputs, (50, 1))
    soft = np.tile(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), (50, 1))
    head = train_head(x, soft, PARAMS.model_copy(update={"epochs": 300, "dropout": 0.0}), seed=0)
    found = torch.softmax(torch.from_numpy(logits_of(head, inputs)), dim=1)
    np.testing.assert_allclose(found, soft[:2], atol=0.03)
