"""A network that cannot learn a few drawn images by heart is broken, whatever its validation says."""

from collections import Counter

import numpy as np
import pytest
import torch

from model.batches import DomainBatch
from model.config import EmbeddingParams, NetworkParams, ScheduleParams
from model.images import centre_crop, decode
from model.losses.count import count_loss
from model.losses.objective import objective
from model.network import build_network
from model.procedures import parameter_groups
from model.recipes import build_recipe
from model.schedules import rate_factor
from pipelines.synthesize import Picture, draw, random_stream
from pipelines.toy_breeds import BREEDS
from pipelines.toy_queries import clicks_of

SIZE = 32  # pixels
STEPS = 300
NUM_BREEDS, IMAGES_EACH = 8, 4


def drawn_batch() -> dict:
    """Return 32 images of each domain as one batch, with click features of the English queries by eq. 1."""
    breeds = [breed for breed in BREEDS if breed.presence == "both"][:NUM_BREEDS]
    pixels: dict[str, list[np.ndarray]] = {"source": [], "target": []}
    clicks: list[Counter[str]] = []
    for number in range(IMAGES_EACH):
        for breed in breeds:
            for domain, of_domain in pixels.items():
                look, jpeg = draw(Picture("", breed, breed, number), domain, seed=7)
                of_domain.append(centre_crop(decode(jpeg, SIZE), SIZE))
                if domain == "source":
                    others = [other for other in breeds if other != breed]
                    words: Counter[str] = Counter()
                    for query, count in clicks_of(breed, look, others, False, random_stream(7, breed.name, number)):
                        words.update(dict.fromkeys(query.lower().split() if query.isascii() else [], count))
                    clicks.append(words)
    counts = np.array([[of_image[word] for word in sorted(set().union(*clicks))] for of_image in clicks])
    tfidf = counts / counts.sum(axis=1, keepdims=True) * np.log(len(counts) / np.count_nonzero(counts, axis=0))
    labels = torch.arange(NUM_BREEDS).repeat(IMAGES_EACH)
    return {
        domain: DomainBatch(
            torch.from_numpy(np.stack(of_domain)).permute(0, 3, 1, 2).contiguous(),
            labels,
            torch.from_numpy(tfidf).float() if domain == "source" else None,
            torch.arange(len(labels)),
        )
        for domain, of_domain in pixels.items()
    }


@pytest.mark.slow
def test_it_learns_32_images_of_each_domain_by_heart(objective_params, train_params):
    batch = drawn_batch()
    images = {domain: part.images for domain, part in batch.items()}
    assert [len(part) for part in images.values()] == [32, 32]
    true = batch["source"].clicks
    embedding = EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=256, hidden=1024, dropout=0.0)
    network_params = NetworkParams(
        backbone="plain", weights="none", image_size=SIZE, resize=SIZE, dropout=0.0, embedding=embedding
    )
    params = train_params.model_copy(
        update={"learning_rate": 0.1, "embedding_multiplier": 3.0, "recogniser_multiplier": 1.0}
    )
    recipe = build_recipe("MTMDD-VM", network_params, objective_params, params)
    (phase,) = recipe.phases
    torch.manual_seed(0)
    categories = {domain: [str(label) for label in range(NUM_BREEDS)] for domain in images}
    network = build_network(network_params, phase, categories, true.shape[1], load_weights=True).train()
    groups = parameter_groups(network, params)
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=params.momentum, weight_decay=params.weight_decay)
    schedule = ScheduleParams(kind="one-cycle", warm_up=0.3)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor(schedule, step, STEPS)
        total, _ = objective(phase.losses, network(images), batch, recipe.position)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    with torch.no_grad():
        predictions = network.eval()(images)
    for domain, part in batch.items():
        assert torch.equal(predictions[domain].logits.argmax(dim=1), part.labels), domain
    assert count_loss(true, predictions["source"].clicks).mean().sqrt() < 0.1
