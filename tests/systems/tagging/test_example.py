"""One picture and two users: who is chosen, what is said of them, and that no id appears."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tagging_data import TAGS, options_of, read_posts, write_data
from tiny_tagging import train_run

from base.console import UserError
from systems.tagging import example
from systems.tagging.example import choose, main

pytestmark = pytest.mark.usefixtures("own_folder")


def test_two_users_of_one_picture(sources) -> None:
    posts = read_posts(sources, "test")
    found = choose(posts, seed=0)
    rows = posts.rows[[found.post, found.other_post]]
    assert rows["image_id"].n_unique() == 1
    assert rows["user_id"].to_list() == posts.histories.user_ids.gather(list(found.users)).to_list()
    assert (posts.histories.lengths(np.array(found.users)) >= example.LEAST_TAGS).all()
    assert choose(posts, seed=0) == found
    assert {choose(posts, seed).post for seed in range(6)} != {found.post}


def test_without_a_second_post_the_other_user_has_the_least_in_common(sources) -> None:
    posts = read_posts(sources, "test")
    alone = posts.rows.with_row_index("row").group_by("image_id", maintain_order=True).first()["row"].to_list()
    once = dataclasses.replace(
        posts, rows=posts.rows[alone], users=posts.users[alone], image_rows=posts.image_rows[alone]
    )
    found = choose(once, seed=1)
    assert found.other_post is None
    counts = posts.histories.counts.toarray().astype(float)
    lengths = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    alike = lengths @ lengths[found.users[0]]
    others = [user for user in range(len(counts)) if user != found.users[0] and counts[user].sum() >= 10]
    assert found.users[1] == min(others, key=lambda user: alike[user])


def test_short_histories_give_no_example(sources, monkeypatch) -> None:
    monkeypatch.setattr(example, "LEAST_TAGS", 1000)
    with pytest.raises(UserError, match="there are not two users with 1000 tags"):
        choose(read_posts(sources, "test"), seed=0)


@pytest.mark.parametrize("kind", ["features", "images"])
def test_the_picture_and_the_texts(tmp_path, kind) -> None:
    sources = write_data(tmp_path / "data")
    train_run(sources, "A6", input=kind)
    main(["--model=A6", "--output=out", *options_of(sources)])
    users = json.loads(Path("out/example.json").read_text())["users"]
    posts = read_posts(sources, "test")
    found = choose(posts, seed=0)
    for user, row, post in zip(users, found.users, (found.post, found.other_post), strict=True):
        counts = posts.histories.of(np.array([row]))[0]
        assert dict(user["history"]) == {
            TAGS[tag]: counts[tag] for tag in np.argsort(-counts, kind="stable")[:6] if counts[tag]
        }
        assert user["given"] == [TAGS[tag] for tag in posts.rows["tag_ids"][post]]
        assert len(user["recommended"]) == 6
    assert Image.open("out/example.png").size == (1280, 640)
    written = Path("out/example.json").read_text()
    assert not any(name in written for name in pl.concat([posts.rows["user_id"], posts.rows["image_id"]]))
