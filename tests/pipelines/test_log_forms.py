"""Logs in other forms through the whole command: what is read or refused and why, what is kept of a failed job."""

import gzip
import json
import tarfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_builds import LOG, build, digest, write_log

from base.artifacts import read_tables

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
NO_CASES = pytest.mark.skipif(not CASES.is_dir(), reason="needs the example inputs beside the repository")


@pytest.fixture(autouse=True)
def _own_state(monkeypatch):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


def clicks_of(folder: Path) -> dict[tuple[str, str], int]:
    """Return the clicks by image and word."""
    words = pl.read_parquet(folder / "vocabulary.parquet")["word"].to_list()
    rows = pl.read_parquet(folder / "click_features").explode("word_ids", "clicks").drop_nulls("word_ids")
    return {
        (image, words[word]): clicks for image, word, clicks in rows.select("image_id", "word_ids", "clicks").rows()
    }


def summary_of(folder: Path) -> dict:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["rows_read"] == summary["rows_kept"] + sum(summary["rows_quarantined"].values())
    return summary


def fails(caplog, log: Path, output: Path, *options: str) -> list[str]:
    """Run a build that must fail; return the lines of its error."""
    with pytest.raises(SystemExit) as failure:
        build(log, output, *options)
    assert failure.value.code == 2
    assert not output.exists()
    return [
        record.getMessage().partition(": error: ")[2] for record in caplog.records if "error: " in record.getMessage()
    ]


R_OPTIONS = ["--format", "csv", "--delimiter", "tab"]
TWO = {("im1", "red"): 3, ("im1", "cat"): 3, ("im2", "blue"): 2, ("im2", "dog"): 2}


@NO_CASES
@pytest.mark.parametrize(
    ("name", "options", "clicks"),
    [
        ("log.tar.gz", [], TWO),
        ("log.zip", [], TWO),
        ("log.csv", ["--format", "csv"], TWO),
        ("utf16.tsv", ["--encoding", "utf-16"], TWO),
        ("r_quotes.tsv", R_OPTIONS, {("im1", "red"): 3, ("im1", "cat"): 3, ("im2", "dog"): 2}),
        (
            "events_unsplash_columns.tsv",
            ["--columns", "time,type,query,image_id,user,country"],
            {("AAA", "red"): 2, ("AAA", "cat"): 2, ("BBB", "blue"): 1, ("BBB", "dog"): 1},
        ),
    ],
)  # fmt: skip
def test_examples(tmp_path, name, options, clicks):
    folder = build(CASES / name, tmp_path / "out", *options)
    assert clicks_of(folder) == clicks
    assert set(summary_of(folder)["rows_quarantined"]) <= {"header row"}


@NO_CASES
def test_example_in_gb18030(tmp_path, caplog):
    assert summary_of(build(CASES / "sogou_gb18030.tsv", tmp_path / "out", "--encoding", "gb18030"))["rows_kept"] == 3
    (line,) = fails(caplog, CASES / "sogou_gb18030.tsv", tmp_path / "without")
    assert "sogou_gb18030.tsv: 2 of its first 3 rows are not UTF-8, as 'im1\\t\\\\xca" in line
    assert line.endswith("; try --encoding gb18030")


@NO_CASES
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("log.csv", "have no tabs and are separated by ',' and in double quotes; try --format csv"),
        ("utf16.tsv", "utf16.tsv: is not UTF-8 but UTF-16; give --encoding utf-16"),
        ("r_quotes.tsv", "to read the fields without them"),
    ],
)  # fmt: skip
def test_examples_without_their_option(tmp_path, caplog, name, message):
    assert message in "\n".join(fails(caplog, CASES / name, tmp_path / "out"))


def as_csv(rows: list[tuple]) -> str:
    return "image_id,query,clicks\n" + "".join(f'"{image}","{query}",{clicks}.00\n' for image, query, clicks in rows)


def as_events(rows: list[tuple]) -> str:
    head = "time\tkeyword\tphoto_id\n"
    return head + "".join(
        f"2026-01-{n % 28 + 1}\t{query}\t{image}\n" * clicks for n, (image, query, clicks) in enumerate(rows)
    )


FORMS = {
    "csv": (as_csv, ["--format", "csv"]),
    "csv by name": (
        lambda rows: "n;photo;day;keyword\n" + "".join(f"{n};{i};1;{q}\n" for i, q, n in rows),
        ["--format", "csv", "--delimiter", "semicolon", "--columns", "image_id=photo,query=keyword,clicks=n"],
    ),
    "another order in the header": (
        lambda rows: "query\tclicks\timage_id\n" + "".join(f"{q}\t{n}\t{i}\n" for i, q, n in rows),
        [],
    ),
    "pipes": (lambda rows: "".join(f"{i}|{q}|{n}\n" for i, q, n in rows), ["--delimiter", "|"]),
    "Hive's delimiter": (lambda rows: "".join(f"{i}\x01{q}\x01{n}\n" for i, q, n in rows), ["--delimiter", r"\x01"]),
    "json": (
        lambda rows: "".join(json.dumps({"query": q, "image_id": i, "clicks": n}) + "\n" for i, q, n in rows),
        ["--format", "jsonl"],
    ),
    "events": (as_events, ["--columns", "time,query,image_id"]),
    "CR": (lambda rows: "".join(f"{i}\t{q}\t{n}\r" for i, q, n in rows), []),
    "joined files with marks": (
        lambda rows: "".join(f"\ufeff{i}\t{q}\t{n}\n" for i, q, n in rows) + "\ufeff\n\ufeff",
        [],
    ),
}


@pytest.mark.parametrize("pack", [lambda text: text, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
@pytest.mark.parametrize("form", FORMS)
def test_a_log_gives_the_same_features_in_every_form(tmp_path, plain, form, encoding, pack):
    write, options = FORMS[form]
    text = write([(image, query.replace("Ｇ", "G"), clicks) for image, query, clicks in LOG])
    (tmp_path / "log").write_bytes(pack(text.encode(encoding)))
    found = digest(build(tmp_path / "log", tmp_path / "out", *options, "--encoding", encoding))
    results = [name for name in plain if name.startswith(("vocabulary", "click_features"))]
    assert {name: found[name] for name in results} == {name: plain[name] for name in results}
    assert set(summary_of(tmp_path / "out")["rows_quarantined"]) <= {"header row", "empty line"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICKSIGHT_NO_STATE", "1")
        return digest(build(write_log(LOG, folder / "log.tsv"), folder / "out"))


def test_partitions_of_hive_are_columns(tmp_path, plain):
    folder = tmp_path / "logs"
    queries = {query for _, query, _ in LOG}
    table = pa.table(list(map(list, zip(*LOG, strict=True))), names=["image_id", "query", "clicks"])
    pq.write_to_dataset(table, folder, partition_cols=["query"])
    assert len(list(folder.iterdir())) == len(queries)
    found = digest(build(folder, tmp_path / "out"))
    assert {name: found[name] for name in found if name.startswith("click_features")} == {
        name: plain[name] for name in plain if name.startswith("click_features")
    }


def test_partitions_of_text_and_of_parquet_events(tmp_path):
    for day, (image, query) in enumerate([("a", "red cat"), ("b", "dog")]):
        part = tmp_path / f"logs/day={day}/keyword={query.replace(' ', '%20')}"
        part.mkdir(parents=True)
        (part / "x.tsv").write_text(f"{image}\t3\n{image}\t4\n")
        pq.write_table(pa.table({"photo": [image, None]}), part / "y.parquet")
    (tmp_path / "logs/keyword=__HIVE_DEFAULT_PARTITION__").mkdir()
    (tmp_path / "logs/keyword=__HIVE_DEFAULT_PARTITION__/x.tsv").write_text("a\t1\n")
    folder = build(
        sorted((tmp_path / "logs").rglob("*.parquet")), tmp_path / "events", "--columns", "image_id=photo,query=keyword"
    )
    assert clicks_of(folder) == {("a", "red"): 1, ("a", "cat"): 1, ("b", "dog"): 1}
    for path in (tmp_path / "logs").rglob("keyword=*"):
        path.rename(path.with_name(path.name.replace("keyword", "query")))
    logs = sorted((tmp_path / "logs").rglob("*.tsv"))
    folder = build(logs, tmp_path / "text", "--columns", "image_id,clicks")
    assert clicks_of(folder) == {("a", "red"): 7, ("a", "cat"): 7, ("b", "dog"): 7}
    assert summary_of(folder)["rows_quarantined"] == {"empty query": 1}


ROWS = "".join(f"img{n},red cat {n},{n + 1}\n" for n in range(9))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (ROWS.encode(), [], "log: its first rows have no tabs and are separated by ','; try --format csv"),
        (ROWS.replace(",", ";").encode(), [], "separated by ';'; try --delimiter semicolon"),
        (ROWS.replace(",", "\t").encode(), ["--format", "csv"], "separated by '\\t'; try --delimiter tab"),
        (b'{"image_id": "a", "query": "dog", "clicks": 1}\n', [], "looks like JSON; try --format jsonl"),
        (b'[\n{"image_id": "a", "query": "dog", "clicks": 1}\n]', [], "JSON array; write one object on each line"),
        (b"2026\ta\tdog\t1\n2026\tb\tcow\t1\n", [], "its first rows have 4 fields, as '2026\\ta\\tdog\\t1', where 3"),
        (b"only\nwords\n", [], "none of the usual delimiters: 'only'"),
        (
            b"a\tdog\n" * 4 + b"b\t\t1\n" * 4 + ("狗和猫的图片" * 9 + "\t狗\t1\n").encode("gb18030") * 7,
            [],
            "the text is not UTF-8; try --encoding gb18030",
        ),
    ],
)  # fmt: skip
def test_a_log_of_bad_rows_is_explained_and_its_quarantine_kept(tmp_path, caplog, content, options, message):
    (tmp_path / "log").write_bytes(content)
    lines = fails(caplog, tmp_path / "log", tmp_path / "out", *options)
    rows = content.count(b"\n") + (not content.endswith(b"\n"))
    assert lines[0] == "too many rows are bad, more than --most-bad-rows 0.5 allows"
    assert lines[1] == f"the log has {rows} rows: 0 were kept, {rows} are bad"
    assert any(message in line for line in lines), lines
    assert lines[-1] == f"the quarantine is kept in {tmp_path}/out.quarantine"
    assert read_tables(tmp_path / "out.quarantine")["rows"].to_pylist()
    assert sum(read_tables(tmp_path / "out.quarantine")["rows"].to_pylist()) == rows


def test_the_error_has_counts_and_examples_by_reason(tmp_path, caplog):
    (tmp_path / "log").write_bytes(b"a\tdog\t1\nb\tdog\nc\tdog\tx\nd\tdog\nimage\n\n\n")
    lines = fails(caplog, tmp_path / "log", tmp_path / "out")
    assert lines[:4] == [
        "too many rows are bad, more than --most-bad-rows 0.5 allows",
        "the log has 7 rows: 1 were kept, 4 are bad",
        "  3 wrong number of fields, as row 2 of log: 'b\\tdog'",
        "  1 clicks not an integer, as row 3 of log: 'c\\tdog\\tx'",
    ]
    folder = build(tmp_path / "log", tmp_path / "out", "--most-bad-rows", "0.8")
    assert summary_of(folder)["rows_quarantined"]["empty line"] == 2
    assert not (tmp_path / "out.quarantine").exists()


@pytest.mark.parametrize(("most", "is_built"), [("0.25", True), ("0.2", False)])
def test_headers_and_empty_lines_do_not_count_as_bad(tmp_path, caplog, most, is_built):
    (tmp_path / "log").write_text("photo\tkeyword\tn\na\tdog\t1\nb\tdog\t2\n\n\nc\tdog\t3\nbad\n")
    if is_built:
        assert summary_of(build(tmp_path / "log", tmp_path / "out", "--most-bad-rows", most))["rows_kept"] == 3
    else:
        assert (
            "more than --most-bad-rows 0.2 allows"
            in fails(caplog, tmp_path / "log", tmp_path / "out", "--most-bad-rows", most)[0]
        )


def test_an_empty_vocabulary_of_a_log_with_bad_rows(tmp_path, caplog):
    (tmp_path / "log").write_text("a\t?!\t1\nb\tdog\tx\n")
    lines = fails(caplog, tmp_path / "log", tmp_path / "out")
    assert lines[0].startswith("the vocabulary is empty: no query clicked for these images has a word")
    assert lines[2] == "  1 clicks not an integer, as row 2 of log: 'b\\tdog\\tx'"


BY_NAME = ["--format", "csv", "--columns", "image_id=photo,query=keyword"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("image,query\nx,y\n", BY_NAME, "its first row has no field photo, keyword; it has image, query; if it is no"),
        ("photo,word\nx,y\n", [*BY_NAME, "--header", "yes"], "its first row has no field keyword; it has photo, word"),
        (
            "keyword\tphoto\tn\nx\ty\t1\n",
            ["--columns", "image_id,query,clicks"],
            "in another order than image_id,query,clicks; give --columns query,image_id,clicks, or --header no",
        ),
        (
            '"a"\t"dog"\t1\n"b"\t"cat"\t2\n',
            [],
            'every image id is in double quotes, as "a"; give --format csv --delimiter tab to read',
        ),
        ("a\t1\n", ["--columns", "image_id,clicks"], "has no field query and lies in no folder query=…/"),
        ("a\t1\n", ["--columns", "image_id,query,query"], "columns 'image_id,query,query': query occurs 2 times"),
        ("a\t1\n", ["--columns", "day,hour"], "names none of image_id, query, clicks"),
        ("a\t1\n", ["--columns", "image_id=photo"], "query occurs 0 times"),
        ("a\t1\n", ["--columns", "image_id=a,query=b,day"], "day is not of the form NAME=FIELD"),
        ("a\t1\n", ["--encoding", "klingon"], "Python has no such encoding"),
        ("a\t1\n", ["--encoding", "base64"], "Python has no such encoding"),
        ("a\t1\n", ["--delimiter", "||"], "expected one ASCII character, or one of tab"),
        ("a\t1\n", ["--most-bad-rows", "1.5"], "log.most_bad_rows = 1.5"),
    ],
)  # fmt: skip
def test_what_is_refused_before_anything_runs(tmp_path, caplog, content, options, message):
    (tmp_path / "log").write_text(content)
    assert message in "\n".join(fails(caplog, tmp_path / "log", tmp_path / "out", *options))
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_file_in_another_encoding_among_others_is_refused(tmp_path, caplog):
    write_log(LOG * 9, tmp_path / "logs/1.tsv")
    (tmp_path / "logs/2.tsv").write_bytes("a\tdog\t1\nb\t手机壳\t3\nc\t红色连衣裙\t2\n".encode("gb18030"))
    (line,) = fails(caplog, tmp_path / "logs", tmp_path / "out")
    assert "logs/2.tsv: 2 of its first 3 rows are not UTF-8" in line


def test_many_bad_rows_are_a_warning(tmp_path, caplog):
    (tmp_path / "log").write_text("".join(f"a{n}\tdog\t1\n" for n in range(8)) + "b,dog,1\n")
    build(tmp_path / "log", tmp_path / "out")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "the log has 9 rows: 8 were kept, 1 are bad",
        "  1 wrong number of fields, as row 9 of log: 'b,dog,1'",
    ]


@pytest.mark.parametrize(
    "text", ['"","image_id","query","clicks"\n"1","a","red cat",3\n', ",query,image_id,clicks\n0,red cat,a,3\n"]
)
def test_row_numbers_of_r_and_pandas_have_no_name(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    assert clicks_of(build(tmp_path / "log.csv", tmp_path / "out", "--format", "csv")) == {
        ("a", "red"): 3,
        ("a", "cat"): 3,
    }


def test_quoted_ids_are_kept_if_that_is_said(tmp_path):
    (tmp_path / "log").write_text('"a"\t"dog"\t1\n"b"\t"cat"\t2\n')
    assert set(clicks_of(build(tmp_path / "log", tmp_path / "out", "--format", "tsv"))) == {
        ('"a"', "dog"),
        ('"b"', "cat"),
    }


@pytest.mark.parametrize(("header", "kept"), [("auto", 2), ("yes", 1), ("no", 2)])
def test_a_first_row_is_a_header_only_if_it_looks_so(tmp_path, header, kept):
    (tmp_path / "log").write_text("alpha\tred cat\t7\nbeta\tblue dog\t2\n")
    assert summary_of(build(tmp_path / "log", tmp_path / "out", "--header", header))["rows_kept"] == kept


@pytest.mark.parametrize("content", ["", "image_id\tquery\tclicks\n", "\n\n", "foto\twort\tzahl\n"])
def test_files_without_clicks_are_not_the_same_file_twice(tmp_path, content, caplog):
    for name in "xy":
        (tmp_path / name).write_text(content)
    log = write_log(LOG, tmp_path / "log.tsv")
    first = build([log, tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    more = write_log([("z", "zebra", 1)], tmp_path / "more.tsv")
    build([more, tmp_path / "x"], tmp_path / "second", "--previous", str(first))
    lines = fails(caplog, [more, log], tmp_path / "third", "--previous", str(first))
    assert "its clicks would count twice" in lines[0]


def test_a_sum_past_64_bits_is_an_error(tmp_path, caplog):
    number = 9_300_000
    one = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), number), ["a"])
    table = pa.table({"image_id": one, "query": one, "clicks": pa.repeat(10**12, number)})
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=number)
    lines = fails(caplog, tmp_path / "log.parquet", tmp_path / "out")
    assert "sums of clicks must be below 2^63" in lines[0]


def test_an_archive_and_its_members_count_as_the_files(tmp_path, plain):
    write_log(LOG[:4], tmp_path / "one.tsv")
    write_log(LOG[4:], tmp_path / "two.tsv")
    with tarfile.open(tmp_path / "log.tar.bz2", "w:bz2") as archive:
        for name in ("one.tsv", "two.tsv"):
            archive.add(tmp_path / name, f"logs/{name}")
    assert digest(build(tmp_path / "log.tar.bz2", tmp_path / "out")).keys() == plain.keys()
    found = digest(tmp_path / "out")
    assert {**found, "quarantine/part-00000.parquet": 0} == {**plain, "quarantine/part-00000.parquet": 0}


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("length", [65_520, 65_521, 65_522])
def test_a_first_line_that_is_longer_than_what_is_looked_at(tmp_path, encoding, length):
    (tmp_path / "log").write_bytes(("a" * length + "狗" * 99 + "\tdog\t3\nb\tcat\t2\n").encode(encoding))
    assert summary_of(build(tmp_path / "log", tmp_path / "out", "--encoding", encoding))["rows_kept"] == 2
