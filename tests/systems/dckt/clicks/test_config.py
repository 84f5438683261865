"""The parameters of the two towers on clicks."""

import pytest
from click_data import CLICKS
from pydantic import ValidationError

from systems.dckt.clicks.config import CELLS, ClicksParams, QueryShares, metric_of


def test_the_cells_are_all_four() -> None:
    assert set(CELLS) == {("seen", "seen"), ("seen", "new"), ("new", "seen"), ("new", "new")}
    assert metric_of("ndcg", "new", "seen") == "ndcg_new_seen"


def test_the_tests_parameters_are_valid_and_a_run_is_listed_once() -> None:
    assert ClicksParams.model_validate(CLICKS).runs == ["weighted", "unweighted", "shuffled"]
    with pytest.raises(ValidationError, match="listed twice"):
        ClicksParams.model_validate({**CLICKS, "runs": ["weighted", "weighted"]})
    with pytest.raises(ValidationError, match="'weighted', 'unweighted' or 'shuffled'"):
        ClicksParams.model_validate({**CLICKS, "runs": ["clicks"]})


def test_shares_leave_something_to_train_on() -> None:
    with pytest.raises(ValidationError, match="leave no query"):
        QueryShares(validation=0.5, test=0.5)
