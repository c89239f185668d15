"""Recorded: every call of a device is in the run, whatever happens to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.clock import VirtualClock
from quest_lab.device import (
    Applied,
    Capabilities,
    Cells,
    FieldPulse,
    Operation,
    Reading,
    ReadPulse,
    VoltagePulse,
)
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.limits import Limited
from quest_lab.record import Recorded, RunWriter
from quest_lab.runfile import Run
from quest_lab.schema import Kind, Op, Origin, Outcome
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

PULSE = VoltagePulse(0.6, 2e-8)
CELLS = np.array([3, 1, 4, 0])


class Intercepted:
    """A simulated chip that calls `fault` in the middle of each call; a chip may be called hardware."""

    def __init__(self, hardware: bool) -> None:
        self.clock = VirtualClock()
        self.chip = SimulatedChip(CellArray(SkMTJ.preset("scaled"), 8, seed=0), self.clock)
        self.capabilities: Capabilities = replace(self.chip.capabilities, simulated=not hardware)
        self.fault: Callable[[], None] = lambda: None

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        self.fault()
        return self.chip.apply(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        self.fault()
        return self.chip.read(cells, at)

    def safe_state(self) -> None:
        self.chip.safe_state()

    def close(self) -> None:
        self.chip.close()

    def raises(self, error: BaseException) -> None:
        def fault() -> None:
            raise error

        self.fault = fault


@pytest.fixture(params=[False, True], ids=["simulated", "hardware"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Recorded, Intercepted, RunWriter]]:
    chip = Intercepted(hardware=request.param)
    with RunWriter.create(tmp_path / "run.h5", kind="session", title="", seed=0, settings={}) as run:
        yield Recorded(Limited(chip), run, chip.clock), chip, run
    chip.close()


def opened(run: RunWriter) -> Run:
    run.close()
    return open_run(run.path)


def events(read: Run, kind: Kind) -> list[tuple[str, int]]:
    """(outcome, cell) of every event of a kind, in the order of the calls."""
    table = read.applies if kind is Kind.APPLY else read.reads
    found = []
    for call in read.calls[read.calls["kind"] == kind].itertuples():
        cells = table["cell"][call.first : call.first + call.count]
        found += [(Outcome(call.outcome).name, cell) for cell in cells]
    return found


def test_the_run_holds_what_the_device_answered(bench: tuple[Recorded, Intercepted, RunWriter]) -> None:
    device, _, run = bench
    applied = device.apply(PULSE, CELLS, then_read=True)
    reading = device.read(CELLS[:1], ReadPulse(0.05, 1e-8))
    with opened(run) as read:
        assert read.calls[["kind", "op", "outcome", "origin", "count", "first"]].to_numpy().tolist() == [
            [Kind.APPLY, Op.VOLTAGE, Outcome.DONE, Origin.COMPUTED, 4, 0],
            [Kind.READ, Op.NONE, Outcome.DONE, Origin.NONE, 4, 0],
            [Kind.READ, Op.NONE, Outcome.DONE, Origin.NONE, 1, 4],
        ]
        assert read.calls["amplitude"].tolist() == [0.6, applied.reading.at.amplitude_v, 0.05]  # type: ignore[union-attr]
        assert read.applies["cell"].tolist() == CELLS.tolist()
        np.testing.assert_array_equal(read.applies["energy_j"], applied.energy_j.astype(np.float32))
        both = np.concatenate([applied.reading.resistance_ohm, reading.resistance_ohm])  # type: ignore[union-attr]
        np.testing.assert_array_equal(read.reads["resistance_ohm"], both.astype(np.float32))


def test_a_field_is_booked_in_tesla(bench: tuple[Recorded, Intercepted, RunWriter]) -> None:
    device, chip, run = bench
    device.apply(FieldPulse(0.1, 0.01), CELLS)
    with opened(run) as read:
        call = read.calls.iloc[0]
        assert (call["op"], call["amplitude"], call["width_s"]) == (Op.FIELD, 0.1, 0.01)
        assert call["clock_s"] < chip.clock.now()


def test_a_broken_call_is_split_by_what_its_cells_got(bench: tuple[Recorded, Intercepted, RunWriter]) -> None:
    device, chip, run = bench
    partial = chip.chip.read(CELLS[:1])
    chip.raises(DeviceError("cable", delivered=CELLS[:2], ambiguous=CELLS[2:3], partial=partial))
    with pytest.raises(DeviceError, match="cable"):
        device.apply(PULSE, CELLS, then_read=True)
    assert run.acknowledged["applies"] == 4
    with opened(run) as read:
        assert events(read, Kind.APPLY) == [("DONE", 3), ("DONE", 1), ("FAILED", 0), ("AMBIGUOUS", 4)]
        assert events(read, Kind.READ) == [("DONE", 3)]
        assert read.applies["energy_j"].isna().all()


def test_of_a_broken_read_the_part_that_came_is_booked(
    bench: tuple[Recorded, Intercepted, RunWriter],
) -> None:
    device, chip, run = bench
    partial = chip.chip.read(CELLS[:2])
    chip.raises(DeviceError("meter", partial=partial))
    with pytest.raises(DeviceError):
        device.read(CELLS)
    with opened(run) as read:
        assert events(read, Kind.READ) == [("DONE", 3), ("DONE", 1), ("FAILED", 4), ("FAILED", 0)]
        known = partial.resistance_ohm.astype(np.float32).tolist()
        assert read.reads["resistance_ohm"][:2].tolist() == known
        assert read.reads["resistance_ohm"][2:].isna().all()


def test_a_call_cut_off_from_outside_is_ambiguous(bench: tuple[Recorded, Intercepted, RunWriter]) -> None:
    device, chip, run = bench
    chip.raises(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        device.apply(PULSE, CELLS)
    with opened(run) as read:
        assert events(read, Kind.APPLY) == [("AMBIGUOUS", cell) for cell in CELLS]


def test_a_refused_call_is_booked_as_not_given(bench: tuple[Recorded, Intercepted, RunWriter]) -> None:
    device, _, run = bench
    with pytest.raises(LimitExceeded):
        device.apply(VoltagePulse(5.0, 1e-8), CELLS)
    with opened(run) as read:
        assert events(read, Kind.APPLY) == [("FAILED", cell) for cell in CELLS]


def test_the_books_go_on_after_a_failure(bench: tuple[Recorded, Intercepted, RunWriter]) -> None:
    device, chip, run = bench
    chip.raises(DeviceError("cable", delivered=CELLS[:2]))
    with pytest.raises(DeviceError):
        device.apply(PULSE, CELLS)
    chip.fault = lambda: None
    device.apply(PULSE, CELLS[:1])
    with opened(run) as read:
        assert events(read, Kind.APPLY)[-1] == ("DONE", 3)
        assert len(read.applies) == 5


def test_on_hardware_the_intent_is_on_disk_before_the_pulse(tmp_path: Path) -> None:
    chip, copy = Intercepted(hardware=True), tmp_path / "copy.h5"
    with RunWriter.create(tmp_path / "run.h5", kind="session", title="", seed=0, settings={}) as run:
        chip.fault = lambda: (shutil.copy(tmp_path / "run.h5.part", copy), None)[1]
        Recorded(chip, run, chip.clock).apply(PULSE, CELLS)
        acknowledged = dict(run.acknowledged)
    with open_run(copy) as read:
        assert events(read, Kind.APPLY) == [("INTENT", cell) for cell in CELLS]
    assert acknowledged["calls"] == 1
    chip.close()


def test_on_a_simulated_chip_calls_are_buffered(tmp_path: Path) -> None:
    chip = Intercepted(hardware=False)
    with RunWriter.create(
        tmp_path / "run.h5", kind="session", title="", seed=0, settings={}, monotonic=lambda: 0.0
    ) as run:
        Recorded(chip, run, chip.clock).apply(PULSE, CELLS)
        assert run.acknowledged.get("calls", 0) == 0
        run.mark("phase done")
        assert run.acknowledged["calls"] == 1
    chip.close()


def test_cells_the_chip_does_not_have_leave_no_trace(bench: tuple[Recorded, Intercepted, RunWriter]) -> None:
    device, _, run = bench
    with pytest.raises(BadInput, match="index 99"):
        device.apply(PULSE, np.array([99]))
    with opened(run) as read:
        assert read.calls.empty
