import threading
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.data.batches import Draw, ImageDataset, drawn, evaluation_batches, training_batches
from systems.mtmdd.examples import Examples
from base.console import UserError


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_every_image_once_per_pass(number, batch_size, seed):
    places = np.arange(100, 100 + number)
    stream = [pair for step in range(number) for pair in drawn(places, batch_size, step, seed, "x")]
    assert len(stream) == number * batch_size  # batches are full, and as many passes as a batch has images
    assert Counter(stream) == {(int(place), number): 1 for place in places for number in range(batch_size)}
    assert [number for _, number in stream] == sorted(number for _, number in stream)


def test_orders_differ_between_passes_seeds_and_purposes():
    places = np.arange(50)
    orders = {
        tuple(place for place, _ in drawn(places, 50, step, seed, purpose))
        for step in (0, 1)
        for seed in (0, 1)
        for purpose in ("joint/source", "joint/target")
    }
    assert len(orders) == 8


def load(examples: Examples, steps: range, workers: int) -> list:
    dataset = ImageDataset(examples, 16, seed=3, with_clicks=True)
    places = {domain: examples.places(domain, "train") for domain in ("source", "target")}
    return list(training_batches(dataset, places, 4, steps, "joint", workers))


def assert_equal(one, other) -> None:
    assert list(one) == list(other)
    for domain in one:
        for mine, yours in zip(one[domain], other[domain], strict=True):
            assert (mine is None) == (yours is None)
            assert mine is None or torch.equal(mine, yours)


def test_only_the_domains_named_are_mirrored(examples):
    places = {domain: examples.places(domain, "train") for domain in ("source", "target")}
    both, target_only = (
        list(training_batches(ImageDataset(examples, 16, 3, True, mirrored), places, 4, range(4), "joint", 0))
        for mirrored in (("source", "target"), ("target",))
    )
    differing = 0
    for one, other in zip(both, target_only, strict=True):
        assert torch.equal(one["target"].images, other["target"].images)
        for image, unmirrored in zip(one["source"].images, other["source"].images, strict=True):
            assert torch.equal(image, unmirrored) or torch.equal(image.flip(-1), unmirrored)
            differing += not torch.equal(image, unmirrored)
    assert 0 < differing < 16


def test_crops_are_those_of_seed_and_pass(examples):
    place = int(examples.places("source", "train")[0])

    def crops(seed: int, passes: range) -> list[bytes]:
        dataset = ImageDataset(examples, 16, seed, with_clicks=False)
        batch = dataset.__getitems__([Draw("source", place, number) for number in passes])
        return [image.numpy().tobytes() for image in batch["source"].images]

    assert crops(3, range(8)) == crops(3, range(8))
    assert len(set(crops(3, range(8)))) > 2  # of 18 and more: windows of 16 pixels in 18, and their mirrors
    assert crops(4, range(8)) != crops(3, range(8))
    images = ImageDataset(examples, 16, 3, with_clicks=False).__getitems__([Draw("source", place, 5)])["source"].images
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), examples.images.crop(place, 16, 3, 5))


def test_domains_of_one_size_have_orders_of_their_own(examples):
    dataset = ImageDataset(examples, 16, seed=3, with_clicks=False)
    places = {domain: examples.places(domain, "train")[:15] for domain in ("source", "target")}
    (batch,) = training_batches(dataset, places, 15, range(1), "joint", 0)
    of_source, of_target = (batch[domain].places.numpy() - places[domain][0] for domain in ("source", "target"))
    assert set(of_source) == set(of_target) == set(range(15))
    assert of_source.tolist() != of_target.tolist()


def test_either_domain_runs_out_on_its_own(examples):
    batches = load(examples, range(16), workers=0)  # 64 images of each: 21 source and 15 target images
    counts = {
        domain: Counter(place for batch in batches for place in batch[domain].places.tolist())
        for domain in ("source", "target")
    }
    assert set(counts["source"].values()) == {3, 4}
    assert set(counts["target"].values()) == {4, 5}
    assert len(counts["source"]) == 21
    assert len(counts["target"]) == 15


def test_contents_belong_together(examples):
    labels = examples.labels()
    for batch in load(examples, range(4), workers=0):
        assert list(batch) == ["source", "target"]
        source, target = batch["source"], batch["target"]
        assert source.images.shape == target.images.shape == (4, 3, 16, 16)
        assert source.images.dtype == torch.uint8
        assert target.clicks is None
        for domain, part in batch.items():
            assert part.labels.tolist() == labels[part.places.numpy()].tolist()
            assert set(examples.rows["domain"][part.places.tolist()]) == {domain}
        ids = examples.rows["image_id"][source.places.tolist()].to_list()
        assert np.array_equal(source.clicks.numpy(), examples.clicks.vectors(ids))


def test_a_continued_run_sees_the_same_steps(examples):
    for one, other in zip(load(examples, range(9), 0)[5:], load(examples, range(5, 9), 0), strict=True):
        assert_equal(one, other)


def test_loader_processes_change_nothing(examples):
    in_this_process = list(load(examples, range(5), 0))  # its thread has ended when the processes are forked
    for one, other in zip(in_this_process, load(examples, range(5), 2), strict=True):
        assert_equal(one, other)


def test_one_batch_is_made_while_another_is_used(examples, monkeypatch):
    used, made, second = 0, [], threading.Event()
    load_batch = ImageDataset.__getitems__

    def noted(dataset, draws):
        made.append((threading.current_thread() is threading.main_thread(), used))
        if len(made) == 2:
            second.set()
        return load_batch(dataset, draws)

    monkeypatch.setattr(ImageDataset, "__getitems__", noted)
    dataset = ImageDataset(examples, 16, seed=3, with_clicks=True)
    batches = training_batches(dataset, {"target": examples.places("target", "train")}, 4, range(5), "joint", 0)
    for number, _ in enumerate(batches):
        assert number > 0 or second.wait(60)  # nobody has asked for it yet
        used += 1
    assert len(made) == 5
    for number, (is_in_main_thread, used_then) in enumerate(made):
        assert not is_in_main_thread
        assert number - used_then <= 1


def test_what_cannot_be_loaded_fails_in_its_own_step(examples, monkeypatch):
    load_batch, broken = ImageDataset.__getitems__, UserError("source image 'x': cannot decode an image of 3 bytes")
    calls = iter([None, None, broken])

    def third_is_broken(dataset, draws):
        if error := next(calls):
            raise error
        return load_batch(dataset, draws)

    expected = load(examples, range(2), workers=0)
    monkeypatch.setattr(ImageDataset, "__getitems__", third_is_broken)
    dataset = ImageDataset(examples, 16, seed=3, with_clicks=True)
    places = {domain: examples.places(domain, "train") for domain in ("source", "target")}
    batches = training_batches(dataset, places, 4, range(5), "joint", 0)
    for batch in expected:
        assert_equal(next(batches), batch)
    with pytest.raises(UserError, match="source image 'x'") as raised:
        next(batches)
    assert raised.value is broken


@pytest.mark.parametrize("of", [2, 3])
def test_parts_of_a_step_are_the_step(examples, of):
    dataset = ImageDataset(examples, 16, seed=3, with_clicks=True)
    places = {domain: examples.places(domain, "train") for domain in ("source", "target")}
    whole = load(examples, range(2, 5), workers=0)
    parts = [
        list(training_batches(dataset, places, 4, range(2, 5), "joint", 0, parts=part, of=of))
        for part in (range(1), range(1, of))  # the first, and all others one after another
    ]
    for number, batch in enumerate(whole):
        found = [parts[0][number], *parts[1][number * (of - 1) : (number + 1) * (of - 1)]]
        sizes = [len(part["target"].labels) for part in found]
        assert sizes == {2: [2, 2], 3: [1, 1, 2]}[of]
        for domain in batch:
            for name in ("images", "labels", "places"):
                together = torch.cat([getattr(part[domain], name) for part in found])
                assert torch.equal(together, getattr(batch[domain], name))


def test_rows_chosen_later_begin_new_passes():
    # chosen at step 3 of batches of 4: passes are counted from 12, and none cuts the one before short
    chosen = np.array([7, 8, 9])
    stream = [pair for step in (3, 4, 5) for pair in drawn(chosen, 4, step, 0, "x", start=3)]
    assert Counter(stream) == {(place, number): 1 for place in (7, 8, 9) for number in (12, 13, 14, 15)}
    assert [number for _, number in stream] == sorted(number for _, number in stream)
    assert list(drawn(chosen, 4, 3, 0, "x", start=0)) != stream[:4]


def test_loading_leaves_the_random_numbers_alone(examples):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load(examples, range(2), workers=0)
    assert torch.equal(torch.rand(3), expected)


def test_evaluation_sees_each_row_once_in_order(examples):
    dataset = ImageDataset(examples, 16, seed=3, with_clicks=False)
    places = examples.places("source", "validation")
    batches = list(evaluation_batches(dataset, "source", places, 4, workers=0))
    assert [len(batch["source"].labels) for batch in batches] == [4, 4, 1]
    assert torch.cat([batch["source"].places for batch in batches]).tolist() == places.tolist()
    assert batches[0]["source"].clicks is None
    middle = examples.images.crop(int(places[0]), 16, 0, None)
    assert np.array_equal(batches[0]["source"].images[0].permute(1, 2, 0).numpy(), middle)
