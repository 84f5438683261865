"""From an image's tags to a textual feature: a perceptron, or the sum of the tags' word vectors.

Reference: Niu et al., "Multi-modal multi-scale deep learning for large-scale image annotation" (TIP 2019), section
III-B, and Table VII for the word vectors.
"""

import torch
from torch import Tensor, nn


class TagPerceptron(nn.Module):
    """Two fully connected layers, each with batch normalisation and ReLU (the paper doesn't name what is between them).

    Args:
        num_tags: T.
        hidden: units of each layer, and length of the feature f_t; the paper: 2048.

    Attributes:
        num_features: length of f_t.

    Shape:
        input: (B, T), 0 or 1; output: (B, hidden)
    """

    def __init__(self, num_tags: int, hidden: int) -> None:
        super().__init__()
        self.num_features = hidden
        self.layers = nn.Sequential(
            nn.Linear(num_tags, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
        )

    def forward(self, tags: Tensor) -> Tensor:
        """Return f_t."""
        return self.layers(tags)


class TagVectors(nn.Module):
    """The sum of the given vectors of an image's tags; it has nothing to learn.

    Args:
        vectors: of each tag; zeros for a tag without a vector.

    Attributes:
        num_features: V.

    Shape:
        vectors: (T, V); input: (B, T), 0 or 1; output: (B, V)
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.num_features = vectors.shape[1]
        self.register_buffer("vectors", vectors.to(torch.float32))

    def forward(self, tags: Tensor) -> Tensor:
        """Return the sum of the tags' vectors."""
        return tags @ self.vectors
