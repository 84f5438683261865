from pathlib import Path

from neighbour_data import NASTY, picture, small

from clicksight.neighbours.sidecars import write


def test_each_picture_has_its_tags_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert write(small(tmp_path), out) == {"pictures": len(NASTY)}
    texts = {path.with_suffix(""): path.read_text(encoding="utf-8") for path in out.rglob("*.txt")}
    pictures = {path.with_suffix(""): path.read_bytes() for path in out.rglob("*.*") if path.suffix != ".txt"}
    assert texts.keys() == pictures.keys()
    of_first = next(stem for stem, data in pictures.items() if data == picture(0))
    assert texts[of_first].split(", ") == ["line break and \"quotes\" 'too'", "NA", "zebra"]
    assert sum(text == "" for text in texts.values()) == 1
