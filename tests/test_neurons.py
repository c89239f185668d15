"""The neurons against exact arithmetic in fractions, step by step, as the equations are written."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from quest_lab.errors import BadInput
from quest_lab.layers import layer_table
from quest_lab.neurons import IF_HARD, Neuron, fire, integer_limit, reset_charge

MEMBRANES = ("if-hard", "if-soft", "lif-hard", "lif-soft")
ELSEWHERE = ("lif-hard@0.8984375", "lif-soft@0.8984375", "lif-delayed", "lif-delayed@0.953125")
THETA, ALPHA = 0.5, 0.37


def by_the_equations(currents: list[int], name: str, bits: int, alpha: float = ALPHA) -> list[int]:
    """MINT: H = U + I; s = 1[H > theta]; U = quantise(leak H (1 - s)) or quantise(leak (H - s theta)).

    Delayed: U = quantise(leak H - s theta).
    """
    kind, _, given = name.partition("@")
    top, theta = 2 ** (bits - 1) - 1, Fraction(THETA)
    leak = Fraction(given or ("0.5" if kind.startswith("lif") else "1"))
    scale = Fraction(alpha) / top
    u, spikes = Fraction(0), []
    for current in currents:
        h = u + current * scale
        s = h > theta
        spikes.append(int(s))
        left = (
            leak * h - s * {"hard": leak * h, "soft": leak * theta, "delayed": theta}[kind.partition("-")[2]]
        )
        u = scale * round(max(Fraction(-1), min(Fraction(1), left / Fraction(alpha))) * top)  # half to even
    return spikes


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", [*MEMBRANES, *ELSEWHERE])
def test_integer_spikes_are_those_of_the_equations(name: str, bits: int) -> None:
    neuron, top = Neuron.parse(name), 2 ** (bits - 1) - 1
    current = np.random.default_rng(bits).integers(-top - 1, 2 * top + 2, (8, 300))
    limit, charge = integer_limit(THETA, ALPHA, bits), reset_charge(THETA, ALPHA, bits, neuron)
    spikes = fire(current.astype(np.float32), neuron, limit=limit, charge=charge, top=top, whole=True)
    want = np.array([by_the_equations(column.tolist(), name, bits) for column in current.T]).T
    assert np.array_equal(spikes, want)
    assert 0.05 < want.mean() < 0.95


@pytest.mark.parametrize(("alpha", "name", "want"), [
    (0.37, "if-soft", 4.0),  # theta / scale = 0.5 * 3 / 0.37 = 4.05: the nearest integer
    (0.37, "lif-soft", 2.25),  # half of it strictly between 2 and 2.5
    (0.75, "lif-soft", 1.0),  # theta / scale = 2 exactly, and ties may happen
    (0.37, "lif-delayed", 4.25),  # strictly between 4 and 4.5
])  # fmt: skip
def test_a_soft_reset_takes_what_is_exact_after_the_leak(alpha: float, name: str, want: float) -> None:
    assert reset_charge(0.5, alpha, 3, Neuron.parse(name)) == want


def test_a_leak_of_levels_is_a_multiple_of_one_256th() -> None:
    assert str(Neuron.parse("lif-delayed@0.9").in_levels()) == "lif-delayed@0.8984375"
    assert str(Neuron.parse("cuba-hard@0.9,0.001").in_levels()) == "cuba-hard@0.8984375,0.00390625"
    assert Neuron.parse("if-hard").in_levels() == IF_HARD


def test_ties_of_the_leak_are_rounded_to_even() -> None:
    # alpha 0.75, 4 bits: fires above 4.67. Half of 1, 3, 4 is 0.5, 1.5, 2: kept 0, 2, 2
    current = np.array([[1, 3, 4], [4, 3, 3], [5, 0, 0]], np.float32)
    spikes = fire(current, Neuron.parse("lif-hard"), limit=4, charge=0, top=7, whole=True)
    assert spikes.tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("name", [*MEMBRANES, *ELSEWHERE, "cuba-delayed@1.0,0.8", "mfp-1", "mfp-3"])
def test_a_name_is_the_neuron(name: str) -> None:
    assert str(Neuron.parse(name)) == name


@pytest.mark.parametrize("name", ["", "if", "IF-hard", "mfp-9", "mfp-", "izhikevich"])
def test_an_unknown_neuron_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="want if-hard, if-soft, lif-hard, lif-soft, mfp or mfp-1 to mfp-8"):
        Neuron.parse(name)


BAD_LEAKS = [
    "lif-hard@1.2",
    "lif-hard@",
    "lif-soft@x",
    "if-hard@0.9",
    "cuba-hard",
    "cuba-hard@0.9",
    "cuba-soft@1,0",
]


@pytest.mark.parametrize("name", BAD_LEAKS)
def test_a_leak_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=r"above 0 and|want if-hard"):
        Neuron.parse(name)


def test_the_mixing_is_causal_and_of_powers_of_two() -> None:
    want = [[4, 0, 0, 0], [2, 4, 0, 0], [1, 2, 4, 0], [0, 1, 2, 4]]
    assert Neuron.parse("mfp-3").mixing(4).tolist() == want


def test_a_membrane_takes_its_bits_and_a_memory_free_neuron_its_inputs_spikes() -> None:
    (layer,) = layer_table([("a", (8, 3, 3, 3), (4, 4))])
    assert IF_HARD.memory_bits(layer, 2) == 2 * 8 * 16
    assert Neuron.parse("mfp-3").memory_bits(layer, 2) == 2 * 3 * 16
    assert Neuron.parse("mfp-1").memory_bits(layer, 2) == 0
