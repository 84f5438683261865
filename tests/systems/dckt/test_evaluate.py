"""Tests of the evaluation."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dckt_data import write_domain
from dckt_runs import recipe, write_domains
from sklearn.metrics import average_precision_score

from base.console import UserError
from model.measures.retrieval import unit_rows
from model.training.trainer import train
from systems.dckt.evaluate import iterations_of, main, measure
from systems.dckt.features import read_features
from systems.dckt.task import training_run
from systems.dckt.trained import TargetModel

pytestmark = pytest.mark.usefixtures("own_folder")


def trained(run: str = "DCKT", epochs: int = 3) -> Path:
    """Write the domains and the parameter file, train a run, and return its model folder."""
    write_domains(Path("data"))
    Path("params.yaml").write_text("dckt: {evaluate: {at_once: 5}}\n")
    source, target = (read_features(Path("data") / domain, 0) for domain in ("source", "target"))
    train(training_run(recipe(run, epochs), source, target, 0, run), Path(run))
    return Path(run)


def evaluated(model: Path) -> tuple[dict, pl.DataFrame]:
    main([f"--model={model}", "--data=data", "--output=evaluation"])
    return json.loads(Path("evaluation/metrics.json").read_text()), pl.read_parquet("evaluation/units.parquet")


@pytest.mark.parametrize("run", ["DCKT", "before"])
def test_the_units_are_scikit_learns_average_precisions(run: str) -> None:
    folder = trained(run)
    metrics, units = evaluated(folder)
    test = read_features(Path("data/target"), 0).subset("test")
    model = TargetModel(folder)
    codes = [unit_rows(model.image_codes(test.images)), unit_rows(model.text_codes(test.texts))]
    for name, one, other in (("map_image_to_text", *codes), ("map_text_to_image", *codes[::-1])):
        expected = [
            average_precision_score(test.category == label, row)
            for label, row in zip(test.category, one @ other.T, strict=True)
        ]
        mine = units.filter(metric=name)
        assert mine["unit"].to_list() == test.ids
        assert mine["numerator"].to_list() == pytest.approx(expected)
        assert metrics[name] == pytest.approx(np.mean(expected))
    assert metrics["map"] == pytest.approx((metrics["map_image_to_text"] + metrics["map_text_to_image"]) / 2)
    assert (metrics["pairs"], metrics["categories"]) == (6, 3)
    assert metrics["trained on"]["target train"] == 18


def test_the_iterations_are_those_of_the_transfer() -> None:
    metrics, _ = evaluated(trained())
    assert len(metrics["validation_map"]) == len(metrics["chosen_pairs"]) == 3
    phases = {phase["phase"]: phase for phase in metrics["chosen"]}
    assert max(metrics["validation_map"]) == pytest.approx(phases["transfer"]["value"])
    assert all(2 <= number <= 18 for number in metrics["chosen_pairs"])


def test_a_run_without_transfer_has_no_iterations() -> None:
    assert iterations_of(trained("before", 1)) == {"validation_map": [], "chosen_pairs": []}


def test_a_category_with_one_test_pair_counts() -> None:
    pairs = read_features(write_domain(Path("target"), {"ant": 5, "bee": 10}), 0).subset("test")
    metrics, units = measure(pairs.images, np.roll(pairs.images, 1, axis=0), pairs, 100)
    assert metrics["pairs"] == 3
    assert units.filter(metric="map")["denominator"].to_list() == [1, 1, 1]


def test_too_few_test_pairs() -> None:
    pairs = read_features(write_domain(Path("target"), {"ant": 5, "bee": 5}), 0)
    with pytest.raises(UserError, match="1 test pairs; retrieval needs two or more"):
        measure(pairs.images[:1], pairs.images[:1], pairs.take(np.arange(1)), 100)


def test_another_target_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    folder = trained("before", 1)
    write_domain(Path("data/target"), {"cow": 10, "ant": 10, "wasp": 10})
    with pytest.raises(SystemExit):
        evaluated(folder)
    assert "its target's categories are not those of before" in caplog.text
