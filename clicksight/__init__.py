"""What people use without the pipeline: the command ``clicksight``, and the same from Python.

    import clicksight
    model = clicksight.load_model("data/mtmdd/models/MTMDD-VM-star/seed-0")
    for picture, said in clicksight.predictions(model, ["holiday.jpg", "pictures/"]):
        print(picture.name, said.categories[0] if said else picture.reason)

Above all other packages; nothing imports from here but benchmarks. ``clicksight --help`` lists the commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clicksight.cut_offs import CutOffs
    from clicksight.pictures import Picture
    from model.prediction import Prediction, Predictor

__all__ = ["load_model", "predictions"]


def load_model(folder: str | Path, evaluation: str | Path | None = None) -> Predictor:
    """Return a trained run; `clicksight.models.load_model` describes arguments and errors."""
    from clicksight.models import load_model as load  # torch takes seconds to import

    return load(folder, evaluation)


def predictions(
    model: Predictor,
    pictures: Sequence[str | Path],
    *,
    tags: dict[str, Sequence[str]] | None = None,
    history: Sequence[str] = (),
    top: int | None = 5,
    batch_size: int = 32,
    cut_offs: CutOffs | None = None,
) -> Iterator[tuple[Picture, Prediction | None]]:
    """Yield pictures in the order of the inputs, each with what the model says of it; None: it can't be used.

    Args:
        model: from `load_model`.
        pictures: as on the command line of `clicksight predict`.
        tags: that users gave to pictures, by the pictures' ids (`clicksight.pictures.Encoded`).
        history: tags that the user gave before.
        top: entries of each list at most; None: all.
        batch_size: pictures that the network sees at once.
        cut_offs: of the model's words, from `clicksight.cut_offs.CutOffs.read`; words that don't fit are left out.

    Raises:
        UserError: an input doesn't exist or can't be listed.
    """
    from clicksight import predict
    from clicksight.pictures import Pictures, decoded
    from model.prediction import Context

    encoded = iter(Pictures([str(path) for path in pictures]))
    squares = decoded(encoded, model.resize, model.image_size, finely=model.finely)
    given = tags or {}

    def context(id_: str) -> Context:
        return Context(given.get(id_, ()), history)

    yield from predict.predictions(model, squares, context, batch_size, top, cut_offs)
