"""A state dict of plain PyTorch, or arrays of any trainer, as an FP32 network of a topology given in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images, Timing, Weights, assemble, shapes
from quest_lab.imports.averages import fold_averages, with_maxima
from quest_lab.layers import Topology
from quest_lab.network import Network

Tensors = Mapping[str, NDArray[Any]]
SUFFIXES = (".pt", ".pth", ".safetensors", ".npz")
_WEIGHT, _BIAS, _MEAN, _VARIANCE = "weight", "bias", "running_mean", "running_var"
_NORM = (_WEIGHT, _BIAS, _MEAN, _VARIANCE, "num_batches_tracked")
_EPS = 1e-5  # of a batch norm: PyTorch's default, which a state dict does not keep


def from_state_dict(
    path: Path | str, network: str, images: Images, timing: Timing, *, names: Mapping[str, str] | None = None
) -> Network:
    """The FP32 network `network` (as in quest_lab.layers, with V for 2x2 averages) with the tensors of a file.

    `names`: for each layer (conv1, conv2, fc3, ..., head) what its tensors are called before `.weight` and `.bias`,
    with a batch norm after it `NAME+NORM`; default: the tensors of the file in their order, none left over (not of
    .safetensors, which keeps no order). Batch norms are folded into weights and biases. Raises BadInput: missing,
    foreign, a layer without tensors, tensors without a layer, wrong shapes.
    """
    source = Path(path)
    tensors = load_tensors(source)
    topology = Topology.parse(with_maxima(network), images.shape, len(images.class_names))
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
    topology, found = fold_averages(network, topology, found, str(source))
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
    except UnpicklingError:  # torch's own words advise to run what is in the file
        raise BadInput(
            f"{path}: not a readable {path.suffix} file, or more than tensors: want torch.save(net.state_dict(), FILE)"
        ) from None
    except Exception as error:  # each reader has its own
        raise BadInput(f"{path}: not a readable {path.suffix} file, or truncated ({error})") from error


def _in_order(tensors: Tensors, layers: list[str]) -> dict[str, str]:
    """Layer -> prefix, or prefix+norm, by the order of the weights in the file."""
    norms = _norms(tensors)
    found = [_prefix(key, _WEIGHT) for key, values in tensors.items() if _is_weight(key, values)]
    known = {_key(prefix, part) for prefix in found for part in (_WEIGHT, _BIAS)}
    known |= {_key(norm, part) for owned in norms.values() for norm in owned for part in _NORM}
    left = sorted(set(tensors) - known)
    if left:
        raise BadInput(
            f"{', '.join(left)}: no weights or biases of linear layers, convolutions or batch norms (parameters of "
            "neurons are said by --neuron and --theta); name the layers to leave them out: --map conv1=NAME, for "
            + ", ".join(layers)
        )
    if len(found) != len(layers):
        raise BadInput(
            f"{len(found)} weight tensors ({', '.join(found)}), but the network has {len(layers)} layers "
            f"({', '.join(layers)}); name them: --map conv1=NAME"
        )
    return {layer: "+".join((at, *norms.get(at, ()))) for layer, at in zip(layers, found, strict=True)}


def _norms(tensors: Tensors) -> dict[str, list[str]]:
    """Prefix of weights -> that of the batch norm which follows them in the file. Raises BadInput if several do."""
    owned: dict[str, list[str]] = {}
    last = None
    for key, values in tensors.items():
        if _is_weight(key, values):
            last = _prefix(key, _WEIGHT)
        elif key.rpartition(".")[2] == _MEAN:
            if last is None or last in owned:
                raise BadInput(
                    f"{key}: no weights right before this batch norm; say whose: --map conv1=NAME+NORM"
                )
            owned[last] = [_prefix(key, _MEAN)]
    return owned


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
    prefix, _, norm = prefix.partition("+")
    needed = [_key(prefix, _WEIGHT), *(_key(norm, part) for part in (_MEAN, _VARIANCE) if norm)]
    if missing := [key for key in needed if key not in tensors]:
        raise BadInput(f"{', '.join(missing)} missing (for {layer}); there are {', '.join(tensors)}")
    found = Weights(prefix, tensors[needed[0]], tensors.get(_key(prefix, _BIAS)))
    return _folded(found, tensors, norm) if norm else found


def _folded(layer: Weights, tensors: Tensors, norm: str) -> Weights:
    """A layer with the batch norm `norm` of its currents in it."""
    mean, variance = (np.asarray(tensors[_key(norm, part)], np.float64) for part in (_MEAN, _VARIANCE))
    if mean.shape != (len(layer.weight),) or variance.shape != mean.shape or not np.all(variance >= 0):
        raise BadInput(
            f"{norm}: mean {mean.shape} and variance {variance.shape}, want {len(layer.weight)} each"
        )
    gain = tensors.get(_key(norm, _WEIGHT), np.ones_like(mean)) / np.sqrt(variance + _EPS)
    bias = 0.0 if layer.bias is None else layer.bias
    offset = (bias - mean) * gain + tensors.get(_key(norm, _BIAS), 0.0)
    return Weights(layer.name, layer.weight * gain.reshape(-1, *[1] * (layer.weight.ndim - 1)), offset)


def _key(prefix: str, part: str) -> str:
    return f"{prefix}.{part}" if prefix else part


def _prefix(key: str, part: str) -> str:
    return key.removesuffix(part).removesuffix(".")
