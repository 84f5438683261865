"""The largest connected component of binary maps."""

import torch
from torch import Tensor
from torch.nn import functional


def largest_component(masks: Tensor) -> Tensor:
    """Return the largest connected component of each mask; its places touch at sides or corners.

    Of several components of the same size, the one with the first place in row order is kept. An empty mask stays
    empty.

    Each place starts with a number of its own, and takes the smallest number around it until nothing changes.

    Shape:
        masks: bool (B, H, W); result: bool (B, H, W)
    """
    batch, height, width = masks.shape
    none = height * width
    numbers = torch.arange(none, dtype=torch.float64, device=masks.device).view(1, height, width)
    labels = torch.where(masks, numbers, none)
    while True:
        around = -functional.max_pool2d(-labels, kernel_size=3, stride=1, padding=1)
        smaller = torch.where(masks, torch.minimum(labels, around), none)
        if torch.equal(smaller, labels):
            break
        labels = smaller
    flat = labels.long().view(batch, -1)
    sizes = torch.zeros(batch, none + 1, dtype=torch.int64, device=masks.device)
    sizes.scatter_add_(1, flat, torch.ones_like(flat))
    sizes[:, none] = 0  # the places outside of the mask
    return masks & (labels.long() == sizes.argmax(dim=1).view(-1, 1, 1))
