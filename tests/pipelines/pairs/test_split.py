from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from base import schemas
from base.artifacts import read_json, write_table
from base.console import UserError
from pipelines.pairs.split import PairSplitParams, cut_validation, draw_split, given_split, main, run
from pipelines.splits.select import Shares
from pipelines.splits.split import split_sizes

SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}
PARAMS = PairSplitParams(
    splits="drawn", shares=Shares(**SHARES), least_pairs=3, copies="together", validation_from="train",
    validation_share=0.25,
)  # fmt: skip
NONE = pl.DataFrame(schema={"pair_id": pl.String, "group": pl.String})


def pairs(**sizes: int) -> pl.DataFrame:
    rows = [(f"{category}-{n:02d}", category) for category, number in sizes.items() for n in range(number)]
    return pl.DataFrame(rows, schema={"pair_id": pl.String, "category": pl.String}, orient="row")


def sizes_of(split: pl.DataFrame, category: str) -> dict[str, int]:
    rows = split.filter(pl.col("category") == category)
    return {name: int((rows["split"] == name).sum()) for name in SHARES}


def test_each_category_is_divided_by_the_shares_and_small_ones_are_left_out() -> None:
    split = draw_split(pairs(red=13, blue=5, tiny=2), 3, PARAMS)
    assert split.columns == schemas.PAIR_SPLIT.names
    assert set(split["category"]) == {"red", "blue"}
    assert sizes_of(split, "red") == split_sizes(13, SHARES)
    assert sizes_of(split, "blue") == split_sizes(5, SHARES)
    assert not split.equals(draw_split(pairs(red=13, blue=5), 4, PARAMS))


def test_copies_are_in_one_split() -> None:
    groups = pl.DataFrame({"pair_id": ["red-00", "red-05", "blue-02"], "group": ["red-00"] * 3})
    for seed in range(8):
        split = dict(draw_split(pairs(red=9, blue=6), seed, PARAMS, groups).select("pair_id", "split").iter_rows())
        assert len({split[pair_id] for pair_id in groups["pair_id"]}) == 1


def given(train: int, test: int, validation: int = 0, category: str = "red") -> pl.DataFrame:
    splits = ["train"] * train + ["test"] * test + ["validation"] * validation
    names = [f"{category}-{n:02d}" for n in range(len(splits))]
    return pl.DataFrame({"pair_id": names, "category": [category] * len(names), "split": splits})


@pytest.mark.parametrize(("part", "expected"), [("train", (9, 3, 5)), ("test", (12, 1, 4))])
def test_validation_is_cut_from_the_named_part(part: str, expected: tuple[int, int, int]) -> None:
    rows = pl.concat([given(12, 5), given(4, 4, category="blue")])
    split = given_split(rows, 0, PARAMS.model_copy(update={"validation_from": part}))
    assert tuple(sizes_of(split, "red").values()) == expected
    assert sizes_of(split, "blue")["validation"] == 1
    before = dict(rows.select("pair_id", "split").iter_rows())
    moved = [pair for pair, _, now in split.iter_rows() if before[pair] != now]
    assert {before[pair] for pair in moved} == {part}


def test_a_given_validation_part_stays_and_all_seeds_are_equal() -> None:
    rows = given(5, 3, 2)
    assert given_split(rows, 0, PARAMS).rows() == rows.sort("pair_id").rows()
    assert given_split(rows, 1, PARAMS).equals(given_split(rows, 0, PARAMS))


def test_a_category_that_is_only_tested_is_left_out() -> None:
    rows = pl.concat([given(4, 2, 1), given(0, 3, category="blue")])
    assert set(given_split(rows, 0, PARAMS)["category"]) == {"red"}


def test_given_splits_that_cannot_be_used_are_errors() -> None:
    rows = given(4, 2).with_columns(split=pl.when(pl.col("pair_id") == "red-03").then(None).otherwise("split"))
    with pytest.raises(UserError, match="1 of 6 pairs have no split, as 'red-03'; use splits: drawn"):
        given_split(rows, 0, PARAMS)
    with pytest.raises(UserError, match="no pair is in test"):
        given_split(given(4, 0), 0, PARAMS)


@for_all(
    st.lists(st.tuples(st.sampled_from("rgb"), st.integers(0, 6)), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
    st.integers(0, 3),
)
def test_a_cut_takes_whole_groups_and_never_more_than_its_share(
    members: list[tuple[str, int]], share: float, seed: int
) -> None:
    rows = [(f"{n:02d}", category, f"g{group}" if group < 3 else None) for n, (category, group) in enumerate(members)]
    table = pl.DataFrame(rows, {"pair_id": pl.String, "category": pl.String, "group": pl.String}, orient="row")
    groups = table.select("pair_id", "group").drop_nulls()
    params = PARAMS.model_copy(update={"validation_share": share})
    cut = set(cut_validation(table.select("pair_id", "category"), seed, params, groups))
    units: dict[str, list[int]] = {}
    for number, (pair_id, _, group) in enumerate(rows):
        units.setdefault(group or pair_id, []).append(number)
    taken = dict.fromkeys("rgb", 0)
    for numbers in units.values():
        assert len({rows[number][0] in cut for number in numbers}) == 1
        if rows[numbers[0]][0] in cut:
            taken[rows[numbers[0]][1]] += len(numbers)
    for category, number in taken.items():
        total = sum(row[1] == category for row in rows)
        assert number <= min(max(1, round(share * total)), max(total - 1, 0))
        if total > 1 and all(len(numbers) == 1 for numbers in units.values()):
            assert number == min(max(1, round(share * total)), total - 1)


@pytest.fixture
def ingested(tmp_path: Path) -> Path:
    """Fingerprints and duplicates of 7 red, 4 blue, 2 grey pairs; red-00 and red-06 are copies."""
    rows = pairs(red=7, blue=4, grey=2).with_columns(split=pl.lit(None, pl.String))
    write_table(rows.to_arrow().cast(pa.schema(list(schemas.FINGERPRINTS)[:3])), tmp_path / "fingerprints.parquet")
    copies = pl.DataFrame({"pair_id": ["red-00", "red-06", "blue-01"], "group": ["red-00", "red-00", None]})
    write_table(copies.to_arrow().cast(pa.schema([("pair_id", pa.string()), ("group", pa.string())])),
                tmp_path / "duplicates.parquet")  # fmt: skip
    return tmp_path


def test_the_command_writes_every_seed_and_the_same_pairs_as_images(ingested: Path, tmp_path: Path) -> None:
    output = tmp_path / "splits"
    main(["--ingested", str(ingested), "--seeds", "4", "1", "--output", str(output)])
    assert sorted(path.name for path in output.iterdir()) == [
        "images.parquet", "seed-1.parquet", "seed-4.parquet", "summary.json",
    ]  # fmt: skip
    split = pl.read_parquet(output / "seed-4.parquet")
    images = pl.read_parquet(output / "images.parquet")
    assert images.rows() == split.select("pair_id", "split").rows()
    summary = read_json(output / "summary.json")
    assert (summary["pairs"], summary["categories"], summary["left_out"]) == (13, 2, {"grey": 2})
    assert (summary["groups_of_copies"], summary["groups_in_several_splits"]) == (1, 0)
    assert sum(summary["sizes"]["1"].values()) == 11
    main(["--ingested", str(ingested), "--seeds", "1", "--output", str(tmp_path / "again")])
    assert (tmp_path / "again" / "seed-1.parquet").read_bytes() == (output / "seed-1.parquet").read_bytes()


def test_fewer_than_two_categories_are_an_error(ingested: Path, tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"least_pairs": 5})
    with pytest.raises(UserError, match=r"1 categories are left.*blue 4, grey 2, red 7; lower least_pairs"):
        run(ingested, tmp_path / "splits", params, [0])
    assert not (tmp_path / "splits").exists()
