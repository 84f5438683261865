"""RecBole's atomic files: ``clicksight.inter``, ``.user``, ``.item``, tab-separated, a type behind each column's name.

From a tag log: user_id:token, item_id:token, timestamp:float, tags:token_seq. From clicks: the query stands for the
user, with clicks:float. RecBole wants the folder to be named ``clicksight`` too. Tokens are percent-encoded where they
have white space, quotes or ``%``; a post of unknown time has an empty timestamp. The names of users and pictures are in
memory, the rows are not.

Reference: https://recbole.io/docs/user_guide/data/atomic_files.html. RecBole itself doesn't install beside our NumPy;
tests check this grammar with pandas, by which RecBole reads.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from base.console import UserError
from base.schemas import POSTS, TAG_VOCABULARY
from clicksight.neighbours.items import Source, scan
from clicksight.neighbours.tokens import token
from pipelines.beam.shards import shard_files

NAME = "clicksight"


class Interaction(NamedTuple):
    """A row of the file .inter: a user, a picture, and the values of the other columns as text."""

    user: str
    item: str
    values: list[str]


def write(source: Source, folder: Path) -> dict[str, int]:
    """Fill the folder; return counts."""
    columns = ["timestamp:float", "tags:token_seq"] if source.tags is not None else ["clicks:float"]
    rows = _posts(source.tags) if source.tags is not None else _clicks(source)
    users: set[str] = set()
    items: set[str] = set()
    number = 0
    with (folder / f"{NAME}.inter").open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(["user_id:token", "item_id:token", *columns]) + "\n")
        for row in rows:
            user, item = token(row.user), token(row.item)
            file.write("\t".join([user, item, *row.values]) + "\n")
            users.add(user)
            items.add(item)
            number += 1
    for kind, tokens in (("user", users), ("item", items)):
        lines = [f"{kind}_id:token", *sorted(tokens)]
        (folder / f"{NAME}.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return {"interactions": number, "users": len(users), "items": len(items)}


def _posts(folder: Path) -> Iterator[Interaction]:
    tags = [token(tag) for tag in scan(folder / "vocabulary.parquet", TAG_VOCABULARY).sort("tag_id").collect()["tag"]]
    for file in shard_files(folder / "posts"):
        for image, user, time, ids in scan(file, POSTS).select(POSTS.names).collect().iter_rows():
            yield Interaction(user, image, ["" if time is None else str(time), " ".join(tags[id_] for id_ in ids)])


def _clicks(source: Source) -> Iterator[Interaction]:
    if source.clicks is None:
        raise UserError("--tags or --clicks: missing; RecBole's format has what users did: name one")
    for rows in source.judgements():
        for image, clicks, text in rows.select("image_id", pl.col("clicks"), "text").iter_rows():
            yield Interaction(text, image, [str(clicks)])
