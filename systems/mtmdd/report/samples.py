"""The report's section of sample predictions: names, and the words of the predicted and the true click feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from base import schemas
from base.console import log
from report.thumbnails import Thumbnail
from systems.mtmdd.published import label
from systems.mtmdd.report.pictures import read_pictures
from systems.mtmdd.runs import Point

SIDE = 128  # of a picture, pixels, the longer one


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample image as the page shows it.

    Attributes:
        image_id: the image.
        picture: the image.
        alt: the text in place of the picture.
        category: the true category.
        predicted: the most probable one.
        probability: of the predicted category.
        words: predicted words, each with whether it is one of those clicked; empty: no clicks are predicted.
        clicked: the words with the largest true values; None: not known.
    """

    image_id: str
    picture: Thumbnail
    alt: str
    category: str
    predicted: str
    probability: str
    words: Sequence[tuple[str, bool]]
    clicked: Sequence[str] | None

    @property
    def right(self) -> bool:
        """Whether the predicted category is the true one."""
        return self.category == self.predicted


def read_samples(evaluations: Path, method: str, seed: int) -> pl.DataFrame | None:
    """Read the sample predictions of a run (`schemas.SAMPLE_PREDICTIONS`).

    Returns:
        None if its evaluation is of an earlier version, which kept none; this is logged.
    """
    path = evaluations / Point("methods", method).name / f"seed-{seed}" / "samples.parquet"
    if not path.is_file():
        log.warning("%s: no such file, so the page has no sample predictions; run the stage `mtmdd:evaluate`", path)
        return None
    return pl.DataFrame(pq.read_table(path).cast(schemas.SAMPLE_PREDICTIONS))


def samples_of(samples: pl.DataFrame, domain: str, images: Path) -> list[Sample]:
    """Return a domain's sample images: the right ones, then the others, each in the order of their ids."""
    rows = samples.filter(domain=domain).sort(pl.col("category") != pl.col("predicted"), "image_id")
    found = read_pictures(images, domain, rows["image_id"].to_list(), SIDE)
    return [
        Sample(
            image_id=row["image_id"],
            picture=found[row["image_id"]],
            alt=f"{row['category']}: {domain} image {row['image_id']}",
            category=row["category"],
            predicted=row["predicted"],
            probability=f"{row['probability']:.2f}",
            words=[(word, word in (row["clicked"] or ())) for word in row["words"] or ()],
            clicked=row["clicked"],
        )
        for row in rows.iter_rows(named=True)
    ]


def section(evaluations: Path, method: str, seed: int, images: Path) -> dict[str, Any] | None:
    """Return what the page's section shows; None without sample predictions.

    Args:
        evaluations: the folder of all evaluations.
        method: the method whose predictions are shown.
        seed: of the run that is shown.
        images: the folder of ingested images.

    Returns:
        `method` (its label), `seed`, and `domains`: each with its samples.
    """
    samples = read_samples(evaluations, method, seed)
    if samples is None or samples.is_empty():
        return None
    shown = {domain: samples_of(samples, domain, images) for domain in ("target", "source")}
    return {"method": label(method), "seed": seed, "domains": {name: rows for name, rows in shown.items() if rows}}
