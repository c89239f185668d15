"""Going on with the schedule that a killed or stopped trainer left behind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import Levels

_BLOCK = 1 << 20


def reopen(path: Path, part: Path) -> Any:
    """The schedule left at `part`, or at `path` if its writer was stopped; open for writing, at `part`.

    Raises BadInput: neither is there, complete already, not readable.
    """
    left = part if part.exists() else path
    try:
        with h5py.File(left, "r") as file:
            status = file.attrs.get("status")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file, nor {part.name}: the schedule to go on with is gone") from None
    except OSError as error:
        raise BadInput(f"{left}: not a readable HDF5 file, or truncated ({error})") from error
    if status == "complete":
        raise BadInput(f"{left}: status='complete': nothing is left to resume")
    if left != part:
        left.replace(part)
    return h5py.File(part, "r+")


def check_left(path: Path, file: Any, header: Mapping[str, Any], layers: NDArray[Any], steps: int) -> int:
    """Number of writes in the first `steps` steps. Raises BadInput if these are not this training's."""
    for key, value in header.items():
        found = file.attrs.get(key)
        if found != value:
            raise BadInput(f"{path}: {key}={found}, the checkpoint has {value}")
    if not np.array_equal(file["layers"][()], layers):
        raise BadInput(f"{path}: its layers are not those of the checkpoint's network")
    ends = file["steps/write_end"][:steps]
    writes = int(ends[-1]) if ends.size else 0
    if ends.size < steps or any(column.shape[0] < writes for column in file["writes"].values()):
        raise BadInput(f"{path}: holds {ends.size} steps, the checkpoint was made after {steps}")
    return writes


def levels_after(file: Any, writes: int) -> Levels:
    """Levels (weights,) of an open schedule after its first `writes` writes."""
    levels: Levels = file["initial_levels"][()]
    for start in range(0, writes, _BLOCK):
        own = slice(start, min(writes, start + _BLOCK))
        weight, last = np.unique(file["writes/weight"][own][::-1], return_index=True)
        levels[weight] = file["writes/new"][own][::-1][last]
    return levels
