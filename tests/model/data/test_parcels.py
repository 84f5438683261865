import pickle
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.data._utils.pin_memory import pin_memory

from model.data.parcels import ALIGNMENT, Parcel


class Several(NamedTuple):
    images: Tensor
    labels: Tensor
    clicks: Tensor | None


def sent(content: object) -> object:
    """Send an object as torch's loader does: the parcel itself is pickled, in another thread."""
    with ThreadPoolExecutor(1) as sender:
        return pickle.loads(sender.submit(ForkingPickler.dumps, Parcel(content)).result()).content()


TENSORS = {
    "bytes": torch.arange(7, dtype=torch.uint8),
    "number": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.empty(0, 3),
    "bfloat16": torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "channels last": torch.arange(48.0).reshape(2, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    "transposed": torch.arange(6, dtype=torch.int64).reshape(2, 3).T,
    "column": torch.arange(12.0).reshape(3, 4)[:, 1],
    "repeated": torch.arange(3.0)[:, None].expand(3, 5),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_a_tensor_arrives_as_it_was(tensor: Tensor) -> None:
    found = sent(tensor)
    assert torch.equal(found, tensor)
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert found.stride() == tensor.clone().stride()  # dense tensors keep their memory format


def test_all_tensors_of_an_object_arrive_aligned_and_can_be_changed() -> None:
    content = ({"source": Several(torch.ones(3, 5, dtype=torch.uint8), torch.arange(3), None)}, [4, 2], "text")
    domains, rows, text = sent(content)
    assert (rows, text, domains["source"].clicks) == ([4, 2], "text", None)
    images, labels = domains["source"].images, domains["source"].labels
    assert images.eq(1).all()
    assert labels.tolist() == [0, 1, 2]
    assert labels.storage_offset() * labels.element_size() % ALIGNMENT == 0
    images += 1
    labels -= 5
    assert images.eq(2).all()
    assert labels.tolist() == [-5, -4, -3]


def test_a_slice_of_a_large_tensor_is_sent_alone() -> None:
    found = sent(torch.zeros(1 << 20)[5:9])
    assert found.untyped_storage().nbytes() < 1 << 10


def test_what_cannot_be_pickled_is_an_error_of_the_sender() -> None:
    with pytest.raises(Exception, match="pickle"):
        Parcel((torch.ones(3), lambda: None))


def test_pinned_content_arrives_as_well(monkeypatch) -> None:
    empty = torch.empty

    def pageable(*size: int, pin_memory: bool = False, **options: object) -> Tensor:  # pinning needs a GPU
        pinned.append(pin_memory)
        return empty(*size, **options)

    pinned: list[bool] = []
    parcel = Parcel([torch.arange(5), "text"])
    monkeypatch.setattr(torch, "empty", pageable)
    numbers, text = pin_memory(parcel).content()
    assert numbers.tolist() == [0, 1, 2, 3, 4]
    assert text == "text"
    assert pinned[0]
