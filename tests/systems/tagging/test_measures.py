"""Measures against a loop, with ties and posts without tags."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model.measures.units import reduce_units
from systems.tagging.measures import MeasureParams, Targets, all_units, length_groups, metrics_of

TAGS = ["t0", "t1", "t2", "t3", "t4", "t5"]
PARAMS = MeasureParams(at=[1, 3], category_at=2, lengths_at=3, lengths=[1, 5], least_tags=0)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Targets, np.ndarray]:
    number = draw(st.integers(1, 7))
    cells = number * len(TAGS)
    labels = np.array(draw(st.lists(st.booleans(), min_size=cells, max_size=cells))).reshape(number, -1)
    scores = np.array(draw(st.lists(st.integers(0, 2), min_size=cells, max_size=cells)), float).reshape(number, -1)
    lengths = np.array(draw(st.lists(st.integers(0, 8), min_size=number, max_size=number)))
    return Targets([f"post {n}" for n in range(number)], TAGS, labels, lengths), scores


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


@settings(max_examples=60, deadline=None)
@given(cases())
def test_measures_are_what_a_loop_counts(case) -> None:
    tested, scores = case
    found = reduce_units(all_units(tested, scores, PARAMS))
    best = [sorted(range(len(TAGS)), key=lambda tag: (-row[tag], tag)) for row in scores.tolist()]
    true = [{tag for tag in range(len(TAGS)) if row[tag]} for row in tested.labels]
    expected: dict[str, float | None] = {}
    for k in PARAMS.at:
        hits = [len(set(tags[:k]) & of_post) for tags, of_post in zip(best, true, strict=True)]
        expected[f"precision{k}"] = mean([hit / k for hit in hits])
        expected[f"recall{k}"] = mean([hit / len(tags) for hit, tags in zip(hits, true, strict=True) if tags])
        expected[f"accuracy{k}"] = mean([hit > 0 for hit in hits])
    pairs = [(set(tags[:2]), of_post) for tags, of_post in zip(best, true, strict=True)]
    correct = sum(len(one & other) for one, other in pairs)
    expected["overall_precision"] = correct / (2 * len(pairs))
    expected["overall_recall"] = correct / sum(map(len, true)) if any(true) else None
    given_tags = sorted(set().union(*true))
    expected["per_category_recall"] = mean(
        [
            sum(tag in one & other for one, other in pairs) / sum(tag in other for _, other in pairs)
            for tag in given_tags
        ]
    )
    expected["coverage"] = len(set().union(*(one for one, _ in pairs))) / len(TAGS)
    groups = {"0": (0, 0), "1-4": (1, 4), "5+": (5, 99)}
    for text, (least, most) in groups.items():
        of_group = [
            len(set(tags[:3]) & of_post) / 3
            for tags, of_post, length in zip(best, true, tested.lengths, strict=True)
            if least <= length <= most
        ]
        if of_group:
            expected[f"precision3_history_{text}"] = mean(of_group)
        else:
            assert f"precision3_history_{text}" not in found
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


def test_groups_of_lengths() -> None:
    groups = length_groups(np.array([0, 7, 1, 3, 0, 2]), [1, 2, 5])
    assert {text: rows.tolist() for text, rows in groups.items()} == {"0": [0, 4], "1": [2], "2-4": [3, 5], "5+": [1]}
    assert length_groups(np.array([3]), [1]).keys() == {"1+"}


def test_metrics_are_in_percent() -> None:
    tested = Targets(["x"], TAGS, np.array([[True, False, False, False, False, False]]), np.array([0]))
    metrics = metrics_of(all_units(tested, np.arange(6.0)[None, ::-1], PARAMS), {"tested": 1})
    assert metrics["precision1"] == 100
    assert metrics["precision3"] == pytest.approx(33.3333)
    assert metrics["posts"] == {"tested": 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [({"lengths_at": 4}, "must be one of at"), ({"lengths": [5, 1]}, "ascending"), ({"lengths": [0]}, "from 1")],
)
def test_groups_and_ks_must_fit(change, says) -> None:
    with pytest.raises(ValidationError, match=says):
        MeasureParams.model_validate({**PARAMS.model_dump(), **change})
