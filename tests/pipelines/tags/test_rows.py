"""Which rows of a tag log are kept, quarantined or left out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.tags.layouts import TagLayout
from pipelines.tags.rows import check_rows, normal_tag, split_lines

SINGLE = TagLayout({}, None, False, "table")
SEVERAL = TagLayout({}, ",", True, "yfcc100m")
PLACES = {4: {"user_id": 0, "image_id": 1, "tag": 2, "time": 3}}


def checked(text: bytes, layout=SINGLE, fold=True, left_out=(), longest=60, has_header=False, places=PLACES):
    rows = split_lines(text, 5, places, "\t", longest, has_header)
    found = check_rows(rows, "log.tsv", layout, fold, left_out)
    kept = [tuple(row.values()) for row in found.tags.to_pylist()]
    return (
        kept,
        [(row["row"], row["reason"], row["raw"], row["rows"]) for row in found.quarantine.to_pylist()],
        found.counts,
    )


def test_good_rows_are_kept_in_order() -> None:
    kept, bad, counts = checked("u1\ta\tGolden  Dog\t7\r\nu2\tb\t金毛\t2015-03-31\nu1\tc\tx\t\n".encode())
    assert kept == [("u1", "a", "golden dog", 7), ("u2", "b", "金毛", 1427760000), ("u1", "c", "x", None)]
    assert bad == []
    assert counts == {"rows kept": 3}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty line"),
        (b"u\ta\tdog", "wrong number of fields"),
        (b"u\ta\tdog\t1\t", "wrong number of fields"),
        (b" \ta\tdog\t1", "empty user id"),
        (b"u\t\tdog\t1", "empty image id"),
        (b"u\ta\t \t1", "empty tag"),
        (b"u\ta\tdog\t1.5", "time not a number or date"),
        (b"u\ta\tdog\t2015-13-01", "time not a number or date"),
        (b"u\ta\t\xff\t1", "not UTF-8"),
        (b"u\ta\td\0g\t1", "NUL byte"),
        (b"u\ta\t" + b"d" * 60 + b"\t1", "line too long"),
    ],
)
def test_a_bad_row_has_one_reason(line, reason) -> None:
    kept, [bad], counts = checked(b"u\ta\tgood\t1\n" + line + b"\nu\tb\tgood\t1\n")
    assert [row[1] for row in kept] == ["a", "b"]
    assert bad[:2] == (6, reason)
    assert counts == {"rows kept": 2, f"quarantined: {reason}": 1}


def test_a_header_and_equal_bad_rows_are_one_record_each() -> None:
    _, bad, counts = checked(b"user\timage\ttag\ttime\nx\nx\n", has_header=True)
    assert bad == [(5, "header row", "user\timage\ttag\ttime", 1), (6, "wrong number of fields", "x", 2)]
    assert counts == {"quarantined: header row": 1, "quarantined: wrong number of fields": 2}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-02", 86400), ("1970-01-01 00:01:05", 65), ("1970-01-01T00:01:05", 65), (" -3 ", -3)],
)
def test_times_are_seconds_or_dates(text, seconds) -> None:
    assert checked(f"u\ta\tdog\t{text}".encode())[0] == [("u", "a", "dog", seconds)]


def test_several_tags_of_a_field_are_decoded_and_videos_left_out() -> None:
    places = {5: {"user_id": 0, "image_id": 1, "tag": 2, "time": 3, "marker": 4}}
    text = b"u\ta\tGolden+Gate,%E9%87%91,,golden+gate\t9\t0\nu\tb\t\t9\t0\nu\tc\tx\t9\t1\n"
    kept, bad, counts = checked(text, SEVERAL, places=places)
    assert kept == [("u", "a", "golden gate", 9), ("u", "a", "金", 9)]
    assert bad == []
    assert counts == {"rows kept": 1, "left out: without tags": 1, "left out: a video": 1}


def test_a_user_to_leave_out_is_in_no_output() -> None:
    text = b"bad\ta\tdog\t1\ngood\ta\tcat\t1\nbad\tbroken row\ngood\tbroken row\n\xff\tbad\tx\t\n bad \ta\tx\twrong\n"
    kept, bad, counts = checked(text, left_out={"bad"})
    assert kept == [("good", "a", "cat", 1)]
    assert [row[2] for row in bad] == ["good\tbroken row"]
    assert counts == {"rows kept": 1, "quarantined: wrong number of fields": 1, "left out: of a user to leave out": 4}


@pytest.mark.parametrize("space", ["\x1c", "\x1f", "\u3000", "\x85"])
def test_ids_are_stripped_as_those_of_pictures_and_of_users_to_leave_out(space) -> None:
    line = f"u1{space}\t{space}a\tdog\t1\n".encode()
    kept, bad, _ = checked(line)
    assert (kept, bad) == ([("u1", "a", "dog", 1)], [])
    assert checked(line, left_out=["u1"]) == ([], [], {"left out: of a user to leave out": 1})
    assert checked(f"{space}\ta\tdog\t1\n".encode())[1][0][1] == "empty user id"


def test_ids_are_composed_and_tags_folded_on_request() -> None:
    text = "u\tcafe\u0301\tＤog\u00ad\t1\n".encode()
    assert checked(text)[0] == [("u", "café", "dog", 1)]
    assert checked(text, fold=False)[0] == [("u", "café", "Ｄog", 1)]


@given(st.text(max_size=12), st.booleans())
def test_a_normal_tag_stays_as_it_is(text, fold) -> None:
    once = normal_tag(text, False, fold)
    assert normal_tag(once, False, fold) == once


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=8), st.sets(st.sampled_from("ab"))
)
def test_rows_add_up_for_any_bytes(lines, left_out) -> None:
    text = b"".join(line + b"\n" for line in lines)
    _, bad, counts = checked(text, left_out=left_out)
    assert sum(counts.values()) == len(lines)
    assert sum(rows for *_, rows in bad) == sum(n for name, n in counts.items() if name.startswith("quarantined"))
