"""A state dict of plain PyTorch, or arrays of any trainer, as an FP32 network of a topology given in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images, Timing, Weights, assemble, shapes
from quest_lab.layers import Topology
from quest_lab.network import Network

Tensors = Mapping[str, NDArray[Any]]
SUFFIXES = (".pt", ".pth", ".safetensors", ".npz")
_WEIGHT, _BIAS = "weight", "bias"


def from_state_dict(
    path: Path | str, network: str, images: Images, timing: Timing, *, names: Mapping[str, str] | None = None
) -> Network:
    """The FP32 network `network` (as in quest_lab.layers) with the tensors of a file.

    `names`: for each layer (conv1, conv2, fc3, ..., head) what its tensors are called before `.weight` and `.bias`;
    default: the tensors of the file in their order, none left over (not of .safetensors, which keeps no order).
    Raises BadInput: missing, foreign, a layer without tensors, tensors without a layer, wrong shapes, a bias after
    the encoder.
    """
    source = Path(path)
    tensors = load_tensors(source)
    topology = Topology.parse(network, images.shape, len(images.class_names))
    layers = list(shapes(topology))
    try:
        if names is None and source.suffix == ".safetensors":
            raise BadInput(
                f"this format keeps no order; name the layers: --map conv1=NAME, for {', '.join(layers)}"
            )
        prefixes = _in_order(tensors, layers) if names is None else _named(names, layers)
        found = [_weights(tensors, prefix, layer) for layer, prefix in prefixes.items()]
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None
    return assemble(topology, found, timing, images, source=str(source))


def load_tensors(path: Path) -> Tensors:
    """Tensors by name: `.pt`/`.pth` (nothing but tensors is unpickled), `.safetensors` or `.npz`. Raises BadInput."""
    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path}: want a file of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        from quest_lab.train.tensors import load_file as load_torch

        return load_torch(path)
    except ImportError as error:
        extra = "import" if path.suffix == ".safetensors" else "train"
        raise BadInput(f"{path}: needs {error.name}: pip install 'quest-lab[{extra}]'") from None
    except BadInput:
        raise
    except Exception as error:  # each reader has its own
        raise BadInput(f"{path}: not a readable {path.suffix} file, or truncated ({error})") from error


def _in_order(tensors: Tensors, layers: list[str]) -> dict[str, str]:
    """Layer -> prefix, by the order of the weights in the file."""
    found = [_prefix(key, _WEIGHT) for key, values in tensors.items() if _is_weight(key, values)]
    known = {_key(prefix, part) for prefix in found for part in (_WEIGHT, _BIAS)}
    left = sorted(set(tensors) - known)
    if left:
        raise BadInput(
            f"{', '.join(left)}: no weights or biases of linear layers and convolutions (fold a batch norm before); "
            "name the layers to leave them out: --map conv1=NAME, for " + ", ".join(layers)
        )
    if len(found) != len(layers):
        raise BadInput(
            f"{len(found)} weight tensors ({', '.join(found)}), but the network has {len(layers)} layers "
            f"({', '.join(layers)}); name them: --map conv1=NAME"
        )
    return dict(zip(layers, found, strict=True))


def _is_weight(key: str, values: NDArray[Any]) -> bool:
    return key.rpartition(".")[2] == _WEIGHT and values.ndim in (2, 4)


def _named(names: Mapping[str, str], layers: list[str]) -> dict[str, str]:
    wrong = sorted(set(names) ^ set(layers))
    if wrong:
        raise BadInput(
            f"names given for {', '.join(names)}; want {', '.join(layers)} (wrong: {', '.join(wrong)})"
        )
    return {layer: names[layer] for layer in layers}


def _weights(tensors: Tensors, prefix: str, layer: str) -> Weights:
    key = _key(prefix, _WEIGHT)
    if key not in tensors:
        raise BadInput(f"{key} missing (for {layer}); there are {', '.join(tensors)}")
    return Weights(prefix, tensors[key], tensors.get(_key(prefix, _BIAS)))


def _key(prefix: str, part: str) -> str:
    return f"{prefix}.{part}" if prefix else part


def _prefix(key: str, part: str) -> str:
    return key.removesuffix(part).removesuffix(".")
