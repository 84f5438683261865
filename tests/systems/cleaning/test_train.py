"""The cleaner's folds, the images that each network learns from, and the whole job on coloured squares."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from coloured_images import CLEANER_PARAMS, image_table, write_images
from hypothesis import given
from hypothesis import strategies as st
from launched import run_in_two_processes
from pydantic import ValidationError

from base import schemas
from base.artifacts import read_tables
from base.console import UserError
from base.params import load_section
from model.classification import ClassifierTask, load_classifier
from model.classifier_params import ClassifierParams, TrainParams
from model.data import images as images_module
from model.training import trainer
from model.training.checkpoints import DIGESTS
from model.training.params import ScheduleParams
from model.training.task import Run
from systems.cleaning.train import CleanerParams, assign_folds, main, training_rows

TRAIN = TrainParams(
    epochs=2, batch_size=4, learning_rate=0.1, recogniser_multiplier=2.0,
    momentum=0.9, weight_decay=0.0, schedule=ScheduleParams(kind="constant", warm_up=0.0), mixed_precision="no",
    accumulation=1, compile=False, channels_last=False, workers=0, threads=1, cache_images=True,
)  # fmt: skip


def images(**sizes: int) -> pl.DataFrame:
    rows = [(f"{name}{i}", "source", name) for name, n in sizes.items() for i in range(n)]
    rows += [(f"target{i}", "target", "akita") for i in range(5)]
    return pl.DataFrame(rows, schema=["image_id", "domain", "category"], orient="row")


def test_all_source_images_train_but_those_of_small_categories() -> None:
    rows, too_small = training_rows(images(corgi=3, akita=4, dingo=2, whippet=1), 3)
    assert rows["image_id"].to_list() == ["akita0", "akita1", "akita2", "akita3", "corgi0", "corgi1", "corgi2"]
    assert rows["split"].unique().to_list() == ["train"]
    assert too_small.rows() == [("dingo", 2), ("whippet", 1)]


def test_a_classifier_needs_two_categories() -> None:
    with pytest.raises(
        UserError, match=r"1 of 3 source categories have cleaning.train.minimum_category_size = 4 images"
    ):
        training_rows(images(corgi=3, akita=4, dingo=2), 4)


SIZES = st.dictionaries(st.sampled_from(["akita", "boxer", "corgi", "dingo"]), st.integers(2, 30), min_size=1)


def rows_of(sizes: dict[str, int]) -> pl.DataFrame:
    return images(**sizes).filter(domain="source").drop("domain")


@given(SIZES, st.integers(1, 9), st.integers(0, 3), st.randoms(use_true_random=False))
def test_folds_are_dealt_out_evenly_and_once(sizes: dict[str, int], folds: int, seed: int, random: Any) -> None:
    rows = rows_of(sizes)
    if folds > max(sizes.values()):
        with pytest.raises(UserError, match=f"cleaning.train.folds = {folds}, but the largest source category has"):
            assign_folds(rows, folds, seed)
        return
    assigned = assign_folds(rows, folds, seed)
    assert assigned["image_id"].to_list() == sorted(rows["image_id"])
    assert set(assigned["fold"]) == set(range(folds))
    for name, size in sizes.items():
        counts = Counter(assigned.filter(category=name)["fold"])
        # for example, 7 images in 3 folds: 3, 2, 2
        expected = [size // folds + (number < size % folds) for number in range(folds)]
        assert sorted((counts[fold] for fold in range(folds)), reverse=True) == expected
    order = list(range(len(rows)))
    random.shuffle(order)
    assert assign_folds(rows[order], folds, seed).equals(assigned)


def test_new_images_move_none_of_another_category() -> None:
    before = assign_folds(rows_of({"akita": 9, "boxer": 5}), 4, 0)
    after = assign_folds(rows_of({"akita": 9, "boxer": 11, "corgi": 3}), 4, 0)
    assert after.filter(category="akita").equals(before.filter(category="akita"))
    assert not after.filter(pl.col("image_id").is_in(before["image_id"].implode())).equals(before)


def test_small_categories_do_not_all_begin_with_the_same_fold() -> None:
    assigned = assign_folds(rows_of({f"category{number}": 4 for number in range(40)}), 4, 0)
    # the first image of each category by id; without the hashes one fold would hold them all
    assert set(assigned.group_by("category").agg(pl.col("fold").first())["fold"]) == {0, 1, 2, 3}
    pairs = assign_folds(rows_of({f"category{number}": 2 for number in range(40)} | {"large": 4}), 4, 0)
    assert min(Counter(pairs["fold"]).values()) >= 10


def test_another_seed_deals_out_other_folds() -> None:
    rows = rows_of({"akita": 20, "boxer": 20})
    assert not assign_folds(rows, 2, 0).equals(assign_folds(rows, 2, 1))


def test_an_only_image_cannot_be_left_out() -> None:
    train = TRAIN.model_dump()
    assert CleanerParams(minimum_category_size=1, folds=1, seed=0, train=train).folds == 1
    with pytest.raises(ValidationError, match="with folds = 2, minimum_category_size must be 2 or more"):
        CleanerParams(minimum_category_size=1, folds=2, seed=0, train=train)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def arguments_of(folder: Path, output: str, folds: int) -> list[str]:
    """Write the images and the parameters, and return the command's arguments."""
    if not (folder / "images").exists():
        write_images(folder / "images", image_table(), num_shards=2)
    (folder / "params.yaml").write_text(CLEANER_PARAMS.replace("folds: 1", f"folds: {folds}"))
    return [
        *("--images", str(folder / "images"), "--output", str(folder / output)),
        *("--params", str(folder / "params.yaml")),
    ]


def train_cleaner(folder: Path, output: str, folds: int) -> Path:
    main(arguments_of(folder, output, folds))
    return folder / output


class Spy:
    """A replacement of the trainer that records what each network learned from and interrupts at a given run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.learned: dict[str, list[str]] = {}
        self.breaks_off_at = ""
        self._train = trainer.train
        monkeypatch.setattr(trainer, "train", self)

    def __call__(self, run: Run, output: Path) -> Any:
        if run.name == self.breaks_off_at:
            raise KeyboardInterrupt
        (task,) = run.tasks
        assert isinstance(task, ClassifierTask)
        rows = task.rows["source"]
        assert task.epoch_rows == len(rows)  # an epoch is one pass over the training images
        self.learned[run.name] = task.names("source", rows.tolist())
        return self._train(run, output)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spy]:
    return Spy(monkeypatch)


def test_no_network_learns_from_what_it_will_score(tmp_path: Path, spy: Spy) -> None:
    cleaner = train_cleaner(tmp_path, "cleaner", folds=3)
    table = read_tables(cleaner / "folds.parquet")
    assert table.schema.equals(schemas.FOLDS)
    folds = pl.DataFrame(table)
    everything = {row["image_id"] for row in image_table().to_pylist() if row["image_id"][:5] in ("s-red", "s-blu")}
    assert len(everything) == 15
    assert set(folds["image_id"]) == everything
    for fold in range(3):
        scored = set(folds.filter(fold=fold)["image_id"])
        learned = spy.learned[f"cleaner/fold-{fold}"]
        assert len(learned) == len(set(learned)) == 15 - len(scored)
        assert set(learned) == everything - scored
        run = json.loads((cleaner / f"fold-{fold}/run.json").read_text())
        assert run["images"] == {"train": len(learned), "validation": 0}
        assert run["categories"] == ["blue", "red"]


def test_seed_and_parameters_reach_folds_and_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = images_module.decode
    trained: list[Run] = []
    decoded: list[int] = []
    monkeypatch.setattr(images_module, "decode", lambda *given: decoded.append(1) or decode(*given))

    def train(run: Run, output: Path) -> None:
        trained.append(run)
        for task in run.tasks:
            task.will_read("source", task.rows["source"])
        output.mkdir(parents=True)

    monkeypatch.setattr(trainer, "train", train)
    folds = []
    for seed in (0, 5):
        arguments = arguments_of(tmp_path, f"cleaner-{seed}", folds=2)
        text = (tmp_path / "params.yaml").read_text()
        (tmp_path / "params.yaml").write_text(text.replace("seed: 0", f"seed: {seed}"))
        main(arguments)
        folds.append(pl.read_parquet(tmp_path / f"cleaner-{seed}" / "folds.parquet"))
        rows = folds[-1].select("image_id", "category")
        assert folds[-1].equals(assign_folds(rows, 2, seed))
    assert not folds[0].equals(folds[1])
    tasks = [task for run in trained for task in run.tasks]
    assert [task.seed for task in tasks] == [0, 0, 5, 5]
    params = load_section(CleanerParams, "cleaning.train", tmp_path / "params.yaml").train
    network = load_section(ClassifierParams, "cleaning.network", tmp_path / "params.yaml")
    for task in tasks:
        assert isinstance(task, ClassifierTask)
        assert (task.name, task.main, task.network_params, task.params) == ("cleaner", "source", network, params)
    assert [run.description["seed"] for run in trained] == [0, 0, 5, 5]
    assert len({run.fingerprint for run in trained}) == 4  # they differ in the training images or the seed
    assert len(decoded) == 2 * 15  # each call decodes each image once and caches it


@pytest.mark.parametrize("file", ["cleaner.safetensors", "run.json", DIGESTS])
def test_a_damaged_fold_is_trained_again(tmp_path: Path, spy: Spy, caplog: pytest.LogCaptureFixture, file: str) -> None:
    whole = artifact_bytes(train_cleaner(tmp_path, "whole", folds=3))
    spy.breaks_off_at = "cleaner/fold-2"
    with pytest.raises(KeyboardInterrupt):
        train_cleaner(tmp_path, "cleaner", folds=3)
    (finished,) = (tmp_path / ".state" / "checkpoints").glob("cleaner-finished-*")
    path = finished / "fold-0" / file
    if file == "run.json":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        path.unlink()
    spy.learned.clear()
    spy.breaks_off_at = ""
    continued = artifact_bytes(train_cleaner(tmp_path, "cleaner", folds=3))
    assert set(spy.learned) == {"cleaner/fold-0", "cleaner/fold-2"}
    assert re.search(rf"fold-0: {re.escape(file)} (is missing|has changed): ", caplog.text)
    assert continued == whole
    assert not any(name.endswith(DIGESTS) for name in continued)


def test_plain_scoring_learns_from_every_image(tmp_path: Path, spy: Spy) -> None:
    cleaner = train_cleaner(tmp_path, "cleaner", folds=1)
    assert set(pl.DataFrame(read_tables(cleaner / "folds.parquet"))["fold"]) == {0}
    assert len(spy.learned["cleaner/fold-0"]) == 15
    assert [path.name for path in sorted(cleaner.iterdir())] == ["fold-0", "folds.parquet"]


def artifact_bytes(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_an_interrupted_training_continues_in_its_fold(
    tmp_path: Path, spy: Spy, caplog: pytest.LogCaptureFixture
) -> None:
    whole = artifact_bytes(train_cleaner(tmp_path, "whole", folds=3))
    assert set(spy.learned) == {"whole/fold-0", "whole/fold-1", "whole/fold-2"}
    spy.learned.clear()
    spy.breaks_off_at = "continued/fold-2"
    with pytest.raises(KeyboardInterrupt):
        train_cleaner(tmp_path, "continued", folds=3)
    assert not (tmp_path / "continued").exists()
    assert set(spy.learned) == {"continued/fold-0", "continued/fold-1"}
    spy.learned.clear()
    spy.breaks_off_at = ""
    with caplog.at_level("INFO", logger="clicksight"):
        continued = artifact_bytes(train_cleaner(tmp_path, "continued", folds=3))
    assert set(spy.learned) == {"continued/fold-2"}
    assert "cleaner, fold 2 of 3: already trained" in caplog.text
    assert continued == whole
    assert not list((tmp_path / ".state/checkpoints").iterdir())


def test_finished_folds_of_other_parameters_are_not_taken(tmp_path: Path, spy: Spy) -> None:
    spy.breaks_off_at = "cleaner/fold-1"
    with pytest.raises(KeyboardInterrupt):
        train_cleaner(tmp_path, "cleaner", folds=3)
    spy.learned.clear()
    spy.breaks_off_at = ""
    train_cleaner(tmp_path, "cleaner", folds=2)
    assert set(spy.learned) == {"cleaner/fold-0", "cleaner/fold-1"}


def test_the_whole_job_learns_red_from_blue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="clicksight"):
        train_cleaner(tmp_path, "cleaner", folds=1)
    recogniser = load_classifier(tmp_path / "cleaner/fold-0", "cleaner")
    assert recogniser.categories == ["blue", "red"]
    table = image_table().to_pylist()
    reds = [row["image"]["bytes"] for row in table if row["category"] == "red"]
    blues = [row["image"]["bytes"] for row in table if row["category"] == "blue" and row["domain"] == "source"]
    assert recogniser.probabilities(reds)[:, 1].min() > 0.5
    assert recogniser.probabilities(blues)[:, 0].min() > 0.5
    run = json.loads((tmp_path / "cleaner/fold-0/run.json").read_text())
    assert run["categories"] == ["blue", "red"]
    assert "category too small: green, images 2" in caplog.text
    assert "source images trained on 15" in caplog.text


def test_a_parameter_that_cannot_be_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=1)
    (tmp_path / "params.yaml").write_text(
        CLEANER_PARAMS.replace("minimum_category_size: 3", "minimum_category_size: 0")
    )
    with pytest.raises(SystemExit, match="2"):
        main(
            [
                *("--images", str(tmp_path / "images"), "--output", str(tmp_path / "cleaner")),
                *("--params", str(tmp_path / "params.yaml")),
            ]
        )
    assert "cleaning.train.minimum_category_size = 0: Input should be greater than or equal to 1" in caplog.text
    assert not (tmp_path / "cleaner").exists()


@pytest.mark.slow
def test_two_processes_train_each_fold_together(tmp_path: Path) -> None:
    output = run_in_two_processes(
        ["-m", "systems.cleaning.train", *arguments_of(tmp_path, "launched", folds=2)], tmp_path
    )
    assert output.count("launched/fold-1: 2 processes share each step") == 1
    assert output.count("train cleaner: folds 2") == 1  # only one process logs
    alone = train_cleaner(tmp_path, "alone", folds=2)
    names = {path.relative_to(alone) for path in alone.rglob("*")}
    assert {path.relative_to(tmp_path / "launched") for path in (tmp_path / "launched").rglob("*")} == names
    assert (tmp_path / "launched" / "folds.parquet").read_bytes() == (alone / "folds.parquet").read_bytes()
    reds = [row["image"]["bytes"] for row in image_table().to_pylist() if row["category"] == "red"]
    assert load_classifier(tmp_path / "launched" / "fold-0", "cleaner").probabilities(reds)[:, 1].min() > 0.5
    assert not list((tmp_path / ".state" / "checkpoints").iterdir())
