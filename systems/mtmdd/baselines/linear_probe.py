"""A linear probe: logistic regression on the features of the start weights, which nothing fine-tunes.

    python -m systems.mtmdd.baselines.linear_probe --recipe data/mtmdd/recipes/linear_probe.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of the probe.

Not in the paper: what a user would try first. phi of the middle crops is standardised by the training images, and
scikit-learn's logistic regression is fitted for each C of a grid; the C with the best validation accuracy is kept
(ties: the smallest, and 1 without validation images). Kornblith et al., "Do better ImageNet models transfer better?"
(CVPR 2019), choose C in this way. With `network.weights: none` these are random features.
"""

from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from model.training.learner import Learner
from model.training.task import Validation
from systems.mtmdd.baselines.fitted import FittedTask, check_categories, features_of, write_linear
from systems.mtmdd.network import MultidomainNetwork
from systems.mtmdd.train import main

GRID = tuple(10.0**power for power in range(-4, 3))
MAX_ITERATIONS = 1000


def phi_of(network: MultidomainNetwork, images: Tensor) -> Tensor:
    """Return phi: (B, D)."""
    return network.backbone(images).phi


def best_regression(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]
) -> tuple[LogisticRegression, float]:
    """Return the logistic regression with the best validation accuracy of the grid, and its C.

    Args:
        train, validation: features (n, D) and labels (n,); the second may be empty.
    """
    if not len(validation[1]):
        return LogisticRegression(C=1.0, max_iter=MAX_ITERATIONS).fit(*train), 1.0
    found = [(LogisticRegression(C=c, max_iter=MAX_ITERATIONS).fit(*train), c) for c in GRID]
    return max(found, key=lambda pair: pair[0].score(*validation))  # max keeps the first of equal ones


class ProbeTask(FittedTask):
    """A phase of one domain with a logistic regression on its frozen ConvNet."""

    chosen_c = 1.0

    def fit(self, learner: Learner) -> None:
        """Fit the regression; write its standardisation into N, and its coefficients into the recogniser."""
        network, domain = learner.network, self.phase.main_domain
        assert isinstance(network, MultidomainNetwork)
        assert network.recogniser is not None
        features = partial(features_of, self, learner, compute=phi_of)
        train, validation = features("train"), features("validation")
        check_categories(self, train[1])
        norm = network.recogniser.visual_norms[domain]
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(torch.from_numpy(train[0].mean(axis=0)))
        norm.running_var.copy_(torch.from_numpy(train[0].var(axis=0)))
        mean = norm.running_mean.double().cpu().numpy()
        deviation = np.sqrt(norm.running_var.double().cpu().numpy() + norm.eps)
        standard = [
            ((values - mean) / deviation if len(labels) else values, labels) for values, labels in (train, validation)
        ]
        regression, self.chosen_c = best_regression(standard[0], standard[1])
        write_linear(network.recogniser.heads[domain], regression.coef_, regression.intercept_)

    def validate(self, learner: Learner) -> Validation:
        """Measure as usual; the curves also have C."""
        found = super().validate(learner)
        return Validation({**found.values, "C": self.chosen_c}, found.rank, found.chosen_by, found.chosen_value)


task_of = ProbeTask

if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.linear_probe", kind=task_of)
