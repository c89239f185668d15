"""The filamentary memristor: the closed form against a numerical integral, asymmetry, window, spreads, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from quest_lab.device import FieldPulse, ReadPulse, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.sim.memristor import Memristor, moved_m, resistance_ohm
from quest_lab.sim.memristor_cells import MemristorArray

MODEL = Memristor()
FEW = np.arange(64)
MANY = np.arange(20_000)
PULSES = ((-1.5, 1e-5), (1.15, 1e-5), (1.25, 1e-6), (-1.36, 1e-5), (1.3, 1e-5))
Make = Callable[..., MemristorArray]


@pytest.fixture
def make() -> Iterator[Make]:
    opened: list[MemristorArray] = []

    def open_(cells: int = 64, seed: int = 3, path: Path | None = None, **changes: Any) -> MemristorArray:
        opened.append(MemristorArray(Memristor(**changes), cells, seed=seed, path=path))
        return opened[-1]

    yield open_
    for array in opened:
        array.close()


def integrated_nm(gap_nm: float, volts: float, seconds: float) -> float:
    """Gap after a pulse, by integrating the published rate equation with its numbers and alpha = 1."""
    kt, field_v = 8.617333e-5 * 300.0, 1.4e9 * 12e-9

    def rate(_: float, gap: list[float]) -> float:
        gamma = 16.0 - 2.3 * gap[0]
        if gamma * abs(volts) < field_v or (volts < 0 and gap[0] <= 0.2):
            return 0.0
        speed = 10e9 * np.exp(-0.6 / kt) * np.sinh(gamma * 0.25 / 12.0 * abs(volts) / kt)
        return float(np.copysign(speed, volts))

    done = solve_ivp(
        rate, (0.0, seconds), [gap_nm], method="LSODA", rtol=1e-8, atol=1e-9, max_step=seconds / 2e3
    )
    return float(done.y[0, -1])


@pytest.mark.parametrize(("gap_nm", "volts", "seconds"), [
    (0.2, 1.2, 1e-7), (0.2, 1.2, 1e-6), (0.2, 1.3, 1e-5), (0.9, 1.25, 3e-6), (0.2, 1.0, 1e-3), (1.2, -1.3, 2e-7),
])  # fmt: skip
def test_a_pulse_is_the_integral_of_the_rate_equation(gap_nm: float, volts: float, seconds: float) -> None:
    gap_m = moved_m(gap_nm * 1e-9, volts, seconds, *MODEL.kinetics, MODEL.gap_min_m)
    assert gap_m * 1e9 == pytest.approx(integrated_nm(gap_nm, volts, seconds), abs=2e-3)


def test_opening_is_gradual_and_closing_abrupt(make: Make) -> None:
    """Over 0.2 V the gap opens step by step; closing it takes the whole way within 60 mV."""
    array = make(d_cell=0.0, xi_pulse=0.0)
    opened, closed = [], []
    for volts in np.arange(1.1, 1.3, 0.02):
        array.pulse(FEW, volts, 1e-5)
        opened.append(array.gap_m(FEW).mean() * 1e9)
    for volts in np.arange(1.2, 1.5, 0.06):
        array.pulse(FEW, 1.32, 1e-5)
        array.pulse(FEW, -volts, 1e-5)
        closed.append(array.gap_m(FEW).mean() * 1e9)
    assert 0.05 < np.diff(opened).min() <= np.diff(opened).max() < 0.15
    between = [gap for gap in closed if 0.3 < gap < 1.3]
    assert (closed[0] > 1.3, len(between) <= 1, closed[-1] < 0.21) == (True, True, True)


def test_the_window_is_that_of_the_gap(make: Make) -> None:
    array = make(i0_spread=0.0, closing_std_m=0.0)
    low = array.resistance(FEW, 1e-9)
    array.pulse(FEW, 1.5, 1e-5)
    assert low == pytest.approx(MODEL.r0_ohm, rel=1e-6)
    assert array.resistance(FEW, 1e-9) / low == pytest.approx(np.exp(1.5 / 0.5), rel=1e-6)


def test_high_states_are_lognormal_as_the_felt_volts_are_normal(make: Make) -> None:
    """d ln R / d ln V = F_min L / (V beta g0): 1.1 % of the volts is 14 % of R at 1.2 V."""
    array = make(cells=MANY.size, i0_spread=0.0)
    array.pulse(MANY, 1.2, 1e-4)
    spread = np.log(array.resistance(MANY, 0.1)).std()
    assert spread == pytest.approx(16.8 / (1.2 * 2.3 * 0.5) * np.hypot(0.01, 0.005), rel=0.05)


def test_cells_differ_by_their_own_share_and_cycles_by_theirs(make: Make) -> None:
    array, logs = make(cells=4000), []
    cells = np.arange(4000)
    for _ in range(8):
        array.pulse(cells, -1.5, 1e-5)
        array.pulse(cells, 1.2, 1e-4)
        logs.append(array.gap_m(cells))
    within, between = np.std(logs, axis=0, ddof=1).mean(), np.mean(logs, axis=0).std()
    assert between / within == pytest.approx(2.0, rel=0.15)  # d_cell 1 %, xi_pulse 0.5 %


def test_a_read_moves_nothing_and_a_bias_above_the_least_field_does(make: Make) -> None:
    array = make()
    array.pulse(FEW, 1.2, 1e-5)
    before = array.gap_m(FEW).copy()
    array.read(FEW, ReadPulse(0.1, 1.0))
    array.field(FEW, 1.0, 1.0)
    array.elapse(1e9)
    assert np.array_equal(array.gap_m(FEW), before)
    array.bias(FEW, 1.3, 1e-5)
    assert np.all(array.gap_m(FEW) > before)


def test_energy_is_that_of_the_resistance_before_at_the_pulses_bias(make: Make) -> None:
    array = make(d_cell=0.0, xi_pulse=0.0)
    ohm = array.resistance(FEW, 1.2)
    assert np.allclose(array.pulse(FEW, 1.2, 1e-5), 1.44e-5 / ohm, rtol=1e-6)
    assert resistance_ohm(0.2e-9, 1.2, 1e-5, 0.5e-9, 0.25) == pytest.approx(
        1.2 / (1e-5 * np.exp(-0.4) * np.sinh(4.8))
    )


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_order_and_grouping_of_cells_change_nothing(order: list[int], cut: int) -> None:
    whole, parts = MemristorArray(MODEL, 12, seed=9), MemristorArray(MODEL, 12, seed=9)
    cells, mixed = np.arange(12), np.array(order)
    for volts, width_s in PULSES:
        spent, ohm = whole.pulse(cells, volts, width_s), whole.read(cells, MODEL.read)
        for some in (mixed[:cut], mixed[cut:]):
            assert np.array_equal(parts.pulse(some, volts, width_s), spent[some])
        assert [parts.read(np.array([cell]), MODEL.read)[0] for cell in mixed] == ohm[mixed].tolist()
    whole.close()
    parts.close()


def test_many_cells_at_once_draw_what_few_draw(make: Make) -> None:
    many, few = make(cells=MANY.size), make(cells=MANY.size)
    some = np.array([19_999, 5, 12_345])
    assert np.array_equal(few.pulse(some, 1.2, 1e-5), many.pulse(MANY, 1.2, 1e-5)[some])
    assert np.array_equal(few.read(some, MODEL.read), many.read(MANY, MODEL.read)[some])


def test_a_reopened_chip_goes_on_where_it_stopped(make: Make, tmp_path: Path) -> None:
    whole, path = make(), tmp_path / "memristors.cells"
    for volts, width_s in PULSES:
        kept = make(path=path)
        spent, ohm = kept.pulse(FEW, volts, width_s), kept.read(FEW, MODEL.read)
        kept.close()
        assert np.array_equal(spent, whole.pulse(FEW, volts, width_s))
        assert np.array_equal(ohm, whole.read(FEW, MODEL.read))


def test_a_stuck_gap_stays(make: Make) -> None:
    array = make()
    array.stick(FEW[:3])
    before = array.gap_m(FEW).copy()
    array.pulse(FEW, 1.3, 1e-5)
    assert np.array_equal(array.gap_m(FEW) != before, FEW >= 3)


def test_only_a_strong_long_negative_pulse_counts_as_a_reset() -> None:
    assert MODEL.resets(VoltagePulse(-1.5, 1e-5))
    for weak in (
        VoltagePulse(1.5, 1e-5),
        VoltagePulse(-1.36, 1e-5),
        VoltagePulse(-1.5, 1e-9),
        FieldPulse(1.0, 1.0),
    ):
        assert not MODEL.resets(weak)


@pytest.mark.parametrize(("changes", "match"), [
    ({"gap_min_m": 2e-9}, "gap_min_m < gap_max_m"),
    ({"g0_m": 0.0}, "g0_m=0.0"),
    ({"reset": VoltagePulse(-1.2, 1e-5)}, "does not close the widest gap"),
])  # fmt: skip
def test_impossible_laws_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        Memristor(**changes)
