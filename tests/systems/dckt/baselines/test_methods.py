"""All methods by name: they find categories of new pairs, by the seed alone; what is special of each network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_pairs import made_pairs
from torch.nn import functional

from base.console import UserError
from model.losses.info_nce import InfoNCE
from systems.dckt.baselines.acmr import ACMR
from systems.dckt.baselines.config import (
    ACMRParams,
    BaselineParams,
    CCAParams,
    CFAParams,
    CorrAEParams,
    JRLParams,
    KCCAParams,
    NetworkParams,
    TwoTowerParams,
)
from systems.dckt.baselines.corr_ae import CorrAE
from systems.dckt.baselines.deep_sm import DeepSM
from systems.dckt.baselines.fitted import mean_map
from systems.dckt.baselines.methods import METHODS, fit
from systems.dckt.baselines.networks import Sizes
from systems.dckt.baselines.two_tower import TwoTower
from systems.dckt.config import BASELINES

NETWORKS = NetworkParams(
    hidden=24,
    codes=6,
    dropout=0.1,
    learning_rates=[0.01],
    weight_decay=0.01,
    batch_size=16,
    epochs=25,
    patience=10,
    threads=1,
)
PARAMS = BaselineParams(
    cca=CCAParams(axes=50, components=[3], ridges=[0.1]),
    kcca=KCCAParams(axes=50, components=[3], ridges=[0.1], widths=[1.0], most_pairs=100),
    cfa=CFAParams(components=[3]),
    jrl=JRLParams(axes=50, pair_weights=[0.1], graph_weights=[0.1], sparsities=[0.01], neighbours=4, rounds=3),
    networks=NETWORKS,
    corr_ae=CorrAEParams(correspondences=[0.5]),
    acmr=ACMRParams(margin=0.5, triplet_weights=[1.0], reversal=0.1),
    two_tower=TwoTowerParams(start_factor=10.0, labels=[False, True]),
)

SIZES = Sizes(images=11, texts=7, categories=3)


@pytest.mark.parametrize("name", BASELINES)
def test_a_method_finds_categories_of_new_pairs(name: str) -> None:
    train, validation, test = (made_pairs(seed=seed) for seed in range(3))
    found = fit(name, PARAMS, train, validation, seed=0)
    images, texts = found.images(test.images), found.texts(test.texts)
    shuffled = np.random.default_rng(0).permutation(test.category)
    assert mean_map(images, texts, test.category) > max(0.55, mean_map(images, texts, shuffled) + 0.1)
    again = fit(name, PARAMS, train, validation, seed=0)
    np.testing.assert_array_equal(images, again.images(test.images))
    np.testing.assert_array_equal(texts, again.texts(test.texts))
    assert again.chosen == found.chosen


def test_every_name_has_its_method() -> None:
    assert tuple(METHODS) == BASELINES


def test_too_few_pairs_and_features_that_are_all_equal() -> None:
    views = made_pairs()
    one, flat = made_pairs(sizes=(1,)), replace(views, texts=np.zeros_like(views.texts))
    with pytest.raises(UserError, match="1 training pairs"):
        fit("CCA", PARAMS, one, views, seed=0)
    with pytest.raises(UserError, match="1 validation pairs"):
        fit("CCA", PARAMS, views, one, seed=0)
    with pytest.raises(UserError, match="all training texts have the same features"):
        fit("CCA", PARAMS, flat, views, seed=0)


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    views = made_pairs()
    return torch.from_numpy(views.images), torch.from_numpy(views.texts), torch.from_numpy(views.category)


@pytest.mark.parametrize(
    "network",
    [
        lambda: DeepSM(SIZES, NETWORKS),
        lambda: CorrAE(SIZES, NETWORKS, 0.3),
        lambda: ACMR(SIZES, NETWORKS, PARAMS.acmr, 0.5),
        lambda: TwoTower(SIZES, NETWORKS, 10.0, True),
    ],
    ids=["Deep-SM", "Corr-AE", "ACMR", "two-tower"],
)
def test_every_parameter_gets_a_finite_gradient(network: object) -> None:
    torch.manual_seed(0)
    module = network()
    module.loss(*tensors(), 0.5).backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


def test_deep_sms_codes_are_probabilities_and_its_loss_is_that_of_both_classifiers() -> None:
    network = DeepSM(SIZES, NETWORKS).eval()
    images, texts, category = tensors()
    codes = network.codes_of_images(images), network.codes_of_texts(texts)
    assert codes[0].shape == (35, 3)
    torch.testing.assert_close(codes[1].sum(dim=1), torch.ones(35))
    expected = sum(functional.nll_loss(part.log(), category) for part in codes)
    torch.testing.assert_close(network.loss(images, texts, category, 0.0), expected)


@pytest.mark.parametrize("alpha", [0.25, 0.9])
def test_corr_aes_loss_by_its_formula(alpha: float) -> None:
    network = CorrAE(SIZES, NETWORKS, alpha).eval()
    images, texts, category = tensors()
    one, other = network.codes_of_images(images), network.codes_of_texts(texts)
    errors = (network.image_decoder(one) - network.image_inputs(images)).square().mean()
    errors = errors + (network.text_decoder(other) - network.text_inputs(texts)).square().mean()
    expected = (1 - alpha) * errors + alpha * (one - other).square().mean()
    torch.testing.assert_close(network.loss(images, texts, category, 0.0), expected)


def test_acmrs_media_classifier_learns_while_the_encoders_unlearn() -> None:
    """The encoders' gradient of the media loss is the reversed one, times the factor; the classifier's is not."""
    torch.manual_seed(1)
    params = PARAMS.acmr.model_copy(update={"reversal": 0.5})
    network = ACMR(SIZES, NETWORKS, params, 0.0).eval()
    images, texts, category = tensors()
    encoder, classifier = network.image[0].weight, network.media[0].weight

    def gradients(progress: float) -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        network.loss(images, texts, category, progress).backward()
        return encoder.grad.clone(), classifier.grad.clone()

    codes = torch.cat([network.codes_of_images(images), network.codes_of_texts(texts)])
    is_text = torch.arange(70) >= 35
    media = functional.binary_cross_entropy_with_logits(network.media(codes).squeeze(1), is_text.float())
    labels = functional.cross_entropy(network.categories(codes), category.repeat(2))
    of_media, of_classifier = torch.autograd.grad(media, [encoder, classifier], retain_graph=True)
    (of_labels,) = torch.autograd.grad(labels, [encoder])
    at_start, at_end = gradients(0.0), gradients(1 - 1e-9)
    torch.testing.assert_close(at_start[0], of_labels)
    torch.testing.assert_close(at_end[0], of_labels - 0.5 * 0.9999092 * of_media, atol=1e-6, rtol=1e-4)
    for found in (at_start, at_end):
        torch.testing.assert_close(found[1], of_classifier)


def test_the_two_towers_labels_take_negatives_away() -> None:
    images, texts, category = tensors()
    with_labels, without = (TwoTower(SIZES, NETWORKS, 10.0, use).eval() for use in (True, False))
    without.load_state_dict(with_labels.state_dict())
    codes = with_labels.codes_of_images(images), with_labels.codes_of_texts(texts)
    same = category[:, None] == category[None, :]
    expected = InfoNCE()(*codes, torch.tensor(10.0).log(), positives=same)
    torch.testing.assert_close(with_labels.loss(images, texts, category, 0.0), expected)
    assert without.loss(images, texts, category, 0.0) > with_labels.loss(images, texts, category, 0.0)
