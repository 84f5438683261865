from pathlib import Path

import datasets
from neighbour_data import NASTY, small

from clicksight.neighbours.imagefolder import write


def test_hugging_face_reads_pictures_ids_and_texts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert write(small(tmp_path), out) == {"pictures": len(NASTY)}
    read = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    rows = {row["image_id"]: row for row in read}
    assert set(rows) == set(NASTY)
    assert {id_: row["image"].size[0] - 9 for id_, row in rows.items()} == {id_: n for n, id_ in enumerate(NASTY)}
    assert rows[NASTY[0]]["texts"] == ["line\nbreak\tand \"quotes\", 'too'", "NA", "zebra"]
    assert rows[NASTY[-1]]["texts"] == []
    assert rows[NASTY[3]]["category"] == "kind 1"
