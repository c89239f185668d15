"""Weights of an FP32 network rounded to the levels of cells: MINT's symmetric levels, one alpha a layer.

q = round(clamp(w / alpha, -1, 1) top), top = 2**(bits-1) - 1 (MINT, arXiv 2305.09850, without the tanh of its
training); the weight is q alpha / top. Membranes and biases are rounded to levels of the same scale, but reach further:
a network that was not trained for it loses much if its membranes end at alpha. A leak is rounded to a multiple of
1/256.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import FP32, Levels, top_level
from quest_lab.network import Layer, Network
from quest_lab.neurons import MEMBRANE_BITS

Array = NDArray[Any]

_STARTS = 64
_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Rounded:
    """What rounding did to a layer: its `alpha`, rms of the error over rms of the weights, share of zeros."""

    name: str
    weights: int
    alpha: float
    error: float
    zeros: float


@dataclass(frozen=True, slots=True)
class Quantised:
    """The integer network, and what that did to each layer."""

    network: Network
    layers: tuple[Rounded, ...]


def quantise(
    network: Network, bits: int, alpha: float | None = None, membrane_bits: int = MEMBRANE_BITS
) -> Quantised:
    """`network` of FP32 weights with levels of `bits`. `alpha` of all layers; default: the least squared error.

    Raises BadInput: not FP32, bits out of range, alpha not above 0, a layer of nothing but zeros.
    """
    if not 2 <= membrane_bits <= MEMBRANE_BITS:
        raise BadInput(f"membrane_bits={membrane_bits}: want 2 to {MEMBRANE_BITS}")
    if network.bits != FP32:
        raise BadInput(f"network: has levels of {network.bits} bits already")
    if alpha is not None and not (np.isfinite(alpha) and alpha > 0):
        raise BadInput(f"alpha={alpha}: want a finite number above 0")
    pairs = [_layer(layer, bits, alpha) for layer in network.layers]
    layers = tuple(layer for layer, _ in pairs)
    membranes = None if network.neuron.history or membrane_bits == bits else membrane_bits
    neuron = network.neuron.in_levels()
    made = replace(network, bits=bits, layers=layers, neuron=neuron, membrane_bits=membranes)
    return Quantised(made, tuple(row for _, row in pairs))


def _layer(layer: Layer, bits: int, alpha: float | None) -> tuple[Layer, Rounded]:
    if not np.any(layer.weights):
        raise BadInput(f"{layer.info.name}: all weights are 0, there is nothing to quantise")
    chosen = best_alpha(layer.weights, bits) if alpha is None else alpha
    levels = to_levels(layer.weights, chosen, bits)
    wrong = levels * (chosen / top_level(bits)) - layer.weights
    error = float(np.sqrt(np.mean(wrong**2) / np.mean(layer.weights.astype(np.float64) ** 2)))
    row = Rounded(layer.info.name, levels.size, chosen, error, float(np.mean(levels == 0)))
    bias = None if layer.bias is None else _bias_levels(layer.bias, chosen, bits)
    neuron = None if layer.neuron is None else layer.neuron.in_levels()
    return replace(layer, weights=levels, alpha=chosen, bias=bias, neuron=neuron), row


def _bias_levels(bias: Array, alpha: float, bits: int) -> NDArray[np.int32]:
    """Biases int32 (c_out,) in levels; neurons add them, so no cell bounds them."""
    return np.rint(bias.astype(np.float64) * (top_level(bits) / alpha)).astype(np.int32)


def to_levels(weights: Array, alpha: float, bits: int) -> Levels:
    """Levels int8 of `weights`, same shape."""
    top = top_level(bits)
    return np.clip(np.rint(weights * (top / alpha)), -top, top).astype(np.int8)


def best_alpha(weights: Array, bits: int) -> float:
    """The alpha of least squared error: the best of a scan, then levels and scale in turns (Lloyd) until both stay."""
    w = weights.astype(np.float64).ravel()
    scan = np.abs(w).max() * np.arange(1, _STARTS + 1) / _STARTS
    best = min((_refit(w, alpha, bits) for alpha in scan), key=lambda alpha: _squared_error(w, alpha, bits))
    for _ in range(_ROUNDS):
        last, best = best, _refit(w, best, bits)
        if best == last:
            break
    return best


def _refit(w: Array, alpha: float, bits: int) -> float:
    """The scale that suits best the levels which `alpha` gives."""
    levels = to_levels(w, alpha, bits).astype(np.float64)
    square = float(levels @ levels)
    return float(w @ levels) / square * top_level(bits) if square else alpha


def _squared_error(w: Array, alpha: float, bits: int) -> float:
    wrong = to_levels(w, alpha, bits) * (alpha / top_level(bits)) - w
    return float(wrong @ wrong)
