"""The neurons of a spiking network, named by one word, and their arithmetic over time in numpy.

`if-hard`, `if-soft`, `lif-hard`, `lif-soft` (MINT, arXiv 2305.09850) keep a membrane U: H = U + I; a spike
s = 1[H > theta]; then U = leak H (1 - s) (hard reset) or leak (H - s theta) (soft), leak 1 (IF) or 1/2 (LIF),
rounded to the levels of the weights, half to even. `lif-hard@0.9` has another leak; in levels it is a multiple of
1/256, which hardware does by shifts and additions. `lif-delayed` takes theta off a step later, after the leak: U =
leak H - s theta (snnTorch's reset by subtraction). `cuba-hard@0.9,0.8` (leak, synapse) has a synapse whose current
decays: K = synapse K + I enters the membrane instead of I, rounded alike.

`mfp-K` is MFP-style (after MFP-QSNN, arXiv 2503.00040, whose equations are not public; built from the parallel
spiking neuron, Fang et al. 2023): no reset and no membrane, H[t] = sum over j < K of 2**-j I[t - j]. I is linear in
the spikes that enter, so a neuron needs nothing but the last K of its inputs' spike bits; in training it is one
lower-triangular T x T product. Everything is multiplied by 2**(K-1), so that integers stay integers. The price of no
membrane: a weight is read again at each of the K steps that see a spike.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import FP32, LayerInfo, top_level

Array = NDArray[Any]

LEAK = 0.5
LEAK_PARTS = 256  # the leak of membranes in levels is a multiple of one such part
MEMBRANE_BITS = 12  # at most; the arithmetic of float32 is exact then
HISTORY = 3  # spike bits that `mfp` looks at
MAX_HISTORY = 8
NEURONS = ("if-hard", "if-soft", "lif-hard", "lif-soft", "mfp")


@dataclass(frozen=True, slots=True)
class Neuron:
    """`leak` multiplies the membrane after each step; `history` spike bits an input, 0 for a membrane.

    `delayed`: a soft reset takes theta from what the leak has left. `synapse` multiplies the synapse's current after
    each step; 0: there is none.
    """

    soft: bool = False
    leak: float = 1.0
    history: int = 0
    delayed: bool = False
    synapse: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Neuron:
        """The neuron of that name; `mfp-4` sees the last 4 spikes, `mfp` 3. Raises BadInput."""
        found = re.fullmatch(r"(if|lif|cuba)-(hard|soft|delayed)|mfp(?:-([1-8]))?", text.partition("@")[0])
        if found is None or ("@" in text and found[1] not in ("lif", "cuba")):
            raise BadInput(
                f"neuron={text!r}: want {', '.join(NEURONS)} or mfp-1 to mfp-{MAX_HISTORY}, or of networks from "
                "elsewhere lif-delayed, with another leak lif-hard@0.9, with a synapse cuba-hard@0.9,0.8"
            )
        kind, reset = found[1], found[2]
        if kind is None:
            return cls(history=int(found[3] or HISTORY))
        leak, synapse = (1.0, 0.0) if kind == "if" else _decays(text)
        return cls(reset != "hard", leak, delayed=reset == "delayed", synapse=synapse)

    def __str__(self) -> str:
        if self.history:
            return f"mfp-{self.history}"
        reset = "delayed" if self.delayed else "soft" if self.soft else "hard"
        if self.synapse:
            return f"cuba-{reset}@{self.leak!r},{self.synapse!r}"
        other = "" if self.leak in (1, LEAK) else f"@{self.leak!r}"
        return f"{'if' if self.leak == 1 else 'lif'}-{reset}{other}"

    @property
    def trainable(self) -> bool:
        """Whether the trainer has it."""
        return self.leak in (1, LEAK) and not self.delayed and not self.synapse

    def in_levels(self) -> Neuron:
        """The same with the nearest leaks above 0 that a membrane of levels, and its synapse, can have."""
        synapse = self.synapse and _in_parts(self.synapse)
        return replace(self, leak=_in_parts(self.leak), synapse=synapse)

    def taken(self, theta: float) -> float:
        """What a soft reset takes from the membrane that the leak has left."""
        return theta if self.delayed else self.leak * theta

    @property
    def unit(self) -> int:
        """What the summed currents of a memory-free neuron are multiplied by, so that all are integers."""
        return 1 << max(self.history - 1, 0)

    def mixing(self, time_steps: int) -> NDArray[np.float32]:
        """The lower-triangular matrix A (T, T) of a memory-free neuron: unit H = A I over time."""
        lag = np.subtract.outer(np.arange(time_steps), np.arange(time_steps))
        seen = (lag >= 0) & (lag < self.history)
        return np.where(seen, self.unit * 0.5 ** np.maximum(lag, 0), 0.0).astype(np.float32)

    def reads(self, time_steps: int) -> NDArray[np.int64]:
        """How often a weight is read for a spike of each step, (T,): once, or while a memory-free neuron sees it."""
        left = time_steps - np.arange(time_steps, dtype=np.int64)
        return np.minimum(left, max(self.history, 1))

    def through_synapse(self, current: Array, top: int | None) -> Array:
        """Currents (T, ...) as they leave the synapse, rounded and clamped to -top..top; `top` None: as they are."""
        if not self.synapse:
            return current
        out = np.empty(current.shape, np.int32 if current.dtype.kind == "i" else current.dtype)
        kept = np.zeros(current.shape[1:], np.float64 if current.dtype.kind == "i" else current.dtype)
        for leaving, arriving in zip(out, current, strict=True):
            kept = kept.dtype.type(self.synapse) * kept + arriving
            if top is not None:
                kept = np.clip(np.rint(kept), -top, top)
            leaving[...] = kept
        return out

    def mixed(self, current: Array) -> Array:
        """unit H = A I of a memory-free neuron's currents I (T, ...), in int64 if they are integers."""
        total = np.zeros(current.shape, np.int64 if current.dtype.kind == "i" else current.dtype)
        for lag in range(min(self.history, len(current))):
            total[lag:] += (self.unit >> lag) * current[: len(current) - lag]
        return total

    def memory_bits(self, layer: LayerInfo, bits: int) -> int:
        """Bits that a layer stores from step to step: its membranes, or the spikes that its inputs gave before."""
        return layer.inputs * (self.history - 1) if self.history else layer.neurons * bits

    def largest_sum(self, fan_in: int, top: int) -> int:
        """Bound of the integers met while summing; floating point is exact below 2**24 (float32), 2**53."""
        return fan_in * top * (2 * self.unit - 1) if self.history else (fan_in + 1) * top


IF_HARD = Neuron()


def _in_parts(decay: float) -> float:
    return max(1, round(decay * LEAK_PARTS)) / LEAK_PARTS


def _decays(text: str) -> tuple[float, float]:
    """Leak and synapse of `lif-hard@0.9` or `cuba-hard@0.9,0.8`; a leak of 1/2 unless said."""
    given, cuba = text.partition("@")[2], text.startswith("cuba")
    try:
        decays = [float(word) for word in given.split(",")] if "@" in text else [LEAK]
    except ValueError:
        decays = []
    most = 1.0 if cuba else math.nextafter(1, 0)
    if len(decays) != 1 + cuba or not all(0 < decay <= most for decay in decays):
        want = "a leak and that of a synapse, above 0 and at most 1" if cuba else "a leak above 0 and below 1"
        raise BadInput(f"neuron={text!r}: {given!r} after @, want {want}")
    return decays[0], decays[1] if cuba else 0.0


def level_scale(alpha: float, bits: int) -> float:
    """What one level is worth: alpha / (2**(bits-1) - 1); 1 in an FP32 network."""
    return 1.0 if bits == FP32 else alpha / top_level(bits)


def integer_limit(theta: float, alpha: float, bits: int) -> int:
    """Largest integer h that does not fire: H > theta is h >= floor(theta / scale) + 1 (MINT)."""
    return math.floor(theta * top_level(bits) / alpha)


def sum_limit(theta: float, scale: float, norm: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """What the sum g of a memory-free neuron must exceed: H = scale g, or with a batch norm gain g + offset.

    Shape (1,), or (c_out,) of a `norm` (2, c_out) whose gains are above 0.
    """
    return np.array([theta / scale]) if norm is None else (theta - norm[1]) / norm[0]


def reset_charge(theta: float, alpha: float, bits: int, neuron: Neuron) -> float:
    """What a soft reset takes from leak x h of an integer h, so that it rounds as with `neuron.taken(theta)`.

    Exact in every arithmetic: with leak 1 the nearest integer. Else leak x h is a multiple of one part of the leak's
    denominator; any number strictly between the same two such parts rounds alike, and their middle is taken.
    """
    levels = neuron.taken(theta) * top_level(bits) / alpha
    if neuron.leak == 1:
        return float(round(levels))
    parts = Fraction(neuron.leak).denominator
    return levels if (levels * parts).is_integer() else (math.floor(levels * parts) + 0.5) / parts


def fire(
    current: Array, neuron: Neuron, *, limit: float, charge: float, top: int | None, whole: bool
) -> Array:
    """Spikes float32 (T, ...) of neurons with a membrane: h > `limit` fires, a soft reset takes `charge` of leak h.

    The membrane is rounded and clamped to -top..top, or left as it is if `top` is None. `whole`: the currents
    are integers.
    """
    membrane = np.zeros_like(current[0])
    fired = np.empty(current.shape, np.float32)
    rounds = neuron.leak != 1 or not whole
    for out, arriving in zip(fired, current, strict=True):
        membrane += arriving
        out[...] = membrane > limit
        if neuron.leak != 1:
            membrane *= membrane.dtype.type(neuron.leak)
        if neuron.soft:
            membrane -= out * membrane.dtype.type(charge)
        else:
            membrane *= 1 - out
        if top is not None:
            membrane = np.clip(np.rint(membrane) if rounds else membrane, -top, top)
    return fired
