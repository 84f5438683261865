"""The max-hinge loss of VSE++: each image against the hardest other text of the batch, each text against an image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.count import SMALLEST_NORM, l2_normalise


@dataclass(frozen=True)
class HardestNegativeLoss:
    r"""Each image's loss against the hardest other text, and its text's loss against the hardest other image.

    [m + max over j != i of s(i, c_j) - s(i, c_i)]_+  +  [m + max over j != i of s(j, c_i) - s(i, c_i)]_+

    s is the cosine of an image's predicted click feature and the click feature of an image. An image without clicks
    (v = 0) has no text: its loss is 0, and neither it nor its text is a negative of others. The loss is 0 for all
    images if fewer than two have clicks.

    Attributes:
        margin: m.

    Reference: Faghri et al., "VSE++: improving visual-semantic embeddings with hard negatives" (BMVC 2018), eq. 6.
    """

    margin: float = 0.2

    def __call__(self, true: Tensor, predicted: Tensor) -> Tensor:
        """Return each image's loss.

        Args:
            true: v, the texts.
            predicted: v^, the images in the space of texts.

        Shape:
            inputs: (B, K); output: (B,)
        """
        texts, images = l2_normalise(true), l2_normalise(predicted)
        similarity = images @ texts.T  # row: image, column: text
        has_text = torch.linalg.vector_norm(true, dim=1) >= SMALLEST_NORM
        negative = has_text[:, None] & has_text[None, :] & ~torch.eye(len(true), dtype=torch.bool, device=true.device)
        others = similarity.masked_fill(~negative, -torch.inf)
        matching = similarity.diagonal()
        losses = sum(
            (self.margin + hardest - matching).clamp(min=0) for hardest in (others.amax(dim=1), others.amax(dim=0))
        )
        assert isinstance(losses, Tensor)
        return torch.where(negative.any(dim=1), losses, matching * 0)
