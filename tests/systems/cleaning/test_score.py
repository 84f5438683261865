"""The scores against classifiers applied to single images, the job's byte identity, and its continuation."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from coloured_images import CLEANER_PARAMS, image_table, write_images

from base import schemas
from base.artifacts import read_tables
from base.console import UserError
from model.classification import load_classifier
from systems.cleaning import score, train
from systems.cleaning.score import FoldRecognisers, main, own_category_probabilities, read_source_batches, score_batch


class Oracle:
    """A stand-in for a recogniser: an image's bytes are its probabilities of a, b and c, in percent."""

    categories = ("a", "b", "c")

    def probabilities(self, encoded: list[bytes]) -> np.ndarray:
        return np.array([list(image) for image in encoded], np.float32).reshape(-1, 3) / 100


def batch_of(*rows: tuple[str, str, bytes]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {
                "image_id": i,
                "domain": "source",
                "category": c,
                "width": 1,
                "height": 1,
                "image": {"bytes": b, "path": None},
            }
            for i, c, b in rows
        ],
        schemas.IMAGES,
    )


def test_the_probability_is_that_of_the_images_own_category() -> None:
    table = np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4]], np.float32)
    assert own_category_probabilities(["c", "a", "b"], ["a", "b", "c"], table).tolist() == pytest.approx(
        [0.7, 0.5, 0.3]
    )


def test_a_batch_is_scored_by_its_recogniser() -> None:
    scored = score_batch(batch_of(("i", "b", bytes([10, 70, 20])), ("k", "a", bytes([90, 5, 5]))), Oracle())
    assert scored.schema.equals(schemas.SCORES)
    assert scored["image_id"].to_pylist() == ["i", "k"]
    assert scored["category"].to_pylist() == ["b", "a"]
    assert scored["probability"].to_pylist() == pytest.approx([0.7, 0.9])


def test_a_category_that_nobody_knows_gets_no_probability() -> None:
    assert score_batch(batch_of(("j", "z", b"?")), None)["probability"].to_pylist() == [None]


def test_a_probability_that_is_no_number_is_refused() -> None:
    class Diverged(Oracle):
        def probabilities(self, encoded: list[bytes]) -> np.ndarray:
            return super().probabilities(encoded) * [[1, 1, np.nan]]

    sound = batch_of(("i", "b", bytes([10, 70, 20])), ("k", "a", bytes([90, 5, 5])))
    assert score_batch(sound, Diverged())["probability"].to_pylist() == pytest.approx([0.7, 0.9])
    with pytest.raises(UserError, match=r"image 'k': p\(own category\) is NaN, .*run the stage `cleaning:train` again"):
        score_batch(batch_of(("i", "b", bytes([10, 70, 20])), ("k", "c", bytes([90, 5, 5]))), Diverged())


def folds_of(number_of: dict[str, int]) -> pl.DataFrame:
    """Return the folds of the red and blue source images; green was not trained on."""
    rows = [row for row in image_table().to_pylist() if row["domain"] == "source" and row["category"] != "green"]
    return pl.DataFrame(
        [(row["image_id"], row["category"], number_of.get(row["image_id"], 0)) for row in rows],
        schema={"image_id": pl.String, "category": pl.String, "fold": pl.Int32},
        orient="row",
    )


def names_of(batch: pa.RecordBatch) -> list[str]:
    return batch["image_id"].to_pylist()


def test_batches_are_cut_from_the_shard_and_hold_source_images_only(tmp_path: Path) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=1)
    shard = tmp_path / "images/part-00000.parquet"
    batches = list(read_source_batches(shard, folds_of({}), 6))
    # 20 rows, six at a time: 6 red; 2 red, 4 blue; 3 blue | 2 green | 1 of the target; the rest is all target.
    assert [name for name, _ in batches] == [f"part-00000-{number:06d}" for number in range(4)]
    assert [batch.num_rows for _, batch in batches] == [6, 6, 3, 2]
    assert [set(batch["fold"].to_pylist()) for _, batch in batches] == [{0}, {0}, {0}, {None}]
    names = [name for _, batch in batches for name in names_of(batch)]
    assert names == [row["image_id"] for row in image_table().to_pylist() if row["domain"] == "source"]


def test_a_batch_is_of_one_fold(tmp_path: Path) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=1)
    shard = tmp_path / "images/part-00000.parquet"
    folds = folds_of({"s-red-1": 1, "s-red-4": 1, "s-blue-0": 1})
    batches = dict(read_source_batches(shard, folds, 4))
    # 2 x 4 rows are read at a time: 8 red; 7 blue and 1 green; 1 green and the target
    assert [(names_of(batch), batch["fold"][0].as_py()) for batch in batches.values()] == [
        (["s-red-0", "s-red-2", "s-red-3", "s-red-5"], 0),
        (["s-red-6", "s-red-7"], 0),
        (["s-red-1", "s-red-4"], 1),
        (["s-blue-1", "s-blue-2", "s-blue-3", "s-blue-4"], 0),
        (["s-blue-5", "s-blue-6"], 0),
        (["s-blue-0"], 1),
        (["s-green-0"], None),
        (["s-green-1"], None),
    ]
    # batches that are done are skipped, and the others keep their names
    remaining = dict(read_source_batches(shard, folds, 4, frozenset(["part-00000-000000", "part-00000-000005"])))
    assert list(remaining) == [f"part-00000-{number:06d}" for number in (1, 2, 3, 4, 6, 7)]
    assert all(remaining[name].equals(batches[name]) for name in remaining)


def test_an_image_that_the_cleaner_should_know_and_does_not_is_an_error(tmp_path: Path) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=1)
    folds = folds_of({}).filter(pl.col("image_id") != "s-blue-3")
    with pytest.raises(UserError, match=r"image 's-blue-3' of 'blue' is not among the images .*`cleaning:train` again"):
        list(read_source_batches(tmp_path / "images/part-00000.parquet", folds, 4))


def of_fold(fold: int | None, batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.append_column("fold", pa.array([fold] * batch.num_rows, pa.int32()))


class Opposite(Oracle):
    """An oracle with the same categories in another order."""

    categories = ("c", "b", "a")


def test_every_batch_goes_to_the_recogniser_of_its_fold() -> None:
    handler = score.CleanerHandler(Path("model"), folds=2, threads=None, total_images=3)
    batches = [
        of_fold(fold, batch_of((name, category, bytes([60, 30, 10]))))
        for fold, name, category in ((1, "i", "a"), (0, "j", "a"), (None, "k", "z"))
    ]
    scored = list(handler.run_inference(batches, FoldRecognisers([Oracle(), Opposite()])))
    assert [batch["image_id"][0].as_py() for batch in scored] == ["i", "j", "k"]
    assert [batch["probability"][0].as_py() for batch in scored] == [pytest.approx(0.1), pytest.approx(0.6), None]


def test_progress_lines_have_the_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(score, "SECONDS_BETWEEN_LINES", 0)
    caplog.set_level("INFO", "clicksight")
    handler = score.CleanerHandler(Path("model"), folds=1, threads=None, total_images=5)
    two = of_fold(0, batch_of(("i", "a", b"\x28\x1e\x1e"), ("j", "c", b"\x0a\x0a\x50")))
    three = of_fold(0, batch_of(*[(name, "b", b"\x00\x64\x00") for name in "klm"]))
    list(handler.run_inference([two, three], FoldRecognisers([Oracle()])))
    assert "score: 2 of 5 images, " in caplog.text
    assert caplog.text.rstrip().endswith("a second, 0 s left")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write coloured squares in three shards and train two cleaners on them: one with a single fold, one with three."""
    folder = tmp_path_factory.mktemp("score")
    write_images(folder / "images", image_table(), num_shards=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for folds, name in ((1, "cleaner"), (3, "three")):
            (folder / "params.yaml").write_text(CLEANER_PARAMS.replace("folds: 1", f"folds: {folds}"))
            train.main(
                [
                    *("--images", str(folder / "images"), "--output", str(folder / name)),
                    *("--params", str(folder / "params.yaml")),
                ]
            )
    return folder


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(job: Path, output: str, *beam_options: str, cleaner: str = "cleaner") -> Path:
    main(
        [
            *("--images", str(job / "images"), "--model", str(job / cleaner)),
            *("--output", str(job / output), "--params", str(job / "params.yaml"), *beam_options),
        ]
    )
    return job / output


@pytest.mark.parametrize("cleaner", ["cleaner", "three"])
def test_the_whole_job(job: Path, caplog: pytest.LogCaptureFixture, cleaner: str) -> None:
    with caplog.at_level("INFO", logger="clicksight"):
        output = run(job, f"scores-{cleaner}", cleaner=cleaner)
    assert sorted(path.name for path in output.iterdir()) == [f"part-0000{shard}.parquet" for shard in range(3)]
    assert pq.read_schema(output / "part-00002.parquet").equals(schemas.SCORES)
    scores = read_tables(output).to_pylist()
    score_of = {row["image_id"]: row for row in scores}
    fold_of = {row["image_id"]: row["fold"] for row in read_tables(job / cleaner / "folds.parquet").to_pylist()}
    source = [row for row in image_table().to_pylist() if row["domain"] == "source"]
    assert sorted(row["image_id"] for row in scores) == sorted(row["image_id"] for row in source)
    for row in source:
        score = score_of[row["image_id"]]
        assert score["category"] == row["category"]
        if row["category"] == "green":
            assert score["probability"] is None
        else:
            recogniser = load_classifier(job / cleaner / f"fold-{fold_of[row['image_id']]}", "cleaner")
            alone = recogniser.probabilities([row["image"]["bytes"]])[0]
            own = alone[recogniser.categories.index(row["category"])]
            # A batch adds up in another order than a single image: they differ by some units in the last place.
            assert score["probability"] == pytest.approx(float(own), rel=1e-5)
    assert "not scored, category too small for the cleaner 2" in caplog.text
    assert "; next: python -m systems.cleaning.clean (see stages/cleaning/dvc.yaml)" in caplog.text


class Breakdown:
    """A replacement of `score_batch` that records the scored images and fails at a given batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_batch = -1
        self.batches: list[list[str]] = []
        self._score = score.score_batch
        monkeypatch.setattr(score, "score_batch", self)

    def __call__(self, batch: pa.RecordBatch, recogniser: object) -> pa.RecordBatch:
        if len(self.batches) == self.at_batch:
            raise RuntimeError("the power is gone")
        self.batches.append(names_of(batch))
        return self._score(batch, recogniser)


def test_batches_and_threads_are_those_of_the_parameters(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breakdown, threads = Breakdown(monkeypatch), []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    (tmp_path / "params.yaml").write_text("cleaning: {score: {batch_size: 3, threads: 2}}\n")
    images, model = str(job / "images"), str(job / "cleaner")
    options = ["--output", str(tmp_path / "scores"), "--params", str(tmp_path / "params.yaml")]
    main(["--images", images, "--model", model, *options])
    # Rows go to the shards in turn, so the 17 source images are 6, 6 and 5.
    assert max(map(len, breakdown.batches)) == 3
    assert sum(map(len, breakdown.batches)) == 17
    assert threads
    assert set(threads) == {2}


def test_an_interrupted_job_continues_and_writes_the_same_bytes(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    breakdown = Breakdown(monkeypatch)
    whole = run(job, "uninterrupted", cleaner="three")
    every_batch = breakdown.batches
    assert sum(map(len, every_batch)) == 17
    breakdown.batches, breakdown.at_batch = [], 4
    with pytest.raises(RuntimeError, match="the power is gone"):
        run(job, "continued", cleaner="three")
    first = breakdown.batches
    assert not (job / "continued").exists()
    breakdown.batches, breakdown.at_batch = [], -1
    with caplog.at_level("INFO", logger="clicksight"):
        continued = run(job, "continued", cleaner="three")
    assert len(first) == 4
    assert sorted(first + breakdown.batches) == sorted(every_batch)  # the two calls score each batch once
    assert f"score: continuing, {sum(map(len, first))} of 17 images are already scored" in caplog.text
    for shard in range(3):
        name = f"part-{shard:05d}.parquet"
        assert (continued / name).read_bytes() == (whole / name).read_bytes()
    assert not list((tmp_path / ".state/scores").iterdir())


def test_scores_of_another_cleaner_are_not_taken(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    breakdown = Breakdown(monkeypatch)
    breakdown.at_batch = 2
    with pytest.raises(RuntimeError, match="the power is gone"):
        run(job, "mixed", cleaner="cleaner")
    breakdown.batches, breakdown.at_batch = [], -1
    run(job, "mixed", cleaner="three")
    assert sum(map(len, breakdown.batches)) == 17


def test_the_job_writes_the_same_bytes_again_and_with_two_workers(job: Path) -> None:
    one, other = (
        run(job, "one"),
        run(job, "two", "--direct_num_workers", "2", "--direct_running_mode", "multi_threading"),
    )
    for shard in range(3):
        name = f"part-{shard:05d}.parquet"
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_folder_without_a_model_is_refused(job: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(
            [
                *("--images", str(job / "images"), "--model", str(tmp_path)),
                *("--output", str(tmp_path / "scores"), "--params", str(job / "params.yaml")),
            ]
        )
    assert "not the cleaner's folder (no folds.parquet); run the stage `cleaning:train`" in caplog.text
    assert not (tmp_path / "scores").exists()


def test_a_data_set_without_source_images_is_refused(
    job: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path / "images", image_table().slice(17), num_shards=1)
    with pytest.raises(SystemExit, match="2"):
        main(
            [
                *("--images", str(tmp_path / "images"), "--model", str(job / "cleaner")),
                *("--output", str(tmp_path / "scores"), "--params", str(job / "params.yaml")),
            ]
        )
    assert "no image of the source domain" in caplog.text
