"""Names of files in any encoding: what is read as text, and what is refused."""

import logging
import os
import re
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.console import UserError
from base.params import ParamsError, validate_section
from pipelines.ingest.click_data import IngestParams
from pipelines.ingest.file_names import escape, is_surely_utf8, is_text, likely_readings
from pipelines.ingest.image_archives import list_folder
from pipelines.ingest.image_catalogue import Refused, list_images

CASES = Path(__file__).parents[3].parent / "shared" / "cases"
UNKNOWN = "name in an unknown encoding"


def write_zip(path: Path, names: list[bytes], marked: bool = False, extras: tuple[bytes, ...] = ()) -> None:
    """Write a .zip whose members have these bytes as names; zipfile alone marks every name that is not ASCII."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            # A name of the same length in ASCII, which is replaced by the bytes afterwards.
            member = zipfile.ZipInfo(f"{number:x}".rjust(len(name), "~"))
            member.extra = extras[number] if extras else b""
            archive.writestr(member, b"x")
    data = path.read_bytes()
    for number, name in enumerate(names):
        data = data.replace(f"{number:x}".rjust(len(name), "~").encode(), name)
    if marked:
        data = re.sub(rb"(PK\x03\x04..)..", b"\\1\\0\x08", data, flags=re.DOTALL)
        data = re.sub(rb"(PK\x01\x02....)..", b"\\1\\0\x08", data, flags=re.DOTALL)
    path.write_bytes(data)


def unicode_path(name: str, raw: bytes) -> bytes:
    content = b"\x01" + zlib.crc32(raw).to_bytes(4, "little") + name.encode()
    return b"\x55\x54\x01\x00\x00" + b"\x75\x70" + len(content).to_bytes(2, "little") + content


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for folder in ("source", "target"):
        (tmp_path / folder).mkdir()
    (tmp_path / "source/labels.tsv").write_text("s1\tcat\n")
    (tmp_path / "source/images.tsv").write_text("s1\tAAAA\n")
    return tmp_path


def targets(raw: Path, encoding: str | None = None) -> list[tuple[str, str]]:
    """Return id and category of the target images, sorted."""
    entries = list_images(raw, encoding).entries
    return sorted((entry.image_id, entry.category) for entry in entries if entry.domain == "target")


@pytest.mark.parametrize(
    ("names", "encoding", "expected"),
    [
        # Marked or not, UTF-8 without doubt is read.
        (["猫/图.jpg"], "utf-8", "猫"),
        (["cafe\u0301/1.jpg"], "utf-8", "caf\u00e9"),  # as a Mac packs it
        (["кот/р.jpg"], "utf-8", "кот"),
        (["plain/1.jpg"], "utf-8", "plain"),
    ],
)
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
def test_utf8_names_of_a_zip(raw, names, encoding, expected, marked):
    write_zip(raw / "target/x.zip", [name.encode(encoding) for name in names], marked=marked)
    assert [category for _, category in targets(raw)] == [expected]
    assert [category for _, category in targets(raw, "gb18030")] == [expected]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        *(("猫/图0.jpg", "gbk"), ("寵物/貓.jpg", "big5"), ("ソ/表.jpg", "shift_jis"), ("고양이/1.jpg", "euc_kr")),
        *(("кошка/1.jpg", "cp866"), ("café/1.jpg", "cp437"), ("caf\u00e9/1.jpg", "utf-8"), ("ç/1.jpg", "cp1252")),
    ],
)
def test_names_of_a_zip_in_another_encoding_need_the_option(raw, caplog, name, encoding):
    folder, _, file = name.partition("/")
    write_zip(raw / "target/x.zip", [name.encode(encoding), b"plain/1.jpg"])
    with caplog.at_level(logging.WARNING, logger="clicksight"):
        catalogue = list_images(raw)
    assert [entry.image_id for entry in catalogue.entries] == ["s1", "plain/1"]
    shown = "".join(chr(byte) if byte < 128 else f"\\x{byte:02x}" for byte in name.encode(encoding))
    assert catalogue.refused == [Refused("target/x.zip", 1, UNKNOWN, shown)]
    assert catalogue.read["target images"] == 2
    [warning] = [record.getMessage() for record in caplog.records]
    start = (
        f"files quarantined because of names in an unknown encoding: 1, for example {shown}; set ingest.name_encoding"
    )
    assert warning.startswith(start)
    assert targets(raw, encoding) == sorted([("plain/1", "plain"), (f"{folder}/{file[:-4]}", folder)])


def test_the_warning_shows_likely_readings():
    assert likely_readings("猫/图0.jpg".encode("gbk").decode("ascii", "surrogateescape")).startswith(
        "猫/图0.jpg (gb18030)"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "shift_jis", "cp437"])
@pytest.mark.parametrize("separator", ["\\", "/"])
def test_a_backslash_separates_folders_in_a_zip(raw, encoding, separator):
    folder = {"utf-8": "猫", "gbk": "猫", "shift_jis": "表ソ", "cp437": "café"}[encoding]  # ソ ends with a backslash
    names = [separator.join(parts) for parts in (("pets", folder, ""), ("pets", folder, "1.jpg"), ("dog", "2.jpg"))]
    write_zip(raw / "target/x.zip", [name.encode(encoding) for name in names])
    assert targets(raw, encoding) == sorted([("dog/2", "dog"), (f"{folder}/1", folder)])
    assert list_images(raw, encoding).refused == []


def test_windows_paths_that_lead_out_of_a_zip(raw):
    names = [rb"..\..\1.jpg", rb"C:\photos\cat\2.jpg", rb"\\server\cat\3.jpg", rb"cat\4.jpg", rb"cat\.hidden\5.jpg"]
    write_zip(raw / "target/x.zip", names)
    catalogue = list_images(raw)
    assert {(refused.row, refused.reason) for refused in catalogue.refused} == {
        (row, "name leads out of the archive") for row in (1, 2, 3)
    }
    assert [entry.image_id for entry in catalogue.entries] == ["s1", "cat/4"]


def test_a_zip_whose_names_have_a_copy_in_utf8(raw):
    names = ["猫/1.jpg".encode("gbk"), b"??/2.jpg", "猫/3.jpg".encode("gbk")]
    extras = (
        unicode_path("猫/1.jpg", names[0]),
        unicode_path("狗/2.jpg", names[1]),
        unicode_path("狗/3.jpg", b"other"),
    )
    write_zip(raw / "target/x.zip", names, extras=extras)
    catalogue = list_images(raw)
    assert [entry.image_id for entry in catalogue.entries] == ["s1", "狗/2", "猫/1"]
    assert [(refused.row, refused.reason) for refused in catalogue.refused] == [(3, UNKNOWN)]  # a stale copy


def test_a_zip_that_marks_other_names_as_utf8(raw):
    write_zip(raw / "target/x.zip", ["小狗/1.jpg".encode("gbk")], marked=True)
    with pytest.raises(
        UserError, match=r"x\.zip: the name of a member is marked as UTF-8 but isn't: .*; pack it again"
    ):
        list_images(raw)


@pytest.mark.parametrize("form", ["tar", "tar.gz", "folder"])
def test_names_that_are_not_utf8_in_tar_and_folders(raw, form):
    name = os.fsdecode("小狗/图.jpg".encode("gbk"))
    if form == "folder":
        path = Path(os.fsdecode(os.fsencode(raw) + b"/target/" + os.fsencode(name)))
        path.parent.mkdir()
        path.touch()
    else:
        (raw / "1.jpg").touch()
        with tarfile.open(
            raw / f"target/x.{form}", "w:gz" if form == "tar.gz" else "w", format=tarfile.GNU_FORMAT
        ) as tar:
            tar.add(raw / "1.jpg", name)
    assert [refused.reason for refused in list_images(raw).refused] == [UNKNOWN]
    assert targets(raw, "gb18030") == [("小狗/图", "小狗")]
    assert [refused.reason for refused in list_images(raw, "ascii").refused] == [UNKNOWN]  # it doesn't fit


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_names_with_a_character_beyond_two_bytes_are_surely_utf8(names):
    assert is_surely_utf8([name.encode() for name in [*names, "猫"]])


@given(st.lists(st.sampled_from("猫狗图片我的爱éабα가1a/"), min_size=1, max_size=4))
def test_short_names_in_gbk_are_never_taken_for_utf8(letters):
    name = "".join(letters)
    try:
        raw = name.encode("gb2312")
    except UnicodeEncodeError:
        return
    assert raw.isascii() or not is_surely_utf8([raw])


@given(st.binary(max_size=8))
def test_any_name_is_shown_as_text(raw):
    name = raw.decode("utf-8", "surrogateescape")
    assert is_text(escape(name))
    assert escape(name) == raw.decode("utf-8", "backslashreplace")


def test_an_unknown_name_encoding():
    values = {"click_shards": 1, "image_shards": 1, "longest_side": None, "duplicate_distance": 48}
    with pytest.raises(ParamsError, match=r"ingest.name_encoding = 'gbkk': Value error, Python knows no such encoding"):
        validate_section(IngestParams, "ingest", {**values, "name_encoding": "gbkk"}, where="params.yaml")


@pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not beside the repository")
def test_the_shared_case(raw):
    (raw / "target/pets.zip").write_bytes((CASES / "gbk_names.zip").read_bytes())
    assert [refused.reason for refused in list_images(raw).refused] == [UNKNOWN] * 3
    assert {category for _, category in targets(raw, "gb18030")} == {"猫"}
    [folder] = list_folder(raw, "target/pets.zip", "gb18030").folders.values()
    assert [listed.name for listed in folder.files] == ["图0.jpg", "图1.jpg", "图2.jpg"]
