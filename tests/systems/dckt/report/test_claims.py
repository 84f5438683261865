"""Tests of the claims."""

from pathlib import Path

from dckt_evaluations import write_evaluations

from systems.dckt.report.claims import claims_of
from systems.dckt.report.results import read_results

RUNS = ("DCKT", "before", "media", "all", "random", "no_shared", "texts_shuffled", "no_mmd", "fine_tuned")
ALPHAS = ("alpha=0.05", "alpha=0.1", "alpha=1.0")


def test_claims_are_about_declared_runs(tmp_path: Path) -> None:
    values = dict.fromkeys((*RUNS, *ALPHAS, "CCA", "DCKT_pairs=10", "before_pairs=10", "all_pairs=10"), 0.4)
    claims = claims_of(read_results(write_evaluations(tmp_path, values, seeds=[0])))
    assert [(claim.number, claim.better, claim.worse, claim.at_most) for claim in claims] == [
        ("1", "DCKT", "CCA", None),
        ("2", "DCKT", "before", None),
        ("3", "DCKT", "media", None),
        ("4", "DCKT", "all", None),
        ("4", "all", "random", None),
        ("5", "DCKT", "no_shared", 1.0),
        ("6", "DCKT", "alpha=0.05", None),
        ("6", "alpha=1.0", "DCKT", 0.0),
        ("8", "texts_shuffled", "before", 1.0),
        ("9", "DCKT", "no_mmd", None),
        ("10", "DCKT", "fine_tuned", None),
        ("2", "DCKT_pairs=10", "before_pairs=10", None),
        ("4", "DCKT_pairs=10", "all_pairs=10", None),
    ]
    assert claims[-1].says == "10 pairs a category: progressive selection > all pairs"


def test_without_pairs_of_runs_there_is_no_claim(tmp_path: Path) -> None:
    values = {"before": 0.4, "CCA": 0.2, "DCKT_pairs=10": 0.3}
    assert claims_of(read_results(write_evaluations(tmp_path, values, seeds=[0]))) == []
