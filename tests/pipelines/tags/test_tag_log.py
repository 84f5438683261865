"""The whole command: against SQL, its bytes, its counts, who is left out, and what its messages show."""

import hashlib
import json
import random
from pathlib import Path

import duckdb
import polars as pl
import pytest

from base.artifacts import read_tables
from base.schemas import POSTS, QUARANTINE, TAG_VOCABULARY
from pipelines.tags.tag_log import main, read_users

SHARED = Path(__file__).parents[4] / "shared" / "data"
PARAMS = {"layout": "table", "separator": None, "fold": True, "top_tags": 12, "least_users": 2, "shards": 3}
TAGS = [*(f"tag{n}" for n in range(14)), "Tag1", "tag  2"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


def ingest(log: Path | list[Path], output: str, *options: str, **changes) -> Path:
    params = {"columns": None, "most_bad_rows": 0.5, **PARAMS, **changes}
    Path("params.yaml").write_text(json.dumps({"tags": params}))
    main(["--log", *map(str, log if isinstance(log, list) else [log]), "--output", output, *options])
    return Path(output)


def log_rows(number: int = 400) -> list[tuple[str, str, str, int]]:
    draw = random.Random(4)
    return [
        (
            f"u{min(draw.randrange(9), draw.randrange(9))}",
            f"i{draw.randrange(40)}",
            draw.choice(TAGS),
            draw.randrange(99),
        )
        for _ in range(number)
    ]


def write_log(path: str, rows) -> Path:
    text = "user_id\timage_id\ttag\ttime\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


def by_sql(log: Path, names: dict[str, str], top: int, least_users: int) -> tuple[list[tuple], list[tuple]]:
    """Return vocabulary and posts by SQL; `names` are the log's columns."""
    base = duckdb.connect()
    time = f"min({names['time']}::BIGINT)" if "time" in names else "NULL"
    base.execute(
        f"""CREATE TABLE tags AS SELECT {names["user_id"]} AS u, {names["image_id"]} AS i,
        regexp_replace(trim(lower({names["tag"]})), '\\s+', ' ', 'g') AS t, {time} AS time
        FROM read_csv('{log}', delim='\t', header=true, all_varchar=true, quote='') GROUP BY u, i, t"""
    )
    vocabulary = base.execute(
        f"""SELECT t, count(*) AS posts, count(DISTINCT u) AS users FROM tags GROUP BY t HAVING users >= {least_users}
        ORDER BY posts DESC, encode(t) LIMIT {top}"""
    ).fetchall()
    ids = {tag: number for number, (tag, *_) in enumerate(vocabulary)}
    found = base.execute("SELECT i, u, min(time), list(t) FROM tags GROUP BY i, u").fetchall()
    posts = [(i, u, time, sorted(ids[tag] for tag in tags if tag in ids)) for i, u, time, tags in found]
    return vocabulary, sorted(posts)


def posts_in(folder: Path) -> list[tuple]:
    table = read_tables(folder / "posts")
    assert table.schema.equals(POSTS)
    return sorted(tuple(row.values()) for row in table.to_pylist())


def vocabulary_in(folder: Path) -> list[tuple]:
    table = read_tables(folder / "vocabulary.parquet")
    assert table.schema.equals(TAG_VOCABULARY)
    assert table["tag_id"].to_pylist() == list(range(len(table)))
    return [tuple(row.values())[1:] for row in table.to_pylist()]


OWN = {name: name for name in ("user_id", "image_id", "tag", "time")}


@pytest.mark.parametrize(("top", "least_users"), [(12, 2), (3, 1), (99, 8)])
def test_posts_and_vocabulary_equal_sql(top, least_users) -> None:
    log = write_log("log.tsv", log_rows())
    folder = ingest(log, "out", top_tags=top, least_users=least_users)
    vocabulary, posts = by_sql(log, OWN, top, least_users)
    assert vocabulary_in(folder) == vocabulary
    assert posts_in(folder) == posts
    for file in sorted((folder / "posts").iterdir()):
        keys = pl.read_parquet(file).select("image_id", "user_id").rows()
        assert keys == sorted(keys)


def digest(folder: Path) -> dict[str, str]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.parent.name != "quarantine"]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_bytes_do_not_depend_on_the_order_of_rows() -> None:
    rows = log_rows()
    one = ingest(write_log("log.tsv", rows), "one")
    random.Random(1).shuffle(rows)
    other = ingest(write_log("again.tsv", rows), "other")
    assert digest(one) == digest(other)


def test_bytes_and_counts_of_tags_do_not_depend_on_how_the_log_is_cut() -> None:
    rows = [*log_rows(), *log_rows()[:30]]  # the last are repeated, with their times
    one = ingest(write_log("log.tsv", rows), "one")
    cut = ingest([write_log("a.tsv", rows[:57]), write_log("b.tsv", rows[57:])], "cut")
    counts = [json.loads((folder / "summary.json").read_text())["tags"] for folder in (one, cut)]
    assert counts[0] == counts[1]
    assert counts[0]["repeated"] >= 30
    of_one, of_cut = digest(one), digest(cut)
    assert of_one.pop("summary.json") != of_cut.pop("summary.json")  # a second header
    assert of_one == of_cut


def test_counts_add_up_and_quarantine_has_the_bad_rows() -> None:
    rows = [*log_rows(50), ("u1", "i1", "", 3), ("u1", "", "x", 3), ("", "i1", "x", 3)]
    folder = ingest(write_log("log.tsv", rows), "out")
    summary = json.loads((folder / "summary.json").read_text())
    bad = {"empty tag": 1, "empty image id": 1, "empty user id": 1}
    assert summary["rows_quarantined"] == {**bad, "header row": 1}
    assert (summary["rows_read"], summary["rows_kept"]) == (54, 50)
    table = read_tables(folder / "quarantine")
    assert table.schema.equals(QUARANTINE)
    assert sorted(table["reason"].to_pylist()) == sorted(summary["rows_quarantined"])
    tags = summary["tags"]
    assert tags["kept"] == sum(len(post[3]) for post in posts_in(folder))
    assert tags["kept"] + tags["repeated"] + tags["not in the vocabulary"] == 50


def test_users_on_the_list_are_left_out_everywhere() -> None:
    rows = [*log_rows(), ("u1", "i1", "", 3)]
    Path("gone.txt").write_text("u1\n\n u3 \n")
    folder = ingest(write_log("log.tsv", rows), "out", "--leave-out", "gone.txt", "--images", str(_images()))
    without = write_log("less.tsv", [row for row in rows if row[0] not in ("u1", "u3")])
    other = ingest(without, "other", "--images", str(_images()))
    of_one, of_other = digest(folder), digest(other)
    assert of_one.pop("summary.json") != of_other.pop("summary.json")
    assert of_one == of_other
    for file in folder.rglob("*.parquet"):
        assert "u1" not in str(pl.read_parquet(file).rows())
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["rows_left_out"] == {"of a user to leave out": sum(row[0] in ("u1", "u3") for row in rows)}


def _images() -> Path:
    pl.DataFrame({"image_id": [f"i{n}" for n in range(30)]}).write_parquet("images.parquet")
    return Path("images.parquet")


def test_only_the_named_images_are_kept() -> None:
    log = write_log("log.tsv", log_rows())
    folder = ingest(log, "out", "--images", str(_images()))
    kept = write_log("less.tsv", [row for row in log_rows() if int(row[1][1:]) < 30])
    vocabulary, posts = by_sql(kept, OWN, 12, 2)
    assert (vocabulary_in(folder), posts_in(folder)) == (vocabulary, posts)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["tags"]["of other images"] == sum(int(row[1][1:]) >= 30 for row in log_rows())


@pytest.mark.parametrize("shows", [False, True])
def test_too_many_bad_rows_fail_and_show_ids_only_on_request(caplog, shows) -> None:
    log = write_log("log.tsv", [("secret", "i", "", 1)] * 3 + [("u", "i", "x", 1)])
    with pytest.raises(SystemExit):
        ingest(log, "out", *(["--show-users"] if shows else []), most_bad_rows=0.2)
    assert "3 of 5 rows are bad" in caplog.text
    assert "3 empty tag, as row 2 of log.tsv" in caplog.text
    assert ("secret" in caplog.text) == shows
    assert not Path("out").exists()
    assert pl.read_parquet("out.quarantine")["rows"].sum() == 4


def test_a_log_without_a_tag_of_enough_users_is_refused(caplog) -> None:
    with pytest.raises(SystemExit):
        ingest(write_log("log.tsv", log_rows()), "out", least_users=10)
    assert "no tag is used by tags.least_users users" in caplog.text


def test_a_list_of_users_is_text(tmp_path) -> None:
    (tmp_path / "list").write_bytes("\ufeffcafe\u0301\n\n b \n".encode())
    assert read_users(tmp_path / "list") == {"café", "b"}
    (tmp_path / "list").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_users(tmp_path / "list")


@pytest.mark.real_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data beside the repository")
@pytest.mark.parametrize("data", ["openclipart", "movies_en"])
def test_real_logs_equal_sql(data) -> None:
    log = SHARED / data / "user_tags.tsv"
    folder = ingest(log, "out", columns="image_id=item_id", top_tags=200)
    names = {**OWN, "image_id": "item_id"}
    if data == "openclipart":
        del names["time"]
    assert (vocabulary_in(folder), posts_in(folder)) == by_sql(log, names, 200, 2)


@pytest.mark.real_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data beside the repository")
def test_photographs_of_dresden_have_several_tags_in_a_field() -> None:
    log = SHARED / "flickr_dresden_tags/photos.tsv"
    folder = ingest(log, "out", columns="image_id=item_id,tag=tags,time=date", separator=";", fold=False, top_tags=805)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["rows_kept"], summary["users"], summary["images"]) == (13_862, 747, 13_862)
    assert vocabulary_in(folder)[0][0] == "dresden"
