"""How many labels an image has, from its feature: a regressor, or a classifier of numbers.

Reference: Niu et al., "Multi-modal multi-scale deep learning for large-scale image annotation" (TIP 2019), section
III-C (label quantity prediction), and Table XI for the classifier.
"""

import torch
from torch import Tensor, nn

HIDDEN = (512, 256)


class QuantityRegressor(nn.Module):
    """Layers of 512, 256 and 1 units; ReLU and dropout after the first two.

    Args:
        num_features: D.
        dropout: share of each hidden layer's units that training drops.

    Shape:
        input: (B, D); output: (B,), the estimated number of labels
    """

    def __init__(self, num_features: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.layers = _layers(num_features, 1, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return estimated numbers."""
        return self.layers(features)[:, 0]

    def losses(self, features: Tensor, counts: Tensor) -> Tensor:
        """Return each image's squared error, (B,); counts: float (B,)."""
        return (self(features) - counts).square()


class QuantityClassifier(nn.Module):
    """The same layers with a unit for each number from 1 to `most`; the estimate is the most probable number.

    Args:
        num_features: D.
        most: the largest number of labels.
        dropout: share of each hidden layer's units that training drops.

    Shape:
        input: (B, D); output: (B,), the estimated number of labels
    """

    def __init__(self, num_features: int, most: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.most = most
        self.layers = _layers(num_features, most, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return the most probable numbers; of equal ones the smallest."""
        return self.layers(features).argmax(dim=1).to(torch.float32) + 1

    def losses(self, features: Tensor, counts: Tensor) -> Tensor:
        """Return each image's cross-entropy, (B,); counts above `most` count as `most`."""
        classes = counts.long().clamp(1, self.most) - 1
        return nn.functional.cross_entropy(self.layers(features), classes, reduction="none")


def _layers(num_features: int, outputs: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in HIDDEN:
        layers += [nn.Linear(num_features, width), nn.ReLU(), nn.Dropout(dropout)]
        num_features = width
    return nn.Sequential(*layers, nn.Linear(num_features, outputs))
