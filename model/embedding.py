"""The word embedding: from the ConvNet's last map omega to the predicted click feature v^."""

from torch import Tensor, nn

from model.config import EmbeddingParams

POOL = 3  # side and stride of E1's pooling, as in the released model definition


class WordEmbedding(nn.Module):
    """Predicts the click feature from omega.

    - FC (linear): v^ = E omega
    - biFC: v^ = E3 f(E2 omega)
    - CONV+FC: v^ = E E1(omega)
    - CONV+biFC: v^ = E3 f(E2 E1(omega))

    E1 is a convolution ('same' padding), maximum pooling 3 x 3 with stride 3 and ReLU; f is ReLU, followed by dropout.
    Maps smaller than 3 x 3 are pooled whole.

    Args:
        params: which of the four, and its sizes.
        map_shape: omega's (C, H, W).
        num_words: K.

    Shape:
        input: (B, C, H, W); output: (B, K)

    Reference: section III-C, eq. 3 (linear) and eq. 8; Table III. The released definition convolves 5 x 5 with padding
    1 and writes pooling after ReLU, which is the same in the other order.
    """

    def __init__(self, params: EmbeddingParams, map_shape: tuple[int, int, int], num_words: int) -> None:
        super().__init__()
        channels, height, width = map_shape
        layers: list[nn.Module] = []
        if params.has_convolution:
            assert params.kernels is not None
            assert params.kernel_size is not None
            pool = (min(POOL, height), min(POOL, width))
            layers += [
                nn.Conv2d(channels, params.kernels, params.kernel_size, padding=params.kernel_size // 2),
                nn.MaxPool2d(pool),
                nn.ReLU(inplace=True),
            ]
            channels, height, width = params.kernels, height // pool[0], width // pool[1]
        layers.append(nn.Flatten())
        inputs = channels * height * width
        if params.has_hidden:
            assert params.hidden is not None
            assert params.dropout is not None
            layers += [nn.Linear(inputs, params.hidden), nn.ReLU(inplace=True), nn.Dropout(params.dropout)]
            inputs = params.hidden
        layers.append(nn.Linear(inputs, num_words))
        self.layers = nn.Sequential(*layers)

    def forward(self, omega: Tensor) -> Tensor:
        """Return v^."""
        return self.layers(omega)
