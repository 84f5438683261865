"""Plain pictures, and a model that predicts their clicks from their colours."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import torch
from PIL import Image
from torch import nn

from base import schemas
from base.artifacts import write_table
from clicksight.cut_offs import KEYS
from model.folder import model_digest
from model.prediction import RecogniserPredictor

WORDS = ["fire", "grass", "sky", "dog", "night"]
COLOURS = {"red": (250, 20, 0), "green": (0, 240, 40), "blue": (10, 0, 200)}


class Colours(nn.Module):
    """v^: fire, grass and sky by red, green and blue; dog always a little; never night."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.float().mean(dim=(2, 3)) / 255
        return torch.cat([means, torch.full((len(means), 1), 0.1), torch.zeros(len(means), 1)], dim=1)


def click_model(words: bool = True) -> RecogniserPredictor:
    """Return the model; without words it predicts nothing."""
    return RecogniserPredictor(
        "some", "RUN", 0, (20, 16), None, (Colours(), WORDS) if words else None, torch.device("cpu")
    )


def write_pictures(folder: Path) -> None:
    """Write a picture of each colour, and a file that is none."""
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")
    (folder / "bad.png").write_text("no picture")


def write_cut_offs(
    path: Path,
    model: Path,
    values: Sequence[float | None],
    names: Sequence[str] = ("fox",),
    cosine: float | None = None,
) -> None:
    """Write cut-offs of WORDS, and of some names, for a model folder; None: there is none."""
    every = [*values, *[cosine] * len(names)]
    table = pa.Table.from_pydict(
        {
            "kind": ["word"] * len(WORDS) + ["name"] * len(names),
            "name": [*WORDS, *names],
            "cut_off": every,
            "above": [None if value is None else 40 for value in every],
            "right": [None if value is None else 39 for value in every],
            "images": [50] * len(every),
        },
        schema=schemas.CUT_OFFS,
    )
    said = dict(zip(KEYS, (model_digest(model), "some RUN, seed 0", "0.75", "0.95", "60"), strict=True))
    write_table(table.replace_schema_metadata(said), path)
