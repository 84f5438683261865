from pathlib import Path

import pytest
from neighbour_data import small

from clicksight.neighbours.command import FORMATS, main


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_written_whole_and_again(tmp_path: Path, name: str) -> None:
    given = small(tmp_path)
    argv = [
        "--as",
        name,
        "--images",
        str(given.images),
        "--clicks",
        str(given.clicks),
        "--output",
        str(tmp_path / "out"),
    ]
    main(argv)
    first = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    main(argv)  # replaces only what the command wrote itself
    assert first
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == first


def test_a_failure_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = small(tmp_path)
    shard = sorted(given.images.iterdir())[1]
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(SystemExit) as end:
        main(["--as", "imagefolder", "--images", str(given.images), "--output", str(tmp_path / "out")])
    assert end.value.code == 2
    assert "part-00001.parquet: cannot be read as Parquet" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks", "images"]
