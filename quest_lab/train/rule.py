"""The numbers by which a layer's quantised neurons fire and keep, computed once a pass from its alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from quest_lab.layers import top_level
from quest_lab.neurons import Neuron, integer_limit, reset_charge


@dataclass(frozen=True, slots=True)
class Rule:
    """`limit`: h above it fires; `charge`: what a soft reset takes from h; both in levels of `scale`.

    `whole`: the currents are integers, and limit and charge are the integer network's.
    """

    limit: float
    charge: float
    top: int
    leak: float
    soft: bool
    whole: bool
    scale: float
    theta: float

    @classmethod
    def of(cls, neuron: Neuron, alpha: float, theta: float, bits: int, *, whole: bool) -> Self:
        scale = alpha / top_level(bits)
        limit: float = integer_limit(theta, alpha, bits) if whole else theta / scale
        charge = reset_charge(theta, alpha, bits, neuron) / neuron.leak if whole else theta / scale
        return cls(limit, charge, top_level(bits), neuron.leak, neuron.soft, whole, scale, theta)
