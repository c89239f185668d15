"""The Sk-MTJ law against a second implementation in plain numpy, and the numbers computed from it.

The numbers are those of the law with the default parameters (all assumed): misses and overshoots by state,
energies, read disturb, correlation of misses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from quest_lab.device import FieldPulse, ReadPulse, Scope
from quest_lab.errors import BadInput
from quest_lab.seeds import Purpose, normals
from quest_lab.sim.cells import CellArray
from quest_lab.sim.skmtj import SkMTJ, thresholds_v

MANY = 100_000
EVERYONE = np.arange(MANY)
SEVEN = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75)


class Oracle:
    """The law written a second time, from its formulas, with the same keyed draws."""

    def __init__(self, cells: int, seed: int, t_ref_s: float, sign: int) -> None:
        self.seed, self.t_ref_s, self.sign, self.cells = seed, t_ref_s, sign, np.arange(cells)
        z = normals(seed, int(Purpose.FABRICATION), self.cells, 0)
        self.d = np.float32(0.02 * z[:, 0])
        self.r0 = np.float32(2000.0 * (1 + 0.05 * z[:, 1]))
        self.tmr = np.float32(0.30 * (1 + 0.03 * z[:, 2]))
        self.k, self.zeta, self.pulses = np.zeros(cells, int), np.zeros(cells), 0

    def resistance(self, bias_v: float) -> np.ndarray:
        tmr = self.tmr / (1 + (bias_v / 0.5) ** 2)
        return self.r0 * (1 + self.sign * tmr * (self.k + self.zeta) / 6)

    def pulse(self, volts: float, width_s: float) -> np.ndarray:
        energy = volts**2 * width_s / self.resistance(volts)
        z = normals(self.seed, int(Purpose.PULSE), self.cells, self.pulses)
        nominal = np.array(SEVEN)
        limits = np.maximum((nominal - 0.025) * (1 - np.log(width_s / self.t_ref_s) / 20), 0.05 * nominal)
        reached = (volts >= limits * (1 + self.d + 0.01 * z[:, 0])[:, None]).sum(axis=1)
        new = np.maximum(self.k, reached)
        self.zeta = np.where(new != self.k, np.float32(0.12 * z[:, 1]), self.zeta)
        self.k, self.pulses = new, self.pulses + 1
        return energy


@pytest.fixture
def array() -> Any:
    opened: list[CellArray] = []

    def make(model: SkMTJ, cells: int = MANY, seed: int = 1) -> CellArray:
        opened.append(CellArray(model, cells, seed=seed))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


Make = Callable[..., CellArray]


@pytest.mark.parametrize(("preset", "t_ref_s"), [("lab", 1e-6), ("scaled", 20e-9)])
@pytest.mark.parametrize("sign", [1, -1])
def test_pulses_follow_the_law(array: Make, preset: Any, t_ref_s: float, sign: int) -> None:
    chip, oracle = array(SkMTJ.preset(preset, sign=sign), 2000), Oracle(2000, 1, t_ref_s, sign)
    for volts, width in [(0.5, 1), (0.6, 3), (0.55, 1), (-0.9, 1), (0.62, 30), (0.75, 1), (0.9, 0.1)]:
        spent = chip.pulse(oracle.cells, volts, width * t_ref_s)
        np.testing.assert_allclose(spent, oracle.pulse(volts, width * t_ref_s), rtol=1e-6)
        assert np.array_equal(chip.states(oracle.cells), oracle.k)
        np.testing.assert_allclose(chip.resistance(oracle.cells, 0.2), oracle.resistance(0.2), rtol=1e-6)


def computed_misses(state: int) -> float:
    """Probability that the nominal amplitude does not land on `state`: a normal integral."""
    limits = np.array(SEVEN) - 0.025
    spread = np.hypot(0.02, 0.01)
    short = 1 - ndtr((SEVEN[state - 1] / limits[state - 1] - 1) / spread)
    over = ndtr((SEVEN[state - 1] / limits[state] - 1) / spread) if state < 6 else 0.0
    return float(short + over)


@pytest.mark.parametrize(("state", "percent"), [(1, 2.6), (2, 4.3), (3, 6.3), (4, 8.6), (5, 11.0), (6, 6.2)])
def test_misses_and_overshoots_at_the_nominal_amplitude(array: Make, state: int, percent: float) -> None:
    assert 100 * computed_misses(state) == pytest.approx(percent, abs=0.06)
    chip = array(SkMTJ.preset("scaled"))
    chip.pulse(EVERYONE, SEVEN[state - 1], 20e-9)
    missed = float(np.mean(chip.states(EVERYONE) != state))
    assert missed == pytest.approx(percent / 100, abs=4 * np.sqrt(0.1 * 0.9 / MANY))


def test_a_fifth_of_the_cells_fails_at_some_state(array: Make) -> None:
    chip, failed = array(SkMTJ.preset("scaled")), np.zeros(MANY, bool)
    for state in range(1, 7):
        chip.field(EVERYONE, 0.1, 10e-3)
        chip.pulse(EVERYONE, SEVEN[state - 1], 20e-9)
        failed |= chip.states(EVERYONE) != state
    assert 0.19 < failed.mean() < 0.21


def test_misses_are_correlated(array: Make) -> None:
    """The chance to miss again after a miss: 0.4 to 0.5, far above the chance to miss at all."""
    chip, missed = array(SkMTJ.preset("scaled")), []
    for _ in range(2):
        chip.field(EVERYONE, 0.1, 10e-3)
        chip.pulse(EVERYONE, 0.70, 20e-9)
        missed.append(chip.states(EVERYONE) < 5)
    assert 0.38 < missed[1][missed[0]].mean() < 0.52
    assert missed[1].mean() < 0.1


def test_width_tuning_reaches_the_top_after_half_a_millisecond() -> None:
    model = SkMTJ.preset("lab")
    top = [thresholds_v(model, t)[-1] for t in (0.4e-3, 0.6e-3)]
    assert top[0] > 0.5 > top[1]
    assert np.all(thresholds_v(model, 1e-6) == np.array(SEVEN) - 0.025)


def test_thresholds_have_a_floor() -> None:
    assert thresholds_v(SkMTJ.preset("lab"), 1e9) == pytest.approx(0.05 * np.array(SEVEN))


@pytest.mark.parametrize(("preset", "low", "high"), [("lab", 125e-12, 281e-12), ("scaled", 2.5e-12, 5.6e-12)])
def test_write_energies(array: Make, preset: Any, low: float, high: float) -> None:
    """V^2 t / R0 of the set pulses: 125-281 pJ at lab, 2.5-5.6 pJ scaled."""
    model = SkMTJ.preset(preset)
    chip = array(model)
    first = chip.pulse(EVERYONE, SEVEN[0], model.t_ref_s).mean()
    chip.field(EVERYONE, 0.1, 10e-3)
    last = chip.pulse(EVERYONE, SEVEN[-1], model.t_ref_s).mean()
    assert (first, last) == (pytest.approx(low, rel=0.01), pytest.approx(high, rel=0.01))


@pytest.mark.parametrize(("preset", "low", "high"), [("lab", 15e-12, 20e-12), ("scaled", 38e-15, 50e-15)])
def test_read_energies(array: Make, preset: Any, low: float, high: float) -> None:
    chip, at = array(SkMTJ.preset(preset)), SkMTJ.preset(preset).read
    energies = []
    for volts in (0.1, 0.85):
        chip.pulse(EVERYONE, volts, chip.model.t_ref_s)
        energies.append(float(np.mean(at.amplitude_v**2 * at.width_s / chip.read(EVERYONE, at))))
    assert energies[0] == pytest.approx(high, rel=0.02)
    assert energies[1] == pytest.approx(low, rel=0.06)


@pytest.mark.parametrize(("seconds", "safe"), [(0.02, True), (0.2, False)])
def test_read_disturb_at_lab(array: Make, seconds: float, safe: bool) -> None:
    chip = array(SkMTJ.preset("lab"), 2000)
    chip.bias(np.arange(2000), 0.2, seconds)
    moved = float(np.mean(chip.states(np.arange(2000)) > 0))
    assert moved == 0.0 if safe else moved > 0.95


def test_a_long_read_disturbs_as_a_bias_does(array: Make) -> None:
    chip = array(SkMTJ.preset("lab"), 2000)
    chip.read(np.arange(2000), ReadPulse(0.2, 0.2))
    assert np.mean(chip.states(np.arange(2000)) > 0) > 0.95


def test_read_noise_is_a_third_of_a_percent(array: Make) -> None:
    chip = array(SkMTJ.preset("scaled"))
    at = chip.model.read
    relative = chip.read(EVERYONE, at) / chip.resistance(EVERYONE, at.amplitude_v) - 1
    assert relative.std() == pytest.approx(0.003, rel=0.02)
    assert abs(relative.mean()) < 5 * 0.003 / np.sqrt(MANY)


@pytest.mark.parametrize(("field_t", "flat_s", "empty"), [
    (0.1, 10e-3, True), (0.08, 1e-3, True), (0.0799, 10e-3, False), (0.1, 0.9e-3, False), (-0.1, 10e-3, False),
])  # fmt: skip
def test_a_field_resets_by_sign_strength_and_time(
    array: Make, field_t: float, flat_s: float, empty: bool
) -> None:
    chip, cells = array(SkMTJ.preset("lab"), 200), np.arange(200)
    base = chip.resistance(cells, 0.2)
    chip.pulse(cells, 0.85, 1e-6)
    chip.field(cells, field_t, flat_s)
    assert np.all(chip.states(cells) == (0 if empty else 6))
    assert np.array_equal(chip.resistance(cells, 0.2), base) == empty


@pytest.mark.parametrize("sign", [1, -1])
def test_resistance_runs_with_the_sign(array: Make, sign: int) -> None:
    chip, cells = array(SkMTJ.preset("lab", sign=sign), 500), np.arange(500)
    base = chip.resistance(cells, 0.2)
    chip.pulse(cells, 0.85, 1e-6)
    change = chip.resistance(cells, 0.2) / base - 1
    assert change.mean() == pytest.approx(sign * 0.30 / (1 + 0.4**2), rel=0.02)


@pytest.mark.parametrize("changes", [{"sign": 0}, {"set_v": ()}, {"set_v": (0.6, 0.5)}, {"set_v": (0.02,)}])
def test_bad_parameters_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(changes))):
        SkMTJ(**changes)


def test_presets_differ_as_devices_do() -> None:
    lab, scaled = SkMTJ.preset("lab"), SkMTJ.preset("scaled")
    assert (lab.reset_scope, lab.reset_energy_j) == (Scope.ARRAY, 0.1)
    assert (scaled.reset_scope, scaled.reset_energy_j) == (Scope.CELL, 1e-12)
    assert lab.resets(FieldPulse(0.1, 0.01))
    with pytest.raises(BadInput, match="preset 'best'"):
        SkMTJ.preset("best")  # type: ignore[arg-type]
