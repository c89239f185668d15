"""The paper's comparison in 45 nm CMOS: operations of a spiking network against those of the equivalent ANN.

    gain = E_MAC sum_l OP_l / (E_AC sum_l r_l OP_l),     E_MAC = 4.6 pJ, E_AC = 0.9 pJ

OP_l are the multiply-accumulates of layer l for one pass, r_l its operation rate: QUEST's AOR (arXiv 2504.00679), or
the spike rate as in DIET-SNN (Rathi and Roy, TNNLS 2021). Energies of an operation: Horowitz, ISSCC 2014, 45 nm,
32-bit floats (add 0.9 pJ, multiply 3.7 pJ). No energy of a memory cell is in these numbers.

The rates of the compared networks are derived from the paper's ratios: 93 = 4.6 / (0.9 r) gives r = 0.055, and the
other two are 2.47 and 7.1 times that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

E_MAC_J = 4.6e-12
E_AC_J = 0.9e-12
PAPER_GAIN, PAPER_VGG6, PAPER_VGG16 = 93.0, 2.47, 7.1


@dataclass(frozen=True, slots=True)
class Compared:
    """A published spiking network: its multiply-accumulates and its operation rate (no unit)."""

    name: str
    macs: float
    rate: float

    @property
    def energy_j(self) -> float:
        """Of one image, all layers as accumulates at its rate."""
        return E_AC_J * self.rate * self.macs


def rate_of(gain: float) -> float:
    """The operation rate that a gain over the ANN stands for: 93 is 0.055."""
    return E_MAC_J / (E_AC_J * gain)


def gain(macs: ArrayLike, rates: ArrayLike) -> float:
    """Energy of the ANN over that of accumulates at `rates` of the same layers, both (layers,)."""
    ops, r = np.asarray(macs, np.float64), np.asarray(rates, np.float64)
    spent = E_AC_J * float(ops @ r)
    return E_MAC_J * float(ops.sum()) / spent if spent else float("inf")


DIET_VGG6 = Compared("VGG6-DIET-SNN", 108.8e6, PAPER_VGG6 * rate_of(PAPER_GAIN))
DIET_VGG16 = Compared("VGG16-DIET-SNN", 338.4e6, PAPER_VGG16 * rate_of(PAPER_GAIN))


@dataclass(frozen=True, slots=True)
class Way:
    """One way of counting. `gain` over the ANN of the same layers; `energy_j` of one image.

    `rate` is the mean operation rate that the gain stands for; `vgg6`, `vgg16` divide the rate of DIET-SNN's
    network by it, which is how the paper's 2.47 and 7.1 arise.
    """

    name: str
    gain: float
    energy_j: float

    @property
    def rate(self) -> float:
        return rate_of(self.gain)

    @property
    def vgg6(self) -> float:
        return DIET_VGG6.rate / self.rate if self.rate else float("inf")

    @property
    def vgg16(self) -> float:
        return DIET_VGG16.rate / self.rate if self.rate else float("inf")


def compare(
    macs: ArrayLike, aor: ArrayLike, rate_in: ArrayLike, first_macs: float | None = None
) -> tuple[Way, ...]:
    """By AOR; by AOR with the first layer as MACs; by spike rate. Arrays are (layers,).

    `first_macs` are the multiply-accumulates of the encoder's convolution, computed once an image; without
    them the second way is left out.
    """
    ops, rates = np.asarray(macs, np.float64), np.asarray(aor, np.float64)
    counted = {"AOR": (ops, rates), "spike rate": (ops, np.asarray(rate_in, np.float64))}
    if first_macs is not None:
        first_rate = E_MAC_J / E_AC_J  # a MAC, in accumulates
        counted["AOR, first layer as MACs"] = np.append(first_macs, ops), np.append(first_rate, rates)
    return tuple(Way(n, gain(*counted[n]), E_AC_J * float(np.dot(*counted[n]))) for n in sorted(counted))
