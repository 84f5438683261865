"""The paper's figures: Tables I to IV, VIII and IX, in percent (squared errors as they are)."""

from typing import NamedTuple


class Published(NamedTuple):
    """A row of the paper's tables on its two data sets; None: it has no such row."""

    nus_wide: float
    coco: float | None


H_F1 = {
    "true number (upper bound)": Published(82.05, 75.16),
    "MS-CNN + tags + quantity": Published(74.47, 71.32),
    "MS-CNN + quantity": Published(65.73, 66.46),
    "MS-CNN + tags": Published(64.05, 65.14),
    "MS-CNN": Published(58.92, 61.71),
    "CNN": Published(57.04, 59.58),
    "TagNeighbour": Published(59.05, None),
    "logistic": Published(51.44, 61.02),
    "softmax": Published(39.48, 59.51),
    "WARP": Published(41.32, 58.09),
    "CNN-RNN": Published(42.61, 63.89),
    "end to end": Published(75.13, 72.03),
    "average pooling": Published(57.93, 60.73),
    "max pooling": Published(58.04, 60.67),
    "stages from 2": Published(58.69, 61.43),
    "stages from 3": Published(58.33, 60.96),
    "stages from 4": Published(57.89, 60.74),
    "word vectors": Published(62.17, 63.17),
    "quantity as classes": Published(62.67, 64.28),
}
QUANTITY_ACCURACY = {"without tags": Published(45.92, 46.27), "with tags": Published(48.26, 47.96)}
QUANTITY_MSE = {"without tags": Published(0.673, 0.773), "with tags": Published(0.437, 0.564)}
