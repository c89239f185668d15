"""The closed loop on simulated chips: targets reached, nothing twice, stuck cells reported, domains kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from quest_lab.characterization import Characterization
from quest_lab.device import Applied, Capabilities, Cells, Device, FieldPulse, Operation, Reading, ReadPulse
from quest_lab.errors import BadInput, DeviceError, Interrupted
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.write import Programmer

SCALED, LAB = SkMTJ.preset("scaled"), SkMTJ.preset("lab")
FALLING = SkMTJ.preset("scaled", sign=-1)
Make = Callable[..., Session]
Restricted = Callable[..., Characterization]
ALL = np.arange(240)


class Watched:
    """A device that keeps what was asked of it, and may fail at one call."""

    def __init__(self, device: Device, fail_at: int = -1) -> None:
        self.device, self.fail_at = device, fail_at
        self.applied: list[tuple[Operation, list[int]]] = []

    @property
    def capabilities(self) -> Capabilities:
        return self.device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        if len(self.applied) == self.fail_at:
            raise DeviceError("generator gone", ambiguous=cells)
        self.applied.append((operation, cells.tolist()))
        return self.device.apply(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self.device.read(cells, at)

    def safe_state(self) -> None:
        self.device.safe_state()

    def close(self) -> None:
        self.device.close()

    def per_cell(self) -> dict[int, list[Operation]]:
        out: dict[int, list[Operation]] = {}
        for operation, cells in self.applied:
            for cell in cells:
                out.setdefault(cell, []).append(operation)
        return out


def targets(seed: int, count: int = 240) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, count).astype(np.int8)


@pytest.mark.parametrize("model", [SCALED, FALLING], ids=["rising", "falling"])
def test_the_loop_reaches_its_targets(session_on: Make, restricted: Restricted, model: SkMTJ) -> None:
    device = session_on(model).device
    assert isinstance(device, SimulatedChip)
    programmer = Programmer(device, restricted(model))
    for seed in range(3):
        done = programmer.write(ALL, targets(seed))
        assert done.states.tolist() == targets(seed).tolist()
        nearest = np.array([0, 0, 1, 1, 1, 2, 2])[device.true_states(ALL)]
        assert np.mean(nearest != targets(seed)) < 0.02


def test_all_seven_states_are_reached(
    session_on: Make, characterized: Callable[..., Characterization]
) -> None:
    wanted = np.random.default_rng(0).integers(0, 7, 240)
    done = Programmer(session_on(SCALED).device, characterized(SCALED)).write(ALL, wanted)
    assert done.wrong.mean() < 0.02


def test_writing_again_gives_no_pulse(session_on: Make, restricted: Restricted) -> None:
    programmer = Programmer(session_on(SCALED).device, restricted(SCALED))
    programmer.write(ALL, targets(0))
    again = programmer.write(ALL, targets(0))
    assert (again.pulses, again.resets) == (0, 0)
    assert again.write_j == 0.0
    assert again.reads == 240


def test_a_write_goes_on_where_another_stopped(session_on: Make, restricted: Restricted) -> None:
    session = session_on(SCALED)
    calls = iter([None, Interrupted("now")])

    def check() -> None:
        if (what := next(calls, None)) is not None:
            raise what

    with pytest.raises(Interrupted):
        Programmer(session.device, restricted(SCALED), check=check).write(ALL, targets(1))
    done = Programmer(session.device, restricted(SCALED)).write(ALL, targets(1))
    assert not done.wrong.any()


def test_a_cell_gets_the_same_pulses_alone_as_in_company(
    session_on: Make, characterized: Callable[..., Characterization]
) -> None:
    restless = SkMTJ.preset("scaled", xi_pulse=0.03)
    found = characterized(restless)
    together, alone = Watched(session_on(restless).device), Watched(session_on(restless).device)
    company, one_by_one = Programmer(together, found), Programmer(alone, found)
    for programmer in (company, one_by_one):  # cells at every attempt, many misses: the hardest round
        programmer.memory[:] = np.arange(ALL.size) % programmer.policy.model.memories
    for seed in range(3):
        wanted = np.random.default_rng(seed).integers(0, found.states, 240)
        company.write(ALL, wanted)
        for cell in ALL:
            one_by_one.write(ALL[[cell]], wanted[[cell]])
    assert together.per_cell() == alone.per_cell()


def test_cells_keep_the_callers_order(session_on: Make, restricted: Restricted) -> None:
    mixed = np.random.default_rng(1).permutation(ALL)[:50]
    for model in (SCALED, LAB):
        done = Programmer(session_on(model).device, restricted(model)).write(mixed, targets(2, 50))
        assert done.cells.tolist() == mixed.tolist()
        assert done.states.tolist() == targets(2, 50).tolist()


@pytest.mark.parametrize("model", [SCALED, LAB], ids=["cell", "array"])
def test_stuck_cells_are_reported_after_finite_pulses(
    session_on: Make, restricted: Restricted, model: SkMTJ
) -> None:
    device = session_on(model).device
    assert isinstance(device, SimulatedChip)
    device.array.stick(np.array([3, 77]))
    watched = Watched(device)
    programmer = Programmer(watched, restricted(model))
    done = programmer.write(ALL, np.full(240, 2))
    assert np.flatnonzero(done.wrong).tolist() == [3, 77]
    assert 1 < len(watched.per_cell()[3]) <= programmer.policy.horizon


def test_accounts_are_kept_apart(session_on: Make, restricted: Restricted) -> None:
    device = session_on(SCALED).device
    found = restricted(SCALED)
    Programmer(device, found).write(ALL, np.full(240, 2))
    done = Programmer(device, found).write(ALL, np.zeros(240, int))
    assert (done.pulses, done.resets, done.field_j) == (0, 240, 0.0)
    assert done.write_j == pytest.approx(240e-12)
    assert done.reads == 480
    assert done.verify_j == pytest.approx(480 * 0.1**2 * 10e-9 / 2200, rel=0.1)


def test_an_array_is_reset_once_a_write_and_its_standing_cells_restored(
    session_on: Make, restricted: Restricted
) -> None:
    watched = Watched(session_on(LAB).device)
    programmer = Programmer(watched, restricted(LAB))
    programmer.write(ALL, targets(0))
    watched.applied.clear()
    falling = np.flatnonzero(targets(0) == 2)[:5]
    done = programmer.write(falling, np.ones(5, int))
    fields = [cells for operation, cells in watched.applied if isinstance(operation, FieldPulse)]
    assert fields == [ALL.tolist()]
    assert done.resets == 1
    assert done.field_j == pytest.approx(0.1)
    assert done.rewritten.tolist() == np.setdiff1d(ALL, falling).tolist()
    wanted = targets(0)
    wanted[falling] = 1
    held = np.empty(240, np.int8)
    held[done.rewritten], held[falling] = done.rewritten_states, done.states
    assert np.mean(held != wanted) < 0.03  # overshoots stay: one reset a step


def test_without_a_fall_an_array_is_not_reset(session_on: Make, restricted: Restricted) -> None:
    watched = Watched(session_on(LAB).device)
    programmer = Programmer(watched, restricted(LAB))
    programmer.write(ALL[:100], np.ones(100, int))
    done = programmer.write(ALL[50:80], np.full(30, 2))
    assert not any(isinstance(operation, FieldPulse) for operation, _ in watched.applied)
    assert (done.resets, done.field_j, done.rewritten.size) == (0, 0.0, 0)


def test_cells_nobody_wrote_are_not_restored(session_on: Make, restricted: Restricted) -> None:
    watched = Watched(session_on(LAB).device)
    programmer = Programmer(watched, restricted(LAB))
    programmer.write(ALL[:4], np.array([2, 2, 1, 0]))
    watched.applied.clear()
    done = programmer.write(ALL[:1], np.array([1]))
    assert done.rewritten.tolist() == [1, 2, 3]
    pulsed = {c for o, cells in watched.applied for c in cells if not isinstance(o, FieldPulse)}
    assert pulsed <= {0, 1, 2}


@pytest.mark.parametrize("model", [SCALED, LAB], ids=["cell", "array"])
@pytest.mark.parametrize("fail_at", [0, 1])
def test_a_device_error_passes_through_with_its_books(
    session_on: Make, restricted: Restricted, model: SkMTJ, fail_at: int
) -> None:
    watched = Watched(session_on(model).device, fail_at)
    with pytest.raises(DeviceError, match="generator gone") as caught:
        Programmer(watched, restricted(model)).write(ALL, targets(0))
    assert caught.value.ambiguous.size > 0


@pytest.mark.parametrize("model", [SCALED, LAB], ids=["cell", "array"])
def test_a_cell_without_baseline_is_refused_before_the_first_pulse(
    session_on: Make, restricted: Restricted, model: SkMTJ
) -> None:
    watched = Watched(session_on(model).device)
    programmer = Programmer(watched, restricted(model, 100))
    with pytest.raises(BadInput, match="no baseline, first cell 100"):
        programmer.write(ALL, targets(0))
    assert watched.applied == []
    assert not programmer.write(ALL[:100], targets(0, 100)).wrong.any()


@pytest.mark.parametrize("target", [[0, 3], [0, -1], [256, 0], [0]])
def test_targets_that_do_not_exist_are_refused(
    session_on: Make, restricted: Restricted, target: list[int]
) -> None:
    watched = Watched(session_on(SCALED).device)
    with pytest.raises(BadInput, match="target"):
        Programmer(watched, restricted(SCALED)).write(ALL[:2], np.array(target))
    assert watched.applied == []


def test_another_chips_characterisation_is_refused(session_on: Make, restricted: Restricted) -> None:
    with pytest.raises(BadInput, match="is of chip other"):
        Programmer(session_on(SCALED).device, replace(restricted(SCALED), chip_id="other"))


@pytest.mark.parametrize("model", [SCALED, LAB], ids=["cell", "array"])
def test_open_loop_gives_each_cell_one_reset_and_one_pulse(
    session_on: Make, restricted: Restricted, model: SkMTJ
) -> None:
    watched = Watched(session_on(model).device)
    done = Programmer(watched, restricted(model), closed_loop=False).write(ALL, targets(0))
    for cell, operations in watched.per_cell().items():
        assert len(operations) == (1 if targets(0)[cell] == 0 else 2)
        assert isinstance(operations[0], FieldPulse)
    assert done.wrong.mean() < 0.2


def test_no_cells_are_no_write(session_on: Make, restricted: Restricted) -> None:
    done = Programmer(session_on(SCALED).device, restricted(SCALED)).write(ALL[:0], ALL[:0])
    assert (done.reads, done.pulses, done.states.size) == (0, 0, 0)
