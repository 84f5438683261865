"""A small click log whose queries name what an image shows, with features, written as artifacts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from graph import ROOT, SAFE

from base import schemas
from base.artifacts import shard_name, shard_of, write_table

THINGS = ("ant", "bee", "cat", "dog", "elk", "fox")
KINDS = ("red", "big", "old", "wet")
IMAGES = 60
CLICKS: dict[str, Any] = {
    "data_set": "tiny",
    "runs": ["weighted", "unweighted", "shuffled"],
    "queries": {
        "features": "bag",
        "word_vectors": None,
        "trained": {"dimensions": 4, "window": 3, "least_texts": 1, "least_coverage": 0.5},
        "most_words": 50,
        "shares": {"validation": 0.2, "test": 0.3},
    },
    "train": {
        "encoders": {"hidden": 16, "codes": 8, "dropout": 0.0},
        "start_factor": 10.0,
        "train": {
            "epochs": 3, "batch_size": 16, "accumulation": 1, "learning_rate": 0.01, "momentum": 0.9,
            "weight_decay": 0.01, "schedule": {"kind": "constant", "warm_up": 0.0}, "ema": None,
            "early_stopping": None, "mixed_precision": "no", "compile": False, "channels_last": False, "workers": 0,
            "threads": 1, "cache_images": False,
        },
    },
    "evaluate": {"k": 5, "most_queries": 100},
}  # fmt: skip


def write_params(**changes: Any) -> None:
    """Write params.yaml, with changed keys of dckt.clicks."""
    params = SAFE.load(ROOT / "params.yaml")
    params["dckt"]["clicks"] = {**CLICKS, **changes}
    params["seeds"] = [0]
    Path("params.yaml").write_text(json.dumps(params))


def write_click_data(folder: Path) -> None:
    """Write a data set `tiny`, its frozen features `embedded`, for seed 0.

    An image shows a thing of a kind; 8 features show both, with noise. It was clicked for queries of its thing with any
    kind, most for those of its own kind. One row is of an image that is not selected, one of a query without words.
    """
    random = np.random.default_rng(3)
    centres = {name: random.normal(0, 2, 8) for name in (*THINGS, *KINDS)}
    rows, clicks, queries = [], [], {}
    for number in range(IMAGES):
        thing, kind = THINGS[number % 6], KINDS[number // 6 % 4]
        split = ("train", "train", "validation", "test", "train")[number % 5]
        feature = centres[thing] + 0.7 * centres[kind] + random.normal(0, 0.3, 8)
        rows.append((f"i{number:02d}", split, feature.tolist()))
        for other in KINDS:
            for query in (f"{other} {thing}", f"{thing} {other} picture"):
                queries[query] = query.split()
                clicks.append((f"i{number:02d}", query, 1 + int(random.integers(9)) * (other == kind)))
    clicks += [("unselected", "red ant", 3), ("i00", "zzz", 2)]
    queries["zzz"] = []
    data = folder / "data"
    split = pl.DataFrame(
        {
            "image_id": [row[0] for row in rows],
            "domain": "source",
            "category": "any",
            "shared": True,
            "split": [row[1] for row in rows],
        }
    )
    write_table(split.to_arrow().cast(schemas.SPLITS), data / "splits/seed-0.parquet")
    features = split.select(
        "image_id", "domain", feature=pl.Series([row[2] for row in rows], dtype=pl.List(pl.Float32))
    )
    write_table(features.to_arrow().cast(schemas.EMBEDDED), folder / "embedded" / shard_name(0))
    log = pl.DataFrame(clicks, schema=["image_id", "query", "clicks"], orient="row")
    for shard in range(2):
        part = log.filter(pl.Series([shard_of(query, 2) == shard for query in log["query"]])).sort("query", "image_id")
        write_table(part.to_arrow().cast(schemas.CLICKS), data / "ingested/clicks" / shard_name(shard))
    asked = pl.DataFrame({"query": sorted(queries), "words": [queries[query] for query in sorted(queries)]})
    write_table(asked.to_arrow().cast(schemas.QUERIES), data / "features/queries" / shard_name(0))
