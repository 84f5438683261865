"""Applying a run to pictures: the same tags as `recommend`, for several pictures and histories at once."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from tagging_data import TAGS, picture
from tiny_tagging import train_run

from base import schemas
from base.artifacts import read_tables, write_table
from base.console import UserError
from clicksight import predict
from clicksight.export import TOLERANCE, largest_difference, trace
from clicksight.pictures import middle_square
from model.frozen_features import FrozenParams, embed
from model.nets.backbones import build_backbone
from model.nets.params import BackboneParams
from model.prediction import Context
from pipelines.ingest.decoding import check_image
from systems.tagging import recommend
from systems.tagging.posts import Sources
from systems.tagging.predictor import load
from systems.tagging.recommend import Recommender

pytestmark = pytest.mark.usefixtures("own_folder")

FROZEN = {"backbone": "plain", "weights": "none", "image_size": 16, "resize": 19}


def squares_of(predictor, files: list[bytes]) -> torch.Tensor:
    sizes = predictor.resize, predictor.image_size, predictor.finely
    pixels = np.stack([middle_square(file, *sizes) for file in files])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def embedded(sources: Sources, **network) -> Sources:
    """The same posts with JPEGs, as the ingest makes of all pictures, and features that `embed` has computed."""
    params = FrozenParams.model_validate({**FROZEN, **network, "batch_size": 5, "threads": 1})
    rows = read_tables(sources.images).to_pylist()
    for row in rows:
        row["image"]["bytes"] = check_image(row["image"]["bytes"]).data
    write_table(pa.Table.from_pylist(rows, schemas.IMAGES), Path("images/part-00000.parquet"))
    embed([Path("images/part-00000.parquet")], Path("embedded"), params)
    return replace(sources, images=Path("images"), features=Path("embedded"))


def test_each_picture_gets_the_tags_of_its_own_history(sources) -> None:
    train_run(sources, "A6", input="images")
    predictor, recommender = load(Path("A6")), Recommender.load(Path("A6"))
    histories = [("red", "red", "a"), (), ("a",)]
    files = [picture(number) for number in (7, 99, 7)]
    squares = squares_of(predictor, files)
    said = predictor.predict(squares, [Context(history=history) for history in histories], top=4)
    for one, file, history in zip(said, files, histories, strict=True):
        expected = recommender.recommend(recommender.see(file), recommender.counts(history), 4)
        assert [scored.name for scored in one.tags] == [suggestion.tag for suggestion in expected]
        values = [suggestion.probability for suggestion in expected]
        assert [scored.value for scored in one.tags] == pytest.approx(values, abs=1e-6)
    assert said[0].tags != said[2].tags
    cold = predictor.predict(squares, top=4)
    assert [scored.name for scored in cold[1].tags] == [scored.name for scored in said[1].tags]


def test_a_model_of_features_says_of_a_picture_what_its_embedded_features_say(sources) -> None:
    sources = embedded(sources)
    train_run(sources, "A6", epochs=3)
    predictor, recommender = load(Path("A6")), Recommender.load(Path("A6"))
    assert (predictor.resize, predictor.image_size, predictor.finely) == (19, 16, True)
    features = {row["image_id"]: row["feature"] for row in read_tables(sources.features).to_pylist()}
    histories = {"i03": ("red", "red", "a"), "i08": (), "i20": ("a",)}
    stored = {row["image_id"]: row["image"]["bytes"] for row in read_tables(sources.images).to_pylist()}
    squares = squares_of(predictor, [stored[name] for name in histories])
    said = predictor.predict(squares, [Context(history=history) for history in histories.values()])
    for one, (name, history) in zip(said, histories.items(), strict=True):
        seen = recommender.see_features(np.array(features[name], np.float32))
        expected = recommender.recommend(seen, recommender.counts(history), len(TAGS))
        assert dict(one.tags) == pytest.approx(dict(expected), abs=1e-5)
    assert len({round(one.tags[0].value, 4) for one in said}) == 3
    coarse = [middle_square(stored[name], 19, 16) for name in histories]
    assert not np.array_equal(np.stack(coarse), squares.permute(0, 2, 3, 1))


def test_a_model_of_features_that_nobody_describes_is_refused(sources) -> None:
    train_run(sources, "A1")
    assert json.loads(Path("A1/run.json").read_text())["frozen"] is None
    with pytest.raises(UserError, match=r"A1: this model sees frozen features, and its run.json doesn't say"):
        load(Path("A1"))


def test_the_frozen_convnets_weights_must_be_there_and_the_same(sources) -> None:
    network = BackboneParams.model_validate({**FROZEN, "image_size": 32, "resize": 32, "backbone": "squeezenet1_1"})
    for number in (1, 2):
        torch.manual_seed(number)
        weights = {f"features.{name}": value for name, value in build_backbone(network).features.state_dict().items()}
        save_file(weights, f"{number}.safetensors")
    Path("1.safetensors").rename("weights.safetensors")
    frozen = {"image_size": 32, "resize": 32, "backbone": "squeezenet1_1", "weights": "weights.safetensors"}
    train_run(embedded(sources, **frozen), "A1")
    assert load(Path("A1")).predict(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))[0].tags
    Path("2.safetensors").rename("weights.safetensors")
    with pytest.raises(UserError, match=r"A1: the ConvNet of its frozen features: weights.safetensors: has the digest"):
        load(Path("A1"))
    Path("weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"A1: the ConvNet of its frozen .*'weights.safetensors': no such file"):
        load(Path("A1"))


@pytest.mark.parametrize(("run", "seen"), [("A1", "images"), ("A6", "images"), ("A6_direct=history", "features")])
def test_the_exported_graph_says_what_the_predictor_says(sources, run: str, seen: str) -> None:
    train_run(embedded(sources) if seen == "features" else sources, run, input=seen)
    predictor = load(Path(run))
    graph = predictor.graph()
    assert graph.outputs == {"probabilities": TAGS}
    histories: list[tuple[str, ...]] = [("red", "red", "a"), (), ("yours",)]
    files = [picture(number) for number in (7, 99, 12)]
    squares = squares_of(predictor, files)
    said = predictor.predict(squares, [Context(history=history) for history in histories])
    expected = [[dict(one.tags)[tag] for tag in TAGS] for one in said]
    inputs: tuple[torch.Tensor, ...] = (squares,)
    if run == "A1":
        assert graph.second is None
    else:
        assert graph.second is not None
        assert (graph.second.name, list(graph.second.names)) == ("history", TAGS)
        counts = [[history.count(tag) for tag in TAGS] for history in histories]
        inputs = squares, torch.tensor(counts, dtype=torch.float32)
    program = trace(graph, predictor.image_size).module()
    with torch.no_grad():
        for network in (graph.network, program):
            np.testing.assert_allclose(network(*inputs), expected, rtol=0, atol=TOLERANCE)
    assert largest_difference(graph, trace(graph, predictor.image_size), predictor.image_size) <= TOLERANCE


def test_a_user_of_the_log_gets_what_recommend_gives(sources, capsys) -> None:
    train_run(sources, "A6", input="images")
    Path("new.png").write_bytes(picture(99))
    folders = [f"--tag-log={sources.tags}", f"--tag-splits={sources.splits}"]
    predict.main(["A6", "new.png", "--user=user-1", *folders, "--top=9", "--format=jsonl"])
    found = json.loads(capsys.readouterr().out)["tags"]
    recommend.main(
        ["--model=A6", "--image=new.png", "--user=user-1", f"--tags={sources.tags}", f"--splits={sources.splits}",
         "--k=9", "--format=jsonl"]
    )  # fmt: skip
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in found] == [one["tag"] for one in expected]
    assert [one["value"] for one in found] == pytest.approx([one["probability"] for one in expected], abs=2e-6)
    predict.main(["A6", "new.png", "--history=", "--top=9", "--format=jsonl"])
    assert json.loads(capsys.readouterr().out)["tags"] != found


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--user=user-1"], "--user needs --tag-log and --tag-splits"),
        (["--user=nobody", "--tag-log=TAGS", "--tag-splits=SPLITS"], "no user of this id has a training post"),
    ],
)
def test_unknown_users_are_an_error_without_their_id(sources, caplog, options: list[str], text: str) -> None:
    train_run(sources, "A6", input="images")
    Path("new.png").write_bytes(picture(99))
    given = [one.replace("TAGS", str(sources.tags)).replace("SPLITS", str(sources.splits)) for one in options]
    with pytest.raises(SystemExit) as exit_:
        predict.main(["A6", "new.png", *given])
    assert exit_.value.code == 2
    assert text in caplog.text
    assert "nobody" not in caplog.text
