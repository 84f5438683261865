from pathlib import Path

import pytest
from pair_sets import pair_rows, write_parquet
from pydantic import ValidationError

from base.console import UserError
from pipelines.pairs.layouts import PairsParams, find_pairs


def test_the_layout_chooses_the_reader(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "p.parquet", pair_rows())
    found = find_pairs(PairsParams(pairs=str(path), layout="table"))
    assert (found.name, len(found.pieces), found.texts) == (str(path), 3, None)
    with pytest.raises(UserError, match="the layout `wikipedia` has"):
        find_pairs(PairsParams(pairs=str(tmp_path), layout="wikipedia"))
    with pytest.raises(UserError, match=r"no source/labels.tsv"):
        find_pairs(PairsParams(pairs=str(tmp_path), layout="raw"))
    with pytest.raises(UserError, match=r"no part-\*.parquet shards"):
        find_pairs(PairsParams(pairs=str(tmp_path), layout="ingested"))


def test_a_missing_set_is_named() -> None:
    with pytest.raises(UserError, match="nowhere: no such file or folder; expected image-text pairs in the layout raw"):
        find_pairs(PairsParams(pairs="nowhere", layout="raw"))


def test_an_unknown_column_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="'label' is none of id, text, category, split, image, image_base64"):
        PairsParams(pairs="p", layout="table", columns={"label": "x"})
