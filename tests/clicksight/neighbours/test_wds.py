import io
import json
from pathlib import Path

import webdataset
from neighbour_data import NASTY, small, source
from PIL import Image

from clicksight.neighbours.wds import write


def read(folder: Path) -> list[dict]:
    files = sorted(map(str, folder.glob("*.tar")))
    return list(webdataset.WebDataset(files, shardshuffle=False))


def test_webdataset_reads_every_picture_with_its_texts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert write(small(tmp_path), out) == {"pictures": len(NASTY), "shards": 2}
    samples = read(out)
    ids = [json.loads(sample["json"])["image_id"] for sample in samples]
    assert ids == NASTY
    pictures = [sample.get("jpg", sample.get("png")) for sample in samples]
    assert [Image.open(io.BytesIO(data)).size[0] - 9 for data in pictures] == list(range(len(NASTY)))
    assert samples[0]["txt"].decode().split("\n") == ["line break and \"quotes\", 'too'", "NA", "zebra"]
    assert samples[-1]["txt"] == b""


def test_long_ids_stay_apart_and_bytes_are_the_same_again(tmp_path: Path) -> None:
    ids = ["长" * 200, "长" * 201, "x" * 400]
    given = source(tmp_path, ids, [(ids[0], "long", 2)])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(given, tmp_path / name)
    assert [json.loads(sample["json"])["image_id"] for sample in read(tmp_path / "one")] == ids
    assert [path.read_bytes() for path in sorted((tmp_path / "one").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "two").iterdir())
    ]
