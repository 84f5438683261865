"""RACNN's differentiable crop: a square region of each image, enlarged to the image's size."""

import torch
from torch import Tensor

STEEPNESS = 10.0  # k of the logistic function, per pixel


def attention_crop(images: Tensor, regions: Tensor, steepness: float = STEEPNESS) -> Tensor:
    r"""Return the regions of the images, masked and enlarged.

    The mask is M(x, y) = V(x; t_x) V(y; t_y) with V(x; t) = h(x - (t - t_l)) - h(x - (t + t_l)) and h(x) = 1 / (1 +
    exp(-k x)): about 1 inside the region, 0 outside, so the gradient also knows what lies just beyond its borders. The
    masked image is resampled bilinearly at S places between the region's borders. Everything is differentiable in both
    arguments; the resampling is a product of matrices, which is deterministic on a GPU as well.

    Args:
        images: float, S x S pixels.
        regions: centre t_x, t_y and half side t_l of each region, in pixels from the image's first pixel.
        steepness: k.

    Shape:
        images: (B, C, S, S); regions: (B, 3); result: (B, C, S, S)

    Reference: Fu et al., "Look closer to see better" (CVPR 2017), eq. 4 to 7. The paper's gradient of the enlargement
    follows the mask only; here it is that of the resampling as well.
    """
    side = images.shape[-1]
    places = torch.arange(side, dtype=images.dtype, device=images.device)
    centre_x, centre_y, half = regions.to(images.dtype).unbind(dim=1)
    masked = images * _window(places, centre_y, half, steepness)[:, None, :, None]
    masked = masked * _window(places, centre_x, half, steepness)[:, None, None, :]
    rows, columns = _resampling(places, centre_y, half), _resampling(places, centre_x, half)
    return rows[:, None] @ masked @ columns.transpose(1, 2)[:, None]


def _window(places: Tensor, centre: Tensor, half: Tensor, steepness: float) -> Tensor:
    """Return V at each place: (B, S)."""
    from_start = places[None, :] - (centre - half)[:, None]
    from_end = places[None, :] - (centre + half)[:, None]
    return torch.sigmoid(steepness * from_start) - torch.sigmoid(steepness * from_end)


def _resampling(places: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    """Return the weight of each pixel in each pixel of the result, by linear interpolation: (B, S, S)."""
    side = len(places)
    shares = 2 * places / (side - 1) - 1  # from -1 to 1 over the region
    wanted = (centre[:, None] + half[:, None] * shares).clamp(0, side - 1)
    return (1 - (wanted[:, :, None] - places).abs()).clamp(min=0)
