"""The published numbers, checked against what the paper concludes from them."""

import pytest

from pipelines.published import CLAIMS, TABLE_III, TABLE_VI, TABLE_VIII, label


def test_table_viii_has_the_thirteen_methods_in_the_papers_order_of_merit() -> None:
    assert len(TABLE_VIII) == 13
    assert max(TABLE_VIII, key=lambda method: TABLE_VIII[method].target) == "MTMDD-VM-star"
    assert max(TABLE_VIII, key=lambda method: TABLE_VIII[method].source) == "SCDA"
    assert min(TABLE_VIII, key=lambda method: TABLE_VIII[method].target) == "DANN"


def test_methods_that_stand_in_two_tables_have_the_same_numbers() -> None:
    # Table VI's features are Table VIII's methods: V is VGGimg, V+C[7] TDL [7], V+C TDL; C_E is Table III's CONV+biFC.
    assert TABLE_VI["V"] == TABLE_VIII["VGGimg"]
    assert TABLE_VI["V+C[7]"] == TABLE_VIII["TDL7"]
    assert TABLE_VI["V+C"] == TABLE_VIII["TDL"]
    assert TABLE_VI["C_E"] == TABLE_III["CONV+biFC"]
    assert TABLE_VI["C[7]"] == TABLE_III["FC"]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.better} over {claim.worse}")
def test_every_claim_has_the_sign_that_the_paper_says(claim: object) -> None:
    assert claim.published > 0  # type: ignore[attr-defined]


def test_names_as_the_paper_prints_them() -> None:
    assert [label(name) for name in ("TDL7", "MTMDD-VM-star", "VGGimg")] == ["TDL [7]", "MTMDD-VM*", "VGGimg"]
