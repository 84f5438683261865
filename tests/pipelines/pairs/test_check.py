import hashlib
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from pair_sets import picture

from pipelines.ingest.image_archives import Place, PlaceReader
from pipelines.pairs.check import CHECKED, check_pair, check_pairs
from pipelines.pairs.records import RawPair

GOOD = RawPair("t.tsv", 3, "id", "Old_Boats", "Training", " a text\n", picture(1))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reason": "not UTF-8"}, "not UTF-8"),
        ({"pair_id": " "}, "empty pair id"),
        ({"category": " - "}, "no category"),
        ({"category": ""}, "no category"),
        ({"split": "holdout"}, "unknown split"),
        ({"text": " \t"}, "empty text"),
        ({"image": None}, "no image"),
        ({"image": b""}, "empty image"),
        ({"image": b"GIF8 no"}, "not an image"),
        ({"image": picture(1)[:-400]}, "truncated image"),
        ({"image": Place("missing.jpg")}, "image cannot be read"),
        ({"pair_id": "", "text": "", "image": None}, "empty pair id"),  # the first reason counts
    ],
)
def test_a_pair_is_refused_for_the_first_reason(tmp_path: Path, changes: dict, reason: str) -> None:
    with PlaceReader(tmp_path) as reader:
        assert check_pair(GOOD._replace(**changes), reader, None) == reason


def test_a_good_pair_is_normalised(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1, size=(60, 40)))
    raw = GOOD._replace(pair_id="cafe\u0301", image=Place("a.jpg"), split="")
    with PlaceReader(tmp_path) as reader:
        found = check_pair(raw, reader, 30)
    assert not isinstance(found, str)
    assert found[1:5] == ("caf\u00e9", "old boats", None, "a text")
    assert (found.image.width, found.image.height, found.image.conversion) == (30, 20, "scaled down")


@pytest.mark.parametrize(("written", "split"), [("train", "train"), ("TEST ", "test"), ("val", "validation")])
def test_splits_have_several_names(tmp_path: Path, written: str, split: str) -> None:
    with PlaceReader(tmp_path) as reader:
        found = check_pair(GOOD._replace(split=written), reader, None)
    assert not isinstance(found, str)
    assert found.split == split


def test_good_and_bad_pairs_are_parted_and_add_up(tmp_path: Path) -> None:
    bad = [GOOD._replace(row=4, text=""), GOOD._replace(row=6, image=b"x"), GOOD._replace(row=9, text="", raw="line")]
    outputs = list(check_pairs([GOOD, *bad], tmp_path, None))
    [batch] = [output.value for output in outputs if output.tag == "pairs"]
    [refused] = [output.value for output in outputs if output.tag == "quarantine"]
    counts = Counter(dict(output.value for output in outputs if output.tag == "counts"))
    assert batch.schema == CHECKED
    assert batch["digest"].to_pylist() == [hashlib.sha256(picture(1)).digest()]
    assert batch["image"].to_pylist() == [picture(1)]
    assert pa.Table.from_batches([refused]).select(["file", "row", "reason", "raw"]).to_pylist() == [
        {"file": "t.tsv", "row": 4, "reason": "empty text", "raw": "id\tOld_Boats\t"},
        {"file": "t.tsv", "row": 6, "reason": "not an image", "raw": "id\tOld_Boats\t a text\n"},
        {"file": "t.tsv", "row": 9, "reason": "empty text", "raw": "line"},
    ]
    assert counts == {"rows read": 4, "quarantined: empty text": 2, "quarantined: not an image": 1}
