"""The pictures of an index are found by their rows, across row groups of unequal sizes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from base import schemas
from base.artifacts import table_writer
from base.console import UserError
from clicksight.entries import FILE, Entries
from model.frozen_features import as_lists

NAMES = ["a", "same", "c", "same", "e", "f"]
THUMBNAILS = [b"1", b"22", None, b"4", b"5", b"6"]
VECTORS = np.arange(18, dtype=np.float32).reshape(6, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in row groups of three, one and two."""
    with table_writer(tmp_path / FILE, schemas.PICTURE_INDEX) as writer:
        for rows in (slice(0, 3), slice(3, 4), slice(4, 6)):
            columns = [pa.array(NAMES[rows]), as_lists(VECTORS[rows]), pa.array(THUMBNAILS[rows], pa.binary())]
            writer.write_table(pa.Table.from_arrays(columns, schema=schemas.PICTURE_INDEX))
    return tmp_path


def test_names_and_thumbnails_are_those_of_the_row_in_any_order(folder: Path) -> None:
    entries = Entries(folder, 3)
    assert len(entries) == 6
    assert entries.names(np.array([5, 0, 3, 2, 4, 1])) == ["f", "a", "same", "c", "e", "same"]
    assert [entries.thumbnail(row) for row in range(-1, 7)] == [None, *THUMBNAILS, None]


def test_click_features_are_read_by_row_groups_or_stay_in_memory(folder: Path) -> None:
    entries = Entries(folder, 3)
    assert [len(block) for block in entries.blocks()] == [3, 1, 2]
    assert np.array_equal(np.concatenate(list(entries.blocks())), VECTORS)
    entries.hold()
    (folder / FILE).unlink()
    assert np.array_equal(np.concatenate(list(entries.blocks())), VECTORS)


def test_vectors_of_another_length_and_files_of_another_kind_are_errors(folder: Path) -> None:
    with pytest.raises(UserError, match="vectors have another length"):
        list(Entries(folder, 4).blocks())
    (folder / FILE).write_bytes(b"no table")
    with pytest.raises(UserError, match=FILE):
        Entries(folder, 3)
