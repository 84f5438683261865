"""Applying a run to pictures: the same tags as `recommend`, for several pictures and histories at once."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tagging_data import TAGS, picture
from tiny_tagging import train_run

from base.console import UserError
from clicksight import predict
from clicksight.export import TOLERANCE, largest_difference, trace
from clicksight.pictures import middle_square
from model.prediction import Context
from systems.tagging import recommend
from systems.tagging.predictor import load
from systems.tagging.recommend import Recommender

pytestmark = pytest.mark.usefixtures("own_folder")


def test_each_picture_gets_the_tags_of_its_own_history(sources) -> None:
    train_run(sources, "A6", input="images")
    predictor, recommender = load(Path("A6")), Recommender.load(Path("A6"))
    histories = [("red", "red", "a"), (), ("a",)]
    files = [picture(number) for number in (7, 99, 7)]
    pixels = np.stack([middle_square(file, predictor.resize, predictor.image_size) for file in files])
    squares = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    said = predictor.predict(squares, [Context(history=history) for history in histories], top=4)
    for one, file, history in zip(said, files, histories, strict=True):
        expected = recommender.recommend(recommender.see(file), recommender.counts(history), 4)
        assert [scored.name for scored in one.tags] == [suggestion.tag for suggestion in expected]
        values = [suggestion.probability for suggestion in expected]
        assert [scored.value for scored in one.tags] == pytest.approx(values, abs=1e-6)
    assert said[0].tags != said[2].tags
    cold = predictor.predict(squares, top=4)
    assert [scored.name for scored in cold[1].tags] == [scored.name for scored in said[1].tags]


def test_a_model_of_features_is_refused(sources) -> None:
    train_run(sources, "A1")
    with pytest.raises(UserError, match="sees frozen features, not pictures"):
        load(Path("A1"))


@pytest.mark.parametrize("run", ["A1", "A6", "A6_direct=history"])
def test_the_exported_graph_says_what_the_predictor_says(sources, run: str) -> None:
    train_run(sources, run, input="images")
    predictor = load(Path(run))
    graph = predictor.graph()
    assert graph.outputs == {"probabilities": TAGS}
    histories: list[tuple[str, ...]] = [("red", "red", "a"), (), ("yours",)]
    files = [picture(number) for number in (7, 99, 12)]
    pixels = np.stack([middle_square(file, predictor.resize, predictor.image_size) for file in files])
    squares = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
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
