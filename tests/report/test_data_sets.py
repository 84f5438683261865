"""Report tables of the data, whose numbers must add up, and their plots."""

import math

import polars as pl
import pytest
from drawings import check_pictures, keep_drawing, refuse_other_fonts
from matplotlib.figure import Figure

from report import data_sets

FILTER = pl.DataFrame(
    {"rule": ["8 <= n < 100, first, p < 0.2", "all"], "images": [4, 9], "kept": [3, 8], "kept_percent": [75.0, 88.9]}
)
WORDS = pl.DataFrame(
    {"word_id": [0, 1, 2], "word": ["dog", "斑点", "red"], "clicks": [90, 20, 3], "document_frequency": [30, 9, 1]}
)


def pictures() -> dict[str, bytes]:
    return {"filter": data_sets.noise_filter_plot(FILTER), "vocabulary": data_sets.vocabulary_plot(WORDS)}


def test_pictures_have_the_same_bytes_again_and_no_software_version() -> None:
    check_pictures(pictures)


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Figure:
    return keep_drawing(monkeypatch, data_sets)


def test_the_noise_filter_tells_counts_beside_the_bars(figure: Figure) -> None:
    data_sets.noise_filter_plot(FILTER)
    assert [text.get_text() for text in figure.axes[0].texts] == ["8 of 9  (88.9 %)", "3 of 4  (75.0 %)"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all", "8 ≤ n < 100, first, p < 0.2"]


def test_bars_of_the_noise_filter_are_the_percentages(figure: Figure) -> None:
    data_sets.noise_filter_plot(FILTER)
    whole, kept = figure.axes[0].containers
    assert [bar.get_width() for bar in whole] == [100.0, 100.0]
    assert [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in kept] == [
        (pytest.approx(0), 88.9), (pytest.approx(1), 75.0),
    ]  # fmt: skip


def test_the_vocabulary_is_drawn_by_rank_from_1(figure: Figure) -> None:
    data_sets.vocabulary_plot(WORDS)
    (axes,) = figure.axes
    assert {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines} == {
        "clicks of queries with the word": ([1, 2, 3], [90, 20, 3]),
        "images with the word": ([1, 2, 3], [30, 9, 1]),
    }
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_no_picture_needs_a_glyph_that_its_font_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_other_fonts(monkeypatch)
    pictures()


def test_the_noise_filter_adds_up() -> None:
    summary = {
        "images": 45,
        "kept": 35,
        "categories": 3,
        "rules": [
            {"rule": "n < 8, keep all", "images": 5, "kept": 5, "categories": 1},
            {"rule": "8 <= n < 100, first, p < 0.2", "images": 40, "kept": 30, "categories": 2},
        ],
    }
    assert data_sets.noise_filter_table(summary).select("rule", "images", "kept", "kept_percent").rows() == [
        ("n < 8, keep all", 5, 5, 100.0),
        ("8 <= n < 100, first, p < 0.2", 40, 30, 75.0),
        ("all", 45, 35, 77.8),
    ]


def test_splits_are_counted_by_seed_and_domain() -> None:
    rows = pl.DataFrame(
        [("a", "source", "x", "train"), ("b", "source", "y", "test"), ("c", "target", "x", "train")],
        schema=["image_id", "domain", "category", "split"],
        orient="row",
    )
    assert data_sets.split_table([(3, rows), (0, rows.head(1))]).rows() == [
        (0, "source", 1, 1, 1, 0, 0),
        (3, "source", 2, 2, 1, 0, 1),
        (3, "target", 1, 1, 1, 0, 0),
    ]


def test_rows_and_their_reasons_add_up_by_table() -> None:
    tables = {
        "clicks": {"rows_read": 1234, "rows_kept": 1230, "quarantined": {"no count": 1, "empty query": 3}},
        "labels": {"rows_read": 20, "rows_kept": 20, "quarantined": {}},
    }
    rows, reasons = data_sets.ingested_tables({"tables": tables})
    assert [column.heading for column in rows.columns] == ["rows of", "read", "kept", "quarantined"]
    assert rows.rows == [["clicks", "1,234", "1,230", "4"], ["labels", "20", "20", "0"]]
    assert [column.heading for column in reasons.columns] == ["rows of", "quarantined because", "rows"]
    assert reasons.rows == [["clicks", "empty query", "3"], ["clicks", "no count", "1"]]
    assert data_sets.ingested_tables({"tables": {"labels": tables["labels"]}})[1].rows == []


def test_copies_have_a_row_for_each_seed_and_domain() -> None:
    source = {"groups": 2, "images": 7, "largest": 4, "several_categories": 1}
    target = {"groups": 0, "images": 0, "largest": 0, "several_categories": 0}
    seeds = {"10": {"moved": 3, "divided": 1}, "9": {"moved": 5, "divided": 0}}
    none = {seed: {"moved": 0, "divided": 0} for seed in seeds}
    summary = {"copies": {"kept": "anywhere", "source": source | {"seeds": seeds}, "target": target | {"seeds": none}}}
    table = data_sets.copies_table(summary)
    assert table.columns == ["seed", "domain", "groups", "images", "largest", "several_categories", "moved", "divided"]
    assert table.rows() == [
        (9, "source", 2, 7, 4, 1, 5, 0),
        (9, "target", 0, 0, 0, 0, 0, 0),
        (10, "source", 2, 7, 4, 1, 3, 1),
        (10, "target", 0, 0, 0, 0, 0, 0),
    ]


def vocabulary_of(*numbers: int, images: int) -> pl.DataFrame:
    return pl.DataFrame({"document_frequency": numbers, "idf": [math.log(images / number) for number in numbers]})


def source_split(seed: int, splits: str) -> tuple[int, pl.DataFrame]:
    names = {"r": "train", "v": "validation", "t": "test"}
    rows = [(f"i{number}", "source", names[split]) for number, split in enumerate(splits)]
    rows += [(f"i{number}", "target", "test") for number in range(9)]
    return seed, pl.DataFrame(rows, schema=["image_id", "domain", "split"], orient="row")


def test_the_vocabulary_tells_its_images_and_what_they_are_to_other_seeds() -> None:
    splits = [source_split(4, "rrrrvvtt"), source_split(0, "ttrrrrtv"), source_split(1, "rrrrttvv")]
    text = data_sets.vocabulary_sentence(vocabulary_of(3, 1, images=4), splits)
    assert text.startswith("Clicks, document frequencies and idf are counted on the 4 training images of seed 4. All")
    # seed 0 tests images 0, 1 and 6, of which 0 and 1 are training images of seed 4; seed 1 tests 4 and 5
    assert "with their categories: 2 of 3 (seed 0), 0 of 2 (seed 1). Only seed 4 is free of this." in text
    alone = data_sets.vocabulary_sentence(vocabulary_of(4, images=4), splits[:1])
    assert alone == "Clicks, document frequencies and idf are counted on the 4 training images of seed 4."
    whole = data_sets.vocabulary_sentence(vocabulary_of(5, 1, images=8), splits)
    assert whole == "Clicks, document frequencies and idf are counted on all 8 selected source images."
    assert data_sets.vocabulary_sentence(vocabulary_of(2, images=7), splits).endswith("counted on 7 images.")
    assert data_sets.vocabulary_sentence(vocabulary_of(images=7), splits) == "There is no word."
