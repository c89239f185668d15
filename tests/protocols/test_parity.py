"""One seed, one story: per cell the same operations and decoded states on every kind of device.

The simulated chip in bulk, the same chip one cell a call, and the virtual bench (buffered path, meter without
noise of its own), each through characterize and a replay, compared by what their run files say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.benches import open_file_bench
from quest_lab.benchfile import parse_bench
from quest_lab.characterization import Characterization
from quest_lab.clock import Clock, VirtualClock
from quest_lab.device import Applied, Capabilities, Cells, Device, FieldPulse, Operation, Reading, ReadPulse
from quest_lab.examples import example_benches
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.replay import Replay, replay
from quest_lab.record import Recorded, RunWriter
from quest_lab.schedule import Schedule, synthesize
from quest_lab.schema import Kind
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

CELLS, SEED = 9, 4
READ = ReadPulse(0.1, 0.02)  # of slow-matrix.toml
SETTINGS = CharacterizeSettings(start_v=0.4, stop_v=0.84, step_v=0.02, repeats=2, attempts=3, max_cycles=12)


class OneByOne:
    """A device that is asked one cell at a time, in the order given; a domain's field stays one call."""

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        if isinstance(operation, FieldPulse) or not cells.size:
            return self._device.apply(operation, cells, then_read=then_read)
        parts = [
            self._device.apply(operation, cells[i : i + 1], then_read=then_read) for i in range(cells.size)
        ]
        energy = np.concatenate([part.energy_j for part in parts])
        reading = _joined([part.expect_reading() for part in parts]) if then_read else None
        return Applied(cells, operation, energy, parts[0].origin, reading)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return _joined([self._device.read(cells[i : i + 1], at) for i in range(cells.size)])

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        self._device.close()


def _joined(parts: list[Reading]) -> Reading:
    cells, ohm, energy = (
        np.concatenate([getattr(p, n) for p in parts]) for n in ("cells", "resistance_ohm", "energy_j")
    )
    return Reading(cells, ohm, energy, parts[0].at)


def _chip() -> tuple[Device, Clock]:
    clock, model = VirtualClock(), SkMTJ.preset("lab", read=READ)
    chip_id = f"skmtj-die-7-{CELLS}-seed{SEED}-twin"
    return SimulatedChip(CellArray(model, CELLS, seed=SEED, chip_id=chip_id), clock), clock


def _bench() -> tuple[Device, Clock]:
    """With a buffered path, whose volts at the cell are exact before the first read too."""
    path = example_benches()["slow-matrix"]
    text = path.read_text(encoding="utf-8").replace("buffered = false", "buffered = true")
    return open_file_bench(parse_bench(text, path).with_twin(cells=CELLS, seed=SEED), meter_noise=False)


OPENERS: dict[str, tuple[Callable[[], tuple[Device, Clock]], bool]] = {
    "bulk": (_chip, False),
    "one by one": (_chip, True),
    "virtual bench": (_bench, False),
}


@dataclass(frozen=True)
class Story:
    """What happened: results, and the run file's events of each cell in order."""

    found: Characterization
    out: Replay
    calls: int
    events: dict[int, list[tuple[int, float, float]]]  # kind, amplitude, ohm or (an apply) NaN


def _events(path: Path) -> tuple[int, dict[int, list[tuple[int, float, float]]]]:
    out: dict[int, list[tuple[int, float, float]]] = {cell: [] for cell in range(CELLS)}
    with open_run(path) as run:
        calls, tables = run.calls, {Kind.APPLY: run.applies, Kind.READ: run.reads}
    for call in calls.itertuples():
        rows = tables[Kind(call.kind)].iloc[call.first : call.first + call.count]
        reads = call.kind == Kind.READ
        values = rows["resistance_ohm"] if reads else np.full(len(rows), np.nan)
        for cell, value in zip(rows["cell"], values, strict=True):
            out[int(cell)].append((int(call.kind), float(call.amplitude), float(value)))
    return len(calls), out


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    folder, told = tmp_path_factory.mktemp("parity"), {}
    path = synthesize(folder / "s.h5", [(1, 1, 3, 3)], steps=6, change_rate=0.3, seed=1, image=(4, 4))
    for name, (opener, one_by_one) in OPENERS.items():
        device, clock = opener()
        with (
            RunWriter.create(folder / f"{name}.h5", kind="replay", title="", seed=SEED, settings={}) as run,
            Schedule.open(path) as schedule,
        ):
            recorded: Device = Recorded(device, run, clock)
            session = Session(OneByOne(recorded) if one_by_one else recorded, clock, seed=SEED)
            everyone = np.arange(CELLS)
            found, _ = characterize(session, everyone, everyone, SETTINGS)
            out = replay(session, schedule, found.restrict((0, 3, found.states - 1)), (1, 0, 2))
        device.close()
        told[name] = Story(found, out, *_events(folder / f"{name}.h5"))
    return told


OTHERS = ["one by one", "virtual bench"]


def test_the_story_is_worth_comparing(stories: dict[str, Story]) -> None:
    assert stories["bulk"].found.states == 7
    assert all(len(events) > 150 for events in stories["bulk"].events.values())
    assert stories["one by one"].calls > 3 * stories["bulk"].calls


@pytest.mark.parametrize("other", OTHERS)
def test_every_cell_gets_the_same_operations_in_the_same_order(stories: dict[str, Story], other: str) -> None:
    for cell, events in stories["bulk"].events.items():
        assert [e[:2] for e in stories[other].events[cell]] == [e[:2] for e in events]


@pytest.mark.parametrize("other", OTHERS)
def test_every_read_decodes_to_the_same_state(stories: dict[str, Story], other: str) -> None:
    def decoded(story: Story, cell: int) -> list[int]:
        ohm = np.array([e[2] for e in story.events[cell] if e[0] == Kind.READ])
        reading = Reading(np.array([cell]), ohm, ohm, READ)
        return [int(s) for s in story.found.decode(reading)]

    for cell in range(CELLS):
        assert decoded(stories[other], cell) == decoded(stories["bulk"], cell)


@pytest.mark.parametrize("other", OTHERS)
def test_resistances_agree_within_four_sigma(stories: dict[str, Story], other: str) -> None:
    for cell in range(CELLS):
        a, b = (np.array([e[2] for e in stories[n].events[cell]]) for n in ("bulk", other))
        np.testing.assert_allclose(b, a, rtol=4 * 0.003)


@pytest.mark.parametrize("other", OTHERS)
def test_the_findings_are_the_same(stories: dict[str, Story], other: str) -> None:
    a, b = stories["bulk"], stories[other]
    assert np.array_equal(a.found.counts, b.found.counts)
    assert np.array_equal(a.found.set_v, b.found.set_v)
    assert np.array_equal(a.out.read, b.out.read)
    assert np.array_equal(a.out.confusion, b.out.confusion)
    assert a.out.steps["pulses"] == b.out.steps["pulses"]
    np.testing.assert_allclose(a.out.steps["spent_energy_j"], b.out.steps["spent_energy_j"], rtol=0.15)


def test_another_seed_is_another_story(stories: dict[str, Story]) -> None:
    clock, model = VirtualClock(), SkMTJ.preset("lab", read=READ)
    chip = SimulatedChip(CellArray(model, CELLS, seed=SEED + 1), clock)
    everyone = np.arange(CELLS)
    found, _ = characterize(Session(chip, clock, seed=SEED), everyone, everyone, SETTINGS)
    chip.close()
    assert not np.array_equal(found.baseline_ohm, stories["bulk"].found.baseline_ohm)
