"""The weights file: attributes and plain arrays in HDF5, nothing that runs when it is read.

attributes   format = "quest-lab-network", version = 2, bits (32: FP32), time_steps, theta, network (spelled out),
             neuron (quest_lab.neurons), encoding (quest_lab.encodings), dataset, classes (names), seed; membrane_bits
             if they are not those of the weights
encoder_weight (c, channels, kh, kw) or linear (c, pixels, 1, 1), encoder_bias (c,), head_weight (classes, features),
head_bias (classes,), mean, std (channels,)   float32
input_shape  int64 (3,): channels, height, width
levels/conv2 ...   int8 (c_out, c_in, kh, kw), attribute alpha (float64), and neuron if it is not the
             network's; conv1 is the encoder; in an FP32 network weights/conv2 ... float32 instead, without alpha
norm/conv2 ...     float64 (2, c_out), only with batch norm: gain (above 0) and offset of the summed currents
bias/conv2 ...     int32 (c_out,) in levels, only of networks from elsewhere: what neurons add at every step; in an FP32
             network float32
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.encodings import check_encoding
from quest_lab.errors import BadInput
from quest_lab.layers import FP32, LayerInfo, Topology, top_level
from quest_lab.neurons import LEAK_PARTS, MEMBRANE_BITS, Neuron

if TYPE_CHECKING:
    from quest_lab.network import Network

FORMAT = "quest-lab-network"
VERSION = 2
_ARRAYS = ("encoder_weight", "encoder_bias", "head_weight", "head_bias", "mean", "std")
_SETTINGS = ("bits", "time_steps", "theta", "encoding", "dataset", "seed")
_ATTRS = (*_SETTINGS, "network", "neuron", "classes")


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """Weights, alpha (1 in an FP32 network), batch norm, bias and neuron, as quest_lab.network.Layer has them."""

    weights: NDArray[Any]
    alpha: float
    norm: NDArray[np.float64] | None
    bias: NDArray[Any] | None
    neuron: Neuron | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the file says beside its FP32 arrays."""

    topology: Topology
    layers: list[StoredLayer]
    settings: dict[str, Any]


def save_network(network: Network, path: Path, *, overwrite: bool) -> None:
    """Write `network` to `path`.part and rename. Raises BadInput if `path` exists and not `overwrite`."""
    if path.exists() and not overwrite:
        raise BadInput(f"{path}: exists already (overwrite it with --overwrite)")
    if network.bits != FP32 and any(layer.weights.dtype != np.int8 for layer in network.layers):
        raise BadInput("network: weights are an analogue read-back, not levels")
    part = path.with_name(path.name + ".part")
    with h5py.File(part, "w") as file:
        file.attrs.update({"format": FORMAT, "version": VERSION, "neuron": str(network.neuron)})
        for name in _SETTINGS:
            file.attrs[name] = getattr(network, name)
        file.attrs["network"] = network.topology.text
        file.attrs["classes"] = list(network.class_names)
        file["input_shape"] = np.array(network.topology.input_shape, np.int64)
        for name in _ARRAYS:
            file[name] = getattr(network, name)
        if network.membrane_bits is not None:
            file.attrs["membrane_bits"] = network.membrane_bits
        for layer in network.layers:
            key = _weights_key(layer.info, network.bits)
            file[key] = layer.weights
            if network.bits != FP32:
                file[key].attrs["alpha"] = layer.alpha
            if layer.neuron is not None:
                file[key].attrs["neuron"] = str(layer.neuron)
            if layer.norm is not None:
                file[f"norm/{layer.info.name}"] = layer.norm
            if layer.bias is not None:
                file[f"bias/{layer.info.name}"] = layer.bias
    part.replace(path)


def _weights_key(info: LayerInfo, bits: int) -> str:
    return f"{'weights' if bits == FP32 else 'levels'}/{info.name}"


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
    missing = [k for k in (*_ARRAYS, "input_shape") if k not in file]
    missing += [k for k in _ATTRS if k not in file.attrs]
    if missing:
        raise BadInput(f"{path}: {', '.join(missing)} missing: not a whole network")


def _stored(path: Path, file: Any) -> Stored:
    attrs = file.attrs
    classes = tuple(str(name) for name in attrs["classes"])
    channels, height, width = (int(n) for n in file["input_shape"][()])
    topology = Topology.parse(str(attrs["network"]), (channels, height, width), len(classes))
    settings: dict[str, Any] = {n: int(attrs[n]) for n in ("bits", "time_steps", "seed")}
    settings |= {"theta": float(attrs["theta"]), "class_names": classes}
    settings |= {n: str(attrs[n]) for n in ("encoding", "dataset")}
    settings["membrane_bits"] = _membrane_bits(path, attrs)
    try:
        settings["neuron"] = _neuron(str(attrs["neuron"]), settings["bits"])
        check_encoding(settings["encoding"])
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    layers = [_layer(path, file, info, settings["bits"]) for info in topology.layers()]
    return Stored(topology, layers, settings)


def _layer(path: Path, file: Any, info: LayerInfo, bits: int) -> StoredLayer:
    key = _weights_key(info, bits)
    if key not in file or (bits != FP32 and "alpha" not in file[key].attrs):
        raise BadInput(f"{path}: {key} or its alpha missing")
    values, alpha = file[key][()], float(file[key].attrs.get("alpha", 1.0))
    if values.shape != info.shape:
        raise BadInput(f"{path}: {key} has shape {values.shape}, want {info.shape}")
    _check_weights(f"{path}: {key}", values, bits)
    if not (np.isfinite(alpha) and alpha > 0):
        raise BadInput(f"{path}: {key}: alpha={alpha}, must be above 0")
    bias, neuron = _bias(path, file, info, bits), file[key].attrs.get("neuron")
    try:
        own = None if neuron is None else _neuron(str(neuron), bits)
    except BadInput as error:
        raise BadInput(f"{path}: {key}: {error}") from None
    return StoredLayer(values, alpha, _norm(path, file, info), bias, own)


def _neuron(text: str, bits: int) -> Neuron:
    neuron = Neuron.parse(text)
    if bits != FP32 and neuron != neuron.in_levels():
        raise BadInput(f"neuron={text!r}: in levels leaks are multiples of 1/{LEAK_PARTS}")
    return neuron


def _membrane_bits(path: Path, attrs: Any) -> int | None:
    if "membrane_bits" not in attrs:
        return None
    bits = int(attrs["membrane_bits"])
    if not 2 <= bits <= MEMBRANE_BITS:
        raise BadInput(f"{path}: membrane_bits={bits}: want 2 to {MEMBRANE_BITS}")
    return bits


def _check_weights(what: str, values: NDArray[Any], bits: int) -> None:
    if bits == FP32:
        if values.dtype != np.float32 or not np.all(np.isfinite(values)):
            raise BadInput(f"{what}: want finite float32 weights (FP32)")
        return
    top = top_level(bits)
    if values.dtype != np.int8 or values.min() < -top or values.max() > top:
        raise BadInput(f"{what}: want int8 levels in {-top}..{top} ({bits} bits)")


def _norm(path: Path, file: Any, info: LayerInfo) -> NDArray[np.float64] | None:
    key = f"norm/{info.name}"
    if key not in file:
        return None
    norm: NDArray[np.float64] = file[key][()]
    sound = norm.dtype == np.float64 and norm.shape == (2, info.shape[0]) and np.all(np.isfinite(norm))
    if not sound or norm[0].min() <= 0:
        raise BadInput(f"{path}: {key}: want finite float64(2, {info.shape[0]}) with gains above 0")
    return norm


def _bias(path: Path, file: Any, info: LayerInfo, bits: int) -> NDArray[Any] | None:
    key, want = f"bias/{info.name}", np.dtype(np.float32 if bits == FP32 else np.int32)
    if key not in file:
        return None
    bias: NDArray[Any] = file[key][()]
    if bias.dtype != want or bias.shape != info.shape[:1] or not np.all(np.isfinite(bias)):
        raise BadInput(f"{path}: {key} is {bias.dtype}{bias.shape}, want finite {want}{info.shape[:1]}")
    return bias


def _check_arrays(path: Path, topology: Topology, arrays: dict[str, NDArray[np.float32]]) -> None:
    channels, classes = topology.input_shape[0], topology.classes
    want: dict[str, tuple[int, ...]] = {
        "encoder_weight": topology.encoder_shape,
        "encoder_bias": topology.encoder_shape[:1],
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
