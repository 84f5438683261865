"""The recipes' command: labels, selection and splits of each run, and what makes a run's files change."""

import json
from collections import Counter
from collections.abc import Sequence
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
from systems.siamese.labels import filtered, read_labels, soft_labels
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


def write_params(runs: list[str] = RUNS, frozen: Sequence[str] = (), truth: str | None = None, **select: Any) -> None:
    params = SAFE.load(ROOT / "params.yaml")
    params["siamese"]["plan"] |= {"denoised": ["clicks"], "runs": runs, "frozen": list(frozen), "truth": truth}
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
    rows = recipes()["clicks"].filter(domain="source").select(schemas.SPLITS.names)
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


def test_true_labels_come_from_the_key_for_the_run_truth_alone(root: Path) -> None:
    given = {name: category for name, _, category in named("source", SOURCE)}
    true = given | {"s-bee-0": "ant", "not-of-the-data-set": "bee"}
    lines = [f"{name}\t{category.title()}\n" for name, category in true.items() if name != "s-cat-5"]
    Path("key.tsv").write_text("image_id\tcategory\n" + "".join(lines))
    write_params(["given"], ["truth_frozen"], "key.tsv")
    found = recipes()
    expected = {name: true[name] for name in given if name != "s-cat-5"}
    assert categories_of(found["truth_frozen"]) == expected
    assert categories_of(found["given"]) == given
    assert not Path("recipes/truth_frozen.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such key"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a\tant\nb\n", r"line 2: 'b': expected image id, tab, category"),
        (b"image_id\tis_wrong\na\t1\n", r"line 2: 'a\\t1': expected"),
        (b"a\tant\na\tbee\n", "image 'a' has several labels"),
        (b"", "no image has a label"),
    ],
)
def test_a_key_without_categories_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "key.tsv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_labels("truth", tmp_path, tmp_path, tmp_path / "key.tsv")


def test_soft_labels_are_written_for_the_runs_that_use_them(root: Path) -> None:
    path = Path("labels/denoised-clicks/images.parquet")
    rows = pl.read_parquet(path)
    soft = pl.concat_list("category", pl.lit("zebra")), pl.lit([0.75, 0.25], pl.List(pl.Float32))
    rows.with_columns(categories=soft[0], probabilities=soft[1]).write_parquet(path)
    write_params(["clicks-denoised", "clicks-denoised_soft_targets=1"])
    found = recipes()
    hard, with_soft = found["clicks-denoised"], found["clicks-denoised_soft_targets=1"]
    assert (hard["categories"].list.len() == 0).all()
    of_source, of_target = with_soft.filter(domain="source"), with_soft.filter(domain="target")
    assert (of_target["categories"].list.len() == 0).all()
    assert of_source["categories"].to_list() == [[name, "zebra"] for name in of_source["category"]]
    assert set(of_source["probabilities"].to_list()[0]) == {0.75, 0.25}
    rows.write_parquet(path)
    with pytest.raises(UserError, match=r"labels clicks-denoised: no soft labels; set cleaning\.denoise\.soft_labels"):
        soft_labels("clicks-denoised", Path("labels"))


@pytest.fixture
def judged() -> pl.DataFrame:
    """Images of two categories, the fifth ant without a probability; Table II keeps four of nine."""
    rows = [
        ("a0", "ant", 9, 0.1, False), ("a1", "ant", 5, 0.9, True), ("a2", "ant", 4, 0.8, True),
        ("a3", "ant", 3, 0.4, True), ("a4", "ant", 99, None, False), ("a5", "ant", 1, 0.7, False),
        ("b0", "bee", 8, 0.2, True), ("b1", "bee", 7, 0.6, False), ("b2", "bee", 7, 0.3, False),
    ]  # fmt: skip
    schema = {"image_id": pl.String, "category": pl.String, "clicks": pl.Int64, "probability": pl.Float32}
    return pl.DataFrame(rows, schema={**schema, "kept": pl.Boolean}, orient="row")


def test_filters_keep_equal_numbers(judged: pl.DataFrame) -> None:
    kept = {
        kind: set(filtered(f"given-{kind}", judged)["image_id"])
        for kind in ("cleaned", "most-clicked", "most-probable", "drawn")
    }
    assert kept["cleaned"] == {"a1", "a2", "a3", "b0"}
    # 4 of 9 images, so 2.7 of the six ants (the one without a probability is last) and 1.3 of the three bees
    assert kept["most-clicked"] == {"a0", "a1", "a2", "b0"}
    assert kept["most-probable"] == {"a1", "a2", "a5", "b1"}
    assert Counter(name[0] for name in kept["drawn"]) == {"a": 3, "b": 1}
    assert "a4" not in kept["drawn"]


def test_a_filter_by_one_score_does_not_use_the_other(judged: pl.DataFrame) -> None:
    scored = judged.drop_nulls()
    others = scored.with_columns(clicks=pl.lit(1), kept=pl.col("kept").reverse())
    assert filtered("given-most-probable", others)["image_id"].equals(
        filtered("given-most-probable", scored)["image_id"]
    )
    others = scored.with_columns(probability=1 - pl.col("probability"), kept=pl.col("kept").reverse())
    for kind in ("given-most-clicked", "given-drawn"):
        assert filtered(kind, others)["image_id"].equals(filtered(kind, scored)["image_id"])
