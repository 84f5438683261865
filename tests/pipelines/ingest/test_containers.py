"""Packed logs are known by their bytes, read where that is possible, and refused by name where not."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.console import UserError
from pipelines.ingest import log_slices
from pipelines.ingest.click_log import check_block
from pipelines.ingest.log_slices import LogFile, plan_slices, read_slice

TEXT = b"a\tdog\t1\nbad\nb\tred cat\t22\n"
KEPT = [("a", "dog", 1), ("b", "red cat", 22)]


def by_arrow(content: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


lz4, zstd = partial(by_arrow, codec="lz4"), partial(by_arrow, codec="zstd")


def tar(*members: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def read_file(path: Path) -> tuple[list[tuple], list[tuple]]:
    """Return the rows that are kept, and (file, row, reason) of the others."""
    kept, bad = [], []
    for part in plan_slices(LogFile(str(path), path.name)):
        for checked in chain.from_iterable(map(check_block, read_slice(part))):
            kept += [tuple(row.values()) for row in checked.clicks.to_pylist()]
            bad += [(row["file"], row["row"], row["reason"]) for row in checked.quarantine.to_pylist()]
    return kept, bad


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "lz4": lz4,
    "gz in gz": lambda content: gzip.compress(gzip.compress(content)),
}
SINGLE = {
    **PACKERS,
    "tar": lambda content: tar(("log", content)),
    "old tar": lambda content: tar(("log", content), form=tarfile.USTAR_FORMAT).replace(b"ustar\x0000", b"\0" * 8),
    "tar.gz": lambda content: gzip.compress(tar(("log", content))),
    "tar.xz": lambda content: lzma.compress(tar(("log", content))),
    "zip": lambda content: zipped(("log", content)),
    "stored zip": lambda content: zipped(("log", content), method=zipfile.ZIP_STORED),
    "zip, bzip2": lambda content: zipped(("log", content), method=zipfile.ZIP_BZIP2),
    "gz in zip": lambda content: zipped(("log.gz", gzip.compress(content))),
    "tar of zst": lambda content: tar(("log.zst", zstd(content))),
}


def with_checksum(content: bytes) -> bytes:
    """Repair the checksum of a tar's first header."""
    header = content[:148] + b" " * 8 + content[156:512]
    return content[:148] + b"%06o\0 " % sum(header) + content[156:]


@pytest.mark.parametrize("slice_bytes", [3, 1000])
@pytest.mark.parametrize("form", SINGLE)
def test_one_packed_log_is_read_whatever_its_name(tmp_path, monkeypatch, form, slice_bytes):
    monkeypatch.setattr(log_slices, "SLICE_BYTES", slice_bytes)
    path = tmp_path / "log.tsv"
    packed = SINGLE[form](TEXT)
    path.write_bytes(with_checksum(packed) if form == "old tar" else packed)
    kept, bad = read_file(path)
    assert kept == KEPT
    assert [(row, reason) for _, row, reason in bad] == [(2, "wrong number of fields")]


@pytest.mark.parametrize("form", [name for name in PACKERS if name != "gz in gz"])
def test_several_streams_in_one_file_are_all_read(tmp_path, form):
    (tmp_path / "log").write_bytes(PACKERS[form](TEXT) + PACKERS[form](b"c\tcow\t3\n"))
    assert read_file(tmp_path / "log")[0] == [*KEPT, ("c", "cow", 3)]


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "zst", "lz4", "tar.gz", "zip"])
def test_a_file_that_is_cut_short_is_an_error(tmp_path, form):
    content = b"".join(b"%d\tdog\t%d\n" % (n, n + 1) for n in range(9000))
    packed = SINGLE[form](content)
    (tmp_path / "log").write_bytes(packed[: len(packed) * 2 // 3])
    with pytest.raises(UserError, match=r"log: damaged or cut short \(.*\); fetch it again"):
        read_file(tmp_path / "log")


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "zst", "zip"])
def test_a_file_with_a_changed_byte_is_an_error(tmp_path, form):
    content = b"".join(b"%d\tdog\t%d\n" % (n, n + 1) for n in range(9000))
    packed = bytearray(SINGLE[form](content))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "log").write_bytes(packed)
    try:
        kept, bad = read_file(tmp_path / "log")
    except UserError as error:
        assert "damaged or cut short" in str(error)  # noqa: PT017 - zstd has no checksum unless it is asked for
    else:
        assert form == "zst"
        assert len(kept) + len(bad) > 0


MEMBERS = [
    ("logs/", b""),
    ("logs/1.tsv", b"a\tdog\t1\nbad\n"),
    ("logs/.hidden", b"h\tdog\t1\n"),
    ("__MACOSX/logs/._1.tsv", b"\x00\x05\x16\x07" * 9),
    ("logs/2.tsv.gz", gzip.compress(b"image_id\tquery\tclicks\nb\tred cat\t22\n")),
    ("logs/3.tsv", b""),
]


@pytest.mark.parametrize("pack", [tar, zipped, lambda *members: bz2.compress(tar(*members))], ids=["tar", "zip", "tbz"])
def test_members_of_an_archive_are_files_of_the_log(tmp_path, pack):
    (tmp_path / "log").write_bytes(pack(*MEMBERS))
    kept, bad = read_file(tmp_path / "log")
    assert kept == KEPT
    assert bad == [("log/logs/1.tsv", 2, "wrong number of fields"), ("log/logs/2.tsv.gz", 1, "header row")]


def test_links_in_a_tar_are_not_read_twice(tmp_path):
    with tarfile.open(tmp_path / "log.tar", "w") as archive:
        (tmp_path / "a").write_bytes(TEXT)
        archive.add(tmp_path / "a", "a")
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo("b")
            entry.type, entry.linkname = kind, "a"
            archive.addfile(entry)
    assert read_file(tmp_path / "log.tar")[0] == KEPT


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"image_id": ["a"], "query": ["dog"], "clicks": [1]}), sink)
    return sink.getvalue().to_pybytes()


def numbers() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(1000))
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(zipped(("log", TEXT), method=zipfile.ZIP_STORED))
    content[6] |= 1  # the flag in the local header, and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


NOISE = np.random.default_rng(3).integers(0, 256, 50_000, np.uint8).tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\x06\x00\x00sNaPpY" + NOISE, "is snappy, which is not read; unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + NOISE, "is 7z, which is not read"),
        (b"Rar!\x1a\x07\x01\x00" + NOISE, "is rar, which is not read"),
        (b"\x1f\x9d\x90" + NOISE, r"is compress \(.Z\), which is not read"),
        (b"\x5d\x00\x00\x80\x00" + NOISE, "is lzma"),
        (b"SQLite format 3\x00" + NOISE, "is SQLite"),
        (b"\x89PNG\r\n\x1a\n" + NOISE, "is a PNG image"),
        (numbers(), "is NumPy"),
        (NOISE, r"is not text: [\d,]+ of its first 50,000 bytes are NULs or other control characters"),
        (zlib.compress(NOISE), "is not text"),
        (gzip.compress(NOISE), "is not text"),
        (bytes(10_000), "is not text: 10,000 of its first 10,000 bytes are NULs"),
        (b"a\tdog\x00\t1\n", "is not text: 1 of its first 9 bytes are NULs"),
        (tar(("x/notes", b"a\tdog\t1\n"), ("x/picture", NOISE)), "is not text"),
        (gzip.compress(parquet()), "holds a Parquet file; unpack it first"),
        (tar(("log.zip", zipped(("log", TEXT)))), "holds a zip archive; unpack it first"),
        (zipped(("[Content_Types].xml", b"<x/>"), ("xl/a.xml", b"<x/>")), "is an Office document"),
        (encrypted(), r"cannot be unpacked here \(.*encrypted.*\); unpack it first"),
        ("a\tdog\t1\n".encode("utf-16"), "is not UTF-8 but UTF-16; give --encoding utf-16"),
        ("a\tdog\t1\n".encode("utf-16-be"), "is not UTF-8 but UTF-16-BE; give --encoding utf-16-be"),
        ("a\tdog\t1\n".encode("utf-32"), "is not UTF-8 but UTF-32; give --encoding utf-32"),
    ],
)
def test_what_is_no_log_is_refused_by_its_name(tmp_path, content, message):
    (tmp_path / "log.tsv").write_bytes(content)
    with pytest.raises(UserError, match=message) as failure:
        read_file(tmp_path / "log.tsv")
    assert "log.tsv" in str(failure.value)


@pytest.mark.parametrize(
    "first", [b"BZh9 is an id", b"Rar!", b"LZIP", b"Obj", b"SEQ", b"PARE", b"GIF89a", b"%PDF-", b"7z"]
)
def test_ids_that_look_like_magic_bytes_are_ids(tmp_path, first):
    (tmp_path / "log.tsv").write_bytes(first + b"\tdog\t1\n")
    assert read_file(tmp_path / "log.tsv")[0] == [(first.decode(), "dog", 1)]


def test_an_empty_archive_has_no_rows(tmp_path):
    (tmp_path / "log.zip").write_bytes(zipped())
    assert read_file(tmp_path / "log.zip") == ([], [])
    assert pl.DataFrame(read_file(tmp_path / "log.zip")).is_empty()
