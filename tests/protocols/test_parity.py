"""One seed, one story: per cell the same operations and decoded states on every kind of device and every front.

Cells of both polarities and both reset scopes, each simulated in bulk, one cell a call, and behind the instruments
of a virtual bench (buffered path, meter without noise of its own), through characterize and a replay, compared as
`quest-lab diff` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.benches import Front, control, site_of
from quest_lab.benchfile import BenchFile
from quest_lab.characterization import Characterization
from quest_lab.clock import Clock, VirtualClock
from quest_lab.device import (
    Applied,
    Capabilities,
    Cells,
    Device,
    FieldPulse,
    Operation,
    Reading,
    ReadPulse,
    VoltagePulse,
)
from quest_lab.diff import Decoder, compare, first_table_difference
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.replay import replay
from quest_lab.protocols.replayed import Replay
from quest_lab.record import Recorded, RunWriter
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.array import SimulatedCells
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.twin import twin_laboratory

CELLS, FEW, SEED = 9, 3, 4
SETTINGS = CharacterizeSettings(start_v=0.4, stop_v=0.84, step_v=0.02, repeats=2, attempts=3, max_cycles=12)
SHORT = replace(SETTINGS, max_cycles=2, pulses_per_cell=180)
WALLS = ("walls, R falls", "walls, R rises")  # bipolar, reset cell by cell on an ArC ONE
KINDS = ("R rises", "R falls", *WALLS)
OTHERS = ("one by one", "bench")
FALLS = ("1.4 kohm", "1 kohm")  # what a cell of falling resistance comes down to
RISES = ("1.3 Mohm", "1.6 Mohm")  # and a wall's cell of rising resistance up to
FRONTS: list[tuple[str, Front]] = [
    *((kind, front) for kind in KINDS for front in ("tcp", "serial")),  # type: ignore[misc]
    *((kind, "terminal") for kind in KINDS if kind not in WALLS and hasattr(os, "openpty")),  # type: ignore[misc]
]  # a board behind a pseudo-terminal runs in real time
Files = Callable[..., BenchFile]


class Around:
    """A device around another; it does what that one does."""

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        return self._device.apply(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self._device.read(cells, at)

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        self._device.close()


class OneByOne(Around):
    """Asked one cell at a time, in the order given; a domain's field stays one call."""

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        if isinstance(operation, FieldPulse) or not cells.size:
            return super().apply(operation, cells, then_read=then_read)
        parts = [super(OneByOne, self).apply(operation, c, then_read=then_read) for c in _each(cells)]
        energy = np.concatenate([part.energy_j for part in parts])
        reading = _joined([part.expect_reading() for part in parts]) if then_read else None
        return Applied(cells, operation, energy, parts[0].origin, reading)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return _joined([super(OneByOne, self).read(c, at) for c in _each(cells)])


class ReadsAfterPulse(Around):
    """As an ArC ONE: after every pulse a read, wanted or not, which costs each cell a draw of read noise."""

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        done = super().apply(operation, cells, then_read=True)
        return done if then_read else replace(done, reading=None)


def _each(cells: Cells) -> list[Cells]:
    return [cells[i : i + 1] for i in range(cells.size)]


def _joined(parts: list[Reading]) -> Reading:
    cells, ohm, energy = (
        np.concatenate([getattr(p, n) for p in parts]) for n in ("cells", "resistance_ohm", "energy_j")
    )
    return Reading(cells, ohm, energy, parts[0].at)


def cells_of(kind: str, cells: int, read: ReadPulse) -> SimulatedCells:
    """Fresh simulated cells of this kind, read and reset as their bench does it."""
    if kind in WALLS:
        swing, reset = 0.3 if kind == "walls, R falls" else -0.23, VoltagePulse(-1.0, 1e-6)
        law = DomainWall(swing=swing, t_ref_s=1e-6, reset=reset, read=read)
        return DomainWallArray(law, cells, seed=SEED, chip_id=kind)
    model = SkMTJ.preset("lab", read=read, sign=1 if kind == "R rises" else -1)
    return CellArray(model, cells, seed=SEED, chip_id=kind)


def bench_file(example: Files, kind: str, cells: int) -> BenchFile:
    """The slow matrix bench without a divider, or an ArC ONE."""
    if kind in WALLS:
        return example("arc-one", RISES, cells=cells)
    return example("slow-matrix", ("buffered = false", "buffered = true"), FALLS, cells=cells)


def open_chip(kind: str, cells: int, read: ReadPulse) -> tuple[Device, Clock]:
    """The cells alone."""
    clock = VirtualClock()
    chip = SimulatedChip(cells_of(kind, cells, read), clock)
    return (ReadsAfterPulse(chip) if kind in WALLS else chip), clock


def open_bench(
    file: BenchFile, kind: str, front: Front, *, meter_noise: bool = False
) -> tuple[Device, Clock]:
    """The same cells behind a bench's instruments."""
    lab = twin_laboratory(file, meter_noise=meter_noise)
    lab.world.array.close()
    lab.world.array = cells_of(kind, file.bench.cells, read_of(file))
    return control(file, site_of(file, lab, front))


def read_of(file: BenchFile) -> ReadPulse:
    return ReadPulse(file.bench.read.amplitude_v, file.bench.read.width_s)


@dataclass(frozen=True)
class Story:
    """What a characterisation and a replay found, and the run file of both."""

    path: Path
    found: Characterization
    out: Replay


def tell(
    opened: tuple[Device, Clock],
    path: Path,
    schedule: Path,
    settings: CharacterizeSettings = SETTINGS,
    around: type[Around] = Around,
) -> Story:
    """Characterise and replay on this device; `around` is put around what is recorded."""
    device, clock = opened
    everyone = np.arange(device.capabilities.cells)
    said = {"cells": everyone.size}
    with (
        closing(device),
        RunWriter.create(path, kind="replay", title="", seed=SEED, settings=said) as run,
        Schedule.open(schedule) as source,
    ):
        session = Session(around(Recorded(device, run, clock)), clock, seed=SEED)
        found, _ = characterize(session, everyone, everyone, settings)
        out = replay(session, source, found.restrict((0, found.states // 2, found.states - 1)), (1, 0, 2))
    return Story(path, found, out)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, example: Files) -> Callable[[str, str], Story]:
    """story(kind, way): once each."""
    folder = tmp_path_factory.mktemp("parity")
    schedule = synthesize(folder / "s.h5", [(1, 1, 3, 3)], steps=6, change_rate=0.3, seed=1, image=(4, 4))

    @cache
    def once(kind: str, way: str) -> Story:
        file = bench_file(example, kind, CELLS)
        bench = way == "bench"
        opened = open_bench(file, kind, "in process") if bench else open_chip(kind, CELLS, read_of(file))
        around = OneByOne if way == "one by one" else Around
        return tell(opened, folder / f"{kind} {way}.h5", schedule, around=around)

    return once


Tell = Callable[[str, str], Story]


@pytest.mark.parametrize("kind", KINDS)
def test_the_story_is_worth_comparing(story: Tell, kind: str) -> None:
    bulk = story(kind, "bulk")
    assert bulk.found.states == (5 if kind in WALLS else 7)
    assert (bulk.found.resistance_ohm[-1] > bulk.found.resistance_ohm[0]) is np.bool_("rises" in kind)
    assert isinstance(bulk.found.reset, FieldPulse) is (kind not in WALLS)
    with open_run(bulk.path) as run:
        assert run.reads.groupby("cell").size().min() > 75


def test_one_by_one_makes_other_calls(story: Tell) -> None:
    with (
        open_run(story("R rises", "bulk").path) as bulk,
        open_run(story("R rises", "one by one").path) as one,
    ):
        assert one.rows("calls") > 3 * bulk.rows("calls")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", OTHERS)
def test_every_cell_has_the_same_operations_states_and_resistances(
    story: Tell, kind: str, other: str
) -> None:
    a, b = story(kind, "bulk"), story(kind, other)
    with open_run(a.path) as first, open_run(b.path) as second:
        found = compare((first, second), (Decoder.of(a.found, CELLS), Decoder.of(b.found, CELLS)))
    assert found.first is None
    assert found.events[0] == found.events[1] > 150 * CELLS
    assert found.sigma < 0.004


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", OTHERS)
def test_the_findings_are_the_same(story: Tell, kind: str, other: str) -> None:
    a, b = story(kind, "bulk"), story(kind, other)
    assert np.array_equal(a.found.counts, b.found.counts)
    assert np.array_equal(a.found.set_v, b.found.set_v)
    assert np.array_equal(a.out.read, b.out.read)
    assert np.array_equal(a.out.confusion, b.out.confusion)
    assert a.out.steps["pulses"] == b.out.steps["pulses"]
    np.testing.assert_allclose(a.out.steps["spent_energy_j"], b.out.steps["spent_energy_j"], rtol=0.15)


def test_another_seed_is_another_story(story: Tell) -> None:
    clock = VirtualClock()
    chip = SimulatedChip(CellArray(SkMTJ.preset("lab"), CELLS, seed=SEED + 1), clock)
    everyone = np.arange(CELLS)
    found, _ = characterize(Session(chip, clock, seed=SEED), everyone, everyone, SETTINGS)
    chip.close()
    assert not np.array_equal(found.baseline_ohm, story("R rises", "bulk").found.baseline_ohm)


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory, example: Files) -> Callable[[str, Front], Story]:
    """fronted(kind, front): of a few cells, with no more pulses than it takes, once each."""
    folder = tmp_path_factory.mktemp("fronts")
    schedule = synthesize(folder / "s.h5", [(FEW, 1, 1, 1)], steps=3, change_rate=0.5, seed=1, image=(4, 4))

    @cache
    def once(kind: str, front: Front) -> Story:
        opened = open_bench(bench_file(example, kind, FEW), kind, front, meter_noise=True)
        return tell(opened, folder / f"{kind} {front}.h5", schedule, SHORT)

    return once


@pytest.mark.parametrize(("kind", "front"), FRONTS)
def test_every_front_gives_the_same_event_tables(
    fronted: Callable[[str, Front], Story], kind: str, front: Front
) -> None:
    """To the last bit, the laboratory's own clock included."""
    in_process, served = (fronted(kind, way).path for way in ("in process", front))  # type: ignore[arg-type]
    with open_run(in_process) as a, open_run(served) as b:
        assert a.rows("reads") > 100
        assert first_table_difference((a, b)) is None
