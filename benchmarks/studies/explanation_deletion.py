"""Ask whether `clicksight predict --explain` shows what matters: the deletion test of RISE.

    python -m benchmarks.studies.explanation_deletion --model data/mtmdd/models/MTMDD-VM-star/seed-0 --pictures FOLDER

A picture is hidden step by step, the places first that a map calls important; the mean value of the explained category
(or word) on the way is the lower, the better the map. Three maps are compared on the same pictures: ours, a random one
(smooth noise, as ours is smooth), and one that calls the centre important, where people put what they photograph. The
differences are printed with 95 % intervals over pictures (bootstrap of the paired differences).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import bootstrap

from base.console import progress
from clicksight.explain import LISTS, deletion, importance, score_of
from clicksight.models import load_model
from clicksight.pictures import Pictures, decoded


def random_map(size: int, generator: np.random.Generator) -> np.ndarray:
    """Return smooth noise: (S, S)."""
    found: np.ndarray = gaussian_filter(generator.random((size, size)), size / 14)
    return found


def centre_map(size: int) -> np.ndarray:
    """Return the nearness to the centre: (S, S)."""
    places = np.arange(size) - (size - 1) / 2
    return -np.hypot(places[:, None], places[None, :])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--pictures", nargs="+", required=True, help="as clicksight predict takes them")
    parser.add_argument("--kind", choices=("category", "word"), default="category", help="what is explained")
    parser.add_argument("--rank", type=int, default=1, help="explain the Nth that the model says (default: the first)")
    parser.add_argument("--every", type=int, default=1, help="take every Nth picture (default: %(default)s)")
    parser.add_argument("--masks", type=int, default=400, help="of each map (default: %(default)s)")
    arguments = parser.parse_args(argv)
    model = load_model(arguments.model)
    generator = np.random.default_rng(0)
    chosen = [one for number, one in enumerate(Pictures(arguments.pictures)) if number % arguments.every == 0]
    areas: dict[str, list[float]] = {"ours": [], "random": [], "centre": []}
    pictures = decoded(iter(chosen), model.resize, model.image_size, finely=model.finely)
    for picture in progress(pictures, "explain", "pictures", len(chosen)):
        if picture.pixels is None:
            continue
        square = torch.from_numpy(picture.pixels.transpose(2, 0, 1).copy())
        [said] = model.predict(square[None], top=arguments.rank)
        found = getattr(said, LISTS[arguments.kind])
        if len(found) < arguments.rank:
            continue
        score = score_of(model, arguments.kind, found[-1].name)
        maps = {
            "ours": importance(square, score, arguments.masks),
            "random": random_map(model.image_size, generator),
            "centre": centre_map(model.image_size),
        }
        for name, order in maps.items():
            areas[name].append(deletion(square, score, order))
    values = {name: np.array(found) for name, found in areas.items()}
    print(f"{len(values['ours'])} pictures, {arguments.kind} {arguments.rank}, {arguments.masks} masks")
    for name, measured in values.items():
        print(f"{name}: mean value while hiding {measured.mean():.3f}")
    for name in ("random", "centre"):
        gained = values[name] - values["ours"]
        low, high = bootstrap((gained,), np.mean, random_state=0).confidence_interval
        print(f"{name} - ours: {gained.mean():.3f} ({low:.3f} to {high:.3f}), ours lower in {(gained > 0).mean():.0%}")


if __name__ == "__main__":
    main()
