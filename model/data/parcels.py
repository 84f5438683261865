"""Parcels: objects with tensors on their way from one process of this machine to another.

torch's own way is a file in /dev/shm for each tensor, written by a thread. Where /dev/shm is small (64 MB in Docker's
containers), that thread prints an error, drops the object and goes on, so its receiver waits for ever. A parcel's bytes
are in memory that belongs to no file system (``memfd_create``), and an error is raised where the parcel is made.
"""

import io
import mmap
import os
import pickle
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple

import torch
from torch import Tensor

ALIGNMENT = 64  # bytes: each tensor begins at a multiple of it


class _Place(NamedTuple):
    """The place of a tensor in a parcel."""

    start: int  # bytes
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Parcel:
    """A packed object; its process must live until the object was taken out.

    Args:
        content: picklable; its tensors are on the CPU and need no gradient.

    Raises:
        OSError: there is no memory, or too many files are open.
    """

    def __init__(self, content: Any) -> None:
        with os.fdopen(os.memfd_create("parcel"), "wb") as file:
            pickler = _Pickler(file)
            pickler.dump(content)
            self._pickled = file.write(pickler.pickled.getbuffer())
            self._length = file.tell()
            file.flush()
            self._file = DupFd(file.fileno())

    def content(self) -> Any:
        """Return the object; to be called once. Its tensors lie in the parcel's memory, without a copy."""
        with os.fdopen(self._file.detach(), "rb") as file:
            return self._content(torch.frombuffer(mmap.mmap(file.fileno(), self._length), dtype=torch.uint8))

    def pin_memory(self) -> "Pinned":
        """Return the parcel with its content in pinned memory; torch's loader calls this in a thread."""
        memory = torch.empty(self._length, dtype=torch.uint8, pin_memory=True)
        with os.fdopen(self._file.detach(), "rb") as file:
            file.seek(0)  # both processes share one position, which is the end
            file.readinto(memory.numpy().data)
        return Pinned(self._content(memory))

    def _content(self, memory: Tensor) -> Any:
        """Return the object; its tensors lie in ``memory``."""
        unpickler = _Unpickler(io.BytesIO(memory.numpy()[self._length - self._pickled :].tobytes()))
        unpickler.memory = memory
        return unpickler.load()


class Pinned(NamedTuple):
    """What is left of a parcel whose content was taken out into pinned memory."""

    kept: Any

    def content(self) -> Any:
        """Return the object."""
        return self.kept


class _Pickler(pickle.Pickler):
    """Pickles an object, but writes its tensors to a file; their places are pickled instead."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.pickled = io.BytesIO()
        super().__init__(self.pickled, protocol=pickle.HIGHEST_PROTOCOL)
        self._file = file

    def persistent_id(self, value: Any) -> _Place | None:
        """Return the place of a tensor, for which pickle asks; None for any other object."""
        if not isinstance(value, Tensor):
            return None
        dense = value.clone()  # with the same strides, unless elements are shared or left out
        start = self._file.tell()
        self._file.write(torch.empty(0, dtype=torch.uint8).set_(dense.untyped_storage()).numpy().data)
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        return _Place(start, dense.dtype, tuple(dense.shape), dense.stride())


class _Unpickler(pickle.Unpickler):
    """Unpickles an object whose tensors lie in ``memory``."""

    memory: Tensor

    def persistent_load(self, place: _Place) -> Tensor:
        """Return the tensor at a place."""
        start, dtype, shape, stride = place
        tensor = torch.empty(0, dtype=dtype)
        return tensor.set_(self.memory.untyped_storage(), start // dtype.itemsize, shape, stride)
