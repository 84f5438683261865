from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neighbour_data import picture, source, write_shards

from base.artifacts import write_table
from base.console import UserError
from base.schemas import CLICKS, PAIRS
from clicksight.neighbours.items import Source, safe_name

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True))
def test_names_are_plain_and_stay_apart(names: list[str]) -> None:
    found = [safe_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(len(name) <= 180 and name.isascii() and not set(name) & set("./\\~ \"'") for name in found)


def test_the_text_of_a_pair_is_its_text(tmp_path: Path) -> None:
    rows = [
        {"pair_id": id_, "category": "c", "split": None, "text": f"of {id_}", "width": 9, "height": 7,
         "image": {"bytes": picture(0), "path": None}}
        for id_ in "ab"
    ]  # fmt: skip
    items = Source(images=write_shards(tmp_path, rows, PAIRS)).items()
    assert [(item.id, item.texts) for item in items] == [("a", ["of a"]), ("b", ["of b"])]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--images: missing"):
        next(Source().items())
    write_table(pa.Table.from_pylist([], CLICKS), tmp_path / "part-00000.parquet")
    with pytest.raises(UserError, match=r"part-00000.parquet: expected the columns of ingested images or of pairs"):
        next(Source(images=tmp_path).items())
    good = source(tmp_path / "x", ["i"], [("i", "a", 1)])
    with pytest.raises(UserError, match="expected the columns"):
        next(Source(images=good.images, clicks=good.images).items())
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        next(Source(images=tmp_path).items())
