"""The layouts of tag logs: where the fields are, and what is refused."""

import pytest

from base.console import UserError
from pipelines.tags.layouts import TagLogParams, layout_of, places_in


def params(**changes) -> TagLogParams:
    given = {"layout": "table", "columns": None, "separator": None, "fold": True}
    numbers = {"top_tags": 5, "least_users": 1, "most_bad_rows": 0.5, "shards": 2}
    return TagLogParams.model_validate({**given, **numbers, **changes})


def test_a_table_has_its_fields_under_their_own_or_given_names() -> None:
    assert layout_of(params()).names["image_id"] == "image_id"
    layout = layout_of(params(columns="image_id=photo, tag=tags", separator=";"))
    assert dict(layout.names) == {"user_id": "user_id", "image_id": "photo", "tag": "tags", "time": "time"}
    assert layout.separator == ";"
    assert places_in(["tags", "x", "photo", "user_id"], layout.names, "a.tsv") == {
        "tag": 0,
        "image_id": 2,
        "user_id": 3,
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"columns": "photo"}, "'photo': expected FIELD=NAME"),
        ({"columns": "picture=photo"}, "with FIELD one of user_id, image_id, tag, time"),
        ({"columns": "tag=a,tag=b"}, "'tag=b': expected FIELD=NAME, each field once"),
        ({"columns": "tag=a", "layout": "movielens"}, "the layout movielens has its own"),
        ({"separator": ";", "layout": "yfcc100m"}, r"tags.separator = ';'"),
    ],
)
def test_impossible_layouts_are_refused(changes, text) -> None:
    with pytest.raises(UserError, match=text):
        layout_of(params(**changes))


@pytest.mark.parametrize("separator", ["", "ab", "\t"])
def test_a_separator_is_one_character(separator) -> None:
    with pytest.raises(ValueError, match="expected one character"):
        params(separator=separator)


def test_a_header_without_a_field_is_refused() -> None:
    names = layout_of(params()).names
    with pytest.raises(
        UserError, match=r"log.tsv: its header has 'tag' \(tag\) 0 times, .*found 'user_id', 'image_id'"
    ):
        places_in(["user_id", "image_id"], names, "log.tsv")
    with pytest.raises(UserError, match=r"'user_id' \(user_id\) 2 times"):
        places_in(["user_id", "image_id", "tag", "user_id"], names, "log.tsv")
