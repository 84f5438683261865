"""Recommendations for a picture: a known user, the same history as tags, a cold start, output without ids."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tagging_data import TAGS, picture
from tiny_tagging import train_run

from base.console import UserError
from systems.tagging.recommend import Recommender, Suggestion, known_history, main, show

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def model(sources) -> list[str]:
    train_run(sources, "A6", input="images")
    Path("new.png").write_bytes(picture(99))
    return ["--model=A6", "--image=new.png", "--format=jsonl", "--k=9"]


def recommended(capsys: pytest.CaptureFixture, *options: str) -> list[dict]:
    main(list(options))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_unseen_user_gets_what_a_known_one_with_the_same_history_gets(sources, model, capsys) -> None:
    folders = [f"--tags={sources.tags}", f"--splits={sources.splits}"]
    known = recommended(capsys, *model, "--user=user-1", *folders)
    counts = pl.read_parquet(sources.splits / "histories/seed-0.parquet").filter(user_id="user-1")
    given = ",".join(TAGS[tag] for tag, count in counts.select("tag_id", "count").iter_rows() for _ in range(count))
    assert recommended(capsys, *model, f"--history={given}") == known
    assert recommended(capsys, *model, "--history=") != known
    probabilities = [one["probability"] for one in known]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {one["tag"] for one in known} == set(TAGS)


def test_ids_are_shown_only_on_request(sources, model, caplog, capsys) -> None:
    options = [*model, "--user=user-1", f"--tags={sources.tags}", f"--splits={sources.splits}"]
    main(options)
    assert "user-1" not in caplog.text
    main([*options, "--show-users"])
    assert "of user user-1" in caplog.text
    with pytest.raises(SystemExit):
        main([*model, "--user=nobody-known", f"--tags={sources.tags}", f"--splits={sources.splits}"])
    assert "no user of this id has a training post" in caplog.text
    assert "nobody-known" not in caplog.text


def test_unknown_tags_are_named_and_left_out(model, caplog) -> None:
    recommender = Recommender.load(Path("A6"))
    counts = recommender.counts(["RED", "red ", "zebra", "", "a"])
    assert counts.tolist() == [2, 0, 0, 0, 0, 1, 0, 0, 0]
    assert "'zebra'" in caplog.text
    assert recommender.counts(["RED"], fold=False).sum() == 0
    unfolded = replace(recommender, tags=["Red", "red"])  # of a log with `tags.fold: false`
    assert unfolded.counts(["Red", "RED"]).tolist() == [1, 1]


def test_a_model_of_features_wants_features(sources, caplog, capsys) -> None:
    train_run(sources, "A1")
    found = recommended(
        capsys, "--model=A1", "--image=i03", f"--features={sources.features}", "--history=", "--format=jsonl", "--k=2"
    )
    assert len(found) == 2
    Path("new.png").write_bytes(picture(1))
    with pytest.raises(SystemExit):
        main(["--model=A1", "--image=new.png", "--history="])
    assert "this model sees frozen features" in caplog.text


def test_what_does_not_fit_is_refused(sources, model, caplog) -> None:
    for options, text in (
        (["--user=user-1"], "--user needs --tags and --splits"),
        (["--history=red", "--k=0"], "--k 0: at least 1 expected"),
        (["--history=red", "--image=none.png"], "none.png"),
    ):
        with pytest.raises(SystemExit):
            main([*model, *options])
        assert text in caplog.text
    pl.DataFrame({"tag": ["x"]}).write_parquet("vocabulary.parquet")
    with pytest.raises(UserError, match="its vocabulary is not the model's"):
        known_history(Path(), sources.splits, Recommender.load(Path("A6")), "user-1")


def test_beside_the_picture_a_recommendation_takes_little_time(model) -> None:
    recommender = Recommender.load(Path("A6"))
    seen = recommender.see(picture(3))
    counts = np.ones(len(TAGS), np.int64)
    recommender.recommend(seen, counts, 5)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        recommender.recommend(seen, counts, 5)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05


def test_a_table_and_json_lines() -> None:
    found = [Suggestion("金毛", 0.5), Suggestion("a\x1b[1mb", 0.25)]
    assert [json.loads(line)["tag"] for line in show(found, "jsonl").splitlines()] == ["金毛", "a\x1b[1mb"]
    assert "\x1b" not in show(found, "table")
    assert show(found, "table").splitlines()[0].endswith("0.5000")
