"""The loop that trains all networks: early stopping, candidates, the seed, what standardisation does."""

import numpy as np
import pytest
import torch
from made_pairs import made_pairs
from torch import Tensor

from systems.dckt.baselines.config import NetworkParams
from systems.dckt.baselines.fitted import mean_map
from systems.dckt.baselines.networks import Inputs, PairNetwork, Sizes, fit_network, fit_networks

PARAMS = NetworkParams(
    hidden=16,
    codes=5,
    dropout=0.1,
    learning_rates=[0.01],
    weight_decay=0.01,
    batch_size=16,
    epochs=20,
    patience=20,
    threads=1,
)


class Apart(PairNetwork):
    """Learns to bring the codes of a pair together, or apart."""

    sign = 1.0

    def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
        one, other = (
            torch.nn.functional.normalize(part, dim=1)
            for part in (self.codes_of_images(images), self.codes_of_texts(texts))
        )
        own = torch.eye(len(one))
        return self.sign * -(one @ other.T * (own - 1 / len(one))).sum() / len(one)


class Worse(Apart):
    """Learns the contrary."""

    sign = -1.0


def build(kind: type[Apart], params: NetworkParams = PARAMS) -> object:
    return lambda: kind(Sizes.of(made_pairs()), params, params.codes)


def test_inputs_are_standardised_by_the_training_pairs_and_a_constant_becomes_zero() -> None:
    train = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    inputs, new = Inputs(2), torch.tensor([[4.0, 9.0], [2.0, 5.0]])
    assert inputs(new).tolist() == new.tolist()
    inputs.fit(train)
    assert inputs(new).tolist() == [[2.0, 0.0], [0.0, 0.0]]


def test_it_learns_and_keeps_the_best_epoch() -> None:
    validation = made_pairs(seed=1)
    found = fit_network(build(Apart), {"learning_rate": 0.01}, made_pairs(), validation, PARAMS, seed=0)
    assert found.validation_map > 0.6
    assert 1 <= found.chosen["epoch"] <= 20
    codes = found.images(validation.images), found.texts(validation.texts)
    assert mean_map(*codes, validation.category) == found.validation_map


def test_where_training_makes_it_worse_the_start_weights_stay_and_patience_ends_it() -> None:
    steps = []

    class Counted(Worse):
        def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
            steps.append(progress)
            return super().loss(images, texts, category, progress)

    params = PARAMS.model_copy(update={"patience": 3, "epochs": 50})
    found = fit_network(build(Counted), {"learning_rate": 0.05}, made_pairs(), made_pairs(seed=1), params, seed=2)
    last = round(max(steps) * 50) + 1
    assert last == found.chosen["epoch"] + 3
    assert last < 50
    assert len(steps) == 3 * last  # 35 pairs are three batches


def test_a_single_pair_left_over_is_no_batch() -> None:
    sizes = []

    class Counted(Apart):
        def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
            sizes.append(len(images))
            return super().loss(images, texts, category, progress)

    params = PARAMS.model_copy(update={"batch_size": 17, "epochs": 1})
    fit_network(build(Counted), {"learning_rate": 0.01}, made_pairs(), made_pairs(seed=1), params, seed=0)
    assert sizes == [17, 17]


def test_weights_that_are_no_longer_finite_end_the_training() -> None:
    class Exploding(Apart):
        def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
            return super().loss(images, texts, category, progress) + (self.image[0].weight * torch.inf).sum()

    found = fit_network(build(Exploding), {"learning_rate": 0.01}, made_pairs(), made_pairs(seed=1), PARAMS, seed=0)
    assert found.chosen["epoch"] == 0
    assert np.isfinite(found.images(made_pairs().images)).all()


def test_the_best_candidate_and_rate_are_chosen_by_validation() -> None:
    params = PARAMS.model_copy(update={"learning_rates": [1e-9, 0.01]})
    train, validation = made_pairs(), made_pairs(seed=1)
    candidates = [({"kind": 0}, build(Worse)), ({"kind": 1}, build(Apart))]
    found = fit_networks(iter(candidates), train, validation, params, seed=0)
    assert found.chosen["kind"] == 1
    assert found.chosen["learning_rate"] == 0.01
    alone = fit_network(build(Apart), {"learning_rate": 0.01}, train, validation, params, seed=0)
    np.testing.assert_array_equal(found.images(train.images), alone.images(train.images))


@pytest.mark.parametrize("part", ["images", "texts"])
def test_the_seed_decides(part: str) -> None:
    train, validation = made_pairs(), made_pairs(seed=1)
    params = PARAMS.model_copy(update={"epochs": 2})
    one, same, other = (
        fit_network(build(Apart), {"learning_rate": 0.01}, train, validation, params, seed) for seed in (0, 0, 1)
    )
    features = getattr(train, part)
    np.testing.assert_array_equal(getattr(one, part)(features), getattr(same, part)(features))
    assert not np.allclose(getattr(one, part)(features), getattr(other, part)(features))


def test_a_code_does_not_depend_on_the_others_of_its_call() -> None:
    train, test = made_pairs(), made_pairs(seed=2)
    found = fit_network(build(Apart), {"learning_rate": 0.01}, train, made_pairs(seed=1), PARAMS, seed=0)
    np.testing.assert_allclose(found.images(test.images)[3:5], found.images(test.images[3:5]), atol=1e-6)
