import json
import math
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from conftest import write_tiny_data
from training_runs import train_methods, train_recipe

from base import schemas
from base.console import UserError
from base.seeding import derive_seed
from model.data.images import centre_crop, decode
from model.losses.position import PositionLoss
from model.measures.units import check_reduces
from systems.mtmdd import evaluate as evaluate_module
from systems.mtmdd.evaluate import main
from systems.mtmdd.examples import (
    ClickFeatures,
    Examples,
    OtherSource,
    categories_of,
    keep_source_categories,
    read_rows,
)
from systems.mtmdd.network import build_network
from systems.mtmdd.predictor import Model
from systems.mtmdd.recipes import build_recipe


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_data, network_params, objective_params, train_params):
    """Train methods for one epoch each; return the folders by method."""
    params = train_params.model_copy(update={"epochs": 1})
    methods = ("VGGsrc", "TDL", "TDL7", "MTMDD-VM")
    return train_methods(
        tmp_path_factory.mktemp("models"), methods, tiny_data, network_params, objective_params, params
    )


@pytest.fixture
def evaluate(tmp_path, monkeypatch, models, tiny_data):
    """Return a function that evaluates as the stage does and returns the metrics and the predictions."""
    monkeypatch.chdir(tmp_path)

    def evaluate(method: str, batch_size: int = 5, split=tiny_data.split, features=tiny_data.features):
        (tmp_path / "params.yaml").write_text(f"mtmdd: {{evaluate: {{batch_size: {batch_size}}}}}\n")
        output = tmp_path / "evaluation"
        main(
            [
                f"--model={models / method}",
                f"--images={tiny_data.images}",
                f"--split={split}",
                f"--features={features}",
                f"--output={output}",
            ]
        )
        return json.loads((output / "metrics.json").read_text()), pq.read_table(output / "predictions.parquet")

    return evaluate


@pytest.mark.parametrize("method", ["VGGsrc", "TDL", "MTMDD-VM"])
def test_metrics_follow_from_the_predictions(evaluate, tiny_rows, method):
    metrics, predictions = evaluate(method)
    assert predictions.schema.equals(schemas.PREDICTIONS)
    test_rows = tiny_rows.filter(pl.col("split") == "test").select("image_id", "domain", "category")
    assert pl.from_arrow(predictions).select("image_id", "domain", "category").equals(test_rows)
    counted = duckdb.sql(
        "select domain, count(*), sum((category = predicted)::int) from predictions group by domain order by domain"
    ).fetchall()
    for domain, images, correct in counted:
        assert metrics["images"][domain] == images
        assert metrics["correct"][domain] == correct
        assert metrics[f"accuracy_{domain}"] == round(100 * correct / images, 4)


@pytest.mark.parametrize("method", ["VGGsrc", "TDL", "MTMDD-VM"])
def test_metrics_reduce_from_the_units(evaluate, tmp_path, tiny_rows, method):
    metrics, predictions = evaluate(method)  # noqa: RUF059  DuckDB reads it by its name
    units = pq.read_table(tmp_path / "evaluation/units.parquet")
    assert units.schema.equals(schemas.UNITS)
    assert pl.from_arrow(units).equals(pl.from_arrow(units).sort("metric", "unit"))
    check_reduces(metrics, pl.from_arrow(units), scale=100, tolerance=1e-4)
    means = dict(duckdb.sql("select metric, sum(numerator) / sum(denominator) from units group by metric").fetchall())
    stated = {name: metrics[name] for name in ("accuracy_source", "accuracy_target") if metrics[name] is not None}
    assert {name: 100 * mean for name, mean in means.items() if name in stated} == pytest.approx(stated, abs=1e-4)
    assert (metrics["rmse_source"] is None) == ("click_error_source" not in means)
    if "click_error_source" in means:
        assert math.sqrt(means["click_error_source"]) == pytest.approx(metrics["rmse_source"], abs=1e-6)
    # Unit for unit the same as the predictions.
    right = duckdb.sql(
        "select 'accuracy_' || domain, image_id, (category = predicted)::double from predictions union all"
        " select 'click_error_' || domain, image_id, click_error from predictions where click_error is not null"
    ).fetchall()
    assert sorted(right) == [row[:3] for row in pl.from_arrow(units).rows()]


@pytest.mark.parametrize("method", ["TDL", "MTMDD-VM"])
def test_samples_have_the_words_of_their_click_features(evaluate, models, tiny_data, tmp_path, method):
    _, predictions = evaluate(method)
    samples = pl.read_parquet(tmp_path / "evaluation/samples.parquet")
    assert pq.read_schema(tmp_path / "evaluation/samples.parquet").equals(schemas.SAMPLE_PREDICTIONS)
    predictions = pl.from_arrow(predictions)
    known = ["image_id", "domain", "category", "predicted", "probability"]
    chosen = predictions.join(samples, on=["domain", "image_id"], how="semi")
    assert samples.select(known).equals(chosen.select(known))
    # four right and four wrong images of each domain, or all of them
    counts = (
        frame.group_by("domain", pl.col("category") == pl.col("predicted")).len() for frame in (predictions, samples)
    )
    of_all, of_samples = ({row[:2]: row[2] for row in frame.rows()} for frame in counts)
    assert of_samples == {kind: min(4, number) for kind, number in of_all.items()}
    # words against numpy, of the first phase with clicks
    model = Model.read(models / method)
    images = {row["image_id"]: row["image"]["bytes"] for row in pl.read_parquet(tiny_data.images).iter_rows(named=True)}
    crops = [centre_crop(decode(images[name], model.recipe.network.resize), 16) for name in samples["image_id"]]
    pixels = torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        predicted = model.network(model.recipe.phases[0])({"source": pixels})["source"].clicks.double().numpy()
    true = ClickFeatures.read(tiny_data.features).vectors(samples["image_id"].to_list())
    for row, of_image, clicks in zip(samples.iter_rows(named=True), predicted, true, strict=True):
        order = sorted(range(5), key=lambda word: -of_image[word])
        unit = of_image / np.linalg.norm(of_image)
        assert row["words"] == [model.words[word] for word in order if unit[word] > 0]
        assert row["words_values"] == pytest.approx([unit[word] for word in order if unit[word] > 0], abs=1e-5)
        if row["domain"] == "target":
            assert row["clicked"] is row["clicked_values"] is None
        else:
            assert set(row["clicked"]) == {model.words[word] for word in clicks.nonzero()[0]}


def test_samples_without_predicted_clicks_have_no_words(evaluate, tmp_path):
    evaluate("VGGsrc")
    samples = pl.read_parquet(tmp_path / "evaluation/samples.parquet")
    assert len(samples) > 0
    assert (
        samples.select("words", "words_values", "clicked", "clicked_values").null_count().row(0) == (len(samples),) * 4
    )


def test_the_recogniser_sees_the_clicks_that_are_measured(models, tiny_data, tiny_rows):
    """RMSE-S of TDL is the first step's, and eq. 5 gives exactly its v^ to the recognisers."""
    model = Model.read(models / "TDL")
    examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, model.recipe.network, cache=False)
    images = torch.stack([torch.from_numpy(examples.images.crop(row, 16, 0, None).copy()) for row in range(4)])
    pixels = images.permute(0, 3, 1, 2)
    predict, source, target = (model.network(phase) for phase in model.recipe.phases)
    with torch.no_grad():
        expected = predict({"source": pixels})["source"].clicks
        assert torch.equal(source({"source": pixels})["source"].clicks, expected)
        assert torch.equal(target({"target": pixels})["target"].clicks, expected)


@pytest.mark.parametrize("method", ["MTMDD-VM", "TDL"])
def test_rmse_and_losses_against_numpy(evaluate, models, tiny_data, tiny_rows, method):
    # TDL recognises and predicts clicks with different networks
    metrics, predictions = evaluate(method)
    model = Model.read(models / method)
    network = model.network(model.recipe.phases[0])
    rows = tiny_rows.filter((pl.col("split") == "test") & (pl.col("domain") == "source"))
    examples = Examples.read(
        tiny_data.images, rows, tiny_data.features, model.recipe.network, cache=False, splits=("test",)
    )
    pixels = np.stack([centre_crop(examples.images[place], 16) for place in range(len(rows))]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        predicted = network({"source": torch.from_numpy(pixels.copy())})["source"].clicks.double().numpy()
    true = examples.clicks.vectors(rows["image_id"].to_list()).astype(float)
    unit_true = true / np.linalg.norm(true, axis=1, keepdims=True)
    unit_predicted = predicted / np.linalg.norm(predicted, axis=1, keepdims=True)
    squares = ((unit_true - unit_predicted) ** 2).sum(axis=1)
    stored = pl.from_arrow(predictions).filter(domain="source")
    assert stored["image_id"].to_list() == rows["image_id"].to_list()
    assert stored["click_error"].to_numpy() == pytest.approx(squares, abs=1e-5)
    assert pl.from_arrow(predictions).filter(domain="target")["click_error"].is_null().all()
    count = squares.mean()
    assert metrics["rmse_source"] == pytest.approx(math.sqrt(count), abs=2e-6)
    assert metrics["click_loss"]["count"] == pytest.approx(count, abs=2e-6)
    assert set(metrics["click_loss"]) == {"count", "position"}
    # for all test images at once, at the recipe's B = 0.01 and T = 0.16; it depends on the last bit of v^
    position_loss = PositionLoss(bandwidth=0.01, threshold=0.16)
    position = position_loss(torch.from_numpy(true), torch.from_numpy(predicted)).mean().item()
    assert metrics["click_loss"]["position"] == pytest.approx(position, rel=2e-2)


def test_lines_of_reference_against_numpy(evaluate, tiny_data, tiny_rows):
    metrics, _ = evaluate("TDL")
    source = tiny_rows.filter(pl.col("domain") == "source")
    train, test = (source.filter(pl.col("split") == split) for split in ("train", "test"))
    features = ClickFeatures.read(tiny_data.features)

    def directions(names) -> np.ndarray:
        vectors = features.vectors(names).astype(float)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    true, known = directions(test["image_id"].to_list()), directions(train["image_id"].to_list())
    same = test["category"].to_numpy()[:, None] == train["category"].to_numpy()[None]
    guesses = {
        "zero": 0 * true,
        "constant": np.tile(known.mean(axis=0), (len(test), 1)),
        "category_means": same @ known,
    }
    expected = {"untrained": math.sqrt(1 + true.any(axis=1).mean())}
    for name, guess in guesses.items():
        guess = guess / np.maximum(np.linalg.norm(guess, axis=1, keepdims=True), 1e-12)
        expected[name] = math.sqrt(((true - guess) ** 2).sum(axis=1).mean())
    assert metrics["rmse_references"] == pytest.approx(expected, abs=2e-6)
    assert len({round(value, 3) for value in expected.values()}) == 4
    assert "rmse_references" not in evaluate("VGGsrc")[0]


@pytest.fixture
def train_and_evaluate(tmp_path, monkeypatch, network_params, objective_params, train_params):
    """Return a function that trains and evaluates as the stages do and returns metrics, predictions and the model."""
    monkeypatch.chdir(tmp_path)

    def train_and_evaluate(method: str, data, epochs: int = 1, unlabelled: bool = False, **objective_values):
        objective = objective_params.model_copy(update=objective_values)
        params = train_params.model_copy(update={"epochs": epochs})
        recipe = build_recipe(method, network_params, objective, params, unlabelled=unlabelled)
        rows = read_rows(data.split, recipe, 0)
        examples = Examples.read(data.images, rows, data.features, network_params, cache=True)
        train_recipe(recipe, examples, 0, tmp_path / "model", "run")
        (tmp_path / "params.yaml").write_text("mtmdd: {evaluate: {batch_size: 9}}\n")
        main(
            [
                "--model=model",
                f"--images={data.images}",
                f"--split={data.split}",
                f"--features={data.features}",
                "--output=evaluation",
            ]
        )
        metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
        predictions = pl.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
        return metrics, predictions, Model.read(tmp_path / "model")

    return train_and_evaluate


@pytest.mark.parametrize("method", ["MTMDD-VM", "MTMDD-VM-star"])
def test_prediction_alone_still_has_an_accuracy_of_the_source(train_and_evaluate, tiny_data, method):
    """Evaluate MDD-VM and MDD-VM* of Table VII."""
    metrics, predictions, model = train_and_evaluate(method, tiny_data, lambda_=1.0)
    assert metrics["null"] == {}
    assert set(metrics["click_loss"]) == {"count", "position"}
    assert metrics["rmse_source"] > 0
    assert set(predictions["domain"]) == {"source", "target"}
    assert metrics["chosen"]["joint"]["chosen_on"] == "target validation accuracy"
    (phase,) = model.recipe.phases
    trained = model.network(phase).recogniser
    torch.manual_seed(derive_seed(0, "initialise"))
    started = build_network(model.recipe.network, phase, model.categories, model.num_words, load_weights=True)
    for name, head in trained.heads.items():
        assert torch.equal(head.weight, started.recogniser.heads[name].weight) == (name == "source")
    assert int(trained.visual_norms["source"].num_batches_tracked) > 0
    assert not torch.equal(trained.visual_norms["source"].running_mean, trained.visual_norms["target"].running_mean)


@pytest.mark.parametrize("method", ["MTMDD-VM", "MTMDD-VM-star"])
def test_recognition_alone_still_has_an_error_of_its_click_features(train_and_evaluate, tiny_data, method):
    metrics, _, model = train_and_evaluate(method, tiny_data, lambda_=0.0)
    assert metrics["null"] == {}
    assert metrics["click_loss"] == {}
    assert metrics["rmse_source"] > 0.5  # no loss has moved v^ towards v
    assert model.recipe.position is None


@pytest.mark.parametrize(
    ("source", "target"),
    [(("ant", "bee"), ("cat", "dog")), (("ant", "bee", "dog"), ("ant", "cat")), (("bee",), ("ant", "bee", "dog"))],
    ids=["disjoint", "overlapping", "subset"],
)
def test_unseen_categories(train_and_evaluate, tmp_path, source, target):
    """Check that each domain's softmax is over its own categories (eq. 16), and that a shared head is refused."""
    data = write_tiny_data(tmp_path / "data", source, target)
    metrics, predictions, model = train_and_evaluate("MTMDD-VM", data, epochs=2)
    assert model.categories == {"source": list(source), "target": list(target)}
    for domain, names in (("source", source), ("target", target)):
        of_domain = predictions.filter(pl.col("domain") == domain)
        assert set(of_domain["category"]) == set(names)
        assert set(of_domain["predicted"]) <= set(names)
        assert (of_domain["probability"] >= 1 / len(names)).all()
        correct = (of_domain["category"] == of_domain["predicted"]).sum()
        assert metrics["correct"][domain] == correct
    assert metrics["rmse_source"] is not None
    with pytest.raises(UserError, match=r"a shared head needs the same categories in both domains \(only in the"):
        train_and_evaluate("MTMDD-VM-star", data)


@pytest.mark.parametrize("method", ["VGGsrc", "TDL"])
def test_without_target_labels_the_sources_recogniser_recognises_the_target(
    train_and_evaluate, tiny_data, tiny_rows, method
):
    metrics, predictions, model = train_and_evaluate(method, tiny_data, unlabelled=True)
    assert metrics["null"].keys() <= {"rmse_source"}
    assert metrics["seen"]["target"]["target"] == 0
    rows = tiny_rows.filter(pl.col("split") == "test", pl.col("domain") == "target")
    examples = Examples.read(tiny_data.images, rows, None, model.recipe.network, cache=False, splits=("test",))
    pixels = np.stack([centre_crop(examples.images[place], 16) for place in range(len(rows))]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        logits = model.network(model.recipe.phases[-1])({"source": torch.from_numpy(pixels.copy())})["source"].logits
    names = np.array(model.categories["source"])[logits.argmax(dim=1).numpy()]
    found = predictions.filter(pl.col("domain") == "target")
    assert found["predicted"].to_list() == names.tolist()
    assert metrics["accuracy_target"] == round(100 * (names == rows["category"].to_numpy()).mean(), 4)


def test_without_target_labels_one_head_has_the_targets_own_statistics(train_and_evaluate, tiny_data):
    metrics, predictions, model = train_and_evaluate("MTMDD-VM-star", tiny_data, unlabelled=True)
    (phase,) = model.recipe.phases
    assert [found[0].name for found in map(model.recogniser_of, ("source", "target"))] == ["joint", "joint"]
    assert model.recogniser_of("target") == (phase, "target")
    assert metrics["seen"]["target"]["target"] > 0
    assert set(predictions["domain"]) == {"source", "target"}


def test_what_a_method_lacks_is_null_with_the_reason(evaluate):
    metrics, _ = evaluate("VGGsrc")
    assert metrics["rmse_source"] is None
    assert metrics["null"] == {"rmse_source": "VGGsrc predicts no clicks"}
    assert "click_loss" not in metrics
    assert set(evaluate("TDL7")[0]["click_loss"]) == {"count"}


def test_probabilities_are_those_of_the_predicted_category(evaluate):
    _, predictions = evaluate("MTMDD-VM")
    # three categories: the largest probability is above a third
    assert min(predictions["probability"].to_pylist()) > 1 / 3


def test_a_study_is_measured_on_what_its_own_seed_left(
    tmp_path, monkeypatch, tiny_data, network_params, objective_params, train_params
):
    monkeypatch.chdir(tmp_path)
    params = train_params.model_copy(update={"epochs": 1})
    recipe = build_recipe("VGGsrc", network_params, objective_params, params, source_categories=2)
    split = pl.read_parquet(tiny_data.split).select("image_id", "domain", "category", "split")
    kept = {seed: categories_of(keep_source_categories(split, 2, seed), "source") for seed in range(6)}
    seed = next(seed for seed, names in kept.items() if names != kept[0])
    examples = Examples.read(tiny_data.images, read_rows(tiny_data.split, recipe, seed), None, network_params, True)
    train_recipe(recipe, examples, seed, tmp_path / "model", "run")
    Path("params.yaml").write_text("mtmdd: {evaluate: {batch_size: 9}}\n")
    given = [f"--images={tiny_data.images}", f"--split={tiny_data.split}", f"--features={tiny_data.features}"]
    main(["--model=model", *given, "--output=evaluation"])
    predictions = pl.read_parquet("evaluation/predictions.parquet")
    tested = split.filter((pl.col("split") == "test") & pl.col("category").is_in(kept[seed]), domain="source")
    assert predictions.filter(domain="source")["image_id"].to_list() == sorted(tested["image_id"])
    assert set(predictions.filter(domain="source")["predicted"]) <= set(kept[seed])
    assert set(predictions.filter(domain="target")["category"]) == {"ant", "bee", "cat"}


def test_torch_has_the_threads_of_the_training_and_batches_the_size_of_the_parameters(
    evaluate, models, monkeypatch
):  # fmt: skip
    sizes, before = [], torch.get_num_threads()
    real = evaluate_module.evaluation_batches

    def noted(load, domain, rows, batch_size, workers):
        sizes.append((batch_size, torch.get_num_threads()))
        return real(load, domain, rows, batch_size, workers)

    monkeypatch.setattr(evaluate_module, "evaluation_batches", noted)
    torch.set_num_threads(3)
    try:
        evaluate("VGGsrc", batch_size=7)
    finally:
        torch.set_num_threads(before)
    assert sizes == [(7, 1)] * 2  # the recipe's train.threads


def test_epochs_and_what_chose_them_are_reported(evaluate, models):
    metrics, _ = evaluate("TDL")
    assert list(metrics["chosen"].values()) == [
        {name: of[name] for name in ("epoch", "of", "chosen_on", "value", "ended_by", "drops", "seen")}
        for of in json.loads((models / "TDL" / "run.json").read_text())["chosen"]
    ]
    assert {phase: of["chosen_on"] for phase, of in metrics["chosen"].items()} == {
        "predict": "source validation click loss",
        "source": "source validation accuracy",
        "target": "target validation accuracy",
    }


@pytest.mark.parametrize(
    ("method", "source", "target"),
    [
        # an epoch has six steps for the source (21 images), four for the target (15), with four images each
        ("VGGsrc", (24, 0), (24, 16)),  # the target starts from the source
        ("TDL", (48, 0), (24, 16)),  # both recognisers start from the click predictor, but not from each other
        ("MTMDD-VM", (16, 16), (16, 16)),  # one phase, whose epochs are those of the target
    ],
)
def test_the_images_behind_a_recogniser_are_those_of_all_phases_that_it_starts_from(evaluate, method, source, target):
    metrics, _ = evaluate(method)
    expected = {"source": source, "target": target}
    assert metrics["seen"] == {
        domain: dict(zip(("source", "target"), seen, strict=True)) for domain, seen in expected.items()
    }


def test_no_result_depends_on_the_batch_size(evaluate):
    one, predictions = evaluate("MTMDD-VM", batch_size=3)
    other, others = evaluate("MTMDD-VM", batch_size=50)
    assert one["correct"] == other["correct"]
    assert predictions["predicted"] == others["predicted"]
    assert one["rmse_source"] == pytest.approx(other["rmse_source"], abs=1e-6)


def test_twice_the_same_bytes(evaluate, tmp_path):
    evaluate("MTMDD-VM")
    first = [path.read_bytes() for path in sorted((tmp_path / "evaluation").iterdir())]
    evaluate("MTMDD-VM")
    assert first == [path.read_bytes() for path in sorted((tmp_path / "evaluation").iterdir())]


def test_only_the_test_split_is_read(evaluate, tiny_data, tmp_path):
    rows = pl.read_parquet(tiny_data.split)
    absent = rows.filter(pl.col("split") != "test").with_columns(image_id=pl.lit("no such ") + pl.col("image_id"))
    pl.concat([absent, rows.filter(pl.col("split") == "test")]).write_parquet(tmp_path / "split.parquet")
    assert evaluate("VGGsrc", split=tmp_path / "split.parquet")[0] == evaluate("VGGsrc")[0]


def test_another_split_file_is_refused(evaluate, tiny_data, tmp_path, caplog):
    rows = pl.read_parquet(tiny_data.split)
    rows.filter(pl.col("category") != "bee").write_parquet(tmp_path / "split.parquet")
    with pytest.raises(SystemExit, match="2"):
        evaluate("VGGsrc", split=tmp_path / "split.parquet")
    assert "its 2 source categories are not the 3 that" in caplog.text
    rows.filter((pl.col("split") != "test") | (pl.col("domain") == "source")).write_parquet(tmp_path / "split.parquet")
    with pytest.raises(SystemExit, match="2"):
        evaluate("VGGsrc", split=tmp_path / "split.parquet")
    assert "the target domain has no test images" in caplog.text


def test_another_vocabulary_is_refused(evaluate, tiny_data, tmp_path, caplog):
    words = pl.read_parquet(tiny_data.features / "vocabulary.parquet")
    (tmp_path / "features").mkdir()
    pl.concat([words, words]).write_parquet(tmp_path / "features" / "vocabulary.parquet")
    (tmp_path / "features" / "click_features").symlink_to(tiny_data.features / "click_features")
    with pytest.raises(SystemExit, match="2"):
        evaluate("TDL", features=tmp_path / "features")
    assert "10 words, " in caplog.text
    assert "was trained for 5; train the model again" in caplog.text


def test_not_a_model_folder(evaluate, caplog):
    with pytest.raises(SystemExit, match="2"):
        evaluate("nothing")
    assert "a model folder, written by a train stage?" in caplog.text


def test_probabilities_are_those_of_the_network(evaluate, models, tiny_data):
    _, predictions = evaluate("TDL")
    images = pl.read_parquet(tiny_data.images).filter(pl.col("domain") == "target")
    encoded = {row["image_id"]: row["image"]["bytes"] for row in images.iter_rows(named=True)}
    model = Model.read(models / "TDL")
    network = model.network(model.recipe.phases[2])
    expected = pl.from_arrow(predictions).filter(pl.col("domain") == "target")
    size = model.recipe.network.image_size
    crops = [centre_crop(decode(encoded[name], model.recipe.network.resize), size) for name in expected["image_id"]]
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())
        found = network({"target": pixels})["target"].logits.softmax(dim=1).numpy()
    assert found.shape == (len(expected), 3)
    assert [model.categories["target"][place] for place in found.argmax(axis=1)] == expected["predicted"].to_list()
    np.testing.assert_allclose(found.max(axis=1), expected["probability"], atol=1e-6)


def test_cross_object_is_measured_with_the_source_of_its_training(
    tmp_path, monkeypatch, caplog, tiny_data, network_params, objective_params, train_params
):
    birds = write_tiny_data(tmp_path / "birds", ("dog", "cat", "ant"), ("dog",))
    params = train_params.model_copy(update={"epochs": 1})
    recipe = build_recipe("MTMDD-VM", network_params, objective_params, params, source="birds")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("mtmdd: {evaluate: {batch_size: 5}}\n")
    rows = read_rows(tiny_data.split, recipe, 0, OtherSource(birds.images, birds.split))
    folders = {"source": birds.images, "target": tiny_data.images}
    examples = Examples.read(folders, rows, birds.features, network_params, cache=True)
    train_recipe(recipe, examples, 0, tmp_path / "model", "model")

    def evaluate(*options: str) -> None:
        given = [f"--images={tiny_data.images}", f"--split={tiny_data.split}", f"--features={birds.features}"]
        main(["--model=model", *given, "--output=evaluation", *options])

    evaluate(f"--source-images={birds.images}", f"--source-split={birds.split}")
    predictions = pl.read_parquet(tmp_path / "evaluation/predictions.parquet")
    tested = pl.concat(
        [
            pl.read_parquet(split).filter(pl.col("domain") == domain, pl.col("split") == "test")
            for domain, split in (("source", birds.split), ("target", tiny_data.split))
        ]
    )
    columns = ["image_id", "domain", "category"]
    assert predictions.select(columns).equals(tested.select(columns).sort("domain", "image_id"))
    for domain, names in (("source", ["ant", "cat", "dog"]), ("target", ["ant", "bee", "cat"])):
        assert set(predictions.filter(domain=domain)["predicted"]) <= set(names)
    assert json.loads((tmp_path / "evaluation/metrics.json").read_text())["rmse_source"] > 0
    with pytest.raises(SystemExit, match="2"):
        evaluate()
    assert "uses the source of birds; give --source-images, --source-split and --features" in caplog.text
    with pytest.raises(SystemExit, match="2"):  # the images exist, but the categories differ
        evaluate(f"--source-images={tiny_data.images}", f"--source-split={tiny_data.split}")
    assert f"{tiny_data.split}: its 3 source categories are not the 3 that model was trained for" in caplog.text
