"""The processes of a training run: one, or as many as `torchrun` started (data parallel, one device each).

Every process draws the same random numbers and takes its own part of each batch; gradients are averaged by
torch's DistributedDataParallel, counts are added up here. The first process alone writes files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from quest_lab.errors import BadInput


@dataclass(frozen=True, slots=True)
class Workers:
    """This process (`rank`) among `count`, and the device it computes on."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def own(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of a batch."""
        return batch[self.rank :: self.count]

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over all processes; counts are exact up to 2**53."""
        if self.count == 1:
            return values
        tensor = torch.from_numpy(values).to(self.device)
        dist.all_reduce(tensor)
        return tensor.cpu().numpy()


@contextmanager
def workers(device: str, batch_size: int) -> Iterator[Workers]:
    """Join the processes of `torchrun`, or work alone. `device`: auto (CUDA if there), cpu or cuda.

    Raises BadInput: no CUDA, or a batch that cannot be divided evenly.
    """
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if batch_size % count:
        raise BadInput(f"batch_size={batch_size}: cannot be divided evenly among {count} processes")
    chosen = _device(device)
    if count == 1:
        yield Workers(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Workers(rank, count, chosen)
    finally:
        dist.destroy_process_group()


def _device(name: str) -> torch.device:
    there = torch.cuda.is_available()
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    if not there:
        raise BadInput(f"device={name!r}: torch sees no CUDA device here")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    torch.backends.cudnn.allow_tf32 = False  # the encoder's spikes are FP32; --amp is for speed
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # sums of levels stay exact
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic cuBLAS asks for
    return device
