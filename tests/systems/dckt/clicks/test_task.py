"""The training on clicks: which pairs, which weights and positives, that it learns, and errors."""

import numpy as np
import pytest
import torch
from click_data import CLICKS, write_click_data, write_params

from base.console import UserError
from model.data.batches import Draw
from model.losses.info_nce import InfoNCE
from systems.dckt.clicks.config import ClickEvaluateParams, ClickTrainParams
from systems.dckt.clicks.data import Clicks, read_clicks
from systems.dckt.clicks.queries import main as write_queries
from systems.dckt.clicks.task import PAIRS, ClickTask, Contrast, click_run

PARAMS = ClickTrainParams.model_validate(CLICKS["train"])
EVALUATE = ClickEvaluateParams.model_validate(CLICKS["evaluate"])


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Clicks:
    path = tmp_path_factory.mktemp("clicks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        write_click_data(path)
        write_params()
        write_queries(["--queries", "data/features/queries", "--counts", "counts.json", "--output", "q.parquet"])
    return read_clicks(path / "data", path / "embedded", path / "q.parquet", 0)[0]


def task_of(clicks: Clicks, by_clicks: bool = True) -> ClickTask:
    return ClickTask(clicks, PARAMS, EVALUATE, 0, by_clicks)


def test_only_training_queries_on_training_images_are_trained_on(clicks: Clicks) -> None:
    task = task_of(clicks)
    rows = task.rows[PAIRS]
    assert set(clicks.query_split[clicks.query[rows]]) == {"train"}
    assert set(clicks.image_split[clicks.image[rows]]) == {"train"}
    assert (
        len(rows)
        == ((clicks.query_split[clicks.query] == "train") & (clicks.image_split[clicks.image] == "train")).sum()
    )
    asked = {clicks.queries[row] for row in task.asked}
    assert not asked & {
        query for query, split in zip(clicks.queries, clicks.query_split, strict=True) if split == "test"
    }
    assert {split for query, split in zip(clicks.queries, clicks.query_split, strict=True) if query in asked} == {
        "train",
        "validation",
    }


def test_a_batch_has_weights_by_clicks_and_all_known_positives(clicks: Clicks) -> None:
    rows = clicks.pairs("train", "train")[[4, 90, 4, 31]]
    draws = [Draw(int(row), 0) for row in rows]
    batch = task_of(clicks).load(PAIRS, draws)
    np.testing.assert_allclose(batch.weights.numpy(), np.log(1 + clicks.clicks[rows]), rtol=1e-6)
    assert task_of(clicks, by_clicks=False).load(PAIRS, draws).weights.tolist() == [1, 1, 1, 1]
    matrix = clicks.matrix().toarray()
    expected = [[matrix[query, image] > 0 for query in clicks.query[rows]] for image in clicks.image[rows]]
    assert batch.positives.tolist() == expected
    assert batch.positives[0, 2]  # a pair that is drawn twice is no negative of itself
    assert not batch.positives.all()
    np.testing.assert_array_equal(batch.images.numpy(), clicks.image_features[clicks.image[rows]])
    np.testing.assert_array_equal(batch.queries.numpy(), clicks.query_features[clicks.query[rows]])


def test_a_step_has_the_loss_of_the_batch_and_every_parameter_a_gradient(clicks: Clicks) -> None:
    torch.manual_seed(0)
    task = task_of(clicks)
    towers = task.network(lambda phase: {})
    batch = task.load(PAIRS, [Draw(int(row), 0) for row in task.rows[PAIRS][:16]])
    loss, parts = task.loss(Contrast(towers), {PAIRS: batch})
    codes = towers.codes_of_images(batch.images), towers.codes_of_texts(batch.queries)
    expected = InfoNCE()(*codes, towers.t, batch.weights, batch.positives)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6) == parts["contrast"].item()
    loss.backward()
    for name, weight in towers.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


def test_only_the_temperature_does_not_decay(clicks: Clicks) -> None:
    task = task_of(clicks)
    towers = task.network(lambda phase: {})
    groups = task.optimizers(Contrast(towers))[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert [weight is towers.t for weight in groups[1]["params"]] == [True]
    assert sum(len(group["params"]) for group in groups) == len(list(towers.parameters()))


def test_inputs_are_standardised_by_what_is_trained_on(clicks: Clicks) -> None:
    towers = task_of(clicks).network(lambda phase: {})
    seen = clicks.image_features[clicks.image_split == "train"]
    np.testing.assert_allclose(towers.image_inputs.mean.numpy(), seen.mean(axis=0), rtol=1e-5)
    assert not np.allclose(towers.image_inputs.mean.numpy(), clicks.image_features.mean(axis=0))


def test_the_control_trains_on_exchanged_images(clicks: Clicks) -> None:
    plain, control = (click_run(run, clicks, PARAMS, EVALUATE, 0, "x") for run in ("weighted", "shuffled"))
    one, other = plain.tasks[0], control.tasks[0]
    assert isinstance(one, ClickTask)
    assert isinstance(other, ClickTask)
    assert len(one.rows[PAIRS]) == len(other.rows[PAIRS])
    assert (one.clicks.image != other.clicks.image).any()
    assert plain.fingerprint != control.fingerprint
    names = one.names(PAIRS, [int(one.rows[PAIRS][0])])
    assert names[0].split(": ")[0] in clicks.images


def test_too_few_pairs_for_a_step(clicks: Clicks) -> None:
    train = PARAMS.train.model_copy(update={"batch_size": 4096})
    with pytest.raises(UserError, match=r"\d+ clicked pairs .* fewer than those of a step, 4096"):
        ClickTask(clicks, PARAMS.model_copy(update={"train": train}), EVALUATE, 0, by_clicks=True)
