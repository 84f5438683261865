"""An evaluation against the networks' own outputs; predictions, and the wrong data set."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from annotation_data import LABELS, NUMBER, SEED, labels_of, read, recipe, split_of, write_data_set
from sklearn.metrics import average_precision_score

from base.console import UserError
from base.schemas import ANNOTATIONS
from model.data.batches import Draw
from model.measures.label_sets import SET_MEASURES, measure_sets, nearest_counts
from model.measures.units import reduce_units
from model.training.trainer import train
from systems.annotation.evaluate import evaluate
from systems.annotation.model import load_model
from systems.annotation.rules import RuleParams, most_probable
from systems.annotation.task import training_run

PARAMS = RuleParams(batch_size=5, top=2, thresholds=[0.5], bins=4)


@pytest.fixture
def trained(request: pytest.FixtureRequest, own_folder: None) -> Path:
    run = training_run(recipe(request), read(write_data_set(Path("data"))), SEED, "tiny")
    train(run, Path("model"))
    return Path("model")


def test_measures_are_those_of_the_networks(trained: Path) -> None:
    metrics, units, annotated, png = evaluate(trained, Path("data"), SEED, PARAMS)
    data, model = read(Path("data"), "test"), load_model(trained)
    assert data.images is not None
    pictures = data.images.crops([Draw(row, None) for row in range(len(data.names))], 16, 0)
    nets = model.phases
    with torch.no_grad():
        f_v = nets["fused"].features(pictures)
        f = torch.cat([f_v, nets["tags"].features(torch.from_numpy(data.tagged.toarray()))], dim=1)
        logits = {"cnn": nets["cnn"](pictures), "fused": nets["fused"].head(f_v), "labels": nets["labels"](f)}
        quantity = nets["quantity"].quantity(f).numpy()
    for phase, z in logits.items():
        given = most_probable(z.numpy(), 2)
        for name, measured in measure_sets(given, data.has).items():
            assert metrics[f"{name}_{phase}_top"] == pytest.approx(100 * measured.value, abs=1e-3)
        wanted = average_precision_score(data.has, z.numpy())
        assert metrics[f"map_{phase}"] == pytest.approx(100 * wanted, abs=1e-3)
    given = most_probable(logits["labels"].numpy(), nearest_counts(quantity, 3))
    assert metrics["h_f1_labels_predicted"] == pytest.approx(
        100 * measure_sets(given, data.has)["h_f1"].value, abs=1e-3
    )
    error = float(((quantity - data.has.sum(axis=1)) ** 2).mean())
    assert metrics["squared_errors"]["quantity"] == pytest.approx(error, abs=1e-3)
    rules = {name.removeprefix("h_f1_labels_") for name in metrics if name.startswith("h_f1_labels_")}
    assert rules == {"top", "predicted", "true", "threshold=0.5", "tuned"}
    assert {f"{name}_tags_top" for name in SET_MEASURES} <= set(reduce_units(units))
    assert annotated.schema == pl.Schema(ANNOTATIONS)
    assert annotated["image_id"].to_list() == data.names
    assert annotated["labels"].to_list() == [labels_of(n) for n in range(NUMBER) if split_of(n) == "test"]
    assert annotated["quantity"].to_numpy() == pytest.approx(quantity, abs=1e-5)
    order = np.argsort(np.array(annotated["probabilities"].to_list()), axis=1)  # calibration keeps the order
    assert (order == logits["labels"].argsort(dim=1).numpy()).all() or metrics["calibration"]["labels"]["a"] <= 0
    assert metrics["labels"] == LABELS
    assert png.startswith(b"\x89PNG")


def test_another_seed_or_data_set_is_refused(trained: Path) -> None:
    split = Path("data/splits/seed-3.parquet")
    pl.read_parquet(split).write_parquet("data/splits/seed-4.parquet")
    with pytest.raises(UserError, match="its labels, tags or seed are not those that model was trained for"):
        evaluate(trained, Path("data"), 4, PARAMS)
    pl.read_parquet(split).filter(pl.col("split") != "test").write_parquet(split)
    with pytest.raises(UserError, match="seed 3 has no test image"):
        evaluate(trained, Path("data"), SEED, PARAMS)
    content = json.loads((trained / "run.json").read_text())
    del content["recipe"]
    (trained / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"run.json: not of this system"):
        load_model(trained)
