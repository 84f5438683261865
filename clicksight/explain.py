"""Where in a picture a category, word, label, tag or text comes from: a map of how much each place matters to it.

The method is RISE: the model sees the picture many times, each time through a random mask of soft patches, and a place
matters as much as the values were high in which it was visible, on average. It needs nothing of the network but its
predictions, so it serves every model. What a mask hides gets the picture's mean colour instead of black, which some
pictures are full of.

Reference: Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
section 3 (masks: 3.2) and section 4.2 (deletion).
"""

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from base.artifacts import whole_file
from base.console import UserError
from base.seeding import derive_seed
from model.prediction import Context, KnowsTexts, Prediction, Predictor

KINDS = ("category", "word", "label", "tag", "text")
LISTS = {"category": "categories", "word": "words", "label": "labels", "tag": "tags", "text": "texts"}
MASKS = 400
CELLS = 7  # of a mask's side, before it is enlarged
VISIBLE = 0.5  # share of a mask's cells
BATCH = 64
COLOURS = "inferno"
STRENGTH = 0.6  # of the colours over the picture

Score = Callable[[Tensor], np.ndarray]


def best_of(prediction: Prediction) -> tuple[str, str]:
    """Return kind and name of what a prediction is most sure of.

    Raises:
        UserError: it says nothing.
    """
    for kind in KINDS:
        if found := getattr(prediction, LISTS[kind]):
            return kind, found[0].name
    raise UserError("the model says nothing of this picture that could be explained; name a category or a word")


def score_of(predictor: Predictor, kind: str, name: str, context: Context | None = None) -> Score:
    """Return a function from squares, uint8 (B, 3, S, S), to the value of a category, word, label, tag or text: (B,).

    Args:
        predictor: the model.
        kind: one of `KINDS`.
        name: of the category, word, label or tag; the text itself.
        context: what is known of the picture beside its pixels.

    Raises:
        UserError: the model has no such category, word or text.
    """
    known = {"category": predictor.categories, "word": predictor.words}.get(kind)
    if known is not None and name not in known:
        raise UserError(f"{predictor.system} {predictor.run} has no {kind} {name!r}; it has {len(known)} of them")
    if kind == "word":
        place = list(predictor.words).index(name)
        return lambda pixels: predictor.click_features(pixels)[:, place].numpy()
    if kind == "text":
        return text_score(predictor, name)

    def score(pixels: Tensor) -> np.ndarray:
        contexts = [context] * len(pixels) if context is not None else ()
        said = predictor.predict(pixels, contexts)
        # annotation says only as many labels as it predicts: one that is left out has the value 0
        return np.array([dict(getattr(one, LISTS[kind])).get(name, 0.0) for one in said])

    return score


def text_score(predictor: Predictor, text: str) -> Score:
    """Return a function from squares, uint8 (B, 3, S, S), to their cosines with a text: (B,).

    Raises:
        UserError: the model has no such text.
    """
    if not isinstance(predictor, KnowsTexts) or text not in predictor.texts:
        raise UserError(f"{predictor.system} {predictor.run} has no text {text!r}")
    finder: KnowsTexts = predictor
    return lambda pixels: finder.cosines(pixels, text).numpy()


def masks_of(size: int, number: int, seed: int) -> Tensor:
    """Return random masks: grids of cells, visible or not, enlarged bilinearly and shifted by a part of a cell.

    Args:
        size: S, pixels.
        number: N.
        seed: equal seeds give equal masks.

    Shape:
        result: float32 (N, S, S), from 0 (hidden) to 1
    """
    generator = np.random.default_rng(derive_seed(seed, "masks"))
    cell = -(-size // CELLS)
    grid = torch.from_numpy((generator.random((number, 1, CELLS, CELLS)) < VISIBLE).astype(np.float32))
    whole = (CELLS + 1) * cell
    large = functional.interpolate(grid, size=(whole, whole), mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)
    shifts = generator.integers(0, cell, (number, 2))
    return torch.stack([mask[y : y + size, x : x + size] for mask, (y, x) in zip(large, shifts, strict=True)])


def hidden(square: Tensor, mask: Tensor) -> Tensor:
    """Return a picture seen through masks; its mean colour is elsewhere.

    Shape:
        square: uint8 (3, S, S); mask: (N, S, S); result: uint8 (N, 3, S, S)
    """
    ground = square.float().mean(dim=(1, 2), keepdim=True)
    seen = mask[:, None] * (square.float() - ground) + ground
    return seen.round().to(torch.uint8)


def importance(square: Tensor, score: Score, number: int = MASKS, seed: int = 0) -> np.ndarray:
    """Return how much each place of a picture matters to a value: eq. 6 of RISE, less the mean value of all masks.

    A place has the value 0 if it makes no difference whether it is seen, and less if seeing it lowers the value.

    Args:
        square: the picture.
        score: from `score_of`.
        number: of masks.
        seed: of the masks.

    Shape:
        square: uint8 (3, S, S); result: float64 (S, S)
    """
    masks = masks_of(square.shape[1], number, seed)
    values = np.concatenate([score(hidden(square, part)) for part in masks.split(BATCH)]).astype(np.float64)
    weights = torch.from_numpy(values - values.mean())
    visible = masks.double()
    total = torch.tensordot(weights, visible - visible.mean(dim=0), dims=1)
    return (total / visible.var(dim=0, unbiased=False).clamp(min=1e-6) / number).numpy()


def deletion(square: Tensor, score: Score, order: np.ndarray, steps: int = 20) -> float:
    """Return the mean value while a picture is hidden step by step, the most important places first; low is good.

    Args:
        square: the picture.
        score: from `score_of`.
        order: how important each place is said to be.
        steps: from the whole picture to its mean colour.

    Shape:
        square: uint8 (3, S, S); order: (S, S)
    """
    ranks = torch.from_numpy(np.argsort(np.argsort(-order, axis=None, kind="stable"), kind="stable"))
    ranks = ranks.reshape(order.shape)
    kept = torch.stack([(ranks >= order.size * step // steps).float() for step in range(steps + 1)])
    return float(score(hidden(square, kept)).mean())


def overlaid(square: Tensor, weights: np.ndarray) -> Image.Image:
    """Return the picture, and beside it the picture under the map: bright where the value comes from.

    Shape:
        square: uint8 (3, S, S); weights: (S, S)
    """
    picture = square.permute(1, 2, 0).numpy()
    positive = np.maximum(weights, 0)
    scaled = positive / positive.max() if positive.max() > 0 else positive
    colours = 255 * matplotlib.colormaps[COLOURS](scaled)[..., :3]
    grey = picture.mean(axis=2, keepdims=True)
    mixed = (1 - STRENGTH) * grey + STRENGTH * colours
    return Image.fromarray(np.concatenate([picture, mixed.round().astype(np.uint8)], axis=1))


def file_name(number: int, picture: str) -> str:
    """Return the name of a picture's map: its number, so that no two are equal, and its name in safe letters."""
    safe = re.sub(r"[^\w.-]+", "_", Path(picture).name)[-80:].lstrip(".")
    return f"{number:06}_{safe}.png"


def write_map(path: Path, square: Tensor, weights: np.ndarray) -> None:
    """Write the picture with its map as PNG, twice as large."""
    image = overlaid(square, weights)
    with whole_file(path) as temporary:
        large = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
        large.save(temporary, "PNG")
