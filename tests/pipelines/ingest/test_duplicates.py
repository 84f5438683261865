"""Perceptual hashes, compared with explicit sums, and the search for duplicates, compared with all pairs."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import schemas
from pipelines.ingest import duplicates
from pipelines.ingest.duplicates import (
    COARSE_DISTANCE,
    close_pairs,
    count_duplicates,
    find_duplicates,
    fingerprints_of,
    low_frequencies,
    perceptual_hashes,
)


def thumbnails(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, 32, 32), dtype=np.uint8)


def hash_by_definition(thumbnail: np.ndarray, side: int) -> list[bool]:
    """Return the bits by the definition of the DCT-II, term by term."""
    coefficients = [
        4 * sum(
            float(thumbnail[y, x]) * math.cos(math.pi * v * (2 * y + 1) / 64) * math.cos(math.pi * u * (2 * x + 1) / 64)
            for y in range(32)
            for x in range(32)
        )
        for v in range(side)
        for u in range(side)
    ]  # fmt: skip
    ordered = sorted(coefficients)
    median = (ordered[side * side // 2 - 1] + ordered[side * side // 2]) / 2
    return [coefficient > median for coefficient in coefficients]


@pytest.mark.parametrize("side", [8, 16])
def test_hash_is_the_lowest_frequencies_above_their_median(side: int) -> None:
    pictures = thumbnails(2)
    for picture, found in zip(pictures, perceptual_hashes(low_frequencies(pictures), side), strict=True):
        assert np.unpackbits(found).astype(bool).tolist() == hash_by_definition(picture, side)


def test_the_coarse_hash_is_one_number_with_the_first_bit_highest() -> None:
    pictures = thumbnails(3)
    fingerprints = fingerprints_of(pictures)
    bits = np.unpackbits(perceptual_hashes(low_frequencies(pictures), 8), axis=1)
    assert fingerprints["coarse"].to_pylist() == [int("".join(map(str, row)), 2) for row in bits]
    assert [len(value) for value in fingerprints["fine"].to_pylist()] == [32, 32, 32]


def test_flat_pictures_have_one_hash_and_brightness_does_not_matter() -> None:
    flat = np.repeat(np.array([1, 77, 254], np.uint8), 1024).reshape(3, 32, 32)
    assert len(np.unique(perceptual_hashes(low_frequencies(flat), 16), axis=0)) == 1
    picture = thumbnails(1) // 2
    assert np.array_equal(
        perceptual_hashes(low_frequencies(picture), 8)[:, 1:],
        perceptual_hashes(low_frequencies(picture + 90), 8)[:, 1:],
    )


def test_no_pictures() -> None:
    assert {name: len(column) for name, column in fingerprints_of(thumbnails(0)).items()} == {"coarse": 0, "fine": 0}


@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(0, 60))
def test_close_pairs_are_those_of_comparing_all_with_all(seed: int, distance: int, number: int) -> None:
    stream = np.random.default_rng(seed)
    centres = stream.integers(0, 2**64, 4, dtype=np.uint64)
    flips = [
        sum(1 << int(b) for b in set(stream.integers(0, 64, stream.integers(0, 9)).tolist())) for _ in range(number)
    ]
    hashes = centres[stream.integers(0, 4, number)] ^ np.array(flips, np.uint64)
    found = {
        (min(a, b), max(a, b))
        for one, other in close_pairs(hashes, distance)
        for a, b in zip(one.tolist(), other.tolist(), strict=True)
    }
    values = [int(value) for value in hashes]
    assert found == {(a, b) for b in range(number) for a in range(b) if (values[a] ^ values[b]).bit_count() <= distance}


def fingerprint(image_id: str, category: str, digest: int, fine: int, coarse: int = 0) -> dict[str, object]:
    return {
        **{"image_id": image_id, "domain": "source" if image_id[0] == "s" else "target", "category": category},
        **{"digest": digest.to_bytes(2, "big"), "coarse": coarse, "fine": fine.to_bytes(32, "big")},
    }


def table(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides={"coarse": pl.UInt64})


def test_the_nearest_of_each_domain_is_named() -> None:
    rows = table(
        [
            fingerprint("s1", "fox", 1, 0),
            fingerprint("s2", "fox", 1, 0),  # the same file as s1
            fingerprint("s3", "wolf", 2, 0),  # another file that looks the same
            fingerprint("s4", "wolf", 3, 0b111),  # 3 bits from s1, s2 and s3
            fingerprint("s5", "wolf", 4, 0b111 << 20),  # also 3 bits from s1, s2 and s3, and 6 from s4
            fingerprint("t1", "fox", 5, 0b11111),  # 5 bits from s1, s2, s3; 2 from s4; 8 from s5
            fingerprint("t2", "fox", 6, 0b1, coarse=0b1111111),  # too far by the coarse hash
            fingerprint("t3", "dog", 1, 0),  # the same file as s1 and s2
        ]
    )
    found = find_duplicates(rows.sample(fraction=1.0, shuffle=True, seed=3), distance=5)
    assert found.columns == schemas.DUPLICATES.names
    assert found.select("image_id", "duplicate_id", "kind", "distance").rows() == [
        ("s1", "s2", "exact", 0),
        ("s1", "t3", "exact", 0),
        ("s2", "s1", "exact", 0),
        ("s2", "t3", "exact", 0),
        ("s3", "s1", "near", 0),
        ("s3", "t3", "near", 0),
        ("s4", "s1", "near", 3),
        ("s4", "t1", "near", 2),
        ("s5", "s1", "near", 3),
        ("s5", "t3", "near", 3),
        ("t1", "s4", "near", 2),
        ("t1", "t3", "near", 5),
        ("t3", "s1", "exact", 0),
        ("t3", "t1", "near", 5),
    ]
    assert count_duplicates(found) == {
        "source": {
            "source": {"exact": 2, "near": 3, "other_category": 3},
            "target": {"exact": 2, "near": 3, "other_category": 5},
        },
        "target": {
            "source": {"exact": 1, "near": 1, "other_category": 2},
            "target": {"exact": 0, "near": 2, "other_category": 2},
        },
    }


@given(st.integers(0, 2**32), st.integers(0, 8))
def test_duplicates_are_those_of_comparing_all_with_all(seed: int, distance: int) -> None:
    stream = np.random.default_rng(seed)
    rows = []
    for number in range(30):
        coarse = sum(1 << int(bit) for bit in set(stream.integers(0, 64, stream.integers(0, 6)).tolist()))
        fine = sum(1 << int(bit) for bit in set(stream.integers(0, 256, stream.integers(0, 5)).tolist()))
        digest = int(stream.integers(0, 25))
        row = fingerprint(f"{'st'[number % 2]}{number:02d}", "fox", digest, fine, coarse)
        # The same file has the same hashes, and pictures with the same fine hash have the same coarse hash.
        same = next((other for other in rows if other["digest"] == row["digest"]), row)
        row["fine"] = same["fine"]
        row["coarse"] = next((other["coarse"] for other in rows if other["fine"] == row["fine"]), row["coarse"])
        rows.append(row)
    expected, linked = [], {row["image_id"]: {row["image_id"]} for row in rows}
    for one in sorted(rows, key=lambda row: (row["domain"], row["image_id"])):
        for domain in ("source", "target"):
            candidates = []
            for other in rows:
                bits = sum((a ^ b).bit_count() for a, b in zip(one["fine"], other["fine"], strict=True))
                is_exact = one["digest"] == other["digest"]
                is_near = bits == 0 or (
                    bits <= distance and (one["coarse"] ^ other["coarse"]).bit_count() <= COARSE_DISTANCE
                )
                if other is not one and other["domain"] == domain and (is_exact or is_near):
                    candidates.append((not is_exact, bits, other["image_id"]))
                    if domain == one["domain"]:
                        together = linked[one["image_id"]] | linked[other["image_id"]]
                        linked.update(dict.fromkeys(together, together))
            if candidates:
                is_near, bits, image_id = min(candidates)
                expected.append((one["image_id"], image_id, "near" if is_near else "exact", bits))
    found = find_duplicates(table(rows), distance)
    assert found.select("image_id", "duplicate_id", "kind", "distance").rows() == expected
    for image_id, domain, of_duplicate, group in found.select("image_id", "domain", "duplicate_domain", "group").rows():
        assert group == (min(linked[image_id]) if domain == of_duplicate else None)


def test_a_group_is_linked_by_all_close_pairs_and_by_its_domain_only() -> None:
    rows = table(
        [
            fingerprint("s1", "fox", 1, 0b1),  # the nearest of s1 and s2 are each other, and so are those of s3 and s4
            fingerprint("s2", "fox", 2, 0b11),
            fingerprint("s3", "fox", 3, 0b111111),
            fingerprint("s4", "wolf", 4, 0b1111111),
            fingerprint(
                "s5", "wolf", 5, 0b11111 << 40
            ),  # t1 is close to s5 and to s6, which are not close to each other
            fingerprint("s6", "wolf", 6, 0b11111 << 43),
            fingerprint("t1", "wolf", 7, 0b111 << 42),
            fingerprint("t2", "wolf", 7, 0b111 << 42),  # the same file as t1
        ]
    )
    found = find_duplicates(rows, distance=4)
    groups = {row["image_id"]: row["group"] for row in found.rows(named=True) if row["group"] is not None}
    assert groups == {**dict.fromkeys(("s1", "s2", "s3", "s4"), "s1"), "t1": "t1", "t2": "t1"}


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=14), st.integers(1, 5))
def test_links_are_merged_whenever_there_are_too_many(pairs: list[tuple[int, int]], most: int) -> None:
    expected = {thing: {thing} for thing in range(12)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "MOST_LINKS", most)
        links = duplicates.Links(12)
        for one, other in pairs:
            links.add(np.array([one]), np.array([other]))
            together = expected[one] | expected[other]
            expected.update(dict.fromkeys(together, together))
        groups = links.groups()
    for one in range(12):
        assert set(np.flatnonzero(groups == groups[one]).tolist()) == expected[one]


def test_near_is_up_to_the_distance_asked_for_and_six_bits_of_the_coarse_hash() -> None:
    # The module promises 6 of 64 coarse bits, whatever the distance of the fine hash.
    six, seven = 0b111111 << 40, 0b1111111 << 20
    for distance in (0, 3, 48):
        fine = (1 << distance) - 1
        rows = table(
            [
                fingerprint("s1", "fox", 1, 0),
                fingerprint("s2", "fox", 2, fine << 100, coarse=six),
                fingerprint("s3", "fox", 3, (2 * fine + 1) << 180, coarse=six),  # one fine bit too many
                fingerprint("s4", "fox", 4, fine << 30 if distance else 0, coarse=seven),  # one coarse bit too many
            ]
        )
        found = {row["image_id"]: row["distance"] for row in find_duplicates(rows, distance).rows(named=True)}
        if distance:
            assert found == {"s1": distance, "s2": distance}
        else:  # the same fine hash is the same look, whatever the coarse hash is
            assert found == {"s1": 0, "s2": 0, "s4": 0}


def test_a_thousand_copies_of_a_placeholder_are_a_row_each() -> None:
    rows = table([fingerprint(f"s{number:04d}", "fox", 7, 0) for number in range(1000)])
    found = find_duplicates(rows, 10)
    assert len(found) == 1000
    assert found["duplicate_id"].to_list() == ["s0001", *["s0000"] * 999]


def test_no_images_have_no_duplicates() -> None:
    rows = table([fingerprint("s1", "fox", 1, 0)]).clear()
    assert find_duplicates(rows, 10).is_empty()
