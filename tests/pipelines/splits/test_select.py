"""Selection and splits, compared with counts worked by hand and with properties that must hold for any size."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from base import schemas
from base.console import UserError
from pipelines.splits.select import (
    SelectParams,
    Shares,
    check_something_selected,
    judge_categories,
    leaking_images,
    main,
    select_images,
    usable_images,
)
from pipelines.splits.split import hash_rank, split_images

HALF = {"train": 0.5, "validation": 0.25, "test": 0.25}
PARAMS = SelectParams(
    categories="shared", minimum_images=3, most_images=6, duplicates="keep", copies="anywhere",
    shares=Shares(**HALF), seed=1,
)  # fmt: skip

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
        "group": min(image_id, other) if image_id[0] == other[0] else None,
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
    duplicate("t-akita-004", "t-akita-003", "exact", 0),
]


def images(sizes: list[tuple[str, str, int]] = SIZES) -> pl.DataFrame:
    rows = [(f"{d[0]}-{c}-{i:03d}", d, c) for d, c, n in sizes for i in range(n)]
    return pl.DataFrame(rows, schema=["image_id", "domain", "category"], orient="row")


def cleaned(dropped: tuple[str, ...] = ()) -> pl.DataFrame:
    source = images().filter(domain="source")
    return source.select("image_id", (~pl.col("image_id").is_in(dropped)).alias("kept"))


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
        "select: {categories: shared, minimum_images: 3, most_images: 6, seed: 0, duplicates: keep, copies: anywhere, "
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
        "select: {categories: all, minimum_images: 4, most_images: 7, seed: 5, duplicates: keep, copies: anywhere, "
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
        *("categories.parquet", "images.parquet", "seed-0.parquet", "seed-3.parquet", "summary.json"),
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


@pytest.mark.parametrize("copies", ["together", "anywhere"])
def test_copies_within_a_domain_stay_together_by_option_and_are_counted(
    job: Path, caplog: pytest.LogCaptureFixture, copies: str
) -> None:
    (job / "params.yaml").write_text(
        f"seeds: {list(range(8))}\n"
        "select: {categories: all, minimum_images: 3, most_images: 300, seed: 0, duplicates: keep, "
        f"copies: {copies}, shares: {{train: 0.5, validation: 0.25, test: 0.25}}}}\n"
    )
    pairs = [("s-akita-000", "s-akita-001"), ("s-akita-004", "s-akita-005"), ("t-akita-003", "t-akita-010")]
    pairs += [("s-beagle-000", "t-akita-001")]
    rows = [duplicate(*ends, "near", 3) for pair in pairs for ends in (pair, pair[::-1])]
    rows.append(duplicate("s-beagle-004", "s-akita-000", "near", 5) | {"group": "s-akita-000"})
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.DUPLICATES), job / "duplicates.parquet")
    with caplog.at_level("INFO", logger="clicksight"):
        output = run(job, "splits")
    summary = json.loads((output / "summary.json").read_text())["copies"]
    assert summary["kept"] == copies
    # s-akita-004 is dropped by Table II, which leaves s-akita-005 without a copy
    expected = {"groups": 1, "images": 3, "largest": 3, "several_categories": 1}
    assert {name: value for name, value in summary["source"].items() if name != "seeds"} == expected
    assert "select: source images in groups of copies 3\n" in caplog.text
    (job / "params.yaml").write_text((job / "params.yaml").read_text().replace(copies, "anywhere"))
    plain = run(job, "plain")
    moved_at_all = divided_at_all = 0
    for seed in range(8):
        split, other = (pl.read_parquet(folder / f"seed-{seed}.parquet") for folder in (output, plain))
        assert split.drop("split").equals(other.drop("split"))
        by_id = dict(split.select("image_id", "split").rows())
        of_groups = {"source": [("s-akita-000", "s-akita-001", "s-beagle-004")], "target": [pairs[2]]}
        for domain, groups in of_groups.items():
            counted = summary[domain]["seeds"][str(seed)]
            different = split.filter(domain=domain)["split"] != other.filter(domain=domain)["split"]
            assert counted["moved"] == different.sum()
            assert counted["divided"] == sum(len({by_id[image_id] for image_id in group}) > 1 for group in groups)
            moved_at_all += counted["moved"]
            divided_at_all += counted["divided"]
    assert (moved_at_all > 0) == (copies == "together")
    assert (divided_at_all > 0) == (copies == "anywhere")


def test_a_category_needs_three_different_images_if_copies_stay_together() -> None:
    # dingo has 4 source images: 0, 1 and 2 are copies; eurasier has 3, of which one is a copy of an akita
    groups = [("s-dingo-000", "d"), ("s-dingo-001", "d"), ("s-dingo-002", "d"), ("s-akita-000", "e")]
    groups += [("s-eurasier-000", "e"), ("s-beagle-000", "b"), ("s-beagle-001", "b")]
    frame = pl.DataFrame([("source", *row) for row in groups], schema=["domain", "image_id", "group"], orient="row")
    everything = images([*SIZES, ("target", "eurasier", 6), ("target", "dingo", 2)])
    everything = everything.unique(maintain_order=True).vstack(
        pl.DataFrame([("t-dingo-900", "target", "dingo")], schema=everything.schema, orient="row")
    )
    table = judge_categories(everything, everything, PARAMS, frame)
    status = {(row["domain"], row["category"]): row["status"] for row in table.rows(named=True)}
    assert status["source", "dingo"] == "fewer than 3 different images"
    assert status["target", "dingo"] == "fewer than 3 different images in the source"
    assert status["source", "eurasier"] == status["source", "beagle"] == status["source", "akita"] == "selected"
    shared = {row["category"] for row in table.rows(named=True) if row["shared"]}
    assert shared == {"akita", "beagle", "eurasier"}


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
