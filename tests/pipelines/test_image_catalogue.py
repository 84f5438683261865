"""What is listed, what is refused, and where the bytes are; no image is decoded here, so none needs to be one."""

import os
from pathlib import Path

import pytest

from pipelines.console import UserError
from pipelines.image_catalogue import Entry, Refused, list_images, read_lines, show


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a data set with one image in each domain."""
    write(tmp_path / "source/labels.tsv", b"s1\tRed_Fox\n")
    write(tmp_path / "source/images.tsv", b"s1\tAAAA\n")
    write(tmp_path / "target/001.Grey_Wolf/w1.jpg", b"")
    return tmp_path


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_lists_both_domains_in_order(raw: Path) -> None:
    write(raw / "source/images.tsv", b"s2\tBBBBBB\r\ns1\tAAAA\n")
    write(raw / "source/labels.tsv", b"s1\tRed_Fox\ns2\tn02114855-coyote\ns3\tred fox\n")
    write(raw / "source/images/s3.jpg", b"")
    write(raw / "target/red_fox/b.jpg", b"")
    write(raw / "target/red_fox/a.PNG", b"")
    write(raw / "target/red_fox/.DS_Store", b"")
    catalogue = list_images(raw)
    assert catalogue.entries == [
        Entry("s2", "source", "coyote", "source/images.tsv", 1, 3, 6),
        Entry("s1", "source", "red fox", "source/images.tsv", 2, 14, 4),
        Entry("s3", "source", "red fox", "source/images/s3.jpg", 1, 0, -1),
        Entry("001.Grey_Wolf/w1", "target", "grey wolf", "target/001.Grey_Wolf/w1.jpg", 1, 0, -1),
        Entry("red_fox/a", "target", "red fox", "target/red_fox/a.PNG", 1, 0, -1),
        Entry("red_fox/b", "target", "red fox", "target/red_fox/b.jpg", 1, 0, -1),
    ]
    assert catalogue.refused == []
    assert catalogue.read == {"labels": 3, "source images": 3, "target images": 3}


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_offsets_point_at_the_second_field(tmp_path: Path, start: bytes, end: bytes) -> None:
    content = start + "é1\tfirst".encode() + end + b"i2\tsecond" + end + b"i3\tlast"
    path = tmp_path / "lines.tsv"
    path.write_bytes(content)
    lines = list(read_lines(path))
    assert [line.first for line in lines] == ["é1", "i2", "i3"]
    assert [content[line.offset : line.offset + len(line.second)] for line in lines] == [b"first", b"second", b"last"]
    assert not any(line.reason for line in lines)


def test_refused_labels(raw: Path) -> None:
    write(
        raw / "source/labels.tsv",
        b"s1\tRed_Fox\n\ns1\ns1\tfox\tred\n \tfox\n\xff\tfox\ns1\tf\xff\ns1\t001.\ns1\tred fox\nnobody\tfox\n",
    )
    catalogue = list_images(raw)
    labels = "source/labels.tsv"
    assert catalogue.refused == [
        Refused(labels, 2, "empty line", ""),
        Refused(labels, 3, "not two fields", "s1"),
        Refused(labels, 4, "not two fields", "s1\tfox\tred"),
        Refused(labels, 5, "empty image id", " \tfox"),
        Refused(labels, 6, "not UTF-8", "\\xff\tfox"),
        Refused(labels, 7, "not UTF-8", "s1\tf\\xff"),
        Refused(labels, 8, "empty category", "s1\t001."),
        Refused(labels, 9, "second label of the image", "s1\tred fox"),
        Refused(labels, 10, "label without image", "nobody\tfox"),
    ]
    assert [entry.category for entry in catalogue.entries if entry.domain == "source"] == ["red fox"]
    assert catalogue.read["labels"] == 10
    assert catalogue.refusals["labels"].total() == 9


def test_refused_source_images(raw: Path) -> None:
    write(raw / "source/images.tsv", b"s1\tAAAA\ns1\tBBBB\nstray\tCCCC\n\ns1AAAA\n")
    write(raw / "source/images/s1.jpg", b"")
    write(raw / "source/images/other.jpg", b"")
    catalogue = list_images(raw)
    assert catalogue.refused == [
        Refused("source/images.tsv", 2, "second image of the id", "s1\tBBBB"),
        Refused("source/images.tsv", 3, "image without label", "stray\tCCCC"),
        Refused("source/images.tsv", 4, "empty line", ""),
        Refused("source/images.tsv", 5, "not two fields", "s1AAAA"),
        Refused("source/images/other.jpg", 1, "image without label", "other.jpg"),
        Refused("source/images/s1.jpg", 1, "second image of the id", "s1.jpg"),
    ]
    assert catalogue.read["source images"] == 7


def test_refused_target_files(raw: Path) -> None:
    write(raw / "target/stray.jpg", b"")
    write(raw / "target/001./x.jpg", b"")
    write(raw / "target/fox/deep/x.jpg", b"")
    write(raw / "target/fox/same.jpeg", b"")
    write(raw / "target/fox/same.jpg", b"")
    catalogue = list_images(raw)
    assert sorted(catalogue.refused) == [
        Refused("target/001./x.jpg", 1, "empty category", "x.jpg"),
        Refused("target/fox/deep", 1, "folder in a category folder", "deep"),
        Refused("target/fox/same.jpg", 1, "second image of the id", "same.jpg"),
        Refused("target/stray.jpg", 1, "not in a category folder", "stray.jpg"),
    ]
    assert catalogue.read["target images"] == 6


def test_file_names_that_are_not_unicode(raw: Path) -> None:
    (raw / "target/fox").mkdir()
    Path(os.fsdecode(os.fsencode(raw) + b"/target/fox/caf\xe9.jpg")).touch()
    assert list_images(raw).refused == [Refused("target/fox/caf\\xe9.jpg", 1, "not UTF-8", "caf\\xe9.jpg")]


def test_spellings_of_a_category_meet_in_it(raw: Path) -> None:
    write(raw / "target/grey wolf/w1.jpg", b"")
    wolves = [entry for entry in list_images(raw).entries if entry.category == "grey wolf"]
    assert [entry.image_id for entry in wolves] == ["001.Grey_Wolf/w1", "grey wolf/w1"]


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("source/labels.tsv", "no source/labels.tsv; "),
        ("source/images.tsv", "no source/images.tsv or source/images/; "),
        ("target/001.Grey_Wolf/w1.jpg", "no target/<category>/; "),
    ],
)
def test_a_missing_file_is_named(raw: Path, missing: str, named: str) -> None:
    (raw / missing).unlink()
    if missing.startswith("target"):
        (raw / missing).parent.rmdir()
    with pytest.raises(UserError) as error:
        list_images(raw)
    assert str(error.value).startswith(f"{raw}: {named}a raw data set has source/clicks.tsv, ")


def test_long_lines_are_cut_where_they_are_shown() -> None:
    assert show(b"s1\t" + b"A" * 97) == "s1\t" + "A" * 97
    assert show(b"s1\t" + b"A" * 98) == "s1\t" + "A" * 97 + "…"
    assert show("狗".encode() * 100) == "狗" * 100
    assert show(b"A" * 10_000_000) == "A" * 100 + "…"


def test_neither_a_broken_row_nor_a_folder_takes_an_images_place(raw: Path) -> None:
    write(raw / "source/images.tsv", b"s1\ns1\tAAAA\n")
    write(raw / "source/images/s1/deep.jpg", b"")
    catalogue = list_images(raw)
    assert catalogue.refused == [
        Refused("source/images.tsv", 1, "not two fields", "s1"),
        Refused("source/images/s1", 1, "folder among the images", "s1"),
    ]
    assert [entry.image_id for entry in catalogue.entries if entry.domain == "source"] == ["s1"]
