"""Archives, compared with the same files unpacked to disk, and archives that are cut, damaged or malicious."""

import errno
import io
import random
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from odd_files import deep_folder, time_limit

from base.console import UserError
from pipelines.ingest import image_archives
from pipelines.ingest.decoding import BadImageError
from pipelines.ingest.image_archives import Folder, Listed, Place, PlaceReader, decode_base64, list_folder

# In no order, of unequal sizes, one empty; some bytes deflate well and some do not.
FILES = {
    "images/b/2.jpg": random.Random(1).randbytes(70_001),
    "images/b/1.jpg": b"same " * 9_000,
    "images/a/3.jpg": b"",
    "README": b"read me",
    "images/a/\u72d7.jpg": random.Random(2).randbytes(1_500),
}


def write_tar(path: Path, mode: str, files: dict[str, bytes] = FILES) -> None:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_zip(path: Path, compression: int, files: dict[str, bytes] = FILES) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("images/", b"")
        for name, data in files.items():
            archive.writestr(name, data)


WRITERS = {
    "data.tar": lambda path: write_tar(path, "w:"),
    "data.tar.gz": lambda path: write_tar(path, "w:gz"),
    "data.TGZ": lambda path: write_tar(path, "w:gz"),
    "data.zip": lambda path: write_zip(path, zipfile.ZIP_DEFLATED),
    "stored.zip": lambda path: write_zip(path, zipfile.ZIP_STORED),
}


def every_file(folder: Folder, path: str = "") -> Iterator[tuple[str, Listed]]:
    for listed in folder.files:
        yield path + listed.name, listed
    for name, below in folder.folders.items():
        assert name == below.name
        yield from every_file(below, f"{path}{name}/")


@pytest.mark.parametrize("name", WRITERS)
def test_an_archive_is_the_folder_that_it_unpacks_to(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    for path, data in FILES.items():
        (tmp_path / "unpacked" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / path).write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    archive, unpacked = list_folder(tmp_path, name), list_folder(tmp_path, "unpacked")
    assert archive.name == name.partition(".")[0]
    listed, expected = dict(every_file(archive)), dict(every_file(unpacked))
    assert (
        list(listed)
        == list(expected)
        == [
            *("README", "images/a/3.jpg", "images/a/\u72d7.jpg", "images/b/1.jpg", "images/b/2.jpg"),
        ]
    )
    files = list(listed.values())
    random.Random(4).shuffle(files)
    with PlaceReader(tmp_path) as reader:
        for one in files + files:
            assert (one.reason, one.place.file) == ("", name)
            assert reader.read(one.place) == FILES[one.place.name]
        for path, one in expected.items():
            assert reader.read(one.place) == FILES[path]
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


def test_members_are_numbered_as_they_stand_in_the_archive(tmp_path: Path) -> None:
    write_tar(tmp_path / "data.tar", "w:")
    rows = {one.place.name: one.place.row for _, one in every_file(list_folder(tmp_path, "data.tar"))}
    assert rows == {name: row for row, name in enumerate(FILES, start=1)}


def test_a_gzipped_archive_that_changes_is_listed_anew(tmp_path: Path) -> None:
    write_tar(tmp_path / "data.tgz", "w:gz", {"a.jpg": b"first"})
    list_folder(tmp_path, "data.tgz")
    write_tar(tmp_path / "data.tgz", "w:gz", {"b.jpg": b"the second one"})
    [listed] = list_folder(tmp_path, "data.tgz").files
    with PlaceReader(tmp_path) as reader:
        assert reader.read(listed.place) == b"the second one"


def test_names_and_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        for name in ("../secret.jpg", "/etc/hostname", "a/../../secret.jpg", "a/good.jpg", "a/.hidden.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"good"))
        for name, kind in (
            ("a/soft.jpg", tarfile.SYMTYPE),
            ("a/hard.jpg", tarfile.LNKTYPE),
            ("a/p.jpg", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../secret.jpg"
            tar.addfile(member)
    reasons = {one.place.name: one.reason for _, one in every_file(list_folder(tmp_path, "data.tar"))}
    assert reasons == {
        "../secret.jpg": "name leads out of the archive",
        "/etc/hostname": "name leads out of the archive",
        "a/../../secret.jpg": "name leads out of the archive",
        "a/good.jpg": "",
        "a/soft.jpg": "link in an archive",
        "a/hard.jpg": "link in an archive",
        "a/p.jpg": "neither file nor folder",
    }


def test_members_of_a_zip_that_cannot_be_read(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("soft.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(link, "../secret.jpg")
        archive.writestr("bz2.jpg", b"x", zipfile.ZIP_BZIP2)
        archive.writestr("good.jpg", b"x")
        archive.writestr("__MACOSX/._good.jpg", b"x")
        archive.writestr("locked.jpg", b"x")
        archive.infolist()[-1].flag_bits |= 1  # in the central directory, which is written on closing
    found = {one.name: one.reason for _, one in every_file(list_folder(tmp_path, "data.zip"))}
    assert found == {
        **{"soft.jpg": "link in an archive", "bz2.jpg": "unsupported compression"},
        **{"good.jpg": "", "locked.jpg": "encrypted"},
    }


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_a_cut_archive_is_refused(tmp_path: Path, name: str, share: float) -> None:
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    end = whole.rstrip(b"\0") if name.endswith(".tar") else whole  # a tar's padding may be missing
    (tmp_path / name).write_bytes(end[: int(len(end) * share)])
    with pytest.raises(UserError, match=r"data|stored") as error:
        list_folder(tmp_path, name)
    assert f"{tmp_path / name}: not a whole " in str(error.value)
    assert str(error.value).endswith("copy or download it again")


def test_a_tar_cut_between_two_members_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "data.tar", "w:", {"a.jpg": b"x" * 512, "b.jpg": b"y" * 512})
    whole = (tmp_path / "data.tar").read_bytes()
    (tmp_path / "data.tar").write_bytes(whole[:1024])
    with pytest.raises(UserError, match="no end mark"):
        list_folder(tmp_path, "data.tar")


def test_a_member_that_inflates_to_another_size_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "data.zip", zipfile.ZIP_DEFLATED, {"a.jpg": b"x" * 100_000})
    [listed] = list_folder(tmp_path, "data.zip").files
    with PlaceReader(tmp_path) as reader:
        assert len(reader.read(listed.place)) == 100_000
        for wrong in (listed.place._replace(size=99), listed.place._replace(size=100_001),
                      listed.place._replace(offset=listed.place.offset + 1)):  # fmt: skip
            with pytest.raises(BadImageError, match="damaged in the archive"):
                reader.read(wrong)


def test_files_too_large_for_any_image_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_archives, "MOST_BYTES", 1_000)
    (tmp_path / "large.jpg").write_bytes(b"x" * 1_001)
    (tmp_path / "small.jpg").write_bytes(b"x" * 1_000)
    write_zip(tmp_path / "data.zip", zipfile.ZIP_DEFLATED, {"a.jpg": b"x" * 1_001})
    with PlaceReader(tmp_path) as reader:
        assert len(reader.read(Place("small.jpg"))) == 1_000
        for place in (Place("large.jpg"), list_folder(tmp_path, "data.zip").files[0].place):
            with pytest.raises(BadImageError, match="too many bytes"):
                reader.read(place)


def test_a_link_that_leads_nowhere_is_one_bad_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "moved.jpg")
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    with PlaceReader(tmp_path) as reader:
        for name in ("gone.jpg", "round.jpg"):
            with pytest.raises(BadImageError, match="cannot be read"):
                reader.read(Place(name))
        too_many = OSError(errno.EMFILE, "Too many open files")
        monkeypatch.setattr(Path, "open", Mock(side_effect=too_many))
        with pytest.raises(OSError, match="Too many open files"):
            reader.read(Place("good.jpg"))


@pytest.mark.parametrize("name", ["data.zip", "data.tar"])
def test_a_member_however_deep_is_listed_in_its_folders(tmp_path: Path, name: str) -> None:
    deep = "d/" * 2_000 + "x.jpg"
    files = {deep: b"x", "d/a.jpg": b"a"}
    if name == "data.zip":
        write_zip(tmp_path / name, zipfile.ZIP_STORED, files)
    else:
        write_tar(tmp_path / name, "w:", files)
    folder, depth = list_folder(tmp_path, name), 0
    while folder.folders:
        folder, depth = folder.folders["d"], depth + 1
    assert depth == 2_000
    assert [(one.name, one.place.name, one.reason) for one in folder.files] == [("x.jpg", deep, "")]


def test_a_name_longer_than_any_path_is_refused(tmp_path: Path) -> None:
    longest, longer = f"{'d' * 4_090}/a.jpg", f"{'d/' * 30_000}x.jpg"
    write_tar(tmp_path / "data.tar", "w:", {longest: b"a", longer: b"x"})
    root = list_folder(tmp_path, "data.tar")
    assert [(one.name, one.reason) for one in root.folders["d" * 4_090].files] == [("a.jpg", "")]
    [listed] = root.files
    assert (listed.name, listed.reason, listed.place.row) == ("x.jpg", "name too long", 2)
    assert listed.place.name == "d/" * 50 + "…"


def test_folders_as_deep_as_a_path_are_listed_and_links_in_circles_refused(tmp_path: Path) -> None:
    with deep_folder(tmp_path) as deep:
        (tmp_path / deep / "x.jpg").write_bytes(b"x")
        for name in ("one", "two"):  # 2^40 paths
            (tmp_path / deep / name).symlink_to(".")
        with time_limit(60):
            found = dict(every_file_of_one_line(list_folder(tmp_path, "d")))
    top = "/".join(deep.parts)
    circle = "link to a folder listed already"
    assert found == {f"{top}/x.jpg": "", f"{top}/one": circle, f"{top}/two": circle}


def every_file_of_one_line(folder: Folder) -> Iterator[tuple[str, str]]:
    """Yield the path and reason of every file, for folders that have at most one folder each."""
    while True:
        yield from ((one.place.file, one.reason) for one in folder.files)
        if not folder.folders:
            return
        [folder] = folder.folders.values()


def test_base64() -> None:
    assert decode_base64(b"bm8gaW1hZ2U=") == b"no image"
    for text in (b"bm8", b"bm8gaW1hZ2U", "\u72d7".encode(), b"bm8g aW1h"):
        with pytest.raises(BadImageError, match="not base64"):
            decode_base64(text)
