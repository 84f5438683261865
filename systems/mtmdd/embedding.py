"""The word embedding: from the ConvNet's last map omega to the predicted click feature v^."""

import torch
from torch import Tensor, nn

from base.console import UserError
from model.losses.count import l2_normalise
from systems.mtmdd.config import EmbeddingParams

POOL = 3  # side and stride of E1's pooling, as in the released model definition


class WordEmbedding(nn.Module):
    """The word embedding, which predicts the click feature from omega.

    - FC (linear): v^ = E omega
    - biFC: v^ = E3 f(E2 omega)
    - CONV+FC: v^ = E E1(omega)
    - CONV+biFC: v^ = E3 f(E2 E1(omega))

    E1 is a convolution ('same' padding), maximum pooling 3 x 3 with stride 3 and ReLU; f is ReLU, followed by dropout.
    With `rank` r, E3 = U W is a product of two matrices, W (r, hidden) and U (K, r), which the paper doesn't have.

    A map smaller than 3 x 3 is pooled whole. In a larger map incomplete windows are left out, unless `ceil_pooling`.

    Args:
        params: one of the four kinds, and its sizes.
        map_shape: omega's (C, H, W).
        num_words: K.

    Shape:
        input: (B, C, H, W); output: (B, K)

    Raises:
        UserError: E1's kernels are larger than omega with its padding.

    Reference: section III-C, eq. 3 (linear) and eq. 8; Table III. The released definition has 5 x 5 kernels with
    padding 1, pools incomplete windows too, and has ReLU before pooling; both orders give the same result.
    """

    def __init__(self, params: EmbeddingParams, map_shape: tuple[int, int, int], num_words: int) -> None:
        super().__init__()
        self.params = params
        channels, height, width = map_shape
        layers: list[nn.Module] = []
        if params.has_convolution:
            assert params.kernels is not None
            assert params.kernel_size is not None
            kernel_size, ceil = params.kernel_size, bool(params.ceil_pooling)
            padding = kernel_size // 2 if params.padding is None else params.padding
            sides = [side + 2 * padding - kernel_size + 1 for side in (height, width)]
            if min(sides) < 1:
                raise UserError(
                    f"network.embedding.kernel_size = {kernel_size} with padding = {padding} does not fit omega, which"
                    f" is {height} x {width}; set smaller kernels or more padding"
                )
            pool = (min(POOL, sides[0]), min(POOL, sides[1]))
            layers += [
                nn.Conv2d(channels, params.kernels, kernel_size, padding=padding),
                nn.MaxPool2d(pool, ceil_mode=ceil),
                nn.ReLU(inplace=True),
            ]
            channels = params.kernels
            height, width = ((n + p - 1) // p if ceil else n // p for n, p in zip(sides, pool, strict=True))
        layers.append(nn.Flatten())
        inputs = channels * height * width
        if params.has_hidden:
            assert params.hidden is not None
            assert params.dropout is not None
            layers += [nn.Linear(inputs, params.hidden), nn.ReLU(inplace=True), nn.Dropout(params.dropout)]
            inputs = params.hidden
            if params.rank is not None:
                layers.append(nn.Linear(inputs, params.rank, bias=False))
                inputs = params.rank
        layers.append(nn.Linear(inputs, num_words))
        self.layers = nn.Sequential(*layers)

    @torch.no_grad()
    def start_with(self, clicks: Tensor) -> None:
        """Start the last matrix (U of a low-rank E3) with the main directions of click features, at its own norm.

        The columns of U become the first r right singular vectors of N'(v): v^ starts as a combination of the word
        groups that vary most. They are scaled to the Frobenius norm of the random start; each has its largest
        component positive. If there are fewer than r directions, the other columns are zero.

        Args:
            clicks: v of the training images, (n, K).
        """
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        _, sizes, directions = torch.linalg.svd(l2_normalise(clicks.double()), full_matrices=False)
        directions = directions[sizes > 1e-9][: last.in_features]
        if not len(directions):
            return  # no training image has a click
        largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        columns = torch.zeros(last.weight.shape, dtype=torch.double)
        columns[:, : len(directions)] = (directions * largest.sign()).T
        last.weight.copy_(columns * (last.weight.double().norm() / columns.norm()))

    def forward(self, omega: Tensor) -> Tensor:
        """Return v^ in the precision of the weights, whatever the precision of the layers before.

        The position function changes within B = 0.01 standard deviations of v^. In bfloat16 that is about the distance
        between two numbers near 1, and in half precision many words' gradients are so small that they become zero.
        """
        *before, last = self.layers
        for layer in before:
            omega = layer(omega)
        with torch.autocast(omega.device.type, enabled=False):
            return last(omega.to(next(last.parameters()).dtype))
