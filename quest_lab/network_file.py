"""The weights file: attributes and plain arrays in HDF5, nothing that runs when it is read.

attributes   format = "quest-lab-network", version, bits, time_steps, theta, network (text),
             dataset, classes (names), seed, neuron = "IF, hard reset, leak 1"
encoder_weight (c, channels, 3, 3), encoder_bias (c,), head_weight (classes, features),
head_bias (classes,), mean, std (channels,)   float32
input_shape  int64 (3,): channels, height, width
levels/conv1 ...   int8 (c_out, c_in, kh, kw), attribute alpha (float64); conv1 is the encoder
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import KERNEL, Levels, Topology, top_level

if TYPE_CHECKING:
    from quest_lab.network import Network

FORMAT = "quest-lab-network"
VERSION = 1
NEURON = "IF, hard reset, leak 1"
_ARRAYS = ("encoder_weight", "encoder_bias", "head_weight", "head_bias", "mean", "std")
_ATTRS = ("bits", "time_steps", "theta", "network", "dataset", "classes", "seed", "neuron")


@dataclass(frozen=True, slots=True)
class Stored:
    """What the file says beside its FP32 arrays."""

    topology: Topology
    levels: list[Levels]
    alphas: list[float]
    settings: dict[str, Any]


def save_network(network: Network, path: Path, *, overwrite: bool) -> None:
    """Write `network` to `path`.part and rename. Raises BadInput if `path` exists and not `overwrite`."""
    if path.exists() and not overwrite:
        raise BadInput(f"{path}: exists already (overwrite it with --overwrite)")
    levels = network.levels
    part = path.with_name(path.name + ".part")
    with h5py.File(part, "w") as file:
        file.attrs.update({"format": FORMAT, "version": VERSION, "neuron": NEURON})
        for name in ("bits", "time_steps", "theta", "dataset", "seed"):
            file.attrs[name] = getattr(network, name)
        file.attrs["network"] = network.topology.text
        file.attrs["classes"] = list(network.class_names)
        file["input_shape"] = np.array(network.topology.input_shape, np.int64)
        for name in _ARRAYS:
            file[name] = getattr(network, name)
        for layer in network.layers:
            file[f"levels/{layer.info.name}"] = levels[layer.info.weights_slice].reshape(layer.info.shape)
            file[f"levels/{layer.info.name}"].attrs["alpha"] = layer.alpha
    part.replace(path)


def load_network(path: Path) -> tuple[Stored, dict[str, Any]]:
    """Read and check `path`. Raises BadInput: missing, truncated, foreign, another version, wrong shapes."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file (want a weights.h5 made by quest-lab train)")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BadInput(f"{path}: not a readable HDF5 file, or truncated ({error})") from error
    with file:
        _check_form(path, file)
        stored = _stored(path, file)
        arrays = {name: file[name][()] for name in _ARRAYS}
    _check_arrays(path, stored.topology, arrays)
    return stored, arrays


def _check_form(path: Path, file: Any) -> None:
    found = file.attrs.get("format")
    if found != FORMAT:
        raise BadInput(f"{path}: format={found!r}, want {FORMAT!r}: not a weights file")
    if file.attrs.get("version") != VERSION:
        raise BadInput(f"{path}: version={file.attrs.get('version')}, this quest-lab reads version {VERSION}")
    missing = [k for k in (*_ARRAYS, "input_shape", "levels") if k not in file]
    missing += [k for k in _ATTRS if k not in file.attrs]
    if missing:
        raise BadInput(f"{path}: {', '.join(missing)} missing: not a whole network")
    if file.attrs["neuron"] != NEURON:
        raise BadInput(f"{path}: neuron={file.attrs['neuron']!r}, this quest-lab computes {NEURON!r}")


def _stored(path: Path, file: Any) -> Stored:
    attrs = file.attrs
    classes = tuple(str(name) for name in attrs["classes"])
    channels, height, width = (int(n) for n in file["input_shape"][()])
    topology = Topology.parse(str(attrs["network"]), (channels, height, width), len(classes))
    settings: dict[str, Any] = {n: int(attrs[n]) for n in ("bits", "time_steps", "seed")}
    settings |= {"theta": float(attrs["theta"]), "dataset": str(attrs["dataset"]), "class_names": classes}
    levels, alphas = [], []
    for info in topology.layers():
        values, alpha = _layer(path, file, info.name, settings["bits"])
        if values.shape != info.shape:
            raise BadInput(f"{path}: levels/{info.name} has shape {values.shape}, want {info.shape}")
        levels.append(values)
        alphas.append(alpha)
    return Stored(topology, levels, alphas, settings)


def _layer(path: Path, file: Any, name: str, bits: int) -> tuple[Levels, float]:
    key, top = f"levels/{name}", top_level(bits)
    if key not in file or "alpha" not in file[key].attrs:
        raise BadInput(f"{path}: {key} or its alpha missing")
    values, alpha = file[key][()], float(file[key].attrs["alpha"])
    if values.dtype != np.int8 or values.min() < -top or values.max() > top:
        raise BadInput(f"{path}: {key}: want int8 levels in {-top}..{top} ({bits} bits)")
    if not (np.isfinite(alpha) and alpha > 0):
        raise BadInput(f"{path}: {key}: alpha={alpha}, must be above 0")
    return values, alpha


def _check_arrays(path: Path, topology: Topology, arrays: dict[str, NDArray[np.float32]]) -> None:
    channels, classes = topology.input_shape[0], topology.classes
    first = topology.blocks[0].channels
    want: dict[str, tuple[int, ...]] = {
        "encoder_weight": (first, channels, KERNEL, KERNEL),
        "encoder_bias": (first,),
        "head_weight": (classes, topology.features),
        "head_bias": (classes,),
        "mean": (channels,),
        "std": (channels,),
    }
    for name, shape in want.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float32:
            found = f"{arrays[name].dtype}{arrays[name].shape}"
            raise BadInput(f"{path}: {name} is {found}, want float32{shape}")
        if not np.all(np.isfinite(arrays[name])):
            raise BadInput(f"{path}: {name}: not all values are finite")
