"""A training without computations per batch, in which the sum of a step's parts equals the step."""

import torch
from torch import nn

from systems.mtmdd.config import EmbeddingParams, NetworkParams, ObjectiveParams, Recipe, TrainParams
from systems.mtmdd.network import build_network
from systems.mtmdd.recipes import build_recipe


def build_network_without_norms(*arguments, **named) -> nn.Module:
    """Build a network without batch normalisation; tests use it instead of `systems.mtmdd.network.build_network`."""
    network = build_network(*arguments, **named)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return network


def unnormalised_recipe(train: TrainParams, **values) -> Recipe:
    """Return the recipe of MTMDD-VM without position loss and dropout; every part is trained."""
    embedding = EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=6, hidden=7, dropout=0.0)
    network = NetworkParams(
        backbone="plain", weights="none", image_size=16, resize=18, dropout=0.0, embedding=embedding
    )  # fmt: skip
    objective = ObjectiveParams.model_validate(
        {"lambda": 0.4, "tau": 0.0, "bandwidth": 0.01, "threshold": 0.16, "mu_separate_heads": 0.9, "mu_shared_head": 1}
    )
    return build_recipe("MTMDD-VM", network, objective, train.model_copy(update={"epochs": 2, **values}))


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the largest difference between two networks' weights, as a share of the tensor's largest weight."""
    assert set(one) == set(other)
    return max(float((one[k] - other[k]).abs().max() / one[k].abs().max().clamp(min=1e-3)) for k in one)
