"""A layer after the encoder: its weights, and what its neurons make of the spikes that enter.

A quantised layer (MINT, arXiv 2305.09850): the levels whose spike is 1 are summed with the membrane to h, which fires
iff h > floor(theta / scale), scale = alpha / (2**(bits-1) - 1); see quest_lab.neurons for what remains. Weights and
membrane share alpha, so nothing is ever multiplied.

Batch norm gives each channel a gain and an offset. A membrane would have to be summed with gain x current: no integer
network, and `Network.check_integer` refuses it. A memory-free neuron only compares: gain x sum + offset > theta with
gain > 0 is sum > floor((theta - offset) / gain), an integer per channel, and the fold is exact.

Sums of levels are integers, added spike by spike or counted bit by bit (quest_lab.convolution). An analogue
read-back is summed in float64, an FP32 network in float32, as matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.convolution import fire_integers, over_time, sum_levels, to_first
from quest_lab.layers import LayerInfo, top_level
from quest_lab.neurons import Neuron, fire, integer_limit, level_scale, reset_charge, sum_limit
from quest_lab.spike_kernels import Spikes

Array = NDArray[Any]
Floats64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer after the encoder. `norm` float64 (2, c_out): gain and offset of a batch norm of the summed currents.

    `weights` (c_out, c_in, kh, kw): int8 levels, float64 in units of a level after an analogue read-back, or
    float32 in an FP32 network, whose `alpha` is 1. `bias` (c_out,): what the neurons, not the cells, add at every
    step: int32 in units of a level, float32 in an FP32 network. `neuron`: if it is not the network's.
    """

    info: LayerInfo
    weights: Array
    alpha: float
    pool: bool
    norm: Floats64 | None = None
    bias: Array | None = None
    neuron: Neuron | None = None


def fire_layer(
    layer: Layer, spikes: Spikes, neuron: Neuron, *, bits: int, theta: float, top: int | None
) -> Spikes:
    """Spikes of the layer's neurons from those entering it, both uint8 (T, N, height, width, channels).

    `top`: largest level of a membrane; None in an FP32 network.
    """
    current = neuron.through_synapse(_currents(layer, spikes, bits), top)
    scale = level_scale(layer.alpha, bits)
    if neuron.history:
        least = sum_limit(theta, scale / neuron.unit, layer.norm)
        if layer.weights.dtype == np.int8:
            least = np.floor(least)  # the same for integers
        return (neuron.mixed(current) > least).astype(np.uint8)
    if top is not None and layer.weights.dtype == np.int8 and layer.norm is None:
        limit = integer_limit(theta, layer.alpha, bits)
        charge = reset_charge(theta, layer.alpha, bits, neuron)
        return fire_integers(current, neuron, limit=limit, charge=charge, top=top)
    if layer.norm is not None:
        current = (layer.norm[0] * current + layer.norm[1]) / scale
    threshold = theta / scale
    taken = neuron.taken(threshold)
    return fire(current, neuron, limit=threshold, charge=taken, top=top, whole=False).astype(np.uint8)


def _currents(layer: Layer, spikes: Spikes, bits: int) -> Array:
    """Summed weights of the spikes and bias, integers if the weights are: (T, N, height, width, c_out)."""
    if layer.weights.dtype == np.int8:
        sums = sum_levels(spikes, layer.weights, top_level(bits), window=layer.info.window)
    else:
        sums = over_time(spikes, layer.weights, layer.weights.dtype, layer.info.window)
    return sums if layer.bias is None else sums + layer.bias


def enter_layer(layer: Layer, spikes: Array) -> Array:
    """Spikes as the layer takes them: a linear one takes all places as channels, in the order (c, h, w)."""
    if layer.info.shape[1] == spikes.shape[-1]:
        return spikes
    return to_first(spikes).reshape(*spikes.shape[:2], 1, 1, -1)
