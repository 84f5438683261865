"""The pair phase: steps of P categories with Q images, neighbours, the loss, and where it starts from."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.torch
import torch
from siamese_runs import images as tiny_images
from siamese_runs import recipe as tiny_recipe
from torch.nn import functional

from model.classification import LabelledImages, softmax
from model.data.batches import Draw, draws_of_step
from model.losses.contrastive import ContrastiveLoss
from model.losses.triplet import TripletLoss
from model.training.learner import num_steps_per_epoch
from model.training.trainer import train
from systems.siamese.task import CATEGORIES, Branch, PairTask, confusion_between, training_run


@pytest.fixture
def images(request: pytest.FixtureRequest) -> LabelledImages:
    return tiny_images(request)


def tasks_of(request: pytest.FixtureRequest, labelled: LabelledImages, run: str = "clicks", **changes) -> list:
    recipe = tiny_recipe(request, run)
    tuned = recipe.fine_tuning.model_copy(update=changes)
    return list(training_run(recipe.model_copy(update={"fine_tuning": tuned}), labelled, 0, "tiny").tasks)


def draws(task: PairTask, step: int) -> list[Draw]:
    rows = task.rows[CATEGORIES]
    return list(draws_of_step(rows, task.params.batch_size, step, task.seed, f"{task.name}/{CATEGORIES}"))


def rows_of(task: PairTask, drawn: list[Draw]) -> np.ndarray:
    return np.stack([task._images_of(draw) for draw in drawn])


def test_a_step_has_so_many_categories_with_so_many_different_training_images(request, images) -> None:
    task = tasks_of(request, images, categories=4, images=3)[-1]
    training = set(images.row_numbers("train").tolist())
    seen: Counter[int] = Counter()
    for step in range(30):
        drawn = draws(task, step)
        rows = rows_of(task, drawn)
        assert rows.shape == (4, 3)
        for draw, mine in zip(drawn, rows, strict=True):
            assert set(mine.tolist()) <= training
            assert len(set(mine.tolist())) == 3
            assert {images.rows["category"][int(row)] for row in mine} == {images.categories[draw.row]}
        seen.update(rows.ravel().tolist())
    assert set(seen) == training  # 360 draws of 21 images
    assert num_steps_per_epoch(task) == 2  # 21 images in draws of 3, 4 draws a step


def test_a_small_category_repeats_images_and_one_without_training_images_is_never_drawn(request, images) -> None:
    is_bee = pl.col("category") == "bee"
    split = pl.when(is_bee).then(pl.lit("validation")).otherwise("split").alias("split")
    fewer = LabelledImages(images.rows.with_columns(split), images.categories, images.images, "fewer")
    task = tasks_of(request, fewer, images=20)[-1]
    drawn = [draw for step in range(5) for draw in draws(task, step)]
    assert {images.categories[draw.row] for draw in drawn} == {"ant", "cat"}
    assert rows_of(task, drawn).shape == (20, 20)


def test_images_are_read_by_category_or_all_if_neighbours_are_drawn(request, images) -> None:
    task = tasks_of(request, images)[-1]
    read = []
    task.images.images.read = lambda rows: read.append(set(np.asarray(rows).tolist()))
    training, labels = set(images.row_numbers("train").tolist()), images.labels()
    task.will_read(CATEGORIES, np.array([2, 0]))
    assert read.pop() == {row for row in training if labels[row] in (0, 2)} < training
    task.confusion = torch.ones(3, 3)
    task.will_read(CATEGORIES, np.array([2, 0]))
    assert read.pop() == training
    task.will_read(task.stream, np.array([1, 4]))
    assert read.pop() == {1, 4}
    assert sorted(task.reading_order(task.stream, np.arange(5))) == sorted(images.images.order[:5])
    del task.images.images.read


def test_loaded_images_are_the_crops_of_their_rows(request, images) -> None:
    task = tasks_of(request, images)[-1]
    drawn = draws(task, 1)
    batch = task.load(CATEGORIES, drawn)
    assert batch.images.shape == (4, 2, 3, 16, 16)
    for group, labels, draw, rows in zip(*batch, drawn, rows_of(task, drawn), strict=True):
        assert labels.tolist() == [draw.row] * 2
        crops = images.images.crops([Draw(int(row), draw.pass_number) for row in rows], 16, 0)
        assert torch.equal(group, crops)
    single = task.load("images", [Draw(5, None)])
    assert single.images.shape == (1, 3, 16, 16)


def test_the_loss_is_cross_entropy_and_weighted_pairs(request, images) -> None:
    softmax_task, control, siamese = tasks_of(request, images, pair_weight=0.7)
    branch = Branch(softmax_task.network(lambda phase: {})).eval()
    batch = {CATEGORIES: siamese.load(CATEGORIES, draws(siamese, 0))}
    pixels, labels = (values.flatten(0, 1) for values in batch[CATEGORIES])
    logits, phi = branch.classifier(pixels), branch.classifier.backbone(pixels).phi
    entropy, pairs = functional.cross_entropy(logits, labels), ContrastiveLoss(1.0)(phi, labels)
    found, parts = siamese.loss(branch, batch)
    torch.testing.assert_close(found, entropy + 0.7 * pairs)
    torch.testing.assert_close(parts, {"recognition": entropy.detach(), "pairs": pairs.detach()})
    found, parts = control.loss(branch, batch)
    torch.testing.assert_close(found, entropy)
    assert parts["pairs"] > 0  # it is measured, but has no weight


def test_shuffled_pairs_change_only_the_pair_loss(request, images) -> None:
    shuffled = tasks_of(request, images, "clicks_pairs=shuffled")[-1]
    plain = tasks_of(request, images)[-1]
    branch = Branch(tasks_of(request, images)[0].network(lambda phase: {})).eval()
    batch = {CATEGORIES: plain.load(CATEGORIES, draws(plain, 0))}
    labels = batch[CATEGORIES].labels.flatten()
    torch.manual_seed(4)
    expected = labels[torch.randperm(len(labels))]
    torch.manual_seed(4)
    _, parts = shuffled.loss(branch, batch)
    phi = branch.classifier.backbone(batch[CATEGORIES].images.flatten(0, 1)).phi
    torch.testing.assert_close(parts["pairs"], ContrastiveLoss(1.0)(phi, expected).detach())
    torch.testing.assert_close(parts["recognition"], plain.loss(branch, batch)[1]["recognition"])
    assert parts["pairs"] != plain.loss(branch, batch)[1]["pairs"]


def test_confusion_by_hand() -> None:
    probabilities = torch.tensor([[0.6, 0.4, 0.0], [0.8, 0.0, 0.2], [0.3, 0.5, 0.2]], dtype=torch.float64)
    # images of category 0, 0 and 1; category 2 has none
    found = confusion_between(probabilities, torch.tensor([0, 0, 1]))
    mean = np.array([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0, 0, 0]])
    expected = mean + mean.T
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_neighbours_are_drawn_in_proportion_to_the_confusion(request, images) -> None:
    task = tasks_of(request, images, "clicks_pairs=confusable")[-1]
    assert task.params.batch_size == 2  # two draws of two categories each
    # ant is taken for cat three times as often as for bee, bee and cat never for each other
    task.load_state_dict({"confusion": torch.tensor([[0.0, 0.1, 0.3], [0.1, 0.0, 0.0], [0.3, 0.0, 0.0]])})
    other: dict[int, Counter[str]] = {label: Counter() for label in range(3)}
    for number in range(400):
        for label in range(3):
            rows = task._images_of(Draw(label, number))
            names = [images.rows["category"][int(row)] for row in rows]
            assert names[:2] == [images.categories[label]] * 2
            assert names[2] == names[3]
            other[label][names[2]] += 1
    assert set(other[0]) == {"bee", "cat"}
    assert other[0]["cat"] / 400 == pytest.approx(0.75, abs=0.08)  # 3.7 standard errors
    assert other[1] == {"ant": 400}
    task.load_state_dict({"confusion": torch.zeros(3, 3)})
    without = {images.rows["category"][int(task._images_of(Draw(1, number))[2])] for number in range(50)}
    assert without == {"ant", "cat"}  # nothing is known, so any other category


def test_the_baseline_has_the_triplet_loss_of_the_same_steps(request, images) -> None:
    triplet, plain = (tasks_of(request, images, run)[-1] for run in ("clicks_loss=triplet", "clicks"))
    branch = Branch(tasks_of(request, images)[0].network(lambda phase: {})).eval()
    batch = {CATEGORIES: triplet.load(CATEGORIES, draws(triplet, 0))}
    pixels, labels = (values.flatten(0, 1) for values in batch[CATEGORIES])
    found, parts = triplet.loss(branch, batch)
    torch.testing.assert_close(
        parts["pairs"], TripletLoss(1.0)(branch.classifier.backbone(pixels).phi, labels).detach()
    )
    torch.testing.assert_close(found, parts["recognition"] + 0.5 * parts["pairs"], check_dtype=False)
    assert parts["pairs"] != plain.loss(branch, batch)[1]["pairs"]


def test_soft_labels_are_the_targets_of_the_cross_entropy_and_their_best_those_of_the_pairs(request, images) -> None:
    soft = np.full((len(images.rows), 3), 0.1, np.float32)
    soft[np.arange(len(soft)), images.labels()] = 0.8
    soft[:, 1] -= np.where(images.labels() == 1, 0, 0.05).astype(np.float32)
    soft /= soft.sum(axis=1, keepdims=True)
    softmax_task, _, siamese = training_run(tiny_recipe(request), images, 0, "tiny", soft).tasks
    hard = tasks_of(request, images)[-1]
    classifier = softmax_task.network(lambda phase: {}).eval()
    drawn = [Draw(int(row), 0) for row in images.row_numbers("train")[:5]]
    batch = softmax_task.load("images", drawn)
    log_p = classifier(batch.images).log_softmax(dim=1)
    rows = [draw.row for draw in drawn]
    expected = -(torch.from_numpy(soft[rows]) * log_p).sum(dim=1).mean()
    torch.testing.assert_close(softmax_task.loss(classifier, {"images": batch})[0], expected)
    branch = Branch(classifier)
    parts, of_hard = (
        task.loss(branch, {CATEGORIES: task.load(CATEGORIES, draws(task, 0))})[1] for task in (siamese, hard)
    )
    torch.testing.assert_close(parts["pairs"], of_hard["pairs"])
    assert parts["recognition"] != of_hard["recognition"]
    plain = training_run(tiny_recipe(request), images, 0, "tiny")
    assert plain.fingerprint != training_run(tiny_recipe(request), images, 0, "tiny", soft).fingerprint


@pytest.mark.usefixtures("own_folder")
def test_the_confusion_is_that_of_the_softmax_phase_on_the_sources_validation_images(request, images) -> None:
    run = training_run(tiny_recipe(request, "clicks_pairs=confusable"), images, 0, "tiny")
    train(run, Path("model"))
    classifier = run.tasks[0].network(lambda phase: {}).eval()
    classifier.load_state_dict(safetensors.torch.load_file("model/softmax.safetensors"))
    rows = images.row_numbers("validation")
    with torch.no_grad():
        probabilities = softmax(classifier(images.images.crops([Draw(int(row), None) for row in rows], 16, 0)))
    expected = confusion_between(torch.from_numpy(probabilities).double(), torch.from_numpy(images.labels()[rows]))
    torch.testing.assert_close(run.tasks[-1].confusion, expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("own_folder")
def test_both_later_phases_start_from_all_weights_of_softmax(request, images, monkeypatch) -> None:
    run = training_run(tiny_recipe(request), images, 0, "tiny")
    assert [task.name for task in run.tasks] == ["softmax", "control", "siamese"]
    started = {}
    for task in run.tasks[1:]:
        build = task.network

        def network(earlier, build=build, name=task.name):
            built = build(earlier)
            started[name] = {key: value.clone() for key, value in built.state_dict().items()}
            return built

        monkeypatch.setattr(task, "network", network)
    train(run, Path("model"))
    weights = safetensors.torch.load_file("model/softmax.safetensors")
    assert "head.weight" in weights
    for name in ("control", "siamese"):
        assert started[name].keys() == weights.keys()
        assert all(torch.equal(started[name][key], value) for key, value in weights.items())
    # as many steps of as many images
    assert num_steps_per_epoch(run.tasks[1]) == num_steps_per_epoch(run.tasks[2])
    assert run.tasks[1].params == run.tasks[2].params
