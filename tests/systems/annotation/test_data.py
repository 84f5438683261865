"""Reading a data set: labels, binary tags, splits; shuffled tags; word vectors."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from annotation_data import LABELS, NUMBER, TAGS, labels_of, read, split_of, tags_of, vectors, write_data_set

from base.console import UserError
from systems.annotation.data import AnnotatedImages, read_word_vectors, shuffled_rows


def test_rows_labels_and_tags(tmp_path: Path) -> None:
    data = read(write_data_set(tmp_path), "train", "test")
    numbers = [number for number in range(NUMBER) if split_of(number) != "validation"]
    assert data.names == [f"i{number:02}" for number in numbers]
    assert (data.labels, data.tags) == (LABELS, TAGS)
    for row, number in enumerate(numbers):
        assert [LABELS[j] for j in np.flatnonzero(data.has[row])] == labels_of(number)
        assert data.tagged[[row]].toarray()[0].tolist() == [float(j in tags_of(number)) for j in range(4)]
    assert [numbers[row] for row in data.row_numbers("test")] == [n for n in range(NUMBER) if split_of(n) == "test"]
    assert data.images is not None
    assert len(data.images) == len(numbers)


def test_the_fingerprint_changes_with_tags_and_labels(tmp_path: Path) -> None:
    before = read(write_data_set(tmp_path)).fingerprint
    assert read(tmp_path).fingerprint == before
    assert read(tmp_path, shuffled=True).fingerprint != before
    path = tmp_path / "splits/seed-3.parquet"
    pl.read_parquet(path).with_columns(labels=pl.lit(["red"], pl.List(pl.String))).write_parquet(path)
    assert read(tmp_path).fingerprint != before


def test_shuffled_tags_are_those_of_another_image_of_the_split(tmp_path: Path) -> None:
    split = np.array(["train"] * 7 + ["test"] * 4 + ["train"] * 2)
    other = shuffled_rows(split, 5)
    assert sorted(other) == list(range(13))
    assert (other != np.arange(13)).all()
    assert (split[other] == split).all()
    assert (shuffled_rows(split, 6) != other).any()
    plain, shuffled = read(write_data_set(tmp_path)), read(tmp_path, shuffled=True)
    assert (shuffled.tagged.sum(axis=0) == plain.tagged.sum(axis=0)).all()
    assert (shuffled.tagged != plain.tagged).nnz > 0


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    with pytest.raises(UserError, match=r"seed-9.parquet: no such split; add the seed"):
        AnnotatedImages.read(tmp_path, 9, None, False, ("train",))
    path = next((tmp_path / "tags/click_matrix").iterdir())
    pl.read_parquet(path).filter(pl.col("image_id") != "i03").write_parquet(path)
    with pytest.raises(UserError, match="image 'i03' has no row"):
        read(tmp_path)


def test_word_vectors_are_means_of_a_tags_words(tmp_path: Path) -> None:
    found = read_word_vectors(Path(vectors(tmp_path / "v.parquet")), TAGS)
    assert found.tolist() == [[1, 2], [0, 0], [0, 0], [1, 2]]
    with pytest.raises(UserError, match="no such file of word vectors"):
        read_word_vectors(tmp_path / "none", TAGS)
    pl.DataFrame({"word": ["a"]}).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(UserError, match="expected rows with the columns word and vector; it has word"):
        read_word_vectors(tmp_path / "v.parquet", TAGS)
