"""The page of all systems: table of contents, titles as escaped texts, and no other files."""

from pathlib import Path

import pytest
from html_page import Page

from report.index import TITLE, main
from report.sections import FILE, Part, not_run, part_of, write_part

TEMPLATE = """\
{% from "page_parts.html.jinja" import show, plot with context %}
<h2 class="system" id="birds">{{ title }}</h2>
<h3 id="nests">Nests</h3>
{{ plot("nest", "A nest.") }}
<h3 id="eggs">Eggs</h3>
"""


def birds(folder: Path) -> Part:
    template = folder / "birds.html.jinja"
    template.write_text(TEMPLATE)
    sections = [("nests", "Nests"), ("eggs", "Eggs, <blue> & white")]
    return part_of("birds", "Birds & <bees>", sections, template, {"nest": b"\x89PNG nest"})


def write(folder: Path, *parts: Part) -> Path:
    for part in parts:
        (folder / part.name).mkdir()
        write_part(part, folder / part.name)
    main(["--systems", *(str(folder / part.name) for part in parts), "--output", str(folder / "report")])
    return folder / "report/index.html"


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    return write(tmp_path, birds(tmp_path), not_run("cats", "Cats", "there is no <cat>."))


def test_the_parts_of_two_systems_stand_on_one_page_in_order(page_file: Path) -> None:
    page = Page(page_file.read_text(encoding="utf-8"))
    assert page.headings == [TITLE, "Birds & <bees>", "Nests", "Eggs", "Cats"]
    assert page.levels == [1, 2, 3, 3, 2]
    assert "Not run: there is no &lt;cat&gt;." in page_file.read_text(encoding="utf-8")


def test_the_contents_lead_to_parts_and_sections(page_file: Path) -> None:
    page = Page(page_file.read_text(encoding="utf-8"))
    assert page.links == ["#birds", "#nests", "#eggs", "#cats"]
    assert page.ids == ["birds", "nests", "eggs", "cats"]


def test_titles_are_texts_in_the_contents_too(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    page = Page(text)
    assert not {"bees", "blue", "cat"} & page.tags
    assert "Eggs, &lt;blue&gt; &amp; white" in text
    # in the table of contents and in the heading, and never escaped twice
    assert text.count("Birds &amp; &lt;bees&gt;") == 2
    assert "&amp;lt;" not in text


def test_the_page_is_one_document_that_needs_nothing_beside_it(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    page = Page(text)
    assert [path.name for path in page_file.parent.iterdir()] == ["index.html"]
    assert page.pictures == ["data:image/png;base64,iVBORyBuZXN0"]
    assert page.loaded == []
    assert "url(" not in text
    assert [text.count(tag) for tag in ("<html", "<head>", "<body>", "</body>", "</html>", "<h1")] == [1] * 6
    assert text.startswith("<!doctype html>")


def test_the_systems_folders_keep_what_they_have(tmp_path: Path) -> None:
    write(tmp_path, not_run("cats", "Cats", "so."))
    assert [path.name for path in (tmp_path / "cats").iterdir()] == [FILE]


def test_the_same_bytes_again(page_file: Path) -> None:
    before = page_file.read_bytes()
    folder = page_file.parents[1]
    main(["--systems", str(folder / "birds"), str(folder / "cats"), "--output", str(page_file.parent)])
    assert page_file.read_bytes() == before


@pytest.mark.parametrize("text", ["{", "{}", '{"name": 1}'])
def test_a_damaged_part_leaves_the_page_as_it_was(page_file: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    before = page_file.read_bytes()
    folder = page_file.parents[1]
    (folder / "cats" / FILE).write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["--systems", str(folder / "birds"), str(folder / "cats"), "--output", str(page_file.parent)])
    assert f"{folder}/cats/part.json" in caplog.text
    assert page_file.read_bytes() == before


def test_two_systems_sections_of_one_anchor_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = Part("cats", "Cats", [("eggs", "Eggs")], "")
    with pytest.raises(SystemExit, match="2"):
        write(tmp_path, birds(tmp_path), other)
    assert "the anchor 'eggs' is in two parts of the page, 'Birds & <bees>' and 'Cats'" in caplog.text
    assert not (tmp_path / "report").exists()


def test_two_parts_of_one_name_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, title in (("one", "Cats"), ("other", "Other cats")):
        (tmp_path / name).mkdir()
        write_part(not_run("cats", title, "so."), tmp_path / name)
    with pytest.raises(SystemExit, match="2"):
        main(["--systems", str(tmp_path / "one"), str(tmp_path / "other"), "--output", str(tmp_path / "report")])
    assert "the anchor 'cats' is in two parts of the page, 'Cats' and 'Other cats'" in caplog.text
    assert not (tmp_path / "report").exists()
