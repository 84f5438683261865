"""Parts of systems: the page reads what a report stage wrote, and a damaged part is an error."""

import json
from pathlib import Path

import pytest
from html_page import Page

from base.console import UserError
from report.sections import FILE, Part, not_run, part_of, read_part, write_part

PART = Part("birds", "Birds & <bees>", [("nests", "Nests"), ("eggs", "Eggs, <blue>")], "<h2 id='birds'>Birds</h2>\n")


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_part(PART, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert read_part(tmp_path) == PART
    before = (tmp_path / FILE).read_bytes()
    write_part(read_part(tmp_path), tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_part_is_its_filled_template_with_the_pictures_in_it(tmp_path: Path) -> None:
    template = tmp_path / "part.html.jinja"
    template.write_text(
        '{% from "page_parts.html.jinja" import plot with context %}'
        '<h2 id="birds">{{ title }}</h2>{{ plot("eggs", "Three eggs") }}<p>{{ note }}</p>'
    )
    part = part_of("birds", "Birds & <bees>", [("eggs", "Eggs")], template, {"eggs": b"\x89PNG"}, note="<script>")
    page = Page(part.html)
    assert (part.name, part.title, part.sections) == ("birds", "Birds & <bees>", [("eggs", "Eggs")])
    assert page.headings == ["Birds & <bees>"]
    assert page.pictures == ["data:image/png;base64,iVBORw=="]
    assert (page.loaded, "&lt;script&gt;" in part.html) == ([], True)


def test_a_system_that_was_not_run_says_why() -> None:
    part = not_run("birds", "Birds & <bees>", "no <data>.")
    page = Page(part.html)
    assert (page.headings, page.levels, page.ids) == (["Birds & <bees>"], [2], ["birds"])
    assert "Not run: no &lt;data&gt;." in part.html
    assert part.sections == []


def test_a_part_that_is_missing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"part\.json: no such file; run the stage that writes it"):
        read_part(tmp_path)


GOOD = {"name": "birds", "title": "Birds", "sections": [["eggs", "Eggs"]], "html": "<h2></h2>"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no mapping"),
        ("{}", "not as a report stage writes it"),
        *(
            (json.dumps({key: value for key, value in GOOD.items() if key != left_out}), f"'{left_out}'")
            for left_out in GOOD
        ),
        *((json.dumps(GOOD | {key: 3}), "not as a report stage writes it") for key in GOOD),
        *((json.dumps(GOOD | {key: None}), "not as a report stage writes it") for key in GOOD),
        (json.dumps(GOOD | {"sections": [["eggs"]]}), "not as a report stage writes it"),
        (json.dumps(GOOD | {"sections": [["eggs", "Eggs", "more"]]}), "not as a report stage writes it"),
        (json.dumps(GOOD | {"sections": ["eg"]}), "not as a report stage writes it"),
        (json.dumps(GOOD | {"sections": [["eggs", 3]]}), "not as a report stage writes it"),
        (json.dumps(GOOD | {"sections": {"eg": 1}}), "not as a report stage writes it"),
    ],
)
def test_a_damaged_part_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_part(tmp_path)
    assert str(tmp_path / FILE) in str(error.value)
