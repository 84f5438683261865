"""The phases: alternating steps, each optimiser its own parts, A3's frozen auto-encoder, leave one out."""

import numpy as np
import pytest
import torch
from tagging_data import read_posts, recipe
from torch import nn

from model.data.batches import Draw
from model.training.learner import Learner
from model.training.trainer import train
from systems.tagging.config import METHODS
from systems.tagging.task import PreferenceTask, TagTask, training_run

pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_training_post_is_loaded_without_its_own_tags(sources) -> None:
    """With the paper's histories a tag that only this post has is in its own history: the network could copy it."""
    posts = read_posts(sources)
    rows = posts.row_numbers("train")
    draws = [Draw(int(row), 0) for row in rows]
    seen, leaking = (TagTask(recipe(run), posts, 0).load("posts", draws) for run in ("A6", "A6_history=whole"))
    assert torch.equal(seen.labels, leaking.labels)
    assert (leaking.history[seen.labels == 1] > 0).all()  # each of its tags is in its history
    only = posts.history(rows, "whole") == 1
    assert (seen.history.numpy()[only & (seen.labels.numpy() == 1)] == 0).all()
    assert (only & (seen.labels.numpy() == 1)).any()
    assert seen.history.max() == 1


def test_the_posts_of_a_picture_are_next_to_each_other_when_they_are_read(sources) -> None:
    posts = read_posts(sources)
    task = TagTask(recipe("A6"), posts, 0)
    rows = task.rows["posts"]
    in_order = posts.image_rows[rows[np.argsort(task.reading_order("posts", rows), kind="stable")]]
    changes = np.flatnonzero(np.diff(in_order)) + 1
    assert len(changes) + 1 == len(set(in_order.tolist())) < len(rows)


def test_thinned_histories_differ_between_passes_and_not_in_validation(sources) -> None:
    task = TagTask(recipe("A6_history=thinned"), read_posts(sources), 0)
    rows = [int(row) for row in task.rows["posts"]]
    first, again, second, validated = (
        task.load("posts", [Draw(row, number) for row in rows]).history for number in (0, 0, 1, None)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(
        validated, TagTask(recipe("A6"), task.posts, 0).load("posts", [Draw(row, None) for row in rows]).history
    )


def test_the_direct_history_begins_with_the_shares_of_the_training_posts_tags(sources) -> None:
    posts = read_posts(sources)
    network = TagTask(recipe("A6_direct=history"), posts, 0).network(lambda phase: {})
    counts = posts.labels(posts.row_numbers("train")).sum(axis=0)
    smallest = 1e-4 * len(posts.row_numbers("train"))  # of a tag without a post
    expected = np.maximum(counts, smallest) / np.maximum(counts, smallest).sum()
    assert network.direct.shares.numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("run", ["A5", "A6", "A6_layers=code", "A6_direct=history"])
def test_each_optimiser_changes_only_its_own_parts(sources, run, monkeypatch) -> None:
    update, changed = Learner.update, {0: set[str](), 1: set[str]()}

    def watched(learner: Learner, number: int = 0) -> None:
        before = {name: weight.detach().clone() for name, weight in learner.module.named_parameters()}
        update(learner, number)
        for name, weight in learner.module.named_parameters():
            if not torch.equal(weight, before[name]):
                changed[number].add(name.split(".")[0])

    monkeypatch.setattr(Learner, "update", watched)
    train(training_run(recipe(run), read_posts(sources), 0, "run"), "model")
    assert changed == {0: {"network"}, 1: {"judge"}}


@pytest.mark.parametrize("run", METHODS)
def test_every_method_trains_and_says_what_it_learned(sources, run) -> None:
    chosen = train(training_run(recipe(run, epochs=2), read_posts(sources), 0, run), "model")
    assert [epoch.phase for epoch in chosen] == (["preference", "joint"] if run == "A3" else ["joint"])
    assert chosen[-1].chosen_on == "validation precision at 5"


def test_not_joint_keeps_the_auto_encoder_as_it_was_trained(sources) -> None:
    run = training_run(recipe("A3", epochs=2), read_posts(sources), 0, "A3")
    first, second = run.tasks
    assert type(first) is PreferenceTask
    saved = {name: value + 1 for name, value in first.network(lambda phase: {}).state_dict().items()}
    network = second.network({"preference": saved}.__getitem__)
    assert all(torch.equal(value, saved[name]) for name, value in network.preference.state_dict().items())
    [of_network, _] = second.optimizers(second.module(network))
    trained = {id(weight) for group in of_network.param_groups for weight in group["params"]}
    assert not trained & {id(weight) for weight in network.preference.parameters()}
    assert trained == {
        id(weight) for part in (network.visual, network.personal, network.general) for weight in part.parameters()
    }


def test_losses_are_weighted_means(sources) -> None:
    task = TagTask(recipe("A6"), read_posts(sources), 0)
    torch.manual_seed(0)
    module = task.module(task.network(lambda phase: {}))
    rows = task.rows["posts"][:9]
    batch = task.load("posts", [Draw(int(row), 0) for row in rows])
    total, parts = task.loss(module, {"posts": batch})
    found, judged = module(batch.pictures, batch.history)
    p, y = found.personal.sigmoid().double(), batch.labels.double()
    entropy = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert parts["personal"].item() == pytest.approx(entropy.item(), rel=1e-4)
    half_squares = 0.5 * (found.preference.logits.sigmoid() - batch.history).square().mean()
    assert parts["reconstruction"].item() == pytest.approx(
        half_squares.item(), rel=1e-5
    )  # delta = 1 is half the square
    assert parts["deceiving"].item() == pytest.approx(-judged.sigmoid().log().mean().item(), rel=1e-4)
    weights = {"personal": 8, "general": 8, "reconstruction": 8, "deceiving": 1}
    assert total.item() == pytest.approx(sum(weights[name] * value.item() for name, value in parts.items()), rel=1e-5)


def test_the_last_layers_begin_at_the_shares_of_the_tags(sources) -> None:
    posts = read_posts(sources)
    network = TagTask(recipe("A6"), posts, 0).network(lambda phase: {})
    shares = posts.labels(posts.row_numbers("train")).mean(axis=0)
    for head in (network.personal, network.general):
        last = head[-1]
        assert isinstance(last, nn.Linear)
        assert last.bias.detach().sigmoid().numpy() == pytest.approx(shares.clip(1e-4), rel=1e-4)


def test_pictures_are_cropped_at_random_in_training_and_in_the_middle_else(sources) -> None:
    posts = read_posts(sources, pixels=18)
    task = TagTask(recipe("A6", input="images"), posts, 0)
    row = int(posts.row_numbers("train")[0])
    crops = [task.load("posts", [Draw(row, number)]).pictures for number in (0, 1, 2, None)]
    assert all(crop.shape == (1, 3, 16, 16) for crop in crops)
    middle = posts.pictures.crop(int(posts.image_rows[row]), 16, 0, None).transpose(2, 0, 1)
    assert np.array_equal(crops[-1][0].numpy(), middle)
    assert len({crop.numpy().tobytes() for crop in crops[:3]}) > 1


def test_users_habits_are_learned(sources) -> None:
    """The third tag of every post is its user's own; the picture doesn't show it."""
    found = {}
    for run in ("A1", "A6"):
        chosen = train(training_run(recipe(run, epochs=30), read_posts(sources), 0, run), run)
        found[run] = chosen[-1].value
    assert found["A6"] > found["A1"]
