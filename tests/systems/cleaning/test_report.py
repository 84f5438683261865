"""The noise filter's part of the report: a section for each data set of the parameter file, in its order."""

import json
from pathlib import Path

import pytest
from html_page import Page

from base.console import UserError
from report.index import main as write_page
from systems.cleaning.report import main

HEADINGS = "domain,category,images_ingested,images_cleaned,images_selected,kept_percent,dropped,duplicates,left_out,over_the_cap,status\n"  # noqa: E501
STEPS = {
    "toy & <more>": "source,akita,30,18,15,60.0,10,2,0,3,selected\nsource,dingo,8,7,0,87.5,1,0,7,0,not in the target\n"
    "target,akita,21,21,21,100.0,0,0,0,0,selected\n",
    "birds": "source,wren,5,5,5,100.0,0,0,0,0,selected\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, rows in STEPS.items():
        folder = tmp_path / "preparation" / name
        folder.mkdir(parents=True)
        (folder / "steps.csv").write_text(HEADINGS + rows)
        (folder / "steps.png").write_bytes(f"\x89PNG {name}".encode("latin-1"))
    (tmp_path / "params.yaml").write_text(json.dumps({"data_sets": {"birds": "raw/birds", "toy & <more>": "raw/toy"}}))
    return tmp_path


def part(root: Path) -> dict[str, str]:
    main(["--preparation", "preparation", "--output", "part"])
    return dict(json.loads((root / "part/part.json").read_text(encoding="utf-8")))


def test_each_data_set_has_its_section_in_order(root: Path) -> None:
    found = part(root)
    assert found["sections"] == [["cleaning-0", "birds"], ["cleaning-1", "toy & <more>"]]
    page = Page(found["html"])
    assert page.headings == ["Preparation of the images", "birds", "toy & <more>"]
    assert page.ids == ["cleaning", "cleaning-0", "cleaning-1"]
    assert "preparation/birds/index.html" in found["html"]
    assert "more>" not in found["html"].replace("&lt;more&gt;", "")


def test_the_steps_are_added_up_by_domain(root: Path) -> None:
    tables = Page(part(root)["html"]).tables
    # domain, ingested, dropped, duplicates, left out, over the cap, selected, categories, selected categories
    assert [row for row in tables[1] if row[0] in ("source", "target")] == [
        ["source", "38", "11", "2", "7", "3", "15", "2", "1"],
        ["target", "21", "0", "0", "0", "0", "21", "1", "1"],
    ]
    assert [row[1] for row in tables[0] if row[0] == "source"] == ["5"]


def test_without_data_sets_the_part_says_so(root: Path) -> None:
    (root / "params.yaml").write_text("data_sets: {}\n")
    assert "Not run: data_sets is empty." in part(root)["html"]
    write_page(["--systems", "part", "--output", "report"])
    assert "Not run" in (root / "report/index.html").read_text(encoding="utf-8")


def test_a_data_set_without_its_page_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "params.yaml").write_text("data_sets: {cats: raw/cats}\n")
    with pytest.raises(SystemExit) as left:
        part(root)
    assert left.value.code == 2
    assert not (root / "part").exists()
    assert "preparation/cats/steps.csv" in str(left.value.__cause__)
    assert not isinstance(left.value.__cause__, UserError)
