"""Selection and splits, compared with counts worked by hand and with properties that must hold for any size."""

import hashlib
from collections import Counter
from fractions import Fraction
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from base import schemas
from base.console import UserError
from pipelines.splits.select import (
    SelectParams,
    Shares,
    check_something_selected,
    hash_rank,
    judge_categories,
    leaking_images,
    main,
    select_images,
    split_images,
    split_sizes,
    usable_images,
)

HALF = {"train": 0.5, "validation": 0.25, "test": 0.25}
PARAMS = SelectParams(
    categories="shared", minimum_images=3, most_images=6, duplicates="keep", shares=Shares(**HALF), seed=1
)

# domain, category, images ingested
SIZES = [
    ("source", "akita", 9),
    ("source", "beagle", 5),
    ("source", "corgi", 2),
    ("source", "dingo", 4),
    ("source", "eurasier", 3),
    ("target", "akita", 11),
    ("target", "beagle", 3),
    ("target", "corgi", 8),
    ("target", "dingo", 2),
    ("target", "foxhound", 7),
]


def duplicate(image_id: str, other: str, kind: str, distance: int) -> dict[str, object]:
    """Return a row; ids begin with their domain and have their category in the middle."""
    domain = {"s": "source", "t": "target"}
    return {
        **{"image_id": image_id, "domain": domain[image_id[0]], "category": image_id.split("-")[1]},
        **{"duplicate_id": other, "duplicate_domain": domain[other[0]], "duplicate_category": other.split("-")[1]},
        **{"kind": kind, "distance": distance},
    }


DUPLICATES = [
    duplicate("s-akita-000", "s-akita-001", "exact", 0),
    duplicate("s-akita-000", "t-akita-003", "near", 7),
    duplicate("s-akita-001", "s-akita-000", "exact", 0),
    duplicate("s-akita-004", "t-akita-003", "near", 9),  # Table II also drops it
    duplicate("s-beagle-002", "t-akita-009", "exact", 0),
    duplicate("s-eurasier-001", "t-foxhound-000", "near", 40),
    duplicate("t-akita-003", "s-akita-000", "near", 7),
    duplicate("t-akita-003", "t-akita-004", "exact", 0),
]


def images(sizes: list[tuple[str, str, int]] = SIZES) -> pl.DataFrame:
    rows = [(f"{d[0]}-{c}-{i:03d}", d, c) for d, c, n in sizes for i in range(n)]
    return pl.DataFrame(rows, schema=["image_id", "domain", "category"], orient="row")


def cleaned(dropped: tuple[str, ...] = ()) -> pl.DataFrame:
    source = images().filter(domain="source")
    return source.select("image_id", (~pl.col("image_id").is_in(dropped)).alias("kept"))


@pytest.mark.parametrize(
    ("n", "train", "validation", "test"),
    [
        (3, 1, 1, 1),  # 1.5 .75 .75
        (4, 2, 1, 1),
        (5, 3, 1, 1),  # 2.5 1.25 1.25: the remaining image goes to the largest fraction
        (6, 3, 2, 1),  # 3 1.5 1.5: tie, validation before test
        (7, 3, 2, 2),  # 3.5 1.75 1.75: two images remain
        (8, 4, 2, 2),
        (300, 150, 75, 75),
    ],
)
def test_split_sizes_by_hand(n: int, train: int, validation: int, test: int) -> None:
    assert split_sizes(n, HALF) == {"train": train, "validation": validation, "test": test}


def test_no_split_stays_empty_when_shares_are_lopsided() -> None:
    lopsided = {"train": 0.9, "validation": 0.05, "test": 0.05}
    assert split_sizes(3, lopsided) == {"train": 1, "validation": 1, "test": 1}
    assert split_sizes(5, lopsided) == {"train": 3, "validation": 1, "test": 1}
    with pytest.raises(ValueError, match="2 images cannot fill 3 splits"):
        split_sizes(2, lopsided)


@settings(deadline=None)  # a busy machine must not fail a test
@given(st.integers(3, 5000), st.integers(1, 98), st.data())
def test_split_sizes_add_up_and_lie_within_one_image_of_the_share(n: int, train: int, data: st.DataObject) -> None:
    validation = data.draw(st.integers(1, 99 - train))
    shares = {"train": train / 100, "validation": validation / 100, "test": (100 - train - validation) / 100}
    sizes = split_sizes(n, shares)
    assert sum(sizes.values()) == n
    assert min(sizes.values()) >= 1
    for split, size in sizes.items():
        quota = Fraction(str(shares[split])) * n
        # Below one image per split, an empty split takes one from the largest; otherwise rounding moves less than one.
        assert abs(size - quota) < 1 or min(share * n for share in shares.values()) < 1


@pytest.mark.parametrize(
    ("shares", "n", "sizes"),
    [
        # In floating point 0.28 * 25 is 7.000000000000001, 0.07 * 100 too, 0.29 * 100 is 28.999999999999996 and
        # 0.57 * 100 is 56.99999999999999.
        ((0.28, 0.44, 0.28), 25, (7, 11, 7)),
        ((0.44, 0.28, 0.28), 25, (11, 7, 7)),
        ((0.57, 0.29, 0.14), 100, (57, 29, 14)),
        ((0.07, 0.64, 0.29), 100, (7, 64, 29)),
        ((0.29, 0.14, 0.57), 100, (29, 14, 57)),
        ((0.55, 0.35, 0.1), 100, (55, 35, 10)),
        # Ties in decimals must count as ties: 2.5, 1.5 and 1; 1.5, 1.5 and 2; 1.5, 1.5 and 7; 3.5, 3 and 3.5.
        ((0.5, 0.3, 0.2), 5, (3, 1, 1)),
        ((0.3, 0.3, 0.4), 5, (2, 1, 2)),
        ((0.15, 0.15, 0.7), 10, (2, 1, 7)),
        ((0.7, 0.15, 0.15), 10, (7, 2, 1)),
        ((0.35, 0.3, 0.35), 10, (4, 3, 3)),
        # Ties in decimals that floating point would break: 8.4, 2.4 (2.4000000000000004) and 1.2; 1, 14.5
        # (14.499999999999998) and 9.5; 0.5, 3.5 (3.5000000000000004) and 21; 2.5, 20 and 27.5 (27.500000000000004).
        ((0.7, 0.2, 0.1), 12, (9, 2, 1)),
        ((0.04, 0.58, 0.38), 25, (1, 15, 9)),
        ((0.02, 0.14, 0.84), 25, (1, 3, 21)),
        ((0.05, 0.4, 0.55), 50, (3, 20, 27)),
    ],
)
def test_shares_are_decimal_fractions_not_their_floating_point_neighbours(
    shares: tuple[float, float, float], n: int, sizes: tuple[int, int, int]
) -> None:
    names = ("train", "validation", "test")
    assert split_sizes(n, dict(zip(names, shares, strict=True))) == dict(zip(names, sizes, strict=True))


def test_shares_that_add_up_in_decimals_are_taken() -> None:
    # 0.7 + 0.2 + 0.1 is 0.9999999999999999 in floating point.
    for shares in ((0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.1, 0.7, 0.2)):
        Shares(**dict(zip(("train", "validation", "test"), shares, strict=True)))


def test_every_category_says_what_became_of_it() -> None:
    usable = usable_images(images(), cleaned(("s-beagle-000", "s-eurasier-001")))
    table = judge_categories(images(), usable, PARAMS)
    assert table.rows() == [
        ("source", "akita", 9, 9, 6, True, "selected"),
        ("source", "beagle", 5, 4, 4, True, "selected"),
        ("source", "corgi", 2, 2, 0, False, "fewer than 3 images"),
        ("source", "dingo", 4, 4, 0, False, "fewer than 3 images in the target"),
        ("source", "eurasier", 3, 2, 0, False, "fewer than 3 images"),
        ("target", "akita", 11, 11, 11, True, "selected"),
        ("target", "beagle", 3, 3, 3, True, "selected"),
        ("target", "corgi", 8, 8, 0, False, "fewer than 3 images in the source"),
        ("target", "dingo", 2, 2, 0, False, "fewer than 3 images"),
        ("target", "foxhound", 7, 7, 0, False, "not in the source"),
    ]


def test_a_domain_keeps_its_own_categories_on_request() -> None:
    params = SelectParams(**{**PARAMS.model_dump(), "categories": "all"})
    table = judge_categories(images(), usable_images(images(), cleaned()), params)
    selected = table.filter(status="selected").select("domain", "category", "images_selected", "shared").rows()
    assert selected == [
        ("source", "akita", 6, True),
        ("source", "beagle", 5, True),
        ("source", "dingo", 4, False),
        ("source", "eurasier", 3, False),
        ("target", "akita", 11, True),
        ("target", "beagle", 3, True),
        ("target", "corgi", 8, False),
        ("target", "foxhound", 7, False),
    ]


def test_a_category_that_the_cleaning_empties_is_still_listed() -> None:
    gone = tuple(images().filter(domain="source", category="beagle")["image_id"])
    table = judge_categories(images(), usable_images(images(), cleaned(gone)), PARAMS)
    assert table.row(1) == ("source", "beagle", 5, 0, 0, False, "fewer than 3 images")


def test_the_cap_draws_from_the_source_only_and_by_its_own_seed() -> None:
    table = judge_categories(images(), images(), PARAMS)
    one = select_images(images(), table, seed=1)
    akitas = one.filter(category="akita").group_by("domain").len().sort("domain").rows()
    assert akitas == [("source", 6), ("target", 11)]
    ranked = sorted(
        images().filter(domain="source", category="akita")["image_id"],
        key=lambda image_id: hash_rank(1, "cap", "source", image_id),
    )
    assert one.filter(domain="source", category="akita")["image_id"].to_list() == sorted(ranked[:6])
    assert not one.equals(select_images(images(), table, seed=2))


def test_the_hash_is_the_same_on_every_machine() -> None:
    # printf '%s' '7/split/source/a' | b2sum -l 64
    assert hash_rank(7, "split", "source", "a") == 0x168E57BC052C7C2D


def selection(sizes: list[tuple[str, str, int]]) -> pl.DataFrame:
    return images(sizes).with_columns(pl.lit(True).alias("shared")).sort("domain", "image_id")


def test_splits_are_stratified_by_domain_and_category() -> None:
    rows = split_images(selection([("source", "akita", 7), ("source", "beagle", 4), ("target", "akita", 6)]), 0, HALF)
    counts = Counter(rows.select("domain", "category", "split").rows())
    assert counts == {
        ("source", "akita", "train"): 3,
        ("source", "akita", "validation"): 2,
        ("source", "akita", "test"): 2,
        ("source", "beagle", "train"): 2,
        ("source", "beagle", "validation"): 1,
        ("source", "beagle", "test"): 1,
        ("target", "akita", "train"): 3,
        ("target", "akita", "validation"): 2,
        ("target", "akita", "test"): 1,
    }
    assert rows.drop("split").equals(
        selection([("source", "akita", 7), ("source", "beagle", 4), ("target", "akita", 6)])
    )


def test_another_seed_splits_otherwise() -> None:
    rows = selection([("source", "akita", 40)])
    assert not split_images(rows, 0, HALF).equals(split_images(rows, 1, HALF))


@settings(deadline=None)  # a busy machine must not fail a test
@given(st.integers(3, 60), st.integers(0, 5))
def test_an_added_image_moves_at_most_one_other_per_border(n: int, seed: int) -> None:
    before = dict(split_images(selection([("source", "a", n)]), seed, HALF).select("image_id", "split").rows())
    after = dict(split_images(selection([("source", "a", n + 1)]), seed, HALF).select("image_id", "split").rows())
    assert sum(after[image_id] != split for image_id, split in before.items()) <= 2


def test_the_order_of_the_input_does_not_matter() -> None:
    rows = selection([("source", "akita", 20), ("target", "beagle", 9)])
    assert split_images(rows.reverse(), 3, HALF).equals(split_images(rows, 3, HALF))


def test_cleaned_images_must_be_the_ingested_ones() -> None:
    with pytest.raises(UserError, match="1 source images were never cleaned, 0 cleaned ones"):
        usable_images(images(), cleaned().tail(-1))
    with pytest.raises(UserError, match=r"0 source images were never cleaned, 5 cleaned ones .* 's-beagle-000'"):
        usable_images(images().filter(pl.col("category") != "beagle"), cleaned())


def test_images_of_one_id_in_both_domains_are_two_images() -> None:
    both = pl.DataFrame(
        [(f"i{n}", domain, "akita") for domain in ("target", "source") for n in range(9)],
        schema=["image_id", "domain", "category"],
        orient="row",
    )
    kept = pl.DataFrame({"image_id": [f"i{n}" for n in range(9)], "kept": [n != 4 for n in range(9)]})
    usable = usable_images(both, kept)
    assert sorted(set(both.rows()) - set(usable.rows())) == [("i4", "source", "akita")]
    leaks = leaking_images(
        pl.DataFrame(
            [
                ("i2", "source", "target"),
                ("i3", "target", "source"),
                ("i3", "target", "target"),
                ("i5", "source", "source"),
            ],
            schema=["image_id", "domain", "duplicate_domain"],
            orient="row",
        )
    )
    assert leaks.rows() == [("i2", "source")]
    selected = select_images(usable, judge_categories(both, usable, PARAMS), seed=1)
    chosen = {domain: selected.filter(domain=domain)["image_id"].to_list() for domain in ("source", "target")}
    source = [f"i{n}" for n in range(9) if n != 4]
    assert chosen == {
        "source": sorted(ranked(source, 1, "cap", "source")[:6]),
        "target": [f"i{n}" for n in range(9)],
    }
    rows = split_images(selected, 2, HALF)
    assert rows.drop("split").equals(selected)
    for domain, names in chosen.items():
        split_of = dict(rows.filter(domain=domain).select("image_id", "split").rows())
        assert [split_of[name] for name in ranked(names, 2, "split", domain)] == (
            ["train"] * 3 + ["validation"] * 2 + ["test"]
            if domain == "source"
            else ["train"] * 5 + ["validation"] * 2 + ["test"] * 2
        )


def test_an_empty_selection_names_categories_of_both_sides() -> None:
    strangers = images([("source", "akita inu", 5), ("target", "akita", 5)])
    table = judge_categories(strangers, strangers, PARAMS)
    with pytest.raises(UserError, match=r"source and of the target domain is left .* 'akita inu'; target: 'akita'"):
        check_something_selected(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": {"train": 0.5, "validation": 0.25, "test": 0.3}}, "must add up to 1"),
        ({"shares": {"train": 1.0, "validation": 0.0, "test": 0.0}}, "less than 1"),
        ({"minimum_images": 2}, "greater than or equal to 3"),
        ({"most": 3}, "Extra inputs"),
    ],
)
def test_impossible_selections_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SelectParams(**{**PARAMS.model_dump(), **change})


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Write ingested images of two domains in two shards, all of them cleaned."""
    pixels = {"bytes": b"", "path": None}
    rows = [{**row, "width": 1, "height": 1, "image": pixels} for row in images().rows(named=True)]
    (tmp_path / "images").mkdir()
    for shard in (0, 1):
        table = pa.Table.from_pylist(rows[shard::2], schema=schemas.IMAGES)
        pq.write_table(table, tmp_path / f"images/part-{shard:05d}.parquet")
    pq.write_table(cleaned(("s-akita-004",)).to_arrow(), tmp_path / "cleaned.parquet")
    pq.write_table(pa.Table.from_pylist(DUPLICATES, schema=schemas.DUPLICATES), tmp_path / "duplicates.parquet")
    (tmp_path / "params.yaml").write_text(
        "seeds: [0, 3]\n"
        "select: {categories: shared, minimum_images: 3, most_images: 6, seed: 0, duplicates: keep, "
        "shares: {train: 0.5, validation: 0.25, test: 0.25}}\n"
    )
    return tmp_path


def run(job: Path, output: str) -> Path:
    main(
        [
            *("--images", str(job / "images"), "--cleaned", str(job / "cleaned.parquet")),
            *("--duplicates", str(job / "duplicates.parquet")),
            *("--output", str(job / output), "--params", str(job / "params.yaml")),
        ]
    )
    return job / output


def ranked(image_ids: list[str], seed: int, purpose: str, domain: str) -> list[str]:
    """Sort images by the BLAKE2b hash of seed, purpose, domain and id."""

    def digest(image_id: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{purpose}/{domain}/{image_id}".encode(), digest_size=8).digest()

    return sorted(image_ids, key=digest)


def test_the_job_agrees_with_a_few_plain_lines_for_parameters_of_its_own(
    job: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (job / "params.yaml").write_text(
        "seeds: [2, 9, 4]\n"
        "select: {categories: all, minimum_images: 4, most_images: 7, seed: 5, duplicates: keep, "
        "shares: {train: 0.3, validation: 0.2, test: 0.5}}\n"
    )
    with caplog.at_level("INFO", logger="clicksight"):
        output = run(job, "splits")
    for line in (
        # 9 + 5 + 2 + 4 + 3 and 11 + 3 + 8 + 2 + 7; corgi and eurasier, beagle and dingo are too small
        *("source images ingested 23", "source images dropped by Table II 1", "source images in categories left out 5"),
        *("source images over the cap 1", "source images selected 16", "source categories selected 3"),
        *("target images ingested 31", "target images dropped by Table II 0", "target images in categories left out 5"),
        *("target images over the cap 0", "target images selected 26", "target categories selected 3"),
    ):
        assert f"select: {line}\n" in caplog.text
    kept: dict[tuple[str, str], list[str]] = {}
    for row in images().rows(named=True):
        if row["image_id"] != "s-akita-004":  # dropped by Table II
            kept.setdefault((row["domain"], row["category"]), []).append(row["image_id"])
    expected = {}
    for (domain, category), names in kept.items():
        if len(names) >= 4:
            chosen = ranked(names, 5, "cap", domain)[:7] if domain == "source" else names
            expected[domain, category] = sorted(chosen)
    assert {key: len(names) for key, names in expected.items()} == {
        **{("source", "akita"): 7, ("source", "beagle"): 5, ("source", "dingo"): 4},
        **{("target", "akita"): 11, ("target", "corgi"): 8, ("target", "foxhound"): 7},
    }
    selected = pl.read_parquet(output / "images.parquet")
    assert selected.rows() == [
        (name, domain, category, category == "akita")
        for domain in ("source", "target")
        for name, category in sorted(
            (name, category) for (of, category), names in expected.items() if of == domain for name in names
        )
    ]
    # 0.3, 0.2 and 0.5 of the images, the remaining ones to the largest fractions
    sizes = {4: (1, 1, 2), 5: (2, 1, 2), 7: (2, 1, 4), 8: (2, 2, 4), 11: (3, 2, 6)}
    for seed in (2, 9, 4):
        split_of = dict(pl.read_parquet(output / f"seed-{seed}.parquet").select("image_id", "split").rows())
        for (domain, _), names in expected.items():
            in_order = [split_of[name] for name in ranked(names, seed, "split", domain)]
            train, validation, test = sizes[len(names)]
            assert in_order == ["train"] * train + ["validation"] * validation + ["test"] * test
    assert sorted(path.name for path in output.glob("seed-*")) == [f"seed-{seed}.parquet" for seed in (2, 4, 9)]


def test_duplicates_lie_beside_the_images_unless_they_are_named(job: Path) -> None:
    named = run(job, "named")
    arguments = ["--images", str(job / "images"), "--cleaned", str(job / "cleaned.parquet")]
    params = job / "params.yaml"
    params.write_text(params.read_text().replace("duplicates: keep", "duplicates: drop_leaks"))
    main([*arguments, "--output", str(job / "beside"), "--params", str(params)])
    beside = pl.read_parquet(job / "beside/images.parquet")["image_id"].to_list()
    assert "s-beagle-002" not in beside
    assert "s-beagle-002" in pl.read_parquet(named / "images.parquet")["image_id"].to_list()


def test_the_whole_job(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="clicksight"):
        output = run(job, "splits")
    assert sorted(path.name for path in output.iterdir()) == [
        *("categories.parquet", "images.parquet", "seed-0.parquet", "seed-3.parquet"),
    ]
    selected = pq.read_table(output / "images.parquet")
    split = pq.read_table(output / "seed-3.parquet")
    assert selected.schema.equals(schemas.SELECTED)
    assert split.schema.equals(schemas.SPLITS)
    assert pq.read_schema(output / "categories.parquet").equals(schemas.CATEGORIES)
    assert split.drop_columns(["split"]).equals(selected)
    assert Counter(zip(*selected.select(["domain", "category"]).to_pydict().values(), strict=True)) == {
        ("source", "akita"): 6,
        ("source", "beagle"): 5,
        ("target", "akita"): 11,
        ("target", "beagle"): 3,
    }
    assert "s-akita-004" not in selected["image_id"].to_pylist()
    assert "target categories left out, not in the source (foxhound) 1" in caplog.text
    # 23 source images: 1 dropped, 2 + 4 + 3 in categories left out, 2 over the cap, 11 selected.
    for line in ("dropped by Table II 1", "in categories left out 9", "over the cap 2", "selected 11"):
        assert f"source images {line}" in caplog.text
    assert "source images that are duplicates of target images, kept 3" in caplog.text
    assert "; next: python -m pipelines.words.segment (see dvc.yaml)" in caplog.text


def test_duplicates_of_target_images_leave_by_option(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    params = job / "params.yaml"
    params.write_text(params.read_text().replace("duplicates: keep", "duplicates: drop_leaks"))
    with caplog.at_level("INFO", logger="clicksight"):
        output = run(job, "splits")
    selected = pl.read_parquet(output / "images.parquet")
    leaks = {"s-akita-000", "s-beagle-002", "s-eurasier-001"}
    assert not leaks & set(selected.filter(domain="source")["image_id"])
    # beagle 5 - 1; akita 9 - 1 by Table II - 1 leak = 7, cut to 6; the target keeps all images, also its duplicates.
    assert Counter(selected.select("domain", "category").rows()) == {
        ("source", "akita"): 6,
        ("source", "beagle"): 4,
        ("target", "akita"): 11,
        ("target", "beagle"): 3,
    }
    # 23 source images: 1 by Table II, 3 leaks, 2 corgis + 4 dingos + 2 eurasiers left out, 1 over the cap, 10 selected.
    for line in ("dropped by Table II 1", "in categories left out 8", "over the cap 1", "selected 10"):
        assert f"source images {line}" in caplog.text
    assert "source images that are duplicates of target images, dropped 3" in caplog.text


def test_only_source_images_leak() -> None:
    leaks = leaking_images(pl.DataFrame(pa.Table.from_pylist(DUPLICATES, schema=schemas.DUPLICATES)))
    assert leaks["image_id"].to_list() == ["s-akita-000", "s-akita-004", "s-beagle-002", "s-eurasier-001"]


def test_a_split_has_the_same_bytes_whatever_other_seeds_there_are(job: Path) -> None:
    both = run(job, "both")
    (job / "params.yaml").write_text((job / "params.yaml").read_text().replace("[0, 3]", "[3]"))
    alone = run(job, "alone")
    for name in ("seed-3.parquet", "images.parquet", "categories.parquet"):
        assert (both / name).read_bytes() == (alone / name).read_bytes()
    assert not (alone / "seed-0.parquet").exists()
