"""The word CNN of Kim (2014), "Convolutional Neural Networks for Sentence Classification", section 2.

| here | there |
|---|---|
| vectors of words, `embedding` | x_i, of k dimensions |
| convolutions over h words, ReLU | eq. 2: c_i = f(w . x_{i:i+h-1} + b), feature maps |
| maximum over positions, `features` | max-over-time pooling, the penultimate layer z |
| `classify` of features after dropout | eq. 4 |

Padding has no influence here: only windows with at least one word count, and a text without words has the features 0.
There, padded windows take part in the maximum.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING = 0  # the number of no word


class WordCNN(nn.Module):
    """Classifies texts by convolutions over their words' vectors.

    Args:
        vectors: of the words numbered 1 .. W, in the order of their numbers.
        widths: h, the words that a convolution sees; one group of kernels for each.
        kernels: of each width; widths x kernels is the number of features (the paper: 3 x 100).
        categories: number of them.
        dropout: share of the features dropped in training.
        tuned: whether the words' vectors are learned, too (CNN-non-static), or stay (CNN-static).

    Shape:
        vectors: float (W, K); input: int64 (B, L), PADDING after the last word; output: (B, categories)
    """

    def __init__(
        self, vectors: Tensor, widths: Sequence[int], kernels: int, categories: int, dropout: float, tuned: bool
    ) -> None:
        super().__init__()
        table = torch.cat([vectors.new_zeros(1, vectors.shape[1]), vectors])
        self.embedding = nn.Embedding.from_pretrained(table, freeze=not tuned, padding_idx=PADDING)
        self.widths = tuple(widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(vectors.shape[1], kernels, width) for width in self.widths)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(kernels * len(self.widths), categories)

    def features(self, words: Tensor) -> Tensor:
        """Return the maxima over the positions: (B, widths x kernels), at least 0."""
        margin = max(self.widths) - 1
        padded = F.pad(words, (margin, margin), value=PADDING)
        signal = self.embedding(padded).transpose(1, 2)  # (B, K, L + 2 margin)
        is_word = (padded != PADDING).float().unsqueeze(1)
        found = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            has_word = F.max_pool1d(is_word, width, stride=1)
            found.append((F.relu(convolution(signal)) * has_word).amax(dim=2))
        return torch.cat(found, dim=1)

    def forward(self, words: Tensor) -> Tensor:
        """Return the categories' logits."""
        return self.classify(self.dropout(self.features(words)))
