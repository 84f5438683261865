"""Table II cell by cell against results worked out by hand, and the whole job against a plain implementation."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from base import schemas
from base.console import UserError
from systems.cleaning.clean import (
    UNSCORED,
    CleanParams,
    add_up_clicks,
    apply_table_ii,
    main,
    read_clicks,
    read_scores,
    summarise,
    table_of_cells,
    with_total_clicks,
)

TABLE = {"size_borders": [8, 100, 300], "first_half": [0.2, 0.3, 0.4], "second_half": [0.4, 0.5, 0.6]}
PAPER = CleanParams(**TABLE, below_first_border="keep")


def category(n: int, name: str = "corgi", **probabilities: float) -> pl.DataFrame:
    """Return n images with clicks n, n - 1, ..., 1 and p = 1 or as given (``i3=0.5`` for rank 3)."""
    return pl.DataFrame(
        {
            "image_id": [f"{name}-{i:04d}" for i in range(n)],
            "category": [name] * n,
            "clicks": [n - i for i in range(n)],
            "probability": [probabilities.get(f"i{i}", 1.0) for i in range(n)],
        }
    )


def fate(n: int, rank: int, probability: float) -> tuple[str, float | None, bool]:
    """Apply the table to a category of n images; return half, threshold and verdict of the image at a rank."""
    row = apply_table_ii(category(n, **{f"i{rank}": probability}), PAPER).row(rank, named=True)
    threshold = row["threshold"]
    return row["half"], None if threshold is None else round(threshold, 6), row["kept"]


@pytest.mark.parametrize(
    ("n", "rank", "probability", "half", "threshold", "kept"),
    [
        # n < 8: all are kept. 7 is odd, so ranks 0-3 are in the first half.
        (7, 0, 0.0, "first", None, True),
        (7, 3, 0.0, "first", None, True),
        (7, 4, 0.0, "second", None, True),
        (1, 0, 0.0, "first", None, True),
        (2, 1, 0.0, "second", None, True),
        (7, 6, 0.0, "second", None, True),
        # 8 <= n < 100
        (8, 0, 0.19, "first", 0.2, False),
        (8, 3, 0.19, "first", 0.2, False),
        (8, 3, 0.2, "first", 0.2, True),
        (8, 4, 0.39, "second", 0.4, False),
        (8, 4, 0.4, "second", 0.4, True),
        (99, 49, 0.19, "first", 0.2, False),  # the middle image of an odd n
        (99, 49, 0.39, "first", 0.2, True),
        (99, 49, 0.2, "first", 0.2, True),
        (99, 50, 0.39, "second", 0.4, False),
        (99, 50, 0.4, "second", 0.4, True),
        (99, 98, 0.41, "second", 0.4, True),
        # 100 <= n < 300
        (100, 49, 0.29, "first", 0.3, False),
        (100, 49, 0.3, "first", 0.3, True),
        (100, 50, 0.49, "second", 0.5, False),
        (100, 50, 0.5, "second", 0.5, True),
        (100, 99, 0.49, "second", 0.5, False),
        (299, 149, 0.29, "first", 0.3, False),  # 150 first, 149 second
        (299, 149, 0.3, "first", 0.3, True),
        (299, 149, 0.49, "first", 0.3, True),
        (299, 150, 0.31, "second", 0.5, False),
        (299, 150, 0.5, "second", 0.5, True),
        # n >= 300
        (300, 149, 0.39, "first", 0.4, False),
        (300, 149, 0.4, "first", 0.4, True),
        (300, 150, 0.59, "second", 0.6, False),
        (300, 150, 0.6, "second", 0.6, True),
        (300, 299, 0.59, "second", 0.6, False),
        (301, 150, 0.39, "first", 0.4, False),
        (301, 150, 0.41, "first", 0.4, True),
        (301, 151, 0.41, "second", 0.6, False),
    ],
)
def test_every_cell_and_border(n: int, rank: int, probability: float, half: str, threshold: float, kept: bool) -> None:
    assert fate(n, rank, probability) == (half, threshold, kept)


@pytest.mark.parametrize(("n", "first", "second"), [(8, 0.2, 0.4), (100, 0.3, 0.5), (300, 0.4, 0.6)])
def test_a_threshold_itself_keeps_and_the_number_below_it_drops(n: int, first: float, second: float) -> None:
    for rank, threshold in ((0, first), (n - 1, second)):
        stored = np.float32(threshold)  # as the scores are stored: 0.6 is 0.60000002, 0.3 is 0.30000001
        assert fate(n, rank, float(stored))[2]
        assert fate(n, rank, float(np.nextafter(stored, np.float32(1))))[2]
        assert not fate(n, rank, float(np.nextafter(stored, np.float32(0))))[2]


@pytest.mark.parametrize("hundredths", range(0, 101))
def test_any_threshold_keeps_itself_and_drops_the_number_below_it(hundredths: int) -> None:
    # 0.7 is stored as 0.69999999, less than the threshold in double precision; 0.6 is stored as 0.60000002, more.
    threshold = hundredths / 100
    params = CleanParams(size_borders=[1], first_half=[threshold], second_half=[threshold], below_first_border="drop")
    stored = np.float32(threshold)
    below = np.nextafter(stored, np.float32(-1))
    for dtype in (pl.Float32, pl.Float64):
        images = category(4, i0=float(stored), i1=float(below), i2=float(stored), i3=float(below))
        cleaned = apply_table_ii(images.with_columns(pl.col("probability").cast(dtype)), params)
        assert cleaned["kept"].to_list() == [True, False, True, False]
        assert cleaned.schema["threshold"] == cleaned.schema["probability"] == pl.Float32
        assert cleaned["threshold"].to_list() == [float(stored)] * 4
    in_double = apply_table_ii(category(2, i0=threshold, i1=threshold), params)  # p in double precision
    assert in_double["kept"].to_list() == [True, True]


@pytest.mark.parametrize("n", [1, 2, 3, 24, 25, 26, 99, 100, 101, 299, 300, 301])
def test_the_first_half_is_half_the_images_rounded_up(n: int) -> None:
    halves = apply_table_ii(category(n), PAPER)["half"].to_list()  # the most clicked first
    assert halves == ["first"] * -(-n // 2) + ["second"] * (n // 2)


def test_equal_clicks_across_the_middle_of_an_odd_category() -> None:
    images = pl.DataFrame(
        {
            "image_id": list("ihgfedcba"),
            "category": ["corgi"] * 9,
            "clicks": [4, 4, 4, 4, 9, 4, 4, 1, 4],
            "probability": [0.3] * 9,
        }
    )
    # 9 e, 4 a, 4 c, 4 d, 4 f | 4 g, 4 h, 4 i, 1 b: five of nine are in the first half, ties are ordered by image id
    cleaned = apply_table_ii(images, PAPER)
    assert cleaned.filter(half="first")["image_id"].to_list() == ["a", "c", "d", "e", "f"]
    assert cleaned.filter(pl.col("kept"))["image_id"].to_list() == ["a", "c", "d", "e", "f"]


def test_equal_clicks_are_ordered_by_image_id() -> None:
    images = category(8).with_columns(pl.lit(5).alias("clicks"), pl.lit(0.3).alias("probability"))
    shuffled = images.sample(fraction=1.0, shuffle=True, seed=3)
    cleaned = apply_table_ii(shuffled, PAPER)
    assert cleaned["image_id"].to_list() == images["image_id"].to_list()
    assert cleaned["half"].to_list() == ["first"] * 4 + ["second"] * 4
    assert cleaned["kept"].to_list() == [True] * 4 + [False] * 4


def test_more_clicks_come_first_whatever_the_image_id() -> None:
    images = pl.DataFrame(
        {
            "image_id": list("abcdefghi"),
            "category": ["corgi"] * 9,
            "clicks": [0, 7, 1, 100, 7, 3, 0, 2, 50],
            "probability": [0.3] * 9,
        }
    )
    # 100 d, 50 i, 7 b, 7 e, 3 f | 2 h, 1 c, 0 a, 0 g
    cleaned = apply_table_ii(images, PAPER)
    assert cleaned.filter(pl.col("kept"))["image_id"].to_list() == ["b", "d", "e", "f", "i"]


def test_each_category_has_its_own_size_and_halves() -> None:
    both = pl.concat([category(8, "corgi", i7=0.1), category(3, "akita", i2=0.1)])
    cleaned = apply_table_ii(both, PAPER)
    assert cleaned.filter(~pl.col("kept"))["image_id"].to_list() == ["corgi-0007"]
    assert cleaned.filter(category="akita")["rule"].unique().to_list() == ["n < 8, keep all"]
    assert cleaned.row(-1, named=True)["rule"] == "8 <= n < 100, second, p < 0.4"


def test_small_categories_are_dropped_on_request() -> None:
    params = CleanParams(**{**PAPER.model_dump(), "below_first_border": "drop"})
    cleaned = apply_table_ii(pl.concat([category(7), category(8, "akita")]), params)
    assert cleaned.filter(pl.col("kept"))["category"].unique().to_list() == ["akita"]
    assert cleaned.row(-1, named=True)["rule"] == "n < 8, drop all"


def test_an_image_without_a_probability_is_dropped_and_says_why() -> None:
    images = pl.concat([category(2, "rare").with_columns(pl.lit(None, pl.Float64).alias("probability")), category(3)])
    cleaned = apply_table_ii(images, PAPER)
    assert cleaned.filter(~pl.col("kept"))["rule"].to_list() == [UNSCORED] * 2
    assert cleaned.filter(pl.col("kept"))["category"].to_list() == ["corgi"] * 3


def test_the_cells_are_those_the_paper_prints() -> None:
    cells = table_of_cells(PAPER)
    assert cells["rule"].to_list() == [
        "n < 8, keep all",
        "8 <= n < 100, first, p < 0.2",
        "100 <= n < 300, first, p < 0.3",
        "n >= 300, first, p < 0.4",
        "n < 8, keep all",
        "8 <= n < 100, second, p < 0.4",
        "100 <= n < 300, second, p < 0.5",
        "n >= 300, second, p < 0.6",
    ]


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 3), st.floats(0, 1, width=32)), min_size=1, max_size=40)
)
def test_the_verdict_can_be_read_off_the_row(rows: list[tuple[str, int, float]]) -> None:
    params = CleanParams(size_borders=[2, 5], first_half=[0.2, 0.7], second_half=[0.4, 0.9], below_first_border="keep")
    images = pl.DataFrame(
        [(f"{i}", *row) for i, row in enumerate(rows)],
        schema={"image_id": pl.String, "category": pl.String, "clicks": pl.Int64, "probability": pl.Float32},
        orient="row",
    )
    cleaned = apply_table_ii(images, params)
    assert sorted(cleaned["image_id"]) == sorted(images["image_id"])
    for row in cleaned.iter_rows(named=True):
        assert row["kept"] == (row["threshold"] is None or row["probability"] >= row["threshold"])
        assert (row["threshold"] is None) == (row["category_size"] < 2)
    for (_, size), group in cleaned.group_by("category", "category_size"):
        first = group.filter(half="first")
        assert len(group) == size
        assert len(first) == -(-size // 2)
        if size > 1:
            assert first["clicks"].min() >= group.filter(half="second")["clicks"].max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_borders": [8, 8, 300]}, "positive and ascending, found"),
        ({"size_borders": [0, 100, 300]}, "positive and ascending"),
        ({"first_half": [0.2, 0.3]}, "first_half needs one threshold per border: 3 borders, 2 thresholds"),
        ({"second_half": [0.4, 0.5, 1.2]}, r"second_half must lie in \[0, 1\]"),
        ({"below_first_border": "perhaps"}, "'keep' or 'drop'"),
    ],
)
def test_impossible_tables_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CleanParams(**{**PAPER.model_dump(), **change})


def test_clicks_add_up_over_queries_and_other_images_in_the_log_do_not_matter() -> None:
    scores = category(3).drop("clicks")
    clicks = pl.DataFrame({"image_id": ["corgi-0002", "elsewhere", "corgi-0000", "corgi-0002"], "clicks": [9, 1, 4, 2]})
    clicked = with_total_clicks(scores, clicks)
    assert dict(clicked.select("image_id", "clicks").iter_rows()) == {
        "corgi-0000": 4,
        "corgi-0001": 0,
        "corgi-0002": 11,
    }
    assert clicked.select(scores.columns).sort("image_id").equals(scores)


def test_an_image_with_two_scores_is_refused() -> None:
    clicks = pl.DataFrame({"image_id": ["a"], "clicks": [1]})
    scores = category(2).drop("clicks")
    message = "image 'corgi-0000' has 2 scores, expected one; run the stage `cleaning:score` again"
    with pytest.raises(UserError, match=message):
        with_total_clicks(pl.concat([scores, scores.head(1)]), clicks)


def test_the_summary_counts_by_cell() -> None:
    images = pl.concat([category(8, i0=0.1, i7=0.1, i6=0.39), category(2, "akita")])
    unscored = category(1, "rare").with_columns(pl.lit(None, pl.Float64).alias("probability"))
    assert summarise(apply_table_ii(pl.concat([images, unscored]), PAPER)) == {
        "images": 11,
        "kept": 7,
        "categories": 3,
        "categories_without_images_left": ["rare"],
        "rules": [
            {"rule": UNSCORED, "images": 1, "kept": 0, "categories": 1},
            {"rule": "n < 8, keep all", "images": 2, "kept": 2, "categories": 1},
            {"rule": "8 <= n < 100, first, p < 0.2", "images": 4, "kept": 3, "categories": 1},
            {"rule": "8 <= n < 100, second, p < 0.4", "images": 4, "kept": 2, "categories": 1},
        ],
    }


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Write a scored data set of 9 + 2 images and its click log, both in several shards."""
    scores = pl.concat([category(9, i1=0.1, i8=0.3), category(2, "akita", i0=0.0)]).drop("clicks")
    scores = scores.with_columns(pl.col("probability").cast(pl.Float32))
    (tmp_path / "scores").mkdir()
    (tmp_path / "clicks").mkdir()
    for shard, rows in enumerate((scores.slice(5), scores.slice(0, 5))):
        pq.write_table(rows.to_arrow().cast(schemas.SCORES), tmp_path / f"scores/part-{shard:05d}.parquet")
    log = [("corgi-0008", "a dog", 5), ("corgi-0008", "corgi", 6), ("corgi-0000", "corgi", 2), ("gone", "cat", 1)]
    for shard in (0, 1):
        table = pa.Table.from_pylist(
            [{"image_id": i, "query": q, "clicks": c} for i, q, c in log[2 * shard : 2 * shard + 2]], schemas.CLICKS
        )
        pq.write_table(table, tmp_path / f"clicks/part-{shard:05d}.parquet")
    (tmp_path / "params.yaml").write_text(
        "cleaning: {clean: {size_borders: [8, 100, 300], first_half: [0.2, 0.3, 0.4], second_half: [0.4, 0.5, 0.6], "
        "below_first_border: keep}}\n"
    )
    return tmp_path


def arguments(job: Path, output: str = "cleaned") -> list[str]:
    return [
        *("--scores", str(job / "scores"), "--clicks", str(job / "clicks")),
        *("--output", str(job / output), "--params", str(job / "params.yaml")),
    ]


def test_scores_and_clicks_travel_as_rows_of_one_kind(job: Path) -> None:
    rows = [
        *read_scores(job / "scores/part-00000.parquet"),
        *read_clicks(job / "clicks/part-00000.parquet"),
        *read_clicks(job / "clicks/part-00001.parquet"),
    ]
    assert rows[1].num_rows == 1  # two queries of one image make one row
    clicked = next(iter(add_up_clicks(0, pa.concat_batches(rows))))
    found = {row["image_id"]: (row["category"], row["clicks"]) for row in clicked.to_pylist()}
    assert found == {
        **{f"corgi-{i:04d}": ("corgi", 0) for i in range(5, 8)},
        "corgi-0008": ("corgi", 11),
        "akita-0000": ("akita", 0),
        "akita-0001": ("akita", 0),
    }


def test_the_whole_job(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="clicksight"):
        main(arguments(job))
    cleaned = pq.read_table(job / "cleaned/images.parquet")
    assert cleaned.schema.equals(schemas.CLEANED)
    rows = {row["image_id"]: row for row in cleaned.to_pylist()}
    assert list(rows) == sorted(rows)
    assert len(rows) == 11
    # Its clicks move image 8 to the first half, where p = 0.3 is enough; 0.1 is not.
    assert (rows["corgi-0008"]["half"], rows["corgi-0008"]["clicks"], rows["corgi-0008"]["kept"]) == ("first", 11, True)
    assert [name for name, row in rows.items() if not row["kept"]] == ["corgi-0001"]
    assert json.loads((job / "cleaned/summary.json").read_text())["kept"] == 10
    assert "dropped: 8 <= n < 100, first, p < 0.2 1" in caplog.text
    assert "; next: python -m pipelines.splits.select (see dvc.yaml)" in caplog.text


def test_every_parameter_reaches_the_job(job: Path) -> None:
    # Two size classes, borders and thresholds that are not the paper's, small categories dropped.
    (job / "params.yaml").write_text(
        "cleaning: {clean: {size_borders: [3, 9], first_half: [0.1, 0.7], second_half: [0.05, 0.9], "
        "below_first_border: drop}}\n"
    )
    probabilities = {"corgi-0002": 0.7, "corgi-0003": 0.65, "corgi-0005": 0.9, "corgi-0006": 0.85}
    for shard in (job / "scores").iterdir():
        rows = pq.read_table(shard).to_pylist()
        rows = [row | {"probability": probabilities.get(row["image_id"], row["probability"])} for row in rows]
        pq.write_table(pa.Table.from_pylist(rows, schemas.SCORES), shard)
    main(arguments(job))
    rows = {row["image_id"]: row for row in pq.read_table(job / "cleaned/images.parquet").to_pylist()}
    # Order by clicks: 8 (11), 0 (2), then 1, 2, 3 | 4, 5, 6, 7.
    assert {name: (row["half"], row["kept"]) for name, row in rows.items()} == {
        "corgi-0008": ("first", False),  # 0.3
        "corgi-0000": ("first", True),
        "corgi-0001": ("first", False),  # 0.1
        "corgi-0002": ("first", True),
        "corgi-0003": ("first", False),
        "corgi-0004": ("second", True),
        "corgi-0005": ("second", True),
        "corgi-0006": ("second", False),
        "corgi-0007": ("second", True),
        "akita-0000": ("first", False),
        "akita-0001": ("second", False),
    }
    assert {row["rule"] for row in rows.values()} == {
        "n < 3, drop all", "n >= 9, first, p < 0.7", "n >= 9, second, p < 0.9",
    }  # fmt: skip
    assert [rows[name]["threshold"] for name in ("corgi-0000", "corgi-0007", "akita-0000")] == [
        float(np.float32(0.7)), float(np.float32(0.9)), None,
    ]  # fmt: skip


def test_the_job_writes_the_same_bytes_again_from_other_shards_and_with_two_workers(job: Path) -> None:
    main(arguments(job, "one"))
    for name, shards in (("scores", 5), ("clicks", 3)):
        table = pa.concat_tables([pq.read_table(file) for file in sorted((job / name).iterdir(), reverse=True)])
        for file in (job / name).iterdir():
            file.unlink()
        for shard in range(shards):  # rows go to the shards in turn; one shard of the clicks stays empty
            rows = [] if name == "clicks" and shard == 1 else list(range(shard, table.num_rows, shards))
            if name == "clicks" and shard == 0:
                rows = sorted(rows + list(range(1, table.num_rows, shards)))
            pq.write_table(table.take(pa.array(rows, pa.int64())), job / name / f"part-{shard:05d}.parquet")
    main([*arguments(job, "two"), "--direct_num_workers", "2", "--direct_running_mode", "multi_threading"])
    for name in ("images.parquet", "summary.json"):
        assert (job / "one" / name).read_bytes() == (job / "two" / name).read_bytes()


def test_the_job_agrees_with_a_few_plain_lines(tmp_path: Path) -> None:
    draw = random.Random(4)
    sizes = {"a": 1, "b": 7, "c": 8, "d": 99, "e": 100, "f": 299, "g": 300, "h": 301}
    scores = [
        (f"{name}{draw.randrange(10**9):09d}", name, draw.choice([None, 0.3, 0.5, draw.random(), draw.random()]))
        for name, size in sizes.items()
        for _ in range(size)
    ]
    log = [(draw.choice(scores)[0], f"query {i}", draw.randint(1, 3)) for i in range(1500)]
    total: dict[str, int] = {}
    for image_id, _, clicks in log:
        total[image_id] = total.get(image_id, 0) + clicks
    expected = {}
    for name, n in sizes.items():
        mine = sorted((-total.get(image_id, 0), image_id, p) for image_id, of, p in scores if of == name)
        for rank, (_, image_id, p) in enumerate(mine):
            column = 0 if rank < (n + 1) // 2 else 1
            cell = None if n < 8 else [(0.2, 0.4), (0.3, 0.5), (0.4, 0.6)][(n >= 100) + (n >= 300)][column]
            expected[image_id] = p is not None and (cell is None or np.float32(p) >= np.float32(cell))
    draw.shuffle(scores)
    for folder, names, rows, schema in (
        ("scores", schemas.SCORES.names, scores, schemas.SCORES),
        ("clicks", schemas.CLICKS.names, log, schemas.CLICKS),
    ):
        (tmp_path / folder).mkdir()
        for shard in range(3):
            table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows[shard::3]], schema)
            pq.write_table(table, tmp_path / folder / f"part-{shard:05d}.parquet")
    (tmp_path / "params.yaml").write_text(f"cleaning: {{clean: {json.dumps(PAPER.model_dump())}}}")
    main(arguments(tmp_path))
    cleaned = pq.read_table(tmp_path / "cleaned/images.parquet").to_pylist()
    assert {row["image_id"]: row["kept"] for row in cleaned} == expected
    assert {row["image_id"]: row["clicks"] for row in cleaned} == {i: total.get(i, 0) for i, _, _ in scores}
    assert {row["category_size"] for row in cleaned} == set(sizes.values())


def test_a_data_set_without_scores_is_refused(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    for shard in (job / "scores").iterdir():
        pq.write_table(schemas.SCORES.empty_table(), shard)
    with pytest.raises(SystemExit, match="2"):
        main(arguments(job))
    assert "no scores; check in the closing lines of `ingest` that the data set has source images" in caplog.text


def test_a_probability_that_is_no_number_is_refused_by_the_job(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    shard = job / "scores/part-00001.parquet"
    rows = pq.read_table(shard).to_pylist()
    rows[3]["probability"] = float("nan")
    pq.write_table(pa.Table.from_pylist(rows, schemas.SCORES), shard)
    with pytest.raises(SystemExit, match="2"):
        main(arguments(job))
    message = f"image {rows[3]['image_id']!r} has the probability NaN; run the stage `cleaning:score` again"
    assert f"{shard}: {message}" in caplog.text
    assert not (job / "cleaned").exists()


def test_an_image_scored_twice_is_refused_by_the_job(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    (job / "scores/part-00002.parquet").write_bytes((job / "scores/part-00000.parquet").read_bytes())
    with pytest.raises(SystemExit, match="2"):
        main(arguments(job))
    assert "has 2 scores, expected one; run the stage `cleaning:score` again" in caplog.text
    assert not (job / "cleaned").exists()


def test_a_missing_log_ends_with_exit_code_2_and_leaves_nothing(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    for shard in (job / "clicks").iterdir():
        shard.unlink()
    with pytest.raises(SystemExit, match="2"):
        main(arguments(job))
    assert "clicks: no part-*.parquet shards here; run the stage that writes them" in caplog.text
    assert not (job / "cleaned").exists()


@pytest.mark.parametrize("module", ["clean", "score"])
def test_importing_a_job_prints_nothing(module: str) -> None:
    """Beam warns on import that Google's BigQuery client is missing; a run's display would show that to a person."""
    command = [sys.executable, "-c", f"import systems.cleaning.{module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
