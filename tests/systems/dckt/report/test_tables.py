"""Tests of the tables."""

from pathlib import Path

import pytest
from dckt_evaluations import write_evaluations

from report.claims import claims_texts
from systems.dckt.report.results import Results, read_results
from systems.dckt.report.tables import claims_table, results_table, table_2, table_3

VALUES = {"DCKT": 0.45, "before": 0.40, "media": 0.449, "all": 0.48, "CCA": 0.30, "DCKT_pairs=10": 0.35}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """The evaluations of some runs."""
    return read_results(write_evaluations(tmp_path, VALUES))


def test_every_metric_of_every_run(results: Results) -> None:
    table = results_table(results)
    assert table["run"].unique(maintain_order=True).to_list() == results.runs
    assert len(table) == 3 * len(VALUES)
    assert table.filter((table["low"] > table["mean"]) | (table["mean"] > table["high"])).is_empty()


def test_methods_beside_the_published_ones(results: Results) -> None:
    table = table_2(results, None)
    rows = {row[0]: row for row in table.rows}
    assert list(rows)[:2] == ["DCKT", "CCL"]
    assert "two-tower" in rows
    mean = results.interval("DCKT").mean
    assert rows["DCKT"][3] == f"{mean:.1f}"
    assert rows["DCKT"][5:] == ["51.1", "57.0", "58.5"]
    assert rows["CCL"][1:5] == ["–"] * 4  # published only
    assert rows["two-tower"][1:] == ["–"] * 7
    few = {row[0]: row for row in table_2(results, 10).rows}
    assert few["DCKT"][3] == f"{results.interval('DCKT_pairs=10').mean:.1f}"
    assert few["CCA"][3] == "–"


def test_parts_with_their_difference_from_the_whole(results: Results) -> None:
    rows = {row[0]: row for row in table_3(results, None, results.noise()).rows}
    whole, before = rows["DCKT, all of it"], rows["before the transfer, Model_t(0)"]
    assert whole[3:6] == ["–", "–", "6.0"]
    assert before[3] == f"{results.interval('DCKT').mean - results.interval('before').mean:+.1f}"
    assert before[5] == "–"
    assert before[6:] == ["45.9", "52.7", "52.9"]
    assert rows["without shared categories"][1:6] == ["–"] * 5
    assert rows["without shared categories"][6:] == ["–", "56.6", "57.9"]
    assert "control: the source's texts shuffled" not in rows  # neither run nor published


def test_verdicts(results: Results) -> None:
    table = claims_table(results, results.noise())
    verdicts = {(row["claim"], row["says"]): row["verdict"] for row in table.iter_rows(named=True)}
    assert verdicts == {
        ("1", "DCKT > CCA"): "holds",
        ("2", "DCKT > the target network before the transfer"): "holds",
        ("3", "both levels > media level alone"): "open",
        ("4", "progressive selection > all pairs"): "contradicted",
    }
    assert claims_texts(table).rows[0][:2] == ["1", "DCKT > CCA"]
    assert (table["p_holm"] >= table["p"]).all()
