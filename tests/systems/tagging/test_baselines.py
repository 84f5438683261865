"""The baselines: which value is chosen, what is measured, and that test posts have no part in the fit."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tagging_data import TAGS, options_of, read_posts, write_data

from base.console import UserError
from model.measures.units import check_reduces
from systems.tagging.baselines import BaselineParams, Fitted, main
from systems.tagging.config import BASELINES

pytestmark = pytest.mark.usefixtures("own_folder")
PARAMS = {
    "weights": [1000.0, 1.0],
    "groups": 2,
    "neighbours": 3,
    "restart": [0.5],
    "steps": 2,
    "components": 3,
    "corruption": 0.3,
    "completion": 1.0,
    "penalties": [0.1],
    "warp_rates": [0.1],
    "warp_epochs": 3,
    "warp_batch": 8,
    "factors": 2,
    "confidences": [2.0],
    "regularisation": 0.5,
    "rounds": 2,
}
EVALUATE = {
    "at": [1, 3],
    "category_at": 3,
    "lengths_at": 3,
    "lengths": [1],
    "least_tags": 0,
    "batch_size": 4,
    "evolving": [],
}


def fitted(sources, **changes) -> Fitted:
    posts = read_posts(sources, "train", "validation", "test")
    return Fitted(posts, BaselineParams.model_validate({**PARAMS, **changes}), seed=0)


def write_params(baselines=BASELINES, **changes) -> None:
    plan = {"data_set": "toy", "logged": ["toy"], "runs": [], "baselines": list(baselines), "examples": []}
    tagging = {"plan": plan, "baselines": {**PARAMS, **changes}, "evaluate": EVALUATE}
    Path("params.yaml").write_text(json.dumps({"seeds": [0], "tagging": tagging}))


def test_every_baseline_is_measured(sources) -> None:
    write_params()
    main(["--output=out", *options_of(sources)])
    for name in BASELINES:
        metrics = json.loads(Path(f"out/{name}/seed-0/metrics.json").read_text())
        check_reduces(metrics, pl.read_parquet(f"out/{name}/seed-0/units.parquet"), scale=100, tolerance=1e-3)
        assert metrics["posts"]["tested"] > 0
    assert json.loads(Path("out/summary.json").read_text()).keys() == set(BASELINES)
    # users' own words are half of the tags, which the most used ones can't know
    assert metrics_of("own")["precision3"] > metrics_of("most_used")["precision3"]


def metrics_of(name: str) -> dict:
    return json.loads(Path(f"out/{name}/seed-0/metrics.json").read_text())


def test_the_value_with_the_best_validation_precision_is_taken(sources) -> None:
    text, scores = fitted(sources).best("interpolated", 3)
    assert text == "weight 1"
    rows = np.arange(3)
    assert scores(rows) == pytest.approx(fitted(sources).choices("interpolated")["weight 1"](rows))
    assert fitted(sources, weights=[7.0]).best("interpolated", 3)[0] == "weight 7"


def test_a_choice_needs_validation_posts(tmp_path) -> None:
    sources = write_data(tmp_path)
    path = sources.splits / "splits/seed-0.parquet"
    split = pl.read_parquet(path).with_columns(pl.col("split").replace("validation", "test"))
    split.write_parquet(path)
    with pytest.raises(UserError, match="interpolated has 2 values and no validation post"):
        fitted(sources).best("interpolated", 3)


@pytest.mark.parametrize("name", BASELINES)
def test_tags_of_test_posts_have_no_part_in_scores(tmp_path, name) -> None:
    sources = write_data(tmp_path)
    tested = read_posts(sources, "train", "validation", "test").row_numbers("test")
    before = fitted(sources).best(name, 3)[1](tested)
    path = sources.tags / "posts/part-00000.parquet"
    split = sources.every_post().select("image_id", "user_id", "split")
    posts = pl.read_parquet(path).join(split, on=["image_id", "user_id"], maintain_order="left")
    every = pl.lit(list(range(len(TAGS))), pl.List(pl.Int32))
    changed = posts.with_columns(tag_ids=pl.when(split="test").then(every).otherwise("tag_ids")).drop("split")
    changed.write_parquet(path)
    assert fitted(sources).best(name, 3)[1](tested) == pytest.approx(before)


def test_no_baseline_gives_a_folder_without_one(sources) -> None:
    write_params(baselines=[])
    main(["--output=out", *options_of(sources)])
    assert [path.name for path in Path("out").iterdir()] == ["summary.json"]


def test_a_log_without_pictures_has_the_recommenders_that_need_none(sources, caplog) -> None:
    without = options_of(sources)[:2]
    write_params()
    with pytest.raises(SystemExit):
        main(["--output=out", *without])
    assert "fast_tag, warp need pictures; give --images" in caplog.text
    of_counts = [name for name in BASELINES if name not in ("fast_tag", "warp")]
    write_params(of_counts)
    main(["--output=out", *without])
    assert json.loads(Path("out/summary.json").read_text()).keys() == set(of_counts)
    found = {name: metrics_of(name) for name in of_counts}
    main(["--output=out", *options_of(sources)])
    assert {name: metrics_of(name) for name in ("own", "factorisation")} == {
        name: found[name] for name in ("own", "factorisation")
    }
    assert metrics_of("user_groups") != found["user_groups"]  # with pictures, neighbours vote
