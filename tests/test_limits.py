"""Limits refuse before the wire, and say which limit it was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from quest_lab.clock import VirtualClock
from quest_lab.device import FieldPulse, ReadPulse, VoltagePulse
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.limits import Limit, Limited, Limits
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

CELL = np.array([0])
BENCH = Limits(
    amplitude_v=Limit(-0.9, 0.9, "V", "limits.amplitude_v in bench.toml"),
    width_s=Limit(0.0, 1e-3, "s", "limits.max_pulse_width_s in bench.toml"),
    field_width_s=Limit(0.0, 0.1, "s", "limits.max_field_s in bench.toml"),
    read_width_s=Limit(0.0, 0.05, "s", "limits.max_read_s in bench.toml"),
    energy_j=Limit(0.0, 1e-9, "J", "limits.max_energy_j in bench.toml"),
    energy_at_ohm=1000.0,
)


@pytest.fixture
def chip() -> Iterator[SimulatedChip]:
    device = SimulatedChip(CellArray(SkMTJ.preset("lab"), 4, seed=0), VirtualClock())
    yield device
    device.close()


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (VoltagePulse(0.95, 1e-8), r"amplitude_v=0.95: above 0.9 V, limits.amplitude_v in bench.toml"),
        (VoltagePulse(-0.95, 1e-8), r"amplitude_v=-0.95: below -0.9 V"),
        (VoltagePulse(0.1, 2e-3), r"width_s=0.002: above 0.001 s, limits.max_pulse_width_s in bench.toml"),
        (VoltagePulse(0.8, 1e-5), r"energy_j of 0.8 V, 1e-05 s=6.4e-09: above 1e-09 J"),
        (FieldPulse(0.6, 0.01), r"field_t=0.6: above 0.5 T, capabilities.field_t of"),
        (FieldPulse(0.1, 0.2), r"width_s=0.2: above 0.1 s, limits.max_field_s"),
    ],
)
def test_a_pulse_beyond_a_limit_is_refused_with_its_reason(
    chip: SimulatedChip, operation: VoltagePulse | FieldPulse, message: str
) -> None:
    with pytest.raises(LimitExceeded, match=message):
        Limited(chip, BENCH).apply(operation, np.arange(4))


def test_a_refused_pulse_changes_nothing(chip: SimulatedChip) -> None:
    with pytest.raises(LimitExceeded):
        Limited(chip, BENCH).apply(VoltagePulse(0.95, 1e-6), CELL)
    assert chip.array.states(CELL).tolist() == [0]


@pytest.mark.parametrize("at", [ReadPulse(0.5, 1e-6), ReadPulse(0.1, 0.06)])
def test_a_read_beyond_a_limit_is_refused(chip: SimulatedChip, at: ReadPulse) -> None:
    with pytest.raises(LimitExceeded, match="read"):
        Limited(chip, BENCH).read(CELL, at)


def test_values_at_the_limit_pass(chip: SimulatedChip) -> None:
    limited = Limited(chip, BENCH)
    assert limited.apply(VoltagePulse(0.9, 1e-6), CELL, then_read=True).reading is not None
    assert limited.read(CELL, ReadPulse(0.2, 1e-6)).resistance_ohm.shape == (1,)


def test_without_own_limits_the_capabilities_hold(chip: SimulatedChip) -> None:
    high_v = chip.capabilities.amplitude_v.high
    with pytest.raises(LimitExceeded, match=f"above {high_v:g} V, capabilities"):
        Limited(chip).apply(VoltagePulse(1.01 * high_v, 1e-6), CELL)


def test_of_two_sources_the_tighter_holds(chip: SimulatedChip) -> None:
    protocol = Limits(amplitude_v=Limit(-0.5, 0.5, "V", "the protocol"))
    both = Limited(Limited(chip, BENCH), protocol)
    with pytest.raises(LimitExceeded, match="the protocol"):
        both.apply(VoltagePulse(0.6, 1e-8), CELL)
    with pytest.raises(LimitExceeded, match="max_pulse_width_s"):
        both.apply(VoltagePulse(0.1, 0.01), CELL)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (float("nan"), 1.0)])
def test_a_limit_without_room_is_refused(low: float, high: float) -> None:
    with pytest.raises(BadInput, match="low="):
        Limit(low, high, "V", "bench.toml")
