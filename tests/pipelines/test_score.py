"""Scores against the classifier asked image by image, and byte identity of the job."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coloured_images import CLEANER_PARAMS, image_table, write_images

from model import train_cleaner
from model.predict import load_recogniser
from pipelines import schemas, score
from pipelines.artifacts import read_tables
from pipelines.score import main, own_category_probabilities, read_source_batches, score_batch


class Oracle:
    """Stands for a recogniser: an image's bytes are its probabilities of a, b and c, in percent."""

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


def test_an_unknown_category_gets_no_probability() -> None:
    batch = batch_of(("i", "b", bytes([10, 70, 20])), ("j", "z", b"?"), ("k", "a", bytes([90, 5, 5])))
    scored = score_batch(batch, Oracle())
    assert scored.schema.equals(schemas.SCORES)
    assert scored["image_id"].to_pylist() == ["i", "j", "k"]
    assert scored["category"].to_pylist() == ["b", "z", "a"]
    assert scored["probability"].to_pylist() == [pytest.approx(0.7), None, pytest.approx(0.9)]


def test_a_batch_of_strangers_only_asks_nothing() -> None:
    assert score_batch(batch_of(("j", "z", b"?")), Oracle())["probability"].to_pylist() == [None]


def test_batches_are_cut_from_the_shard_and_hold_source_images_only(tmp_path: Path) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=1)
    batches = list(read_source_batches(tmp_path / "images/part-00000.parquet", 6))
    # 20 rows, the last three of the target: 6, 6, 5 of 6, and a last batch of 2 that is all target.
    assert [batch.num_rows for batch in batches] == [6, 6, 5]
    names = [name for batch in batches for name in batch["image_id"].to_pylist()]
    assert names == [row["image_id"] for row in image_table().to_pylist() if row["domain"] == "source"]


def test_progress_tells_the_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(score, "SECONDS_BETWEEN_LINES", 0)
    caplog.set_level("INFO", "clicksight")
    handler = score.CleanerHandler(Path("model"), threads=None, images_in_all=5)
    two = batch_of(("i", "a", b"\x28\x1e\x1e"), ("j", "c", b"\x0a\x0a\x50"))
    three = batch_of(*[(name, "b", b"\x00\x64\x00") for name in "klm"])
    list(handler.run_inference([two, three], Oracle()))
    assert "score: 2 of 5 images, " in caplog.text
    assert caplog.text.rstrip().endswith("a second, 0 s left")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out coloured squares in three shards and a cleaner that was trained on them."""
    folder = tmp_path_factory.mktemp("score")
    write_images(folder / "images", image_table(), num_shards=3)
    (folder / "params.yaml").write_text(CLEANER_PARAMS)
    train_cleaner.main(
        [
            "--images",
            str(folder / "images"),
            "--output",
            str(folder / "cleaner"),
            "--params",
            str(folder / "params.yaml"),
        ]
    )
    return folder


def run(job: Path, output: str, *beam_options: str) -> Path:
    main(
        [
            *("--images", str(job / "images"), "--model", str(job / "cleaner")),
            *("--output", str(job / output), "--params", str(job / "params.yaml"), *beam_options),
        ]
    )
    return job / output


def test_the_whole_job(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="clicksight"):
        output = run(job, "scores")
    assert sorted(path.name for path in output.iterdir()) == [f"part-0000{shard}.parquet" for shard in range(3)]
    assert pq.read_schema(output / "part-00002.parquet").equals(schemas.SCORES)
    scores = {row["image_id"]: row for row in read_tables(output).to_pylist()}
    recogniser = load_recogniser(job / "cleaner", "source")
    source = [row for row in image_table().to_pylist() if row["domain"] == "source"]
    assert sorted(scores) == sorted(row["image_id"] for row in source)
    for row in source:
        score = scores[row["image_id"]]
        assert score["category"] == row["category"]
        if row["category"] == "green":
            assert score["probability"] is None
        else:
            alone = recogniser.probabilities([row["image"]["bytes"]])[0]
            own = alone[recogniser.categories.index(row["category"])]
            # Asked alone or in a batch, sums run in another order: some units in the last place of single precision.
            assert score["probability"] == pytest.approx(float(own), rel=1e-5)
    assert "not scored, category too small for the cleaner 2" in caplog.text


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
    assert "not a model folder (no run.json); run the stage `train_cleaner`" in caplog.text
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
