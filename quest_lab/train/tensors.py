"""A PyTorch state dict from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from quest_lab.errors import BadInput


def load_file(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name as arrays, in the file's order. Raises BadInput if anything else is there."""
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        keys = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise BadInput(f"{path}: holds {keys}, want tensors by name: torch.save(net.state_dict(), ...)")
    wide = {name: value.float() if value.is_floating_point() else value for name, value in found.items()}
    return {str(name): value.detach().numpy() for name, value in wide.items()}
