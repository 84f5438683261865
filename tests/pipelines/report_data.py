"""A small data folder as the stages before the report leave it, with accuracies that are known by construction."""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import schemas

IMAGES = {"source": 9, "target": 16}
PARAMS = """\
seeds: [0, 1]
methods: {names: [VGGimg, VGGsrc, MTMDD-VM]}
components: {points: [features=C, lambda=separate-0.4, lambda=separate-1]}
out_of_class: {methods: [VGGsrc, MTMDD-VM], categories: [1]}
one_shot: {methods: [VGGsrc, MTMDD-VM], shares: [0.4], domains: [source, target]}
report: {data_set: test data, note: "Made <up> for a test.", top_words: 2}
"""

# How many of the 16 target test images each point recognises: the first ones by image id, in both seeds.
RIGHT = {
    "methods/VGGimg": 8,
    "methods/VGGsrc": 9,
    "methods/MTMDD-VM": 13,
    "components/features=C": 6,
    "components/lambda=separate-0.4": 12,
    "components/lambda=separate-1": 10,
    "out_of_class/VGGsrc/1": 4,
    "out_of_class/MTMDD-VM/1": 12,
    "one_shot/VGGsrc/source-0.4": 8,
    "one_shot/VGGsrc/target-0.4": 3,
    "one_shot/MTMDD-VM/source-0.4": 12,
    "one_shot/MTMDD-VM/target-0.4": 5,
}

# What `model.recipes` says of them: features has a method's run in its table, mu nothing but one.
STUDIES = {
    "tau": {},
    "features": {"V": "methods/VGGimg", "C": "components/features=C"},
    "lambda": {
        "separate-0.4": "components/lambda=separate-0.4",
        "separate-1": "components/lambda=separate-1",
    },
    "mu": {"separate-0.9": "methods/MTMDD-VM"},
}


def image_ids(domain: str, seed: int) -> list[str]:
    """Return a seed's test images; half of them, rounded down, are also tested by the next seed."""
    number = IMAGES[domain]
    return [f"{domain[0]}{number // 2 * seed + i:03d}" for i in range(number)]


def write_run(folder: Path, seed: int, right: Mapping[str, int], rmse: float | None = None) -> None:
    """Write one evaluation that recognises the first so many test images of each domain."""
    folder.mkdir(parents=True)
    rows = [
        {"image_id": image_id, "domain": domain, "category": "corgi", "predicted": "corgi" if i < n else "akita",
         "probability": 0.5}
        for domain, n in sorted(right.items())
        for i, image_id in enumerate(image_ids(domain, seed))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schemas.PREDICTIONS), folder / "predictions.parquet")
    accuracies = {
        f"accuracy_{domain}": round(100 * right[domain] / n, 4) if domain in right else None
        for domain, n in IMAGES.items()
    }
    chosen = {"one": {"epoch": 3, "of": 4, "chosen_on": "target validation accuracy", "value": 71.0}}
    metrics = {**accuracies, "rmse_source": rmse, "chosen": chosen}
    (folder / "metrics.json").write_text(json.dumps(metrics))


def write_data(root: Path) -> Path:
    """Write everything that the report reads, below ``root/data``, and ``root/params.yaml``; return the data folder."""
    data = root / "data"
    for point, right in RIGHT.items():
        for seed in (0, 1):
            sees_source = not point.endswith("VGGimg")
            clicks = "MTMDD" in point or "components" in point
            counts = {"target": right, **({"source": 6 + seed} if sees_source else {})}
            write_run(
                data / "evaluations" / point / f"seed-{seed}", seed, counts, 0.8 + 0.02 * seed if clicks else None
            )
    (data / "recipes").mkdir()
    (data / "recipes/studies.json").write_text(json.dumps(STUDIES))
    (data / "ingested").mkdir()
    tables = {
        "clicks": {"rows_read": 1234, "rows_kept": 1230, "quarantined": {"empty query": 3, "no count": 1}},
        "labels": {"rows_read": 20, "rows_kept": 20, "quarantined": {}},
    }
    (data / "ingested/summary.json").write_text(json.dumps({"tables": tables}))
    (data / "cleaned").mkdir()
    rules = [
        {"rule": "n < 8, keep all", "images": 5, "kept": 5, "categories": 1},
        {"rule": "8 <= n < 100, first, p < 0.2", "images": 40, "kept": 30, "categories": 2},
    ]
    (data / "cleaned/summary.json").write_text(
        json.dumps({"images": 45, "kept": 35, "categories": 3, "categories_without_images_left": [], "rules": rules})
    )
    (data / "splits").mkdir()
    categories = [
        ("source", "akita", 30, 20, 20, True, "selected"),
        ("source", "corgi", 10, 10, 10, True, "selected"),
        ("source", "<dingo>", 5, 5, 0, False, "not in the target"),
    ]
    pl.DataFrame(categories, schema=schemas.CATEGORIES.names, orient="row").write_parquet(
        data / "splits/categories.parquet"
    )
    for seed in (0, 1):
        rows = [(f"s{i:03d}", "source", "akita", True, split) for i, split in enumerate(["train"] * 3 + ["test"] * 2)]
        rows += [("t000", "target", "corgi", True, "validation")]
        pl.DataFrame(rows, schema=schemas.SPLITS.names, orient="row").write_parquet(
            data / f"splits/seed-{seed}.parquet"
        )
    (data / "features").mkdir()
    words = [(0, "dog", 500, 40, 0.1), (1, "斑点狗", 120, 9, 1.2), (2, "<b>", 7, 1, 3.9)]
    table = pa.Table.from_pylist(
        [dict(zip(schemas.VOCABULARY.names, word, strict=True)) for word in words], schemas.VOCABULARY
    )
    pq.write_table(table, data / "features/vocabulary.parquet")
    (root / "params.yaml").write_text(PARAMS)
    return data
