"""Which files are listed, which are refused, and where the bytes are; nothing is decoded, so any bytes will do."""

import os
import tarfile
from pathlib import Path

import pytest
from odd_files import ODD, time_limit

from base.console import UserError
from pipelines.ingest.image_archives import Place
from pipelines.ingest.image_catalogue import Entry, Refused, list_images, read_lines, show


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
        Entry("s2", "source", "coyote", Place("source/images.tsv", 1, "", "base64", 3, 6)),
        Entry("s1", "source", "red fox", Place("source/images.tsv", 2, "", "base64", 14, 4)),
        Entry("s3", "source", "red fox", Place("source/images/s3.jpg", 1, "s3.jpg")),
        Entry("001.Grey_Wolf/w1", "target", "grey wolf", Place("target/001.Grey_Wolf/w1.jpg", 1, "w1.jpg")),
        Entry("red_fox/a", "target", "red fox", Place("target/red_fox/a.PNG", 1, "a.PNG")),
        Entry("red_fox/b", "target", "red fox", Place("target/red_fox/b.jpg", 1, "b.jpg")),
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
    write(raw / "target/fox/deep/x.txt", b"")
    write(raw / "target/fox/deep/deeper/y.jpg", b"")
    write(raw / "target/fox/deep/.DS_Store", b"")
    write(raw / "target/fox/empty/.DS_Store", b"")
    write_archive(raw / "target/fox/more.tar", ["z.jpg", "a/z.jpg"])
    write(raw / "target/fox/same.jpeg", b"")
    write(raw / "target/fox/same.jpg", b"")
    catalogue = list_images(raw)
    assert sorted(catalogue.refused) == [
        Refused("target/001./x.jpg", 1, "empty category", "x.jpg"),
        Refused("target/fox/deep/deeper/y.jpg", 1, "folder in a category folder", "y.jpg"),
        Refused("target/fox/deep/x.jpg", 1, "folder in a category folder", "x.jpg"),
        Refused("target/fox/deep/x.txt", 1, "folder in a category folder", "x.txt"),
        Refused("target/fox/more.tar", 1, "folder in a category folder", "z.jpg"),
        Refused("target/fox/more.tar", 2, "folder in a category folder", "a/z.jpg"),
        Refused("target/fox/same.jpg", 1, "second image of the id", "same.jpg"),
        Refused("target/stray.jpg", 1, "not in a category folder", "stray.jpg"),
    ]
    assert catalogue.read["target images"] == 10
    assert catalogue.refusals["target images"].total() == 8


def test_file_names_that_are_not_unicode(raw: Path) -> None:
    (raw / "target/fox").mkdir()
    Path(os.fsdecode(os.fsencode(raw) + b"/target/fox/caf\xe9.jpg")).touch()
    reason = "name in an unknown encoding"
    assert list_images(raw).refused == [Refused("target/fox/caf\\xe9.jpg", 1, reason, "caf\\xe9.jpg")]


def test_aliases_of_names_that_no_category_has_are_named(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(raw / "aliases.tsv", b"\xef\xbb\xbfRed_Fox\tvulpes\r\ngsd\tshepherd\nwolve\twolf\nVulpes\tvulpes\n")
    with caplog.at_level("WARNING", logger="clicksight"):
        catalogue = list_images(raw)
    assert [entry.category for entry in catalogue.entries] == ["vulpes", "grey wolf"]
    assert [record.getMessage() for record in caplog.records] == [
        "aliases.tsv: names that no category has, so that they do nothing: 2: 'gsd', 'wolve'"
    ]


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
        Refused("source/images/s1/deep.jpg", 1, "image without label", "deep.jpg"),
    ]
    write(raw / "source/images/more.jpg", b"")  # now images/ itself holds images, so folders in it are refused
    assert list_images(raw).refused[1:] == [
        Refused("source/images/more.jpg", 1, "image without label", "more.jpg"),
        Refused("source/images/s1/deep.jpg", 1, "folder among the images", "deep.jpg"),
    ]
    assert [entry.image_id for entry in catalogue.entries if entry.domain == "source"] == ["s1"]


def write_archive(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))


@pytest.mark.parametrize("archived", [False, True])
def test_layouts_as_data_sets_unpack(raw: Path, archived: bool) -> None:
    layouts = {
        "stanford": [
            "Images/n02085620-Chihuahua/n02085620_10074.jpg",
            "Images/n02088094-Afghan_hound/n02088094_1003.jpg",
        ],
        "CUB_200_2011": [
            "CUB_200_2011/images/001.Black_footed_Albatross/Black_0001.jpg",
            "CUB_200_2011/images/004.Groove_billed_Ani/Groove_0002.jpg",
            "CUB_200_2011/classes.txt",
        ],
        "columbia": ["CU_Dogs/dogImages/train/001.Affenpinscher/Affenpinscher_00001.jpg"],
    }
    for name, files in layouts.items():
        if archived:
            write_archive(raw / f"target/{name}.tar", files)
        else:
            for file in files:
                write(raw / "target" / name / file, b"")
    catalogue = list_images(raw)
    assert {entry.image_id: entry.category for entry in catalogue.entries if entry.domain == "target"} == {
        "001.Black_footed_Albatross/Black_0001": "black footed albatross",
        "001.Grey_Wolf/w1": "grey wolf",
        "001.Affenpinscher/Affenpinscher_00001": "affenpinscher",
        "004.Groove_billed_Ani/Groove_0002": "groove billed ani",
        "n02085620-Chihuahua/n02085620_10074": "chihuahua",
        "n02088094-Afghan_hound/n02088094_1003": "afghan hound",
    }
    [refused] = catalogue.refused
    assert refused.reason == "not in a category folder"
    assert catalogue.read["target images"] == 7


def test_source_images_in_an_archive(raw: Path) -> None:
    (raw / "source/images.tsv").unlink()
    write(raw / "source/labels.tsv", b"s1\tred fox\ns2\tcoyote\ns3\tcoyote\n")
    write_archive(
        raw / "source/images.tar", ["images/s2.jpg", "images/s1.png", "images/stray.jpg", "images/more/s3.jpg"]
    )
    catalogue = list_images(raw)
    source = [(e.image_id, e.category, e.place.row) for e in catalogue.entries if e.domain == "source"]
    assert source == [("s1", "red fox", 2), ("s2", "coyote", 1)]
    assert catalogue.refused == [
        Refused("source/images.tar", 4, "folder among the images", "images/more/s3.jpg"),
        Refused("source/images.tar", 3, "image without label", "images/stray.jpg"),
        Refused("source/labels.tsv", 3, "label without image", "s3\tcoyote"),
    ]


def test_an_archive_beside_what_it_unpacked_to_adds_nothing(raw: Path) -> None:
    write_archive(raw / "target/wolves.tar", ["001.Grey_Wolf/w1.jpg", "001.Grey_Wolf/w2.jpg"])
    catalogue = list_images(raw)
    assert [entry.image_id for entry in catalogue.entries][1:] == ["001.Grey_Wolf/w1", "001.Grey_Wolf/w2"]
    assert catalogue.refused == [Refused("target/wolves.tar", 1, "second image of the id", "001.Grey_Wolf/w1.jpg")]


def test_an_archive_of_one_category_has_its_name(raw: Path) -> None:
    write_archive(raw / "target/002.Red_Fox.tar", ["f1.jpg"])
    assert [entry.category for entry in list_images(raw).entries] == ["red fox", "grey wolf", "red fox"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\nred fox\n", "aliases.tsv:2: not two fields: 'red fox'; a line is: name, tab, name to use instead"),
        (b"a\t\n", "aliases.tsv:1: a name is empty: "),
        (b"\tb\n", "aliases.tsv:1: a name is empty: "),
        (b"a\t\xff\n", "aliases.tsv:1: not UTF-8: "),
        (b"a\tb\na\tc\n", "aliases.tsv: 'a' is to become both 'b' and 'c'"),
    ],
)
def test_aliases_that_cannot_be_used(raw: Path, content: bytes, message: str) -> None:
    write(raw / "aliases.tsv", content)
    with pytest.raises(UserError) as error:
        list_images(raw)
    assert message in str(error.value)


@pytest.mark.parametrize("kind", ODD)
def test_what_is_neither_file_nor_folder_among_the_images_is_refused(raw: Path, kind: str) -> None:
    write(raw / "source/labels.tsv", b"s1\tRed_Fox\ns2\tcoyote\n")
    (raw / "source/images").mkdir()
    for name in ("source/images/s2.jpg", "target/001.Grey_Wolf/w0.jpg", "target/wolves.tar", "target/002.Fox.zip"):
        ODD[kind](raw / name)
    catalogue = list_images(raw)
    reason = "neither file nor folder"
    assert catalogue.refused == [
        Refused("source/images/s2.jpg", 1, reason, "s2.jpg"),
        Refused("source/labels.tsv", 2, "label without image", "s2\tcoyote"),
        Refused("target/001.Grey_Wolf/w0.jpg", 1, reason, "w0.jpg"),
        Refused("target/002.Fox.zip", 1, reason, "002.Fox.zip"),
        Refused("target/wolves.tar", 1, reason, "wolves.tar"),
    ]
    assert catalogue.read == {"labels": 2, "source images": 2, "target images": 4}
    assert [entry.image_id for entry in catalogue.entries] == ["s1", "001.Grey_Wolf/w1"]


@pytest.mark.parametrize(
    "name", ["source/labels.tsv", "source/images.tsv", "aliases.tsv", "source/images.tar", "source/images"]
)
@pytest.mark.parametrize("kind", ODD)
def test_what_is_neither_file_nor_folder_in_a_tables_place_is_an_error(raw: Path, kind: str, name: str) -> None:
    (raw / name).unlink(missing_ok=True)
    ODD[kind](raw / name)
    with time_limit(10), pytest.raises(UserError, match=rf"{name}: is {kind}, and only regular files are read"):
        list_images(raw)


def test_links_in_circles_are_refused_one_by_one(raw: Path) -> None:
    for name in ("target/one", "target/two", "target/001.Grey_Wolf/up", "target/002.Again"):
        (raw / name).symlink_to(raw / ("target/001.Grey_Wolf" if name.endswith("Again") else "target"))
    with time_limit(10):
        catalogue = list_images(raw)
    again = "link to a folder listed already"
    assert catalogue.refused == [
        Refused("target/001.Grey_Wolf/up", 1, again, "up"),
        Refused("target/002.Again", 1, again, "002.Again"),
        Refused("target/one", 1, again, "one"),
        Refused("target/two", 1, again, "two"),
    ]
    assert [entry.image_id for entry in catalogue.entries] == ["s1", "001.Grey_Wolf/w1"]
    assert catalogue.read["target images"] == 5


def test_folders_deeper_than_python_recurses(raw: Path) -> None:
    deep = "d/" * 1_500
    write_archive(raw / "source/images.tar", [f"{deep}s1.jpg", f"{deep}e/s9.jpg"])
    (raw / "source/images.tsv").unlink()
    further = [f"{deep}002.Fox/{deep}f2.jpg", f"{deep}002.Fox/e/f3.jpg", "../f4.jpg"]
    write_archive(raw / "target/deep.tar", [f"{deep}002.Fox/f1.jpg", *further])
    catalogue = list_images(raw)
    assert [(entry.image_id, entry.category) for entry in catalogue.entries] == [
        ("s1", "red fox"),
        ("001.Grey_Wolf/w1", "grey wolf"),
        ("002.Fox/f1", "fox"),
    ]
    assert [(refused.row, refused.reason) for refused in catalogue.refused] == [
        (2, "folder among the images"),
        (4, "name leads out of the archive"),
        (3, "folder in a category folder"),
        (2, "name too long"),
    ]
