"""Training must be able to learn a few toy images by heart; otherwise it is broken, whatever the validation shows."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TinyData, write_data
from training_runs import train_recipe

from model.data.batches import evaluation_batches
from pipelines.toy.animals import ANIMALS
from pipelines.toy.queries import clicks_of
from pipelines.toy.streams import random_stream
from pipelines.toy.synthesize import Picture, draw
from systems.mtmdd.batches import ImageLoader
from systems.mtmdd.config import EmbeddingParams, NetworkParams
from systems.mtmdd.examples import Examples, read_rows
from systems.mtmdd.measures import num_correct, predict, rmse
from systems.mtmdd.predictor import Model
from systems.mtmdd.recipes import build_recipe

SIZE = 32  # pixels
EPOCHS, STEPS_EACH = 10, 40
NUM_BREEDS, IMAGES_EACH = 8, 4


def write_drawn_data(folder: Path) -> TinyData:
    """Draw 32 training images of each domain, with click features by eq. 1 from the English queries."""
    dogs = ANIMALS["dogs"]
    breeds = [breed for breed in dogs.categories if breed.presence == "both"][:NUM_BREEDS]
    images, clicks = [], {}
    for number in range(IMAGES_EACH):
        for breed in breeds:
            for domain in ("source", "target"):
                image_id = f"{domain}-{breed.name}-{number}"
                look, jpeg, _ = draw(dogs, Picture(image_id, breed, breed, number), domain, seed=7)
                images.append((image_id, domain, breed.name, 1, 1, {"bytes": jpeg, "path": f"{image_id}.jpg"}))
                if domain == "source":
                    others = [other for other in breeds if other != breed]
                    clicks[image_id] = Counter[str]()
                    stream = random_stream(7, breed.name, number)
                    for query, count in clicks_of(dogs.phrases, breed, look, others, False, stream):
                        words = set(query.lower().split()) if query.isascii() else set()
                        clicks[image_id].update(dict.fromkeys(words, count))
    names = sorted(set().union(*clicks.values()))
    counts = np.array([[of_image[word] for word in names] for of_image in clicks.values()])
    frequency = np.count_nonzero(counts, axis=0)
    tfidf = counts / counts.sum(axis=1, keepdims=True) * np.log(len(counts) / frequency)
    features = []
    for image_id, of_image, weights in zip(clicks, counts, tfidf, strict=True):
        (found,) = np.nonzero(of_image)
        features.append((image_id, found.tolist(), of_image[found].tolist(), weights[found].tolist()))
    vocabulary = [
        (number, word, int(counts[:, number].sum()), int(frequency[number]), 1.0) for number, word in enumerate(names)
    ]
    splits = [(image_id, domain, category, True, "train") for image_id, domain, category, *_ in images]
    return write_data(folder, images, splits, vocabulary, features)


@pytest.mark.slow
def test_it_learns_32_images_of_each_domain_by_heart(objective_params, train_params, tmp_path, own_folder):
    data = write_drawn_data(tmp_path / "drawn")
    embedding = EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=256, hidden=1024, dropout=0.0)
    network = NetworkParams(
        backbone="plain", weights="none", image_size=SIZE, resize=SIZE, dropout=0.0, embedding=embedding
    )
    values = {
        "epochs": EPOCHS, "batch_size": 32, "learning_rate": 0.1, "embedding_multiplier": 3.0,
        "recogniser_multiplier": 1.0, "mirrored": [],
    }  # fmt: skip
    recipe = build_recipe("MTMDD-VM", network, objective_params, train_params.model_copy(update=values))
    examples = Examples.read(data.images, read_rows(data.split, recipe, 0), data.features, network, cache=True)
    assert examples.epoch_images == {"source": 32, "target": 32}
    long = replace(examples, epoch_images=dict.fromkeys(examples.epoch_images, 32 * STEPS_EACH))
    train_recipe(recipe, long, 0, tmp_path / "model", "by heart")
    model = Model.read(tmp_path / "model")
    loader = ImageLoader(examples, SIZE, 0, with_clicks=True)
    for domain in ("source", "target"):
        batches = evaluation_batches(loader, domain, examples.row_numbers(domain, "train"), 32, workers=0)
        outcome = predict(model.network(recipe.phases[0]), batches, domain, torch.device("cpu"))
        assert num_correct(outcome) == outcome.num_images == 32
        if domain == "source":
            assert rmse(outcome) < 0.1
