"""Reading a click log: rows add up, splits choose pairs, shuffling keeps what it must, errors name what lacks."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click_data import write_click_data, write_params

from base.artifacts import write_table
from base.console import UserError
from base.schemas import EMBEDDED
from systems.dckt.clicks.data import Clicks, read_clicks
from systems.dckt.clicks.queries import main as write_queries


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clicks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        write_click_data(path)
        write_params()
        write_queries(["--queries", "data/features/queries", "--counts", "counts.json", "--output", "q.parquet"])
    return path


def read(folder: Path) -> tuple[Clicks, dict[str, int]]:
    return read_clicks(folder / "data", folder / "embedded", folder / "q.parquet", 0)


def test_rows_add_up_and_match_the_log(folder: Path) -> None:
    clicks, counts = read(folder)
    assert counts == {
        "rows of the log": 482,
        "rows of images that are not selected": 1,
        "rows of queries without a known word": 1,
        "rows used": 480,
    }
    log = pl.read_parquet(folder / "data/ingested/clicks").filter(pl.col("image_id").str.starts_with("i"))
    expected = {row[:2]: row[2] for row in log.iter_rows() if row[1] != "zzz"}
    found = {
        (clicks.images[image], clicks.queries[query]): number
        for image, query, number in zip(clicks.image, clicks.query, clicks.clicks, strict=True)
    }
    assert found == expected
    matrix = clicks.matrix().toarray()
    assert matrix.shape == (48, 60)
    assert matrix[clicks.queries.index("red ant"), clicks.images.index("i00")] == expected["i00", "red ant"]


def test_pairs_are_those_of_both_splits(folder: Path) -> None:
    clicks, _ = read(folder)
    for query_split, image_split in (("train", "train"), ("test", "validation")):
        found = set(clicks.pairs(query_split, image_split).tolist())
        expected = {
            row
            for row in range(480)
            if clicks.query_split[clicks.query[row]] == query_split
            and clicks.image_split[clicks.image[row]] == image_split
        }
        assert found == expected
        assert found


def test_features_belong_to_their_images(folder: Path) -> None:
    clicks, _ = read(folder)
    table = pl.read_parquet(folder / "embedded")
    for number in (0, 7, 59):
        expected = table.filter(image_id=clicks.images[number])["feature"].item().to_list()
        assert clicks.image_features[number].tolist() == expected


def test_shuffling_exchanges_whole_images_within_their_split(folder: Path) -> None:
    clicks, _ = read(folder)
    shuffled = clicks.shuffled(seed=5)
    before, after = clicks.matrix().toarray(), shuffled.matrix().toarray()
    is_test = clicks.image_split == "test"
    np.testing.assert_array_equal(before[:, is_test], after[:, is_test])
    for split in ("train", "validation"):
        mine = clicks.image_split == split
        assert sorted(map(tuple, before[:, mine].T)) == sorted(map(tuple, after[:, mine].T))
        assert (before[:, mine] != after[:, mine]).any(axis=0).mean() > 0.5
    assert (np.diff(shuffled.query * 60 + shuffled.image) > 0).all()
    np.testing.assert_array_equal(after, clicks.shuffled(seed=5).matrix().toarray())
    assert (after != clicks.shuffled(seed=6).matrix().toarray()).any()
    assert shuffled.fingerprint != clicks.fingerprint


def test_an_image_without_features_is_named(folder: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(folder / "embedded").filter(pl.col("image_id") != "i07")
    write_table(table.to_arrow().cast(EMBEDDED), tmp_path / "part-00000.parquet")
    with pytest.raises(UserError, match="'i07'"):
        read_clicks(folder / "data", tmp_path, folder / "q.parquet", 0)


def test_a_log_of_other_queries(folder: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(folder / "q.parquet").with_columns(pl.col("query") + " elsewhere")
    table.write_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="no row of the log"):
        read_clicks(folder / "data", folder / "embedded", tmp_path / "other.parquet", 0)
