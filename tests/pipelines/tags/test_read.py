"""Tag logs as files: tables, CSV, Parquet, packed, YFCC100M, MovieLens, NUS-WIDE's lists."""

import gzip
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.console import UserError
from pipelines.ingest.log_slices import LogFile
from pipelines.tags.layouts import MOVIELENS, TagLayout
from pipelines.tags.read import check_block, read_blocks

TABLE = TagLayout({name: name for name in ("user_id", "image_id", "tag", "time")}, None, False, "table")


def read(path: Path, layout: TagLayout = TABLE) -> tuple[list[tuple], list[tuple], int]:
    tags, bad, rows = [], [], 0
    for block in read_blocks(LogFile(str(path), path.name), layout):
        for output in check_block(block, fold=True, left_out=()):
            if output.tag == "tags":
                tags += [tuple(row.values()) for row in output.value.to_pylist()]
            elif output.tag == "quarantine":
                bad += [(row["row"], row["reason"], row["raw"]) for row in output.value.to_pylist()]
            elif output.value[0] == "rows read":
                rows += output.value[1]
    return tags, bad, rows


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


HEADER = "time\tuser_id\tignored\ttag\timage_id\n"
BODY = "7\tu\t-\tRed\ta\n\tv\t-\tblue\tb\n"
EXPECTED = [("u", "a", "red", 7), ("v", "b", "blue", None)]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_is_read_by_its_header(tmp_path, mark) -> None:
    assert read(written(tmp_path / "log.tsv", (mark + HEADER + BODY).encode())) == (
        EXPECTED,
        [(1, "header row", HEADER.strip())],
        3,
    )


def test_a_packed_table_is_read(tmp_path) -> None:
    assert read(written(tmp_path / "log.gz", gzip.compress((HEADER + BODY).encode())))[0] == EXPECTED


def test_movielens_csv_may_have_quotes_and_lines_in_them(tmp_path) -> None:
    text = 'userId,movieId,tag,timestamp\n3,12,plain,5\n3,13,"a, ""b""",6\n4,12,"two\nlines",7\n4,12,x\n5,"open,9\n'
    tags, bad, rows = read(
        written(tmp_path / "tags.csv", text.encode()), TagLayout(MOVIELENS, None, False, "movielens")
    )
    assert tags == [("3", "12", "plain", 5), ("3", "13", 'a, "b"', 6), ("4", "12", "two lines", 7)]
    assert [row[:2] for row in bad] == [(1, "header row"), (6, "wrong number of fields"), (7, "broken quotes")]
    assert rows == 6


def test_csv_without_quotes_is_read_as_lines(tmp_path) -> None:
    assert read(written(tmp_path / "a.csv", b"image_id,tag,user_id\na,red,u\n"))[0] == [("u", "a", "red", None)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.list_(pa.string())])
def test_parquet_may_have_a_list_of_tags_and_any_type_of_id(tmp_path, kind) -> None:
    listed = pa.types.is_list(kind)
    values: Sequence = [["Red", "b c"], []] if listed else ["Red", None]
    table = pa.table(
        {
            "user_id": [11, 12],
            "image_id": pa.array(["a", "b"]).dictionary_encode(),
            "tag": pa.array(values, kind),
            "time": pa.array([datetime(1970, 1, 1, 0, 1), None], pa.timestamp("us")),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    tags, bad, rows = read(tmp_path / "log.parquet")
    assert tags == [("11", "a", "red", 60), *([("11", "a", "b c", 60)] if listed else [])]
    assert bad == ([] if listed else [(2, "empty tag", "12\tb\t\t")])
    assert rows == 2


def test_bytes_of_parquet_that_are_no_text_are_quarantined(tmp_path) -> None:
    pq.write_table(
        pa.table({"user_id": ["u", "v"], "image_id": ["a", "b"], "tag": [b"\xff", b"x"]}), tmp_path / "a.parquet"
    )
    tags, bad, _ = read(tmp_path / "a.parquet")
    assert tags == [("v", "b", "x", None)]
    assert [row[:2] for row in bad] == [(1, "not UTF-8")]


@pytest.mark.parametrize("columns", [23, 25])
def test_yfcc100m_is_read_in_both_releases(tmp_path, columns) -> None:
    def line(photo: str, user: str, tags: str, marker: str) -> str:
        fields = [photo, user, "nick", "2010-01-01 00:00:00.0", "1262307661", "cam", "title", "words", tags, "m:x=1"]
        fields += ["8.5", "47.3", "16", "url", "file", "CC", "licence", "4", "1", "s", "o", "jpg", marker]
        if columns == 25:
            fields = ["0", photo, "hash", *fields[1:]]
        return "\t".join(fields) + "\n"

    text = (
        line("p1", "7@N00", "summer,Z%C3%BCrich+West", "0")
        + line("p2", "7@N00", "", "0")
        + line("p3", "8@N00", "x", "1")
    )
    path = written(tmp_path / "yfcc", (text + "too\tfew\n").encode())
    tags, bad, rows = read(path, TagLayout({}, ",", True, "yfcc100m"))
    assert tags == [("7@N00", "p1", "summer", 1262307661), ("7@N00", "p1", "zürich west", 1262307661)]
    assert bad == [(4, "wrong number of fields", "too\tfew")]
    assert rows == 4


NUS = TagLayout({}, " ", False, "nus-wide")


def test_the_three_lists_of_nus_wide_go_line_by_line(tmp_path) -> None:
    images = written(tmp_path / "trainimgs.txt", b"a/1.jpg\nb/2.jpg\nc/3.jpg\n")
    users = written(tmp_path / "trainusrs.txt", b"u\nv\n\n")
    written(tmp_path / "traintags.txt", b"sky  sea\n\nsky\n")
    assert read(images, NUS) == (
        [("u", "a/1.jpg", "sky", None), ("u", "a/1.jpg", "sea", None)],
        [(3, "empty user id", "c/3.jpg\t\tsky")],
        3,
    )
    assert read(users, NUS) == ([], [], 0)


@pytest.mark.parametrize(
    ("users", "text"), [(None, "trainusrs.txt: no such file"), (b"u\n", r"2 imgs.txt, 1 usrs.txt, 2 tags.txt lines")]
)
def test_lists_that_do_not_fit_are_refused(tmp_path, users, text) -> None:
    images = written(tmp_path / "trainimgs.txt", b"a\nb\n")
    written(tmp_path / "traintags.txt", b"x\ny\n")
    if users is not None:
        written(tmp_path / "trainusrs.txt", users)
    with pytest.raises(UserError, match=text):
        read(images, NUS)
    with pytest.raises(UserError, match=r"a list of images has a name as trainimgs\.txt"):
        read(written(tmp_path / "other.txt", b""), NUS)


def test_parquet_cannot_be_yfcc100m(tmp_path) -> None:
    pq.write_table(pa.table({"tag": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="the layout yfcc100m is a text"):
        read(tmp_path / "a.parquet", TagLayout({}, ",", True, "yfcc100m"))
