"""The recipes' command: labels, selection and splits of each run, and what makes a run's files change."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from graph import ROOT, SAFE
from siamese_data import SOURCE, TARGET, categories_of, named, write_data_set

from base import schemas
from base.artifacts import write_table
from base.console import UserError
from pipelines.splits.split import split_images
from systems.siamese.config import read_recipe
from systems.siamese.labels import read_labels
from systems.siamese.recipes import main

RUNS = [
    "given",
    "given-cleaned",
    "clicks",
    "clicks-denoised",
    "clicks_targets=1",
    "clicks_targets=3",
    "clicks_targets=all",
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_data_set(tmp_path / "data", tmp_path / "labels")
    write_params()
    return tmp_path


def write_params(runs: list[str] = RUNS, **select: Any) -> None:
    params = SAFE.load(ROOT / "params.yaml")
    params["siamese"]["plan"] |= {"denoised": ["clicks"], "runs": runs}
    params["select"] |= select
    params["seeds"] = [3]
    Path("params.yaml").write_text(json.dumps(params))


def recipes() -> dict[str, pl.DataFrame]:
    main(["--data", "data", "--labels", "labels", "--output", "recipes"])
    return {path.parent.name: pl.read_parquet(path) for path in sorted(Path("recipes").glob("*/seed-3.parquet"))}


def test_each_run_has_its_own_labels(root: Path) -> None:
    found = {run: categories_of(rows) for run, rows in recipes().items()}
    given = {name: category for name, _, category in named("source", SOURCE)}
    assert found["given"] == given
    assert found["given-cleaned"] == {name: category for name, category in given.items() if name != "s-bee-0"}
    clicks = {name: category for name, category in given.items() if name != "s-cat-5"} | {"s-ant-0": "bee"}
    assert found["clicks"] == clicks
    denoised = {name: category for name, category in clicks.items() if name not in ("s-ant-0", "s-ant-1")}
    assert found["clicks-denoised"] == denoised | {"s-ant-2": "cat"}
    assert found["clicks_targets=all"] == clicks


def test_the_source_is_split_as_select_splits_it(root: Path) -> None:
    rows = recipes()["clicks"].filter(domain="source")
    expected = split_images(rows.drop("split"), 3, {"train": 0.5, "validation": 0.25, "test": 0.25})
    assert rows.equals(expected)
    sizes = Counter(rows.filter(split="train")["category"])
    assert sizes == {"ant": 4, "bee": 5, "cat": 3}  # of 8, 9 and 5; ties of fractions go to train


def test_the_targets_test_images_are_those_of_the_data_set_and_never_trained_on(root: Path) -> None:
    split = pl.read_parquet("data/splits/seed-3.parquet").filter(domain="target")
    test = set(split.filter(split="test")["image_id"])
    chosen = {}
    for run, rows in recipes().items():
        target = rows.filter(domain="target")
        assert len(target) == sum(TARGET.values())
        assert set(target.filter(split="test")["image_id"]) == test
        assert target.filter(split="validation").is_empty()  # no target image chooses an epoch
        chosen[run] = target.filter(split="train")
    assert chosen["clicks"].is_empty()
    assert Counter(chosen["clicks_targets=1"]["category"]) == dict.fromkeys(TARGET, 1)
    assert Counter(chosen["clicks_targets=3"]["category"]) == dict.fromkeys(TARGET, 3)
    assert set(chosen["clicks_targets=1"]["image_id"]) < set(chosen["clicks_targets=3"]["image_id"])
    assert set(chosen["clicks_targets=all"]["image_id"]) == set(split["image_id"]) - test


def test_a_category_that_the_source_lacks_is_not_trained_on_but_stays_to_be_counted(root: Path) -> None:
    write_params(["clicks_targets=all"], minimum_images=6)  # clicks name five cats only
    rows = recipes()["clicks_targets=all"]
    assert set(rows.filter(split="train")["category"]) == {"ant", "bee"}
    assert rows.filter(domain="target", category="cat", split="test").height == 1


def test_the_cap_and_leaks_are_those_of_select(root: Path) -> None:
    leak = ("s-ant-4", "source", "ant", "t-ant-0", "target", "ant", "near", 3, None)
    rows = pl.DataFrame([leak], schema=pl.DataFrame(schemas.DUPLICATES.empty_table()).schema, orient="row")
    write_table(rows.to_arrow().cast(schemas.DUPLICATES), Path("data/ingested/duplicates.parquet"))
    write_params(["given"], duplicates="drop_leaks", most_images=7)
    found = categories_of(recipes()["given"])
    assert "s-ant-4" not in found
    assert Counter(found.values()) == {"ant": 7, "bee": 7, "cat": 6}


def test_another_runs_labels_change_no_byte_of_a_run(root: Path) -> None:
    recipes()
    before = {path: path.read_bytes() for path in Path("recipes").rglob("*") if path.is_file()}
    labels = pl.read_parquet("data/click_labels/labels")
    changed = labels.with_columns(category=pl.when(pl.col("image_id") == "s-bee-1").then(None).otherwise("category"))
    [shard] = Path("data/click_labels/labels").glob("*.parquet")
    write_table(changed.to_arrow().cast(schemas.CLICK_LABELS), shard)
    recipes()
    after = {path: path.read_bytes() for path in before}
    stale = {path.parent.name for path in before if before[path] != after[path]}
    assert stale == {"clicks", "clicks_targets=1", "clicks_targets=3", "clicks_targets=all"}


def test_recipes_are_readable(root: Path) -> None:
    recipes()
    assert read_recipe(Path("recipes/clicks_targets=all.json")).targets is None
    assert {path.stem for path in Path("recipes").glob("*.json")} == set(RUNS)


def test_labels_without_a_label_or_with_two_are_refused(root: Path) -> None:
    path = Path("labels/denoised-clicks/images.parquet")
    rows = pl.read_parquet(path)
    rows.with_columns(kept=False).write_parquet(path)
    with pytest.raises(UserError, match="labels clicks-denoised: no image has a label"):
        read_labels("clicks-denoised", Path("data"), Path("labels"))
    pl.concat([rows, rows.filter(image_id="s-bee-2")]).write_parquet(path)
    with pytest.raises(UserError, match="image 's-bee-2' has several labels"):
        read_labels("clicks-denoised", Path("data"), Path("labels"))


def test_missing_labels_name_the_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("labels/denoised-clicks/images.parquet").unlink()
    with pytest.raises(SystemExit) as ended:
        recipes()
    assert ended.value.code == 2
    assert not Path("recipes").exists()
