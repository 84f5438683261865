"""The preparation page: its numbers against hand-made ones, its examples against a plain sort, its pictures decoded."""

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coloured_images import image_table, write_images
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from base import schemas
from report import data_sets
from systems.cleaning.preparation import (
    categories_texts,
    choose_examples,
    main,
    steps_table,
    totals_texts,
)

CATEGORIES = pl.DataFrame(
    [
        ("source", "akita", 30, 18, 15, True, "selected"),
        ("source", "borzoi", 50, 10, 10, True, "selected"),
        ("source", "dingo", 8, 7, 0, False, "not in the target"),
        ("target", "akita", 20, 20, 20, True, "selected"),
        ("target", "borzoi", 11, 11, 11, True, "selected"),
        ("target", "corgi", 4, 4, 0, False, "not in the source"),
    ],
    schema=schemas.CATEGORIES.names,
    orient="row",
)
FIRST, SECOND, SMALL = "8 <= n < 100, first, p < 0.2", "8 <= n < 100, second, p < 0.4", "n < 8, keep all"
UNSCORED = "category too small for the cleaner"
# (image, category, clicks, category size, half, probability, threshold, kept, rule)
CLEANED = [
    ("s-red-0", "red", 1, 8, "first", 0.19, 0.2, False, FIRST),
    ("s-red-1", "red", 1200, 8, "first", 0.05, 0.2, False, FIRST),
    ("s-red-2", "red", 30, 8, "first", 0.95, 0.2, True, FIRST),
    ("s-red-3", "red", 20, 8, "first", 0.25, 0.2, True, FIRST),
    ("s-red-4", "red", 4, 8, "second", 0.4, 0.4, True, SECOND),
    ("s-red-5", "red", 3, 8, "second", 0.5, 0.4, True, SECOND),
    ("s-red-6", "red", 2, 8, "second", 0.6, 0.4, True, SECOND),
    ("s-red-7", "red", 1, 8, "second", 0.7, 0.4, True, SECOND),
    *((f"s-blue-{i}", "blue", 0, 7, "first", 0.9 - 0.1 * i, None, True, SMALL) for i in range(7)),
    ("s-green-1", "green", 6, 2, "first", None, None, False, UNSCORED),
    ("s-green-0", "green", 5, 2, "second", None, None, False, UNSCORED),
]


def cleaned_frame() -> pl.DataFrame:
    rows = [dict(zip(schemas.CLEANED.names, row, strict=True)) for row in sorted(CLEANED)]
    return pl.DataFrame(pa.Table.from_pylist(rows, schemas.CLEANED))


def write_data(root: Path, images: pa.Table, num_shards: int = 3) -> None:
    """Write ``root/data``, with everything that the page reads, and ``root/params.yaml``."""
    data = root / "data"
    write_images(data / "ingested/images", images, num_shards)
    (data / "cleaned").mkdir()
    pq.write_table(cleaned_frame().to_arrow().cast(schemas.CLEANED), data / "cleaned/images.parquet")
    rules = [
        {"rule": UNSCORED, "images": 2, "kept": 0, "categories": 1},
        {"rule": SMALL, "images": 7, "kept": 7, "categories": 1},
        {"rule": FIRST, "images": 4, "kept": 2, "categories": 1},
        {"rule": SECOND, "images": 4, "kept": 4, "categories": 1},
    ]
    summary = {"images": 17, "kept": 13, "categories": 3, "categories_without_images_left": ["green"], "rules": rules}
    (data / "cleaned/summary.json").write_text(json.dumps(summary))
    (data / "splits").mkdir()
    CATEGORIES.with_columns(pl.col("category").replace("dingo", "<dingo>")).write_parquet(
        data / "splits/categories.parquet"
    )
    (root / "params.yaml").write_text("cleaning: {preparation: {examples: 3, thumbnail: 16}}\n")


def run(root: Path, output: str = "preparation") -> Path:
    main(["--data", str(root / "data"), "--output", str(root / output), "--params", str(root / "params.yaml")])
    return root / output


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preparation")
    write_data(folder, image_table())
    run(folder)
    return folder


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "preparation/index.html").read_text(encoding="utf-8")


def dropped_of(counts: dict[str, int]) -> pl.DataFrame:
    """Return cleaned images: per category, the given number is dropped and one is kept."""
    rows = [(name, kept) for name, count in counts.items() for kept in [False] * count + [True]]
    return pl.DataFrame(rows, schema={"category": pl.String, "kept": pl.Boolean}, orient="row")


def steps() -> pl.DataFrame:
    return steps_table(CATEGORIES, dropped_of({"akita": 12, "borzoi": 36, "dingo": 1}))


def test_each_step_takes_what_it_takes() -> None:
    columns = ["domain", "category", "kept_percent", "dropped", "duplicates", "left_out", "over_the_cap"]
    assert steps().select(*columns, "images_selected").rows() == [
        ("source", "akita", 60.0, 12, 0, 0, 3, 15),
        ("source", "borzoi", 28.0, 36, 4, 0, 0, 10),
        ("source", "dingo", 87.5, 1, 0, 7, 0, 0),
        ("target", "akita", 100.0, 0, 0, 0, 0, 20),
        ("target", "borzoi", 100.0, 0, 0, 0, 0, 11),
        ("target", "corgi", 100.0, 0, 0, 4, 0, 0),
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 40), st.integers(1, 40), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_the_steps_add_up(parts: list[tuple[int, int, int, int, bool]]) -> None:
    rows = [
        ("source", f"c{i}", dropped + leaks + more + least, more + least, least if chosen else 0, chosen,
         "selected" if chosen else "not in the target")
        for i, (dropped, leaks, more, least, chosen) in enumerate(parts)
    ]  # fmt: skip
    table = steps_table(
        pl.DataFrame(rows, schema=schemas.CATEGORIES.names, orient="row"),
        dropped_of({f"c{i}": dropped for i, (dropped, *_) in enumerate(parts)}),
    )
    sums = table.select(pl.sum_horizontal("images_selected", "dropped", "duplicates", "left_out", "over_the_cap"))
    assert sums.to_series().to_list() == table["images_ingested"].to_list()
    assert table["duplicates"].to_list() == [leaks for _, leaks, *_ in parts]


def test_totals_by_domain() -> None:
    table = totals_texts(steps())
    assert [(column.group, column.heading) for column in table.columns][2:7] == [
        *(("of them taken out by", how) for how in ("noise filter", "duplicates", "category left out", "cap")),
        ("images left", "selected"),
    ]
    assert table.rows == [
        ["source", "88", "49", "4", "7", "3", "25", "3", "2"],
        ["target", "35", "0", "0", "4", "0", "31", "3", "2"],
    ]


def test_categories_that_keep_least_come_first_and_a_domain_that_lacks_one_has_dashes() -> None:
    table = categories_texts(steps())
    assert table.rows == [
        ["borzoi", "50", "10", "28.0", "10", "11", "11", "selected"],
        ["akita", "30", "18", "60.0", "15", "20", "20", "selected"],
        ["dingo", "8", "7", "87.5", "0", "–", "–", "not in the target"],
        ["corgi", "–", "–", "–", "–", "4", "0", "not in the source"],
        ["all", "88", "35", "44.3", "25", "35", "31", ""],
    ]


def test_a_category_with_two_fates_shows_both() -> None:
    rows = [
        ("source", "akita", 9, 2, 0, False, "fewer than 3 images"),
        ("target", "akita", 5, 5, 0, False, "fewer than 3 images in the source"),
    ]
    categories = pl.DataFrame(rows, schema=schemas.CATEGORIES.names, orient="row")
    table = categories_texts(steps_table(categories, dropped_of({"akita": 7})))
    assert table.rows[0][-1] == "source: fewer than 3 images; target: fewer than 3 images in the source"


def test_examples_nearest_the_threshold_come_first() -> None:
    chosen = choose_examples(cleaned_frame(), 3)
    named: dict[tuple[str, bool], list[str]] = {}
    for row in chosen.iter_rows(named=True):
        named.setdefault((row["rule"], row["kept"]), []).append(row["image_id"].removeprefix("s-"))
    assert named == {
        (FIRST, False): ["red-0", "red-1"],
        (FIRST, True): ["red-3", "red-2"],
        (SECOND, True): ["red-4", "red-5", "red-6"],  # p = t is kept, and is the nearest
        (UNSCORED, False): ["green-0", "green-1"],  # without probabilities they are ordered by id
        (SMALL, True): ["blue-6", "blue-5", "blue-4"],  # no threshold: the least probable first
    }
    assert dict(chosen.select("rule", "count").unique().iter_rows()) == {FIRST: 2, SECOND: 4, UNSCORED: 2, SMALL: 7}


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.booleans(), st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, None])),
        max_size=20,
    ),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_examples_are_a_plain_sort_whatever_the_order_of_rows(cells: list[Any], most: int, random: Any) -> None:
    thresholds = {"a": 0.25, "b": None}
    rows = [
        {"image_id": f"i{i:02d}", "category": "c", "clicks": 1, "category_size": 1, "half": "first", "probability": p,
         "threshold": thresholds[rule], "kept": kept, "rule": rule}
        for i, (rule, kept, p) in enumerate(cells)
    ]  # fmt: skip
    expected = []
    for rule in ("a", "b"):
        for kept in (False, True):
            mine = [row for row in rows if row["rule"] == rule and row["kept"] == kept]
            border = thresholds[rule] or 0.0
            mine.sort(
                key=lambda row: (row["probability"] is None, abs((row["probability"] or 0.0) - border), row["image_id"])
            )
            expected += [row["image_id"] for row in mine[:most]]
    random.shuffle(rows)
    frame = pl.DataFrame(pa.Table.from_pylist(rows, schemas.CLEANED))
    assert choose_examples(frame, most)["image_id"].to_list() == expected


def test_its_files_and_the_tables_in_them(root: Path) -> None:
    folder = root / "preparation"
    assert sorted(path.name for path in folder.iterdir()) == ["examples.csv", "index.html", "steps.csv", "steps.png"]
    with (folder / "steps.csv").open(encoding="utf-8") as file:
        assert [row["category"] for row in csv.DictReader(file)][:3] == ["<dingo>", "akita", "borzoi"]
    with (folder / "examples.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 2 + 2 + 3 + 2 + 3


def test_the_page_needs_nothing_beside_it(text: str) -> None:
    page = Page(text)
    assert page.loaded == []
    assert all(re.match(r"data:image/(png;base64,iVBOR|jpeg;base64,/9j/)", source) for source in page.pictures)
    assert len(page.pictures) == 2 + 12  # two plots, and the examples
    headings = [heading for heading, level in zip(page.headings, page.levels, strict=True) if level < 4]
    assert headings[-5:-1] == [UNSCORED, *(rule.replace("<=", "≤") for rule in (SMALL, FIRST, SECOND))]


def test_its_two_plots_are_those_that_their_captions_name(root: Path, text: str) -> None:
    plots = {
        caption: base64.b64decode(data) for data, caption in re.findall(r'png;base64,([^"]+)" alt="([^"]+)"', text)
    }
    steps, noise_filter = plots.values()
    assert [caption.split(".")[0] for caption in plots] == [
        "Images of each category by their fate, the largest category first", "Images kept in each cell",
    ]  # fmt: skip
    assert steps == (root / "preparation/steps.png").read_bytes()
    summary = json.loads((root / "data/cleaned/summary.json").read_text())
    assert noise_filter == data_sets.noise_filter_plot(data_sets.noise_filter_table(summary))


def test_its_tables_stand_below_their_headings(text: str) -> None:
    totals, noise_filter, categories = Page(text).tables
    assert totals[:2] == [
        ["", "images", "of them taken out by", "images left", "categories"],
        [
            "domain",
            "ingested",
            "noise filter",
            "duplicates",
            "category left out",
            "cap",
            "selected",
            "ingested",
            "selected",
        ],
    ]
    assert [row[0] for row in totals[2:]] == ["source", "target"]
    assert noise_filter[0] == ["cell", "categories", "images", "kept", "kept, %"]
    assert noise_filter[2:] == [
        [SMALL, "1", "7", "7", "100.0"], [FIRST, "1", "4", "2", "50.0"], [SECOND, "1", "4", "4", "100.0"],
        ["all", "3", "17", "13", "76.5"],
    ]  # fmt: skip
    assert categories[1] == [
        *("category", "ingested", "cleaned", "kept, %", "selected", "ingested", "selected", "what became of it"),
    ]


def test_its_tables_as_files_have_each_number_in_its_column(root: Path) -> None:
    rows = pl.read_csv(root / "preparation/examples.csv").rows(named=True)
    by_id = {row["image_id"]: row for row in rows}
    assert by_id["s-red-4"] == {
        **{"rule": SECOND, "kept": True, "place": 0, "count": 4, "image_id": "s-red-4", "category": "red"},
        **{"clicks": 4, "probability": pytest.approx(0.4), "threshold": pytest.approx(0.4)},
    }
    steps = pl.read_csv(root / "preparation/steps.csv").row(1, named=True)
    # The cleaned images are red, blue and green, so no image of these categories is dropped.
    assert steps == {
        **{"domain": "source", "category": "akita", "images_ingested": 30, "images_cleaned": 18, "images_selected": 15},
        **{"kept_percent": 100.0, "dropped": 0, "duplicates": 12, "left_out": 0, "over_the_cap": 3},
        **{"status": "selected"},
    }


def test_each_example_shows_its_own_picture_and_numbers(text: str) -> None:
    found = re.findall(
        r'<figure title="(s-\w+-\d)">.*?base64,([^"]+)" width="(\d+)" height="(\d+)"'
        r".*?<b>(\w+)</b><br>(.*?)<br>(.*?)<",
        text,
        re.DOTALL,
    )
    shown = {image_id: rest for image_id, *rest in found}
    assert len(shown) == len(found) == 12
    for image_id, (encoded, width, height, category, _, _) in shown.items():
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (int(width), int(height)) == (16, 14)  # 20 x 18, its longer side at 16
            channel = int(np.asarray(picture).mean((0, 1)).argmax())
        assert ("red", "green", "blue")[channel] == category == image_id.split("-")[1]
    assert shown["s-red-0"][4:] == ["p 0.1900", "1 click"]
    assert shown["s-red-1"][4:] == ["p 0.0500", "1,200 clicks"]
    assert shown["s-green-1"][4:] == ["not scored", "6 clicks"]


def test_rows_say_how_many_there_are_and_empty_ones_say_so(text: str) -> None:
    assert re.findall(r"<h4>(\w+) <small>(.*?)</small>", text) == [
        *(("Dropped", "all 2"), ("Kept", "3 of 7"), ("Dropped", "all 2"), ("Kept", "all 2"), ("Kept", "3 of 4")),
    ]
    assert text.count("Nothing dropped.") == 2
    assert text.count("Nothing kept.") == 1


def test_names_from_the_data_are_never_markup(text: str) -> None:
    assert "&lt;dingo&gt;" in text
    assert "<dingo>" not in text


def test_the_same_bytes_again_however_the_images_are_sharded(root: Path, tmp_path: Path) -> None:
    write_data(tmp_path, image_table(), num_shards=2)
    again = run(tmp_path)
    for path in (root / "preparation").iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_an_image_that_is_not_there_is_an_error_that_names_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = image_table()
    keep = [i for i, name in enumerate(images["image_id"].to_pylist()) if name != "s-red-4"]
    write_data(tmp_path, images.take(keep))
    with pytest.raises(SystemExit) as left:
        run(tmp_path)
    assert left.value.code == 2
    assert "1 of 12 images are not there, as 's-red-4'" in caplog.text
    assert not (tmp_path / "preparation").exists()
