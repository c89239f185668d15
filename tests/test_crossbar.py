"""The passive crossbar against closed formulas, finite differences, and Kirchhoff's law written out node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quest_lab.crossbar import Crossbar, Noise, Scheme, backgrounds, sensitivity, separation, settle, solve
from quest_lab.device import Floats
from quest_lab.errors import BadInput

SCHEMES: tuple[Scheme, ...] = ("floating", "grounded", "V/2", "V/3")
SK_MTJ = [2000.0 * (1.0 + 0.3 * k / 6) for k in range(7)]
NOISE = Noise(meter=0.003, cell=0.003)


def uneven(rows: int, columns: int) -> Floats:
    return np.random.default_rng(5).uniform(500.0, 4000.0, (rows, columns))


def by_hand(bar: Crossbar, ohm: Floats, cell: tuple[int, int], volts: float, scheme: Scheme) -> float:
    """Sensed current from a dense matrix over all nodes, one resistor after the other, drivers as the last."""
    small = 1e-6  # ohm, for wires that are ideal
    nodes: dict[Any, int] = {}
    resistors: list[tuple[Any, Any, float]] = []
    n, m = ohm.shape
    for i in range(n):
        resistors.append((("pad w", i), ("w", i, 0), max(bar.driver_ohm + bar.line_ohm, small)))
        resistors += [(("w", i, j), ("w", i, j + 1), max(bar.line_ohm, small)) for j in range(m - 1)]
    for j in range(m):
        resistors.append((("pad b", j), ("b", 0, j), max(bar.driver_ohm + bar.line_ohm, small)))
        resistors += [(("b", i, j), ("b", i + 1, j), max(bar.line_ohm, small)) for i in range(n - 1)]
    resistors += [(("w", i, j), ("b", i, j), ohm[i, j]) for i in range(n) for j in range(m)]
    for a, b, _ in resistors:
        nodes.setdefault(a, len(nodes))
        nodes.setdefault(b, len(nodes))
    law, right = np.zeros((len(nodes), len(nodes))), np.zeros(len(nodes))
    for a, b, r in resistors:
        for here, there in ((a, b), (b, a)):
            law[nodes[here], nodes[here]] += 1 / r
            law[nodes[here], nodes[there]] -= 1 / r
    share = {"floating": None, "grounded": (0.0, 0.0), "V/2": (0.5, 0.5), "V/3": (1 / 3, 2 / 3)}[scheme]
    sources: dict[Any, float] = {("pad w", cell[0]): volts, ("pad b", cell[1]): 0.0}
    if share:
        sources |= {("pad w", i): share[0] * volts for i in range(n) if i != cell[0]}
        sources |= {("pad b", j): share[1] * volts for j in range(m) if j != cell[1]}
    kirchhoff = law.copy()
    for pad, value in sources.items():
        law[nodes[pad]], right[nodes[pad]] = np.eye(len(nodes))[nodes[pad]], value
    return -float((kirchhoff @ np.linalg.solve(law, right))[nodes["pad b", cell[1]]])


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (4, 9), (1, 1), (1, 5)])
def test_a_uniform_floating_array_is_the_closed_formula(rows: int, columns: int) -> None:
    found = solve(Crossbar(rows, columns), np.full((rows, columns), 2e3), (0, columns - 1), 0.2, "floating")
    assert found.terminal_ohm == pytest.approx(2e3 * (rows + columns - 1) / (rows * columns), rel=1e-12)


def test_the_extreme_states_of_a_floating_32x32_are_two_ohms_apart() -> None:
    ohm = np.full((2, 32, 32), 2000.0)
    ohm[1, 7, 8] = 2600.0
    found = solve(Crossbar(32, 32), ohm, (7, 8), 0.2, "floating").terminal_ohm
    sneak = 2000.0 * 63 / 31**2  # of the array without the cell, by symmetry
    np.testing.assert_allclose(found, [sneak * r / (sneak + r) for r in (2000.0, 2600.0)], rtol=1e-12)
    assert found.round(1).tolist() == [123.0, 124.8]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("wires", [(0.0, 0.0), (0.0, 50.0), (3.0, 0.0), (3.0, 50.0)])
def test_the_current_is_that_of_kirchhoffs_law_written_out(
    scheme: Scheme, wires: tuple[float, float]
) -> None:
    bar, ohm = Crossbar(3, 4, *wires), uneven(3, 4)
    found = solve(bar, ohm, (1, 2), 0.7, scheme)
    assert found.current_a == pytest.approx(by_hand(bar, ohm, (1, 2), 0.7, scheme), rel=1e-6)


def test_many_backgrounds_are_solved_as_one_at_a_time() -> None:
    bar, ohm = Crossbar(3, 4, 1.0, 10.0), np.stack([uneven(3, 4), 2 * uneven(3, 4)])
    together = solve(bar, ohm, (2, 0), 0.1, "floating")
    alone = [solve(bar, one, (2, 0), 0.1, "floating") for one in ohm]
    np.testing.assert_allclose(together.current_a, [float(a.current_a) for a in alone], rtol=1e-12)
    np.testing.assert_allclose(together.cell_v, [a.cell_v for a in alone], rtol=1e-9)


@pytest.mark.parametrize(
    ("scheme", "row", "column", "rest"),
    [("grounded", 1.0, 0.0, 0.0), ("V/2", 0.5, 0.5, 0.0), ("V/3", 1 / 3, 1 / 3, -1 / 3)],
)
def test_what_the_other_cells_get(scheme: Scheme, row: float, column: float, rest: float) -> None:
    volts = np.full((3, 4), rest)
    volts[1], volts[:, 2] = row, column
    volts[1, 2] = 1.0
    found = solve(Crossbar(3, 4), uneven(3, 4), (1, 2), 0.9, scheme)
    np.testing.assert_allclose(found.cell_v, 0.9 * volts, atol=1e-12)


def test_grounded_ideal_lines_isolate_and_resistive_ones_do_not() -> None:
    ohm = uneven(6, 6)
    assert solve(Crossbar(6, 6), ohm, (2, 3), 0.1, "grounded").terminal_ohm == pytest.approx(ohm[2, 3])
    assert solve(Crossbar(6, 6, 5.0), ohm, (2, 3), 0.1, "grounded").terminal_ohm > 1.005 * ohm[2, 3]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sensitivities_are_finite_differences(scheme: Scheme) -> None:
    bar, ohm, step = Crossbar(3, 4, 2.0, 20.0), uneven(3, 4), 1e-5
    base = solve(bar, ohm, (1, 2), 1.0, scheme).terminal_ohm
    for i, j in np.ndindex(3, 4):
        moved = ohm.copy()
        moved[i, j] *= 1.0 + step
        slope = (solve(bar, moved, (1, 2), 1.0, scheme).terminal_ohm / base - 1.0) / step
        assert sensitivity(bar, ohm, (1, 2), scheme)[i, j] == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_cells_whose_resistance_falls_with_their_volts() -> None:
    bar, ohm = Crossbar(4, 4), uneven(4, 4)

    def ohm_at(volts: Floats) -> Floats:
        return ohm / (1.0 + (volts / 0.5) ** 2)

    found = settle(bar, ohm_at, (0, 1), 0.6, "floating")
    again = solve(bar, ohm_at(found.cell_v), (0, 1), 0.6, "floating")
    np.testing.assert_allclose(again.cell_v, found.cell_v, atol=1e-9)
    assert not np.isclose(found.current_a, solve(bar, ohm, (0, 1), 0.6, "floating").current_a)


def test_seven_states_of_a_floating_32x32_are_0_6_to_0_85_sigma_apart() -> None:
    read_at_200_mv = [2000.0 + (r - 2000.0) / (1.0 + 0.4**2) for r in SK_MTJ]
    found = separation(Crossbar(32, 32), "floating", read_at_200_mv, NOISE)
    assert [f"{found[0].worst:.2f}", f"{found[-1].worst:.1f}"] == ["0.84", "0.6"]
    assert all(pair.worst <= pair.median < 3.0 for pair in found)


def test_isolated_states_are_as_far_apart_as_the_cells_own_reads() -> None:
    found = separation(Crossbar(8, 8), "grounded", SK_MTJ, NOISE)
    expected = [100.0 / (np.hypot(0.003, 0.003) * r) for r in SK_MTJ[1:]]
    np.testing.assert_allclose([pair.worst for pair in found], expected, rtol=1e-9)


def test_the_worst_background_is_the_worst_of_all() -> None:
    states, bar = [1000.0, 1500.0], Crossbar(2, 3)
    found = separation(bar, "floating", states, Noise(0.003, 0.0))[0]
    every = np.array(np.meshgrid(*[states] * 5, indexing="ij")).reshape(5, -1).T
    ohm = np.empty((2, len(every), 2, 3))
    ohm.reshape(2, -1, 6)[..., :5] = every
    ohm[..., 1, 2] = np.array(states)[:, None]
    low, high = solve(bar, ohm, (1, 2), 1.0, "floating").terminal_ohm
    assert found.worst == pytest.approx(np.min((high - low) / (0.003 * high)), rel=1e-12)


def test_backgrounds_hold_the_extremes_and_only_these_states() -> None:
    found = backgrounds(Crossbar(4, 4), (3, 3), SK_MTJ)
    assert {2000.0, 2600.0} == {float(b[0, 0]) for b in found[:8]}
    assert set(found.ravel()) <= set(SK_MTJ)


def test_a_crossbar_without_lines_is_refused() -> None:
    with pytest.raises(BadInput, match="rows=0, columns=4"):
        Crossbar(0, 4)
