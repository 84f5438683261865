"""RecBole's documented grammar, read by pandas as RecBole does, which doesn't install beside our NumPy."""

from pathlib import Path
from urllib.parse import unquote

import pandas
import pyarrow as pa
from neighbour_data import NASTY, small, write_shards

from base.artifacts import write_table
from base.schemas import POSTS, TAG_VOCABULARY
from clicksight.neighbours.items import Source
from clicksight.neighbours.recbole import write

TYPES = {"token": str, "token_seq": str, "float": float}


def read(path: Path) -> pandas.DataFrame:
    header = path.read_text(encoding="utf-8").splitlines()[0].split("\t")
    kinds = {name: TYPES[name.split(":")[1]] for name in header}
    return pandas.read_csv(path, delimiter="\t", dtype=kinds, encoding="utf-8", engine="python")


def test_posts_of_users(tmp_path: Path) -> None:
    tags = ["red dog", "NA", 'the "best"', "金"]
    table = [{"tag_id": number, "tag": tag, "posts": 9, "users": 1} for number, tag in enumerate(tags)]
    posts = [
        {
            "image_id": id_,
            "user_id": f"user {number % 3}",
            "time": None if number == 1 else 10**9 + number,
            "tag_ids": ids,
        }
        for number, (id_, ids) in enumerate(zip(NASTY, ([0, 2], [], [1], *[[3]] * 7), strict=True))
    ]
    write_table(pa.Table.from_pylist(table, TAG_VOCABULARY), tmp_path / "tags/vocabulary.parquet")
    write_shards(tmp_path / "tags/posts", posts, POSTS)
    (tmp_path / "clicksight").mkdir()
    counts = write(Source(tags=tmp_path / "tags"), tmp_path / "clicksight")
    assert counts == {"interactions": 10, "users": 3, "items": 10}
    rows = read(tmp_path / "clicksight/clicksight.inter")
    assert [unquote(name) for name in rows["item_id:token"]] == NASTY
    assert [unquote(name) for name in rows["user_id:token"]][:4] == ["user 0", "user 1", "user 2", "user 0"]
    assert rows["timestamp:float"].isna().tolist() == [False, True, *[False] * 8]
    assert [[unquote(tag) for tag in seq.split(" ")] for seq in rows["tags:token_seq"].dropna()][:3] == [
        ["red dog", 'the "best"'], ["NA"], ["金"]
    ]  # fmt: skip
    assert set(read(tmp_path / "clicksight/clicksight.item")["item_id:token"]) == set(rows["item_id:token"])
    assert set(read(tmp_path / "clicksight/clicksight.user")["user_id:token"]) == set(rows["user_id:token"])


def test_queries_stand_for_users_of_clicks(tmp_path: Path) -> None:
    (tmp_path / "clicksight").mkdir()
    write(small(tmp_path), tmp_path / "clicksight")
    rows = read(tmp_path / "clicksight/clicksight.inter")
    found = {(unquote(row[0]), unquote(row[1])): row[2] for row in rows.itertuples(index=False)}
    assert found["zebra", NASTY[0]] == 4.0
    assert len(found) == 11
