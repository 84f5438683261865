"""The approximate index finds nearly all that the exact one finds, with the same names, in the same bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from base import schemas
from base.artifacts import table_writer
from base.console import UserError
from clicksight import approximate
from clicksight.entries import Entries
from clicksight.search import Index, Least
from model.frozen_features import as_lists
from pipelines.words.segmentation import SegmentParams

SEGMENT = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas="en")
WORDS = 24
PICTURES = 3_000
GROUPS = (700, 1300, 1000)  # row groups needn't be equal


def pictures_of(number: int) -> np.ndarray:
    """Return click features around 30 kinds of pictures: float32 (number, WORDS), rows of length 1."""
    generator = np.random.default_rng(4)
    kinds = generator.exponential(size=(30, WORDS)) ** 2
    found = kinds[generator.integers(30, size=number)] + generator.exponential(0.3, size=(number, WORDS))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index with an approximate one beside its pictures."""
    folder = tmp_path_factory.mktemp("index")
    vectors = pictures_of(PICTURES)
    with table_writer(folder / "pictures.parquet", schemas.PICTURE_INDEX) as writer:
        for start, size in zip(np.cumsum([0, *GROUPS]), GROUPS, strict=False):
            names = pa.array([f"p{row}" for row in range(start, start + size)])
            columns = [names, as_lists(vectors[start : start + size]), pa.nulls(size, pa.binary())]
            writer.write_table(pa.Table.from_arrays(columns, schema=schemas.PICTURE_INDEX), row_group_size=size)
    approximate.write_approximate(Entries(folder, WORDS), folder / approximate.FILE)
    return Index(folder, Path("model"), "", [f"w{word}" for word in range(WORDS)], SEGMENT)


def queries() -> dict[str, np.ndarray]:
    """Return queries by words and by pictures that are not in the index."""
    words = {f"word {word}": np.eye(WORDS, dtype=np.float32)[word] for word in range(0, WORDS, 2)}
    return words | {f"picture {row}": vector for row, vector in enumerate(pictures_of(PICTURES + 20)[PICTURES:])}


def test_most_of_what_the_exact_search_finds_is_found(index: Index) -> None:
    assert index.is_approximate
    recalls = []
    for vector in queries().values():
        exact = {one.image: one for one in index.nearest(vector, 10, compare_all=True)}
        found = index.nearest(vector, 10)
        assert [one.rank for one in found] == list(range(1, 11))
        cosines = [one.cosine for one in found]
        assert cosines == sorted(cosines, reverse=True)
        for one in found:  # each name with its own cosine
            if one.image in exact:
                assert one.cosine == pytest.approx(exact[one.image].cosine, abs=2e-3)
        recalls.append(len(exact.keys() & {one.image for one in found}) / 10)
    # lists of so few pictures are rough: a random tenth of the pictures would have a tenth
    assert np.mean(recalls) > 0.6


def test_with_every_list_it_is_the_exact_search(index: Index, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(approximate, "SHARE", 1)
    approximate.write_approximate(index.entries, tmp_path / "all.faiss")
    for vector in queries().values():
        rows, cosines, clicks = approximate.nearest(tmp_path / "all.faiss", vector, 10)
        expected = [one.row for one in index.nearest(vector, 10, compare_all=True)]
        assert len(set(rows.tolist()) & set(expected)) >= 9  # float16 may exchange the last two
        assert clicks @ vector == pytest.approx(cosines, abs=1e-3)
        assert clicks == pytest.approx(pictures_of(PICTURES)[rows], abs=1e-3)


def test_cut_offs_leave_out_pictures_of_an_approximate_search_too(index: Index) -> None:
    vector = np.zeros(WORDS, np.float32)
    vector[[2, 5]] = np.sqrt(0.5)
    entries = np.full(WORDS, -np.inf, np.float32)
    entries[2] = 0.2
    for least in (Least(entries, -np.inf), Least(np.full(WORDS, -np.inf, np.float32), 0.5)):
        exact = {one.image for one in index.nearest(vector, PICTURES, least, compare_all=True)}
        found = index.nearest(vector, 20, least)
        assert 0 < len(found) <= 20
        assert {one.image for one in found} <= exact
    assert index.nearest(vector, 20, Least(entries + 1, -np.inf)) == []


def test_equal_pictures_give_equal_bytes(index: Index, tmp_path: Path) -> None:
    lists = approximate.write_approximate(index.entries, tmp_path / "again.faiss")
    assert lists == approximate.num_lists(PICTURES) == 75
    assert (tmp_path / "again.faiss").read_bytes() == (index.folder / approximate.FILE).read_bytes()


@pytest.mark.parametrize(("pictures", "lists"), [(1, 1), (79, 1), (80, 2), (10_000, 250), (1_000_000, 4_000)])
def test_number_of_lists(pictures: int, lists: int) -> None:
    assert approximate.num_lists(pictures) == lists


def test_a_broken_file_is_an_error(index: Index, tmp_path: Path) -> None:
    (tmp_path / "broken.faiss").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read by faiss"):
        approximate.nearest(tmp_path / "broken.faiss", np.zeros(WORDS), 1)
    with pytest.raises(UserError, match="vectors have another length"):
        approximate.nearest(index.folder / approximate.FILE, np.zeros(3), 1)
