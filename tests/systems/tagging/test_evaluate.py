"""The evaluation: against scores computed otherwise, cold start, others' histories, growing ones, no user named."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tagging_data import TAGS, options_of, read_posts, recipe
from tiny_tagging import train_run

from base.console import UserError
from model.data.histories import relative
from systems.tagging.evaluate import (
    EvaluateParams,
    evaluate,
    first_share,
    load_network,
    main,
    posts_to_test,
    read_model,
)

pytestmark = pytest.mark.usefixtures("own_folder")
PARAMS = EvaluateParams(
    at=[2], category_at=3, lengths_at=2, lengths=[1], least_tags=0, batch_size=4, evolving=[0.0, 1.0]
)


def precision(logits: torch.Tensor, labels: np.ndarray) -> float:
    best = [sorted(range(len(TAGS)), key=lambda tag: (-row[tag], tag))[:2] for row in logits.tolist()]
    return 100 * float(np.mean([row[tags].sum() / 2 for row, tags in zip(labels, best, strict=True)]))


@pytest.mark.parametrize("network", [{}, {"input": "images"}])
def test_metrics_are_those_of_the_network_run_on_each_post(sources, network) -> None:
    train_run(sources, "A6", epochs=3, **network)
    metrics, units = evaluate(Path("A6"), sources, PARAMS)
    made = recipe("A6", 3, **network)
    posts = read_posts(sources, "test", pixels=made.network.pixels)
    net = load_network(Path("A6"), made, posts)
    rows = posts.row_numbers("test")
    if network:
        crops = [posts.pictures.crop(int(place), 16, 0, None).transpose(2, 0, 1) for place in posts.image_rows[rows]]
        shown = torch.from_numpy(np.stack(crops))
    else:
        shown = torch.from_numpy(posts.pictures[posts.image_rows[rows]])
    for prefix, mode in {"": "leave-one-out", "cold_": "none", "shuffled_": "shuffled"}.items():
        history = torch.from_numpy(relative(posts.history(rows, mode, 0)))
        with torch.no_grad():
            logits = net.recommend(shown, history)
        assert metrics[f"{prefix}precision2"] == pytest.approx(precision(logits, posts.labels(rows)), abs=1e-3)
    # nothing of the history known is the cold start, all of it the history
    assert metrics["evolving_0_precision2"] == metrics["cold_precision2"]
    assert metrics["evolving_100_precision2"] == metrics["precision2"]
    assert metrics["posts"]["tested"] == len(rows)
    assert metrics["posts"]["tested without a tag"] == int((posts.labels(rows).sum(axis=1) == 0).sum()) > 0
    assert not units["unit"].str.contains("user").any()


def test_a_model_without_history_has_no_cold_start(sources) -> None:
    train_run(sources, "A1")
    metrics, _ = evaluate(Path("A1"), sources, PARAMS)
    assert "precision2" in metrics
    assert not any(name.startswith(("cold", "shuffled", "evolving")) for name in metrics)


def test_posts_with_few_tags_can_be_left_out(sources) -> None:
    posts = read_posts(sources, "test")
    rows, tested = posts_to_test(posts, 3)
    assert (tested.labels.sum(axis=1) >= 3).all()
    assert 0 < len(rows) < len(posts.rows)
    with pytest.raises(UserError, match="no test post has 9 tags"):
        posts_to_test(posts, 9)


def test_the_first_share_of_a_history_is_its_earliest_posts() -> None:
    table = pl.DataFrame(
        {
            "user_id": ["u", "u", "v", "u", "u", "v"],
            "image_id": ["a", "b", "c", "d", "e", "f"],
            "time": [4, 1, 3, 2, 0, None],
            "split": ["train", "history", "train", "train", "test", "train"],
        }
    )
    assert first_share(table, 0.7, 0)["image_id"].to_list() == ["b", "d", "f"]  # 2 of 3 posts, and 1 of 2
    assert first_share(table, 0.0, 0).is_empty()
    assert len(first_share(table, 1.0, 0)) == 5


def test_another_vocabulary_and_another_folder_are_refused(sources, monkeypatch) -> None:
    train_run(sources, "A1")
    run = json.loads(Path("A1/run.json").read_text())
    Path("A1/run.json").write_text(json.dumps({**run, "tags": ["x"]}))
    with pytest.raises(UserError, match="its vocabulary is not that with which A1 was trained"):
        evaluate(Path("A1"), sources, PARAMS)
    Path("A1/run.json").write_text("{}")
    with pytest.raises(UserError, match="not of this system"):
        read_model(Path("A1"))


def test_the_command_writes_metrics_and_units(sources) -> None:
    train_run(sources, "A1")
    Path("params.yaml").write_text(json.dumps({"tagging": {"evaluate": PARAMS.model_dump()}}))
    main(["--model=A1", "--output=out", *options_of(sources)])
    assert json.loads(Path("out/metrics.json").read_text())["chosen"]["joint"]["phase"] == "joint"
    assert {path.name for path in Path("out").iterdir()} == {"metrics.json", "units.parquet"}
