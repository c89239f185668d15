"""How tensors (..., c, h, w) lie in memory on the CPU: the channels of a place together ("channels last")."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

KERNEL_DEVICE = "cpu"  # where numba's kernels run
_PLACES = 4  # dimensions from which on a tensor has places


def on_kernels(tensor: Tensor) -> bool:
    """Whether numba's kernels take this tensor."""
    return tensor.device.type == KERNEL_DEVICE and tensor.dtype == torch.float32


def rows(tensor: Tensor, *shape: int) -> NDArray[Any]:
    """The memory of `tensor`, channels last, as an array of `shape`; copies only what lies otherwise."""
    x = tensor.detach()
    return (x.movedim(-3, -1) if x.ndim >= _PLACES else x).contiguous().numpy().reshape(shape)


def empty_rows(like: Tensor) -> Tensor:
    """An empty tensor of that shape, channels last."""
    if like.ndim < _PLACES:
        return like.new_empty(like.shape)
    return like.new_empty((*like.shape[:-3], *like.shape[-2:], like.shape[-3])).movedim(-1, -3)
