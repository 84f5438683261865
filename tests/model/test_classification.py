"""The plain classifier: its training, the choice of its epoch, and the loaded classifier."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from conftest import jpeg
from safetensors.torch import load_file
from torch.nn import functional
from training_runs import contents, read_curve

from base.console import UserError
from model.classification import (
    ClassifierTask,
    LabelledImages,
    classifier_run,
    load_classifier,
    softmax,
)
from model.classifier_params import ClassifierParams, TrainParams
from model.data.batches import Draw, draws_of_step
from model.training.params import ScheduleParams
from model.training.trainer import train

pytestmark = pytest.mark.usefixtures("own_folder")

NETWORK = ClassifierParams(backbone="plain", weights="none", image_size=16, resize=18, dropout=0.2)
TRAIN = TrainParams(
    epochs=3, batch_size=4, accumulation=1, learning_rate=0.02, recogniser_multiplier=2.0, momentum=0.9,
    weight_decay=5e-4, schedule=ScheduleParams(kind="one-cycle", warm_up=0.3), mixed_precision="no", compile=False,
    channels_last=False, workers=0, threads=1, cache_images=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tiny_data, tiny_rows) -> LabelledImages:
    """Return images of three categories: 21 for training, 9 for validation; the other images are left out."""
    rows = tiny_rows.filter(pl.col("split") != "test", domain="source")
    return LabelledImages.read(tiny_data.images, rows, 18, cache=True)


def encoded_of(tiny_data, images: LabelledImages, rows: np.ndarray) -> list[bytes]:
    table = pl.read_parquet(tiny_data.images).filter(domain="source")
    by_id = {row["image_id"]: row["image"]["bytes"] for row in table.iter_rows(named=True)}
    return [by_id[image_id] for image_id in images.rows["image_id"][rows.tolist()]]


def learn(images: LabelledImages, output: str = "model", seed: int = 0, network=NETWORK, stream="images", **values):
    params = TRAIN.model_copy(update=values)
    return train(classifier_run("run", "classifier", network, params, images, seed, stream), Path(output))


# --- images and labels


def test_rows_labels_and_splits_belong_together(images):
    assert images.categories == ["ant", "bee", "cat"]
    assert [len(images.row_numbers(split)) for split in ("train", "validation", "test")] == [21, 9, 0]
    names = images.rows["category"].to_list()
    assert [images.categories[label] for label in images.labels()] == names
    for split in ("train", "validation"):
        assert set(images.rows["split"][images.row_numbers(split).tolist()]) == {split}


def test_the_fingerprint_is_of_rows_and_shards(tiny_data, images, tmp_path):
    def fingerprint(rows: pl.DataFrame, shards: Path = tiny_data.images) -> str:
        return LabelledImages.read(shards, rows, 18, cache=False).fingerprint

    assert fingerprint(images.rows) == images.fingerprint
    other_split = images.rows.with_columns(split=pl.lit("train"))
    copied = tmp_path / "images"
    copied.mkdir()
    for file in tiny_data.images.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())  # the same bytes with a later modification time
    others = [fingerprint(other_split), fingerprint(images.rows[1:]), fingerprint(images.rows, copied)]
    assert len({images.fingerprint, *others}) == 4


# --- the task


def test_a_batch_has_crops_and_labels_of_its_draws(images):
    task = ClassifierTask("p", NETWORK, TRAIN, images, 3)
    draws = [Draw(4, 0), Draw(20, 5), Draw(11, None)]
    batch = task.load("images", draws)
    assert batch.images.dtype == torch.uint8
    assert batch.labels.tolist() == images.labels()[[4, 20, 11]].tolist()
    for image, draw in zip(batch.images, draws, strict=True):
        expected = images.images.crop(draw.row, 16, 3, draw.pass_number)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_images_are_mirrored_unless_asked_otherwise(images):
    draws = [Draw(row, number) for row in range(10) for number in range(2)]
    mirrored, plain = (
        ClassifierTask("p", NETWORK, TRAIN, images, 0, mirrored=value).load("images", draws).images
        for value in (True, False)
    )
    flipped = [not torch.equal(one, other) for one, other in zip(mirrored, plain, strict=True)]
    assert 0 < sum(flipped) < len(draws)
    for one, other in zip(mirrored, plain, strict=True):
        assert torch.equal(one, other) or torch.equal(one, other.flip(-1))


def test_every_parameter_gets_a_finite_gradient(images):
    task = ClassifierTask("p", NETWORK, TRAIN, images, 0)
    network = task.network(lambda phase: {}).train()
    loss, means = task.loss(network, {"images": task.load("images", [Draw(row, 0) for row in (0, 9, 17, 20)])})
    loss.backward()
    assert means["recognition"].item() == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_last_layer_learns_at_a_rate_of_its_own(images):
    task = ClassifierTask("p", NETWORK, TRAIN, images, 0)
    network = task.network(lambda phase: {})
    (optimizer,) = task.optimizers(network)
    groups = optimizer.param_groups
    assert [(group["part"], group["peak"]) for group in groups] == [("backbone", 0.02), ("head", 0.04)]
    assert [group["weight_decay"] for group in groups] == [5e-4] * 2
    assert {id(weight) for group in groups for weight in group["params"]} == {id(w) for w in network.parameters()}
    network.backbone.requires_grad_(False)
    (optimizer,) = task.optimizers(network)
    assert [group["part"] for group in optimizer.param_groups] == ["head"]


def test_validation_is_accuracy_then_cross_entropy(images):
    """Computed by hand: for two of the nine images the right category has the largest logit, ln 2."""
    task = ClassifierTask("p", NETWORK, TRAIN, images, 0)
    rows = images.row_numbers("validation")
    labels = torch.from_numpy(images.labels()[rows])
    logits = torch.zeros(9, 3)
    for index in range(9):
        logits[index, labels[index] if index < 2 else (labels[index] + 1) % 3] = math.log(2)
    asked = []

    def run(stream, rows, compute):
        asked.append((stream, rows.tolist()))
        return [logits[:5], logits[5:]]

    found = task.validate(SimpleNamespace(run=run))
    # the right category has the probability 2/4 or 1/4
    entropy = (2 * math.log(2) + 7 * math.log(4)) / 9
    assert found.values == {"recognition": pytest.approx(entropy, rel=1e-6), "accuracy": 22.2222}
    assert list(found.rank) == [22.2222, -found.values["recognition"]]
    assert (found.chosen_by, found.chosen_value) == ("validation accuracy", 22.2222)
    assert asked == [("images", rows.tolist())]


def test_the_stream_is_the_name_of_an_order(images):
    seen: dict[str, list[int]] = {}

    class Seen(ClassifierTask):
        def step(self, learner):
            seen.setdefault(self.main, []).extend(learner._loaded[0].rows[self.main])
            return super().step(learner)

    for stream in ("images", "source"):
        run = classifier_run("run", "p", NETWORK, TRAIN.model_copy(update={"epochs": 1}), images, 0, stream)
        task = Seen("p", NETWORK, TRAIN.model_copy(update={"epochs": 1}), images, 0, stream)
        train(replace(run, tasks=[task]), Path(stream))
    assert set(seen["images"]) == set(seen["source"]) == set(images.row_numbers("train").tolist())
    assert seen["images"] != seen["source"]
    assert read_curve(Path("images/curves/p"), "train/objective") != read_curve(
        Path("source/curves/p"), "train/objective"
    )


# --- whole trainings


def test_it_learns_a_few_images_by_heart(images, tiny_data):
    few = images.rows.gather_every(5).with_columns(split=pl.lit("train"))
    small = LabelledImages.read(tiny_data.images, few, 18, cache=True)
    assert sorted(set(few["category"])) == ["ant", "bee", "cat"]
    network = NETWORK.model_copy(update={"dropout": 0.0})
    params = TRAIN.model_copy(update={"epochs": 6, "batch_size": 6, "learning_rate": 0.05})
    run = classifier_run("run", "classifier", network, params, small, 0)
    run.tasks[0].epoch_rows = 20 * 6  # 20 steps in an epoch
    (chosen,) = train(run, Path("model"))
    assert (chosen.epoch, chosen.of, chosen.chosen_on) == (6, 6, "last epoch (no validation images)")
    rows = small.row_numbers("train")
    found = load_classifier(Path("model"), "classifier").probabilities(encoded_of(tiny_data, small, rows))
    assert found.argmax(axis=1).tolist() == small.labels()[rows].tolist()
    assert read_curve(Path("model/curves/classifier"), "train/recognition")[-1] < 0.1


def test_the_validation_images_choose_the_epoch(images):
    (chosen,) = learn(images, epochs=5)
    curves = Path("model/curves/classifier")
    accuracy, entropy = (read_curve(curves, f"validation/{name}") for name in ("accuracy", "recognition"))
    ranks = [(a, -e) for a, e in zip(accuracy, entropy, strict=True)]
    assert chosen.epoch == ranks.index(max(ranks)) + 1
    assert (chosen.chosen_on, chosen.value) == ("validation accuracy", max(accuracy))


def test_the_classifier_is_the_trainers_network(images, tiny_data):
    (chosen,) = learn(images)
    rows = images.row_numbers("validation")
    classifier = load_classifier(Path("model"), "classifier")
    assert classifier.categories == images.categories
    found = classifier.probabilities(encoded_of(tiny_data, images, rows))
    labels = images.labels()[rows]
    curve = read_curve(Path("model/curves/classifier"), "validation/recognition")
    entropy = -np.log(found[range(9), labels]).mean()
    assert entropy == pytest.approx(curve[chosen.epoch - 1], rel=1e-5)
    assert round(100 * (found.argmax(axis=1) == labels).mean(), 4) == chosen.value
    # the network of the task with the saved weights
    task = ClassifierTask("classifier", NETWORK, TRAIN, images, 0)
    network = task.network(lambda phase: {})
    network.load_state_dict(load_file("model/classifier.safetensors"))
    with torch.no_grad():
        logits = network.eval()(task.load("images", [Draw(int(row), None) for row in rows]).images)
    np.testing.assert_allclose(found, functional.softmax(logits, dim=1), atol=1e-6)


def test_two_runs_have_the_same_bytes_and_seeds_differ(images):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        learn(images, name, seed, epochs=1)
    assert contents(Path("one")) == contents(Path("two"))
    one, other = (load_file(f"{name}/classifier.safetensors") for name in ("one", "other"))
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_run_json_has_what_the_classifier_needs(images):
    learn(images, seed=7, epochs=1)
    run = json.loads(Path("model/run.json").read_text())
    assert (run["seed"], run["categories"]) == (7, ["ant", "bee", "cat"])
    assert run["images"] == {"train": 21, "validation": 9}
    assert ClassifierParams.model_validate(run["network"]) == NETWORK
    assert TrainParams.model_validate(run["train"]) == TRAIN.model_copy(update={"epochs": 1})
    assert run["start_weights"] is None


def test_another_run_is_another_fingerprint(images, tmp_path):
    path = tmp_path / "start.safetensors"

    def fingerprint(network=NETWORK, params=TRAIN, of=images, seed: int = 0) -> str:
        return classifier_run("run", "p", network, params, of, seed).fingerprint

    named = NETWORK.model_copy(update={"weights": str(path)})
    found = [
        fingerprint(),
        fingerprint(NETWORK.model_copy(update={"dropout": 0.3})),
        fingerprint(params=TRAIN.model_copy(update={"momentum": 0.8})),
        fingerprint(of=replace(images, fingerprint="other")),
        fingerprint(seed=1),
    ]
    for content in (b"some weights", b"other weights"):
        path.write_bytes(content)
        found.append(fingerprint(named))
    assert len(set(found)) == len(found)
    assert fingerprint() == found[0]


def test_early_stopping_needs_images_to_stop_by(images):
    unvalidated = replace(images, rows=images.rows.with_columns(split=pl.lit("train")))
    message = "train.early_stopping = 2, but phase classifier has no validation images to stop by; set it to null"
    with pytest.raises(UserError, match=message):
        learn(unvalidated, early_stopping=2)


def test_without_images_there_is_nothing_to_learn(images):
    unlearnable = replace(images, rows=images.rows.with_columns(split=pl.lit("validation")))
    with pytest.raises(UserError, match="phase classifier: stream images has no training images"):
        learn(unlearnable)


def test_a_broken_loss_names_its_images(images, monkeypatch):
    real = ClassifierTask.loss

    def loss(self, module, batch):
        found, means = real(self, module, batch)
        return found * math.nan, means

    monkeypatch.setattr(ClassifierTask, "loss", loss)
    with pytest.raises(UserError) as error:
        learn(images)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("run, phase classifier: the loss is nan at step 0 (epoch 1): recognition ")
    draws = draws_of_step(images.row_numbers("train"), 4, 0, 0, "classifier/images")
    assert lines[1] == f"Its images: {{'images': {[images.rows['image_id'][draw.row] for draw in draws]}}}"


# --- a loaded classifier


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        learn(images, epochs=1)
    return folder / "model"


@pytest.fixture
def two_images() -> list[bytes]:
    rng = np.random.default_rng(0)
    return [jpeg((200, 30, 30), 30, 21, rng), jpeg((20, 30, 200), 18, 44, rng)]


def test_probabilities_of_images(folder, two_images):
    classifier = load_classifier(folder, "classifier")
    found = classifier.probabilities(two_images)
    assert found.shape == (2, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[1:], classifier.probabilities(two_images[1:]), atol=1e-6)
    assert classifier.preprocess(two_images[0]).shape == (16, 16, 3)
    assert classifier.probabilities([]).shape == (0, 3)


def test_it_is_in_evaluation_mode_and_stays_as_it_is(folder, two_images):
    classifier = load_classifier(folder, "classifier")
    assert not any(module.training for module in classifier.network.modules())
    before = {name: value.clone() for name, value in classifier.network.state_dict().items()}
    first = classifier.probabilities(two_images)
    assert np.array_equal(classifier.probabilities(two_images), first)  # dropout is off
    assert all(torch.equal(value, before[name]) for name, value in classifier.network.state_dict().items())


def test_images_are_prepared_as_validation_images_are(folder, images, tiny_data):
    classifier = load_classifier(folder, "classifier")
    row = images.row_numbers("validation")[:1]
    (encoded,) = encoded_of(tiny_data, images, row)
    expected = images.images.crop(int(row[0]), 16, 0, None)
    assert np.array_equal(classifier.preprocess(encoded), expected)
    pixels = torch.from_numpy(expected.transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        logits = classifier.network(pixels)
    np.testing.assert_allclose(classifier.probabilities([encoded]), logits.softmax(dim=1), atol=1e-6)


def test_what_is_no_image_is_refused(folder):
    with pytest.raises(UserError, match="cannot decode an image of 3 bytes"):
        load_classifier(folder, "classifier").probabilities([b"abc"])


def test_not_a_model_folder(tmp_path):
    with pytest.raises(UserError, match=r"run.json: no such file; is .* a model folder"):
        load_classifier(tmp_path, "classifier")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"not as a train stage writes it: (?s:.*); train the model again"),
        ("[]", r"not as a train stage writes it: an object expected, found list; train the model again"),
        ("{}", r"not a classifier's: 'network'; train the model again"),
        ('{"network": {"backbone": "plain"}, "categories": []}', r"not a classifier's: (?s:.*); train the model again"),
        ('{"network": {}, "recipe": 1}', r"not a classifier's: (?s:.*); train the model again"),
    ],
)
def test_a_model_folder_that_is_not_of_a_classifier(tmp_path, content, message):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=rf"{tmp_path}/run.json: {message}"):
        load_classifier(tmp_path, "classifier")


def test_a_phase_that_is_not_there_is_named(folder):
    with pytest.raises(UserError, match=r"cleaner.safetensors: no such file; .* has no weights of a phase 'cleaner'"):
        load_classifier(folder, "cleaner")


def test_probabilities_by_hand():
    found = softmax(torch.tensor([[math.log(1.0), math.log(3.0)], [0.0, 1000.0]]))
    np.testing.assert_allclose(found, [[0.25, 0.75], [0, 1]], atol=1e-7)
    assert found.dtype == np.float32
