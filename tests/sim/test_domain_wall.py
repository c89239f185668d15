"""The domain-wall law: landing statistics against the normal law, one way, ends, conductance, energies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from quest_lab.device import FieldPulse, ReadPulse, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.sim.domain_wall import SITES, DomainWall, landing, thresholds_v
from quest_lab.sim.domain_wall_cells import DomainWallArray

MANY = 40_000
CELLS = np.arange(MANY)
WIDTH_S = 10e-9
Make = Callable[..., DomainWallArray]


@pytest.fixture
def make() -> Iterator[Make]:
    opened: list[DomainWallArray] = []

    def open_(cells: int = MANY, seed: int = 1, **changes: Any) -> DomainWallArray:
        opened.append(DomainWallArray(DomainWall(**changes), cells, seed=seed))
        return opened[-1]

    yield open_
    for array in opened:
        array.close()


def by_normal_law(sites: int, target: int) -> np.ndarray:
    """Probability of each site for x ~ N(x_target, 20 nm) on 600 nm, the outer sites taking the tails."""
    x = np.linspace(0.0, 600.0, sites)
    edges = np.concatenate([[-np.inf], 0.5 * (x[1:] + x[:-1]), [np.inf]])
    return np.diff(norm.cdf(edges, loc=x[target], scale=20.0))


@pytest.mark.parametrize("sites", SITES)
def test_walls_land_as_the_normal_law_says(make: Make, sites: int) -> None:
    for target, volts in enumerate(np.linspace(0.5, 0.8, sites - 1), start=1):
        array = make(sites=sites, seed=target)
        array.pulse(CELLS, volts, WIDTH_S)
        share = np.bincount(array.states(CELLS), minlength=sites) / MANY
        p = by_normal_law(sites, target)
        assert np.all(np.abs(share - p) <= 4.5 * np.sqrt(p * (1 - p) / MANY) + 1e-9)


@pytest.mark.parametrize("sites", SITES)
def test_negative_pulses_mirror_it_from_the_other_end(make: Make, sites: int) -> None:
    array = make(sites=sites)
    array.pulse(CELLS, 1.0, WIDTH_S)
    assert np.all(array.states(CELLS) == sites - 1)
    array.pulse(CELLS, -0.5, WIDTH_S)
    share = np.bincount(array.states(CELLS), minlength=sites) / MANY
    p = by_normal_law(sites, sites - 2)
    assert np.all(np.abs(share - p) <= 4.5 * np.sqrt(p * (1 - p) / MANY) + 1e-9)


@given(st.integers(0, 8), st.floats(-1.2, 1.2), st.floats(-3.0, 3.0))
def test_a_pulse_pushes_one_way_and_below_the_first_threshold_not_at_all(
    k: int, volts: float, z: float
) -> None:
    limits = thresholds_v(DomainWall(sites=9))
    to = landing(k, volts, limits, z)
    assert 0 <= to <= 8
    assert (to - k) * volts >= 0.0
    assert to == k or abs(volts) >= 0.48


def test_one_strong_negative_pulse_empties_every_cell(make: Make) -> None:
    array = make(sites=9)
    fresh = array.resistance(CELLS, 0.1)
    for i, volts in enumerate(np.linspace(0.5, 0.8, 8)):
        array.pulse(CELLS[i::8], volts, WIDTH_S)
    reset = array.model.reset
    array.pulse(CELLS, reset.amplitude_v, reset.width_s)
    assert not array.states(CELLS).any()
    assert np.array_equal(array.resistance(CELLS, 0.1), fresh)  # pressed against the end: no residual


def test_conductance_is_linear_in_the_place_with_two_nanometres_left_over(make: Make) -> None:
    array = make(r0_spread=0.0, swing=1.0, swing_spread=0.0)
    for site, volts in enumerate((0.5, 0.6, 0.7, 0.8), start=1):
        array.pulse(CELLS, volts, WIDTH_S)
        here = array.states(CELLS) == site
        x_nm = (1e6 / array.resistance(CELLS[here], 0.1) - 1.0) * 600.0
        assert x_nm.mean() == pytest.approx(150.0 * site, abs=0.1)
        assert x_nm.std() == pytest.approx(2.0, rel=0.03)


def test_a_write_spends_about_five_femtojoule(make: Make) -> None:
    array = make(cells=1, r0_spread=0.0)
    assert array.pulse(np.array([0]), 0.7, WIDTH_S)[0] == pytest.approx(4.9e-15)  # 0.49 V^2 10 ns / 1 Mohm
    mean = np.mean(
        [make(cells=1, r0_spread=0.0).pulse(np.array([0]), v, WIDTH_S)[0] for v in (0.5, 0.6, 0.7, 0.8)]
    )
    assert mean == pytest.approx(5e-15, rel=0.2)


def test_a_shorter_pulse_moves_nothing_and_a_longer_one_moves_the_same(make: Make) -> None:
    short, long = make(cells=100), make(cells=100)
    few = np.arange(100)
    short.pulse(few, 0.8, 0.99 * WIDTH_S)
    long.pulse(few, 0.8, 1e-6)
    assert not short.states(few).any()
    assert np.all(long.states(few) == 4)


def test_neither_field_nor_read_moves_a_wall(make: Make) -> None:
    array = make(cells=100)
    few = np.arange(100)
    array.pulse(few, 0.6, WIDTH_S)
    before = array.states(few)
    array.field(few, 1.0, 1.0)
    array.read(few, ReadPulse(0.1, 1.0))
    assert np.array_equal(array.states(few), before)


def test_a_source_left_on_above_the_threshold_does(make: Make) -> None:
    array = make(cells=100)
    array.bias(np.arange(100), 0.6, 1e-3)
    assert np.all(array.states(np.arange(100)) == 2)


def test_read_noise_is_a_share_of_the_resistance(make: Make) -> None:
    array = make()
    error = array.read(CELLS, array.model.read) / array.resistance(CELLS, 0.1) - 1.0
    assert error.std() == pytest.approx(0.003, rel=0.03)
    assert error.mean() == pytest.approx(0.0, abs=4 * 0.003 / np.sqrt(MANY))


def test_only_a_strong_long_negative_pulse_counts_as_a_reset() -> None:
    model = DomainWall()
    assert model.resets(VoltagePulse(-1.0, WIDTH_S))
    assert not model.resets(VoltagePulse(1.0, WIDTH_S))
    assert not model.resets(VoltagePulse(-0.9, WIDTH_S))
    assert not model.resets(VoltagePulse(-1.0, 1e-9))
    assert not model.resets(FieldPulse(0.1, 0.01))


@pytest.mark.parametrize(("changes", "match"), [
    ({"sites": 4}, "want one of 3, 5, 7, 9"),
    ({"last_v": 0.4}, "first < last"),
    ({"guard_v": 0.2}, "guard_v=0.2"),
    ({"reset": VoltagePulse(-0.5, 1e-8)}, "left end"),
])  # fmt: skip
def test_impossible_laws_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        DomainWall(**changes)


@pytest.mark.parametrize("sites", SITES)
def test_cells_that_pin_more_strongly_stay_behind(make: Make, sites: int) -> None:
    """At the nominal amplitude a cell stops short if its threshold is higher: (V - guard)(1 + d) > V."""
    array, spread = make(sites=sites, landing_std_m=0.0, pinning_spread=0.05), 0.05
    array.pulse(CELLS, 0.5, WIDTH_S)
    stayed = float(np.mean(array.states(CELLS) == 0))
    assert stayed == pytest.approx(norm.sf(0.5 / 0.48 - 1.0, scale=spread), abs=0.01)
    reset = array.model.reset
    array.pulse(CELLS, 1.0, WIDTH_S)
    array.pulse(CELLS, reset.amplitude_v, reset.width_s)
    assert not array.states(CELLS).any()
