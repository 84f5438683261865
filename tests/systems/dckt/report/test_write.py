"""Tests of the report's command."""

import json
from pathlib import Path

import polars as pl
import pytest
from dckt_evaluations import write_evaluations
from html_page import Page

from report.sections import Part, write_part
from systems.dckt.report.results import read_results
from systems.dckt.report.write import alphas_of, late_change, main, with_clicks

VALUES = {
    "DCKT": 0.45, "before": 0.40, "texts_shuffled": 0.39, "alpha=0.05": 0.41, "alpha=1.0": 0.44, "two-tower": 0.42,
    "DCKT_pairs=10": 0.35,
}  # fmt: skip
PARAMS = "dckt: {report: {data_set: a to b, note: Made up.}}\n"


def write(folder: Path, values: dict[str, float], seeds: list[int]) -> dict:
    """Write evaluations, run the command, and return the part."""
    (folder / "params.yaml").write_text(PARAMS)
    write_evaluations(folder / "evaluations", values, seeds)
    main([f"--evaluations={folder}/evaluations", f"--output={folder}/report", f"--params={folder}/params.yaml"])
    return dict(json.loads((folder / "report/part.json").read_text()))


def test_the_part_and_its_files(tmp_path: Path) -> None:
    part = write(tmp_path, VALUES, [0, 1, 2])
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {
        "part.json", "results.csv", "claims.csv", "iterations.csv", "alpha.png", "iterations.png", "iterations_10.png",
    }  # fmt: skip
    assert part["title"].endswith(": a to b")
    html = part["html"]
    page = Page(html)
    assert {anchor for anchor, _ in part["sections"]} <= set(page.ids)
    assert len(page.tables) == 5  # two for each limit of pairs, and the claims
    assert len(page.pictures) == 3
    assert not page.loaded
    assert "Made up." in html
    assert "at most 10 target training pairs a category" in html
    assert "Seeds 0, 1, 2." in html
    claims = pl.read_csv(tmp_path / "report/claims.csv")
    assert claims["claim"].to_list() == [1, 2, 6, 6, 8]


def test_the_same_evaluations_give_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, VALUES, [0])
        found.append({path.name: path.read_bytes() for path in (tmp_path / name / "report").iterdir()})
    assert found[0] == found[1]


def test_baselines_alone(tmp_path: Path) -> None:
    part = write(tmp_path, {"CCA": 0.3}, [0])
    assert "No claim is about the declared runs." in part["html"]
    assert "<img" not in part["html"]
    assert "cover the choice of queries alone" in part["html"]


def test_nothing_was_run(tmp_path: Path) -> None:
    part = write(tmp_path, {}, [0])
    assert "dckt.runs: networks, baselines" in part["html"]


def test_alpha_of_a_run_without_changes_is_the_plans(tmp_path: Path) -> None:
    results = read_results(write_evaluations(tmp_path, VALUES, [0], alpha=0.3))
    assert alphas_of(results, None) == {0.05: "alpha=0.05", 0.3: "DCKT", 1.0: "alpha=1.0"}
    assert alphas_of(results, 10) == {}


@pytest.mark.parametrize(("values", "expected"), [([1.0, 2.0, 4.0, 5.0, 5.5, 5.25], 1.25), ([1.0, 2.0, 3.0], None)])
def test_the_change_of_the_last_iterations(values: list[float], expected: float | None) -> None:
    # two seeds, whose mean is `values`
    rows = [(number, value + shift) for shift in (-1, 1) for number, value in enumerate(values)]
    table = pl.DataFrame(rows, schema=["iteration", "map"], orient="row")
    assert late_change(table) == expected


def test_the_part_about_clicks_comes_below(tmp_path: Path) -> None:
    part = Part("dckt", "Pairs", [("dckt_claims", "Claims")], "<h2>Pairs</h2>\n")
    for html, sections in (("<h3>Clicks</h3>", [("dckt_clicks", "Towers")]), ("", [])):
        write_part(Part("dckt_clicks", "Towers", [], html), tmp_path)
        found = with_clicks(part, tmp_path)
        assert (found.name, found.title) == ("dckt", "Pairs")
        assert found.html == part.html + html
        assert list(found.sections) == [("dckt_claims", "Claims"), *sections]
