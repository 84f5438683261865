"""Find unseen photographs by the name of what they show: precision at 10 of a search in predicted click features.

    python -m benchmarks.studies.search_precision --data data --set birds50 --runs click_gradient=shared-10

In: a project's data folder with trained runs of mtmdd, their data set's images, splits and vocabulary. Each category's
name is a query over the target's test images of every seed, which have no clicks, and which no training has seen. The
share of the ten best images that are of the category is printed as the mean over categories and seeds, in percent, with
its 95 % interval over both, and beside it:

- `clicks`: as `clicksight search` does it, every word of the query counts the same
- `idf`: words weigh as in the click features (the vocabulary's IDF)
- `categories`: images ordered by the predicted probability of the category itself, which needs the target's labels
- `other name`: as `clicks`, but each category is asked for by the name of the next one: what a query finds that says
  nothing of the images
- `chance`: the expectation of a random order
- `best`: what a perfect order would have; a category may have fewer than ten test images

Names of whose words the vocabulary has none count as 0 in the first two and the fourth; their number is printed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch

from base.artifacts import read_tables
from benchmarks.studies.trained_runs import TrainedRuns, add_options
from clicksight.queries import known_words, query_vectors
from model.data.images import ImageStore
from model.prediction import RecogniserPredictor
from pipelines.words.segmentation import Segmenter
from report.intervals import estimate

K = 10
BATCH = 64


def precisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each category's precision at K, in percent: its images among the K with the largest scores.

    Shape:
        scores: (categories, images); labels: (images,); result: (categories,)
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    found: np.ndarray = 100 * (labels[best] == np.arange(len(scores))[:, None]).mean(axis=1)
    return found


@torch.no_grad()
def outputs(model: RecogniserPredictor, images: ImageStore) -> tuple[np.ndarray, np.ndarray]:
    """Return click features (images, K) and category logits (images, C)."""
    assert model.recogniser is not None
    clicks, logits = [], []
    for start in range(0, len(images), BATCH):
        rows = range(start, min(start + BATCH, len(images)))
        squares = np.stack([images.crop(row, model.image_size, 0, None) for row in rows])
        pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous()
        clicks.append(model.click_features(pixels).numpy())
        logits.append(model.recogniser(pixels.to(model.device)).cpu().numpy())
    return np.concatenate(clicks), np.concatenate(logits)


def of_seed(model: RecogniserPredictor, data: Path, segmenter: Segmenter) -> tuple[dict[str, np.ndarray], int]:
    """Return each search's precisions by category, and the number of names without a known word."""
    rows = pl.DataFrame(read_tables(data / f"splits/seed-{model.seed}.parquet"))
    tested = rows.filter(domain="target", split="test").sort("image_id")
    names = list(model.categories)
    labels = np.searchsorted(names, tested["category"].to_numpy())
    vocabulary = pl.DataFrame(read_tables(data / "features/vocabulary.parquet")).sort("word_id")
    if vocabulary["word"].to_list() != list(model.words):
        raise SystemExit(f"{data}/features: not the vocabulary that {model.run}, seed {model.seed}, was trained with")
    clicks, logits = outputs(model, ImageStore(data / "ingested/images", tested, model.resize, cache=False))
    places = [known for known, _ in known_words(names, model.words, segmenter)]
    even = query_vectors(places, np.ones(len(vocabulary)))
    by_idf = query_vectors(places, vocabulary["idf"].to_numpy())
    unknown = ~even.any(axis=1)

    def searched(vectors: np.ndarray) -> np.ndarray:
        return np.where(vectors.any(axis=1), precisions(vectors @ clicks.T, labels), 0.0)

    probabilities = torch.from_numpy(logits).softmax(dim=1).numpy().T
    found = {
        "clicks": searched(even),
        "idf": searched(by_idf),
        "categories": precisions(probabilities, labels),
        "other name": searched(np.roll(even, 1, axis=0)),
        "best": 100 * np.minimum(np.bincount(labels, minlength=len(names)), K) / K,
        "chance": 100 * np.bincount(labels, minlength=len(names)) / len(labels),
    }
    return found, int(unknown.sum())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    runs = TrainedRuns.of(parser.parse_args(argv))
    print(f"| run | search | precision at {K}, % | 95 % interval |\n|---|---|---|---|")
    for run in runs.names:
        rows = []
        for seed, model in zip(runs.seeds, runs.models(run), strict=True):
            assert isinstance(model, RecogniserPredictor)
            found, unknown = of_seed(model, runs.data, runs.segmenter)
            rows += [
                {"search": search, "seed": seed, "unit": name, "value": float(value)}
                for search, values in found.items()
                for name, value in zip(model.categories, values, strict=True)
            ]
        for search in found:
            interval = estimate(pl.DataFrame(rows).filter(search=search).drop("search")).interval()
            print(f"| {run} | {search} | {interval.mean:.1f} | {interval.low:.1f} to {interval.high:.1f} |")
        print(f"names without a known word: {unknown} of {len(model.categories)}")


if __name__ == "__main__":
    main()
