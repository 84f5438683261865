"""A small data folder as the stages before the report write it, with accuracies that are known by construction."""

import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from base import schemas

IMAGES = {"source": 9, "target": 16}
REFERENCES = {"zero": 1.0, "untrained": 1.414214, "constant": 1.17, "category_means": 0.83}  # seed 1: 0.02 more each
PARAMS = """\
seeds: [0, 1]
mtmdd:
  runs: [VGGimg, VGGsrc, MTMDD-VM, features=C, lambda=separate-0.4, lambda=separate-1,
    out_of_class=VGGsrc-1, out_of_class=MTMDD-VM-1,
    equal_images=VGGimg-6, equal_images=VGGsrc-6,
    one_shot=VGGsrc-source-0.4, one_shot=VGGsrc-target-0.4, one_shot=MTMDD-VM-source-0.4, one_shot=MTMDD-VM-target-0.4]
  diagnose: {methods: [MTMDD-VM], points: [features=C], every: 3, shares: [0.0, 0.15], samples: 2, words: 2}
  cross_object: {methods: [VGGsrc, MTMDD-VM], sources: [birds]}
  report: {data_set: test data, note: "Made <up> for a test.", top_words: 2}
"""

# The number of the 16 target test images that each point recognises: the first ones by image id, in both seeds.
RIGHT = {
    "VGGimg": 8,
    "VGGsrc": 9,
    "MTMDD-VM": 13,
    "features=C": 6,
    "lambda=separate-0.4": 12,
    "lambda=separate-1": 10,
    "out_of_class=VGGsrc-1": 4,
    "out_of_class=MTMDD-VM-1": 12,
    "equal_images=VGGimg-6": 10,
    "equal_images=VGGsrc-6": 7,
    "one_shot=VGGsrc-source-0.4": 8,
    "one_shot=VGGsrc-target-0.4": 3,
    "one_shot=MTMDD-VM-source-0.4": 12,
    "one_shot=MTMDD-VM-target-0.4": 5,
    "cross_object=VGGsrc-birds": 7,
    "cross_object=MTMDD-VM-birds": 11,
}

COMPONENTS = ("features=C", "lambda=separate-0.4", "lambda=separate-1")

# The studies as `systems.mtmdd.recipes` writes them: features contains a method's run, mu has nothing else.
STUDIES = {
    "tau": {},
    "features": {"V": "VGGimg", "C": "features=C"},
    "lambda": {
        "separate-0.4": "lambda=separate-0.4",
        "separate-1": "lambda=separate-1",
    },
    "mu": {"separate-0.9": "MTMDD-VM"},
    "equal_images": {
        "VGGimg-6": "equal_images=VGGimg-6",
        "VGGsrc-6": "equal_images=VGGsrc-6",
        "MTMDD-VM-6": "MTMDD-VM",
    },
}


def image_ids(domain: str, seed: int) -> list[str]:
    """Return a seed's test images; half of them, rounded down, are also test images of the next seed."""
    number = IMAGES[domain]
    return [f"{domain[0]}{number // 2 * seed + i:03d}" for i in range(number)]


def write_run(
    folder: Path, seed: int, right: Mapping[str, int], rmse: float | None = None, errors: Sequence[float] = ()
) -> None:
    """Write one evaluation that recognises the first test images of each domain.

    Args:
        folder: the run's folder.
        seed: decides which images are tested.
        right: number of recognised images, by domain.
        rmse: RMSE-S, equal for all images; None: no clicks are predicted.
        errors: the squared errors of the source images, instead of `rmse`.
    """
    if rmse is not None:
        errors = [rmse**2] * IMAGES["source"]
    rmse = math.sqrt(statistics.fmean(errors)) if errors else None
    folder.mkdir(parents=True)
    rows = [
        {"image_id": image_id, "domain": domain, "category": "corgi", "predicted": "corgi" if i < n else "akita",
         "probability": 0.5, "click_error": errors[i] if errors and domain == "source" else None}
        for domain, n in sorted(right.items())
        for i, image_id in enumerate(image_ids(domain, seed))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schemas.PREDICTIONS), folder / "predictions.parquet")
    accuracies = {
        f"accuracy_{domain}": round(100 * right[domain] / n, 4) if domain in right else None
        for domain, n in IMAGES.items()
    }
    chosen = {"one": {"epoch": 3, "of": 4, "chosen_on": "target validation accuracy", "value": 71.0,
                      "ended_by": "plateau" if seed else "cap", "drops": [2], "seen": {"target": 48}}}  # fmt: skip
    seen = {domain: {"source": 90 + seed, "target": 0 if domain == "source" else 48} for domain in right}
    metrics = {**accuracies, "rmse_source": rmse, "seen": seen, "chosen": chosen}
    if rmse is not None:
        metrics["rmse_references"] = {name: value + 0.02 * seed for name, value in REFERENCES.items()}
    (folder / "metrics.json").write_text(json.dumps(metrics))


def write_pictures(folder: Path, image_ids: Mapping[str, Sequence[str]]) -> None:
    """Write ingested images, by domain: small pictures, each of another colour, half of them higher than wide."""
    folder.mkdir(parents=True)
    rows = []
    for domain, ids in image_ids.items():
        for number, image_id in enumerate(ids):
            buffer = io.BytesIO()
            size = (20, 30) if number % 2 else (30, 20)
            Image.new("RGB", size, (7 * number, 90, 200 - 7 * number)).save(buffer, "PNG")
            rows.append({"image_id": image_id, "domain": domain, "category": "corgi", "width": size[0],
                         "height": size[1], "image": {"bytes": buffer.getvalue(), "path": None}})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schemas.IMAGES), folder / "part-00000.parquet")


def write_samples(folder: Path, with_words: bool = True) -> None:
    """Write an evaluation's sample predictions: a right source image, and a right and a wrong target image."""
    samples = [
        ("s000", "source", "corgi", "corgi", 0.875, ["dog", "斑点狗", "<b>"], [0.8, 0.5, 0.2],
         ["<b>", "puppy"], [0.9, 0.1]),
        ("t000", "target", "corgi", "akita", 0.5, ["dog"], [0.75], None, None),
        ("t001", "target", "corgi", "corgi", 0.625, [], [], None, None),
    ]  # fmt: skip
    rows = [dict(zip(schemas.SAMPLE_PREDICTIONS.names, sample, strict=True)) for sample in samples]
    if not with_words:
        rows = [row | dict.fromkeys(["words", "words_values", "clicked", "clicked_values"]) for row in rows]
    pq.write_table(pa.Table.from_pylist(rows, schemas.SAMPLE_PREDICTIONS), folder / "samples.parquet")


def write_ratios(folder: Path, readings: Sequence[float | None] = (0.6, 1.7, 0.9), bandwidth: float = 0.01) -> None:
    """Write a point's ratios as `systems.mtmdd.click_ratios` writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "method": "TDL",
        "seed": 0,
        "phase": "predict",
        "sigmoid_inputs": {"images": 9, "bandwidth": bandwidth, "true_percent": 0.125, "predicted_percent": 0.31},
        "gradient_ratios": [{"step": 10 * i, "position_over_count": value} for i, value in enumerate(readings)],
    }
    (folder / "ratios.json").write_text(json.dumps(content))


def write_diagnostics(folder: Path) -> None:
    """Write those outputs of `systems.mtmdd.diagnose` that the report reads."""
    folder = folder / "diagnostics"
    folder.mkdir()
    content = {
        "method": "MTMDD-VM",
        "seed": 0,
        "phase": "joint",
        "images": {"train": 20, "validation": 11, "without_clicks": 0},
        "rmse_source": {"model": 1.125, "without_position": None, "zero": 1.0, "untrained": 1.41,
                        "constant": 1.1641, "category_means": 0.5},
        "gradient_ratios": [
            {"share": 0.0, "step": 0, "position_over_count": 0.659, "recognition_over_click": 7.24,
             "recognition_click_cosine": -0.033},
            {"share": 0.15, "step": 1500, "position_over_count": None, "recognition_over_click": 9.2,
             "recognition_click_cosine": 0.04},
        ],
    }  # fmt: skip
    (folder / "diagnostics.json").write_text(json.dumps(content))
    inputs = {"bandwidth": [10.0, 0.05], "true_percent": [14.6, 0.4], "predicted_percent": [45.9, 2.0],
              "normal_percent": [50.0, 1.99]}  # fmt: skip
    pl.DataFrame(inputs).write_csv(folder / "sigmoid_inputs.csv")
    for name, colour in (("gradients", "red"), ("click_features", "blue")):
        Image.new("RGB", (4, 3), colour).save(folder / f"{name}.png")


def write_data(root: Path) -> Path:
    """Write everything that the report reads, and ``root/params.yaml``; return the data set's folder, ``root/data``.

    The system's recipes and evaluations are in ``root/system``.
    """
    data, system = root / "data", root / "system"
    for point, right in RIGHT.items():
        for seed in (0, 1):
            sees_source = not point.endswith("VGGimg")
            clicks = "MTMDD" in point or point in COMPONENTS
            counts = {"target": right, **({"source": 6 + seed} if sees_source else {})}
            write_run(
                system / "evaluations" / point / f"seed-{seed}", seed, counts, 0.8 + 0.02 * seed if clicks else None
            )
    write_samples(system / "evaluations/MTMDD-VM/seed-0")
    write_ratios(system / "evaluations/features=C")
    write_diagnostics(system / "evaluations/MTMDD-VM")
    (system / "recipes").mkdir()
    (system / "recipes/studies.json").write_text(json.dumps(STUDIES))
    tested = {domain: sorted({name for seed in (0, 1) for name in image_ids(domain, seed)}) for domain in IMAGES}
    write_pictures(data / "ingested/images", tested)
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
    of_seeds = {"0": {"moved": 3, "divided": 0}, "1": {"moved": 5, "divided": 0}}
    groups = {"groups": 2, "images": 7, "largest": 4, "several_categories": 1, "seeds": of_seeds}
    copies = {"kept": "together", "source": groups, "target": groups | {"images": 6}}
    (data / "splits/summary.json").write_text(json.dumps({"copies": copies}))
    for seed in (0, 1):
        rows = [(f"s{i:03d}", "source", "akita", True, split) for i, split in enumerate(["train"] * 3 + ["test"] * 2)]
        rows += [("t000", "target", "corgi", True, "validation")]
        pl.DataFrame(rows, schema=schemas.SPLITS.names, orient="row").write_parquet(
            data / f"splits/seed-{seed}.parquet"
        )
    (data / "features").mkdir()
    words = [(0, "dog", 500, 4), (1, "斑点狗", 120, 2), (2, "<b>", 7, 1)]
    words = [(*word, math.log(5 / word[-1])) for word in words]
    table = pa.Table.from_pylist(
        [dict(zip(schemas.VOCABULARY.names, word, strict=True)) for word in words], schemas.VOCABULARY
    )
    pq.write_table(table, data / "features/vocabulary.parquet")
    (root / "params.yaml").write_text(PARAMS)
    return data
