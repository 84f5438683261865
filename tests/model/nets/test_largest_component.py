import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from model.nets.largest_component import largest_component


def by_scipy(mask: np.ndarray) -> np.ndarray:
    labels, number = ndimage.label(mask, structure=np.ones((3, 3)))
    if not number:
        return np.zeros_like(mask)
    sizes = np.bincount(labels.ravel())[1:]
    return labels == 1 + int(sizes.argmax())  # scipy numbers components by their first place in row order


@given(masks=arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))))
def test_it_is_scipys_largest_connected_component(masks: np.ndarray) -> None:
    found = largest_component(torch.from_numpy(masks)).numpy()
    assert np.array_equal(found, np.stack([by_scipy(mask) for mask in masks]))


def test_a_long_winding_component_is_found_whole() -> None:
    mask = torch.zeros(1, 9, 9, dtype=torch.bool)
    mask[0, ::2] = True
    for row in range(1, 9, 2):
        mask[0, row, 8 if row % 4 == 1 else 0] = True
    assert torch.equal(largest_component(mask), mask)
