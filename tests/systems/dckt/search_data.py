"""A trained run on pictures of colours and sentences that name them, for the tests of searching."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
from dckt_runs import recipe
from graph import ROOT, SAFE
from PIL import Image

from base import schemas
from base.artifacts import shard_name, write_table
from model.frozen_features import FrozenParams, embed
from model.text_features import WordCNNParams
from model.training.trainer import train
from pipelines.words.segmentation import Segmenter, SegmentParams
from systems.dckt.feature_params import FeatureParams
from systems.dckt.features import read_features
from systems.dckt.task import training_run
from systems.dckt.text_features import run as write_text_features
from systems.dckt.texts import read_texts

COLOURS = {"red": (210, 40, 30), "green": (30, 190, 60), "blue": (30, 60, 220)}
NOUNS = ("car", "house", "flower", "boat", "chair")
SIZE = 16
SEGMENT = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)
FEATURES = FeatureParams(
    images=FrozenParams(backbone="plain", weights="none", image_size=SIZE, resize=SIZE, batch_size=4, threads=1),
    kind="mean and maximum",
    texts="word CNN",
    word_cnn=WordCNNParams(
        widths=[1, 2],
        kernels=6,
        dropout=0.0,
        tuned=False,
        longest=8,
        epochs=30,
        patience=30,
        batch_size=8,
        learning_rate=0.02,
        threads=1,
    ),
)


def picture(colour: str, seed: int, size: tuple[int, int] = (24, 20)) -> bytes:
    """Return a noisy JPEG of a colour."""
    random = np.random.default_rng([seed, *map(ord, colour)])
    pixels = np.clip(np.array(COLOURS[colour]) + random.normal(0, 25, (*size, 3)), 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=92)
    return encoded.getvalue()


def write_domain(folder: Path, texts: str = "word CNN") -> None:
    """Write a domain's pictures and sentences as artifacts, and their features for seed 0."""
    names, rows = list(COLOURS), []
    for number in range(60):
        colour, noun = names[number % 3], NOUNS[number // 3 % 5]
        split = ("train", "train", "validation", "train", "test")[number // 3 % 5]
        rows.append((f"p{number:02d}", colour, split, f"A {colour} {noun}.", picture(colour, number)))
    ids, categories, splits, sentences, images = map(list, zip(*rows, strict=True))
    pairs = pl.DataFrame({"pair_id": ids, "category": categories, "split": splits})
    write_table(pairs.to_arrow().cast(schemas.PAIR_SPLIT), folder / "splits/seed-0.parquet")
    log = pl.DataFrame({"image_id": ids, "query": sentences, "clicks": 1}).to_arrow().cast(schemas.CLICKS)
    write_table(log, folder / "ingested/texts" / shard_name(0))
    distinct = sorted(set(sentences))
    words = Segmenter(SEGMENT)(pl.Series(distinct).to_arrow().cast("string"))
    queries = pl.DataFrame({"query": distinct, "words": words.to_pylist()}).to_arrow().cast(schemas.QUERIES)
    write_table(queries, folder / "words/queries" / shard_name(0))
    known = sorted({word for each in words.to_pylist() for word in each} - {"a"})
    vectors = np.random.default_rng(1).normal(size=(len(known), 5)).astype(np.float32)
    table = pl.DataFrame({"word": known, "vector": pl.Series(vectors.tolist(), dtype=pl.List(pl.Float32))})
    write_table(table.to_arrow().cast(schemas.WORD_VECTORS), folder / "word_vectors.parquet")
    stored = pl.DataFrame({"pair_id": ids, "image": [{"bytes": image, "path": ""} for image in images]})
    write_table(stored.to_arrow(), folder / "pairs" / shard_name(0))
    embed([folder / "pairs" / shard_name(0)], folder / "embedded", FEATURES.images, FEATURES.kind, "pair_id", "target")
    write_text_features(folder, folder / "text_features", FEATURES, [0])


def write_trained(folder: Path) -> None:
    """Write a trained target network, `model`, with its data, `data`, and params.yaml."""
    for domain in ("source", "target"):
        write_domain(folder / "data" / domain)
    source, target = (read_features(folder / "data" / domain, 0) for domain in ("source", "target"))
    texts = read_texts(folder / "data" / "target")
    train(training_run(recipe("before", epochs=40), source, target, 0, "model", texts), folder / "model")
    params = SAFE.load(ROOT / "params.yaml")
    params["segment"], params["dckt"]["features"] = SEGMENT.model_dump(), FEATURES.model_dump()
    (folder / "params.yaml").write_text(json.dumps(params))
