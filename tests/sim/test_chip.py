"""The simulated chip behind the Device seam: time, energies, domains, true states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quest_lab.device import FieldPulse, ReadPulse, Scope, VoltagePulse
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

Make = Callable[..., Session]
ALL = np.arange(20)


@pytest.mark.parametrize("preset", ["scaled", "lab"])
def test_a_call_takes_the_time_of_one_pulse_for_all_cells(session_on: Make, preset: str) -> None:
    session = session_on(SkMTJ.preset(preset), 20)
    session.device.apply(VoltagePulse(0.5, 3e-6), ALL)
    assert session.clock.now() == pytest.approx(3e-6)
    session.device.read(ALL, ReadPulse(0.1, 2e-6))
    assert session.clock.now() == pytest.approx(5e-6)
    session.device.apply(FieldPulse(0.1, 0.01), ALL, then_read=True)
    assert session.clock.now() == pytest.approx(0.010005 + session.device.capabilities.read.width_s)


def test_a_domain_reset_costs_its_field_once(session_on: Make) -> None:
    lab, scaled = session_on(SkMTJ.preset("lab"), 20), session_on(SkMTJ.preset("scaled"), 20)
    field = FieldPulse(0.1, 0.01)
    assert lab.device.apply(field, ALL).energy_j.sum() == pytest.approx(0.1)
    assert scaled.device.apply(field, ALL).energy_j.tolist() == pytest.approx([1e-12] * 20)
    assert lab.device.apply(field, ALL[:0]).energy_j.size == 0


def test_capabilities_are_those_of_the_model(session_on: Make) -> None:
    model = SkMTJ.preset("lab", t_ref_s=5e-7)
    can = session_on(model, 20, seed=8).device.capabilities
    assert (can.cells, can.set_width_s, can.read, can.reset) == (20, 5e-7, model.read, model.reset)
    assert can.reset_scope is Scope.ARRAY
    assert can.simulated
    assert "seed8" in can.chip_id


def test_true_states_are_those_of_the_cells(session_on: Make) -> None:
    chip = session_on(SkMTJ.preset("scaled"), 20).device
    assert isinstance(chip, SimulatedChip)
    chip.apply(VoltagePulse(0.85, 2e-8), ALL[:5])
    assert chip.true_states(ALL[::-1]).tolist() == [0] * 15 + [6] * 5


def test_a_field_too_weak_to_reset_leaves_the_states(session_on: Make) -> None:
    chip = session_on(SkMTJ.preset("scaled"), 20).device
    chip.apply(VoltagePulse(0.85, 2e-8), ALL)
    before = chip.read(ALL).resistance_ohm
    chip.apply(FieldPulse(0.05, 0.01), ALL)
    np.testing.assert_allclose(chip.read(ALL).resistance_ohm, before, rtol=0.03)
