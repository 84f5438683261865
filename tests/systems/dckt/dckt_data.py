"""Small domains of image-text pairs, made by hand: the files that systems.dckt.features reads."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

IMAGE, TEXT = 6, 4  # features


def write_domain(folder: Path, pairs: Mapping[str, int], seed: int = 0, noise: float = 0.5) -> Path:
    """Write a domain whose categories are blobs, and return its folder.

    Args:
        folder: the domain's folder.
        pairs: the number of pairs of each category, whose ids are CATEGORY-0 and so on; of 5, the splits are train,
            train, train, validation, test.
        seed: of the numbers, and of the files.
        noise: the deviation of features around their category's.
    """
    random = np.random.default_rng([seed, *map(ord, "".join(pairs))])
    centres = {name: (random.normal(size=IMAGE), random.normal(size=TEXT)) for name in pairs}
    names = [(f"{name}-{number}", name) for name, size in pairs.items() for number in range(size)]
    splits = [("train", "validation", "train", "test", "train")[int(pair.rpartition("-")[2]) % 5] for pair, _ in names]
    ids, categories = map(list, zip(*names, strict=True))
    images, texts = (
        [(centres[name][part] + noise * random.normal(size=size)).astype(np.float32).tolist() for name in categories]
        for part, size in enumerate((IMAGE, TEXT))
    )
    lists = pl.List(pl.Float32)
    files = {
        f"splits/seed-{seed}.parquet": pl.DataFrame({"pair_id": ids, "category": categories, "split": splits}),
        "embedded/part-00000.parquet": pl.DataFrame(
            {"image_id": ids, "domain": folder.name, "feature": pl.Series(images, dtype=lists)}
        ),
        f"text_features/seed-{seed}.parquet": pl.DataFrame({"pair_id": ids, "feature": pl.Series(texts, dtype=lists)}),
    }
    for number, (name, table) in enumerate(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        table.sample(fraction=1, shuffle=True, seed=number).write_parquet(folder / name)
    return folder
