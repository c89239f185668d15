"""Tiles, waits, read voltages, reference columns, budgets, what errors cost: a network on a chip that is too small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quest_lab.budget import Budget, Budgeted, open_ledger, read_ledger
from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Applied, Cells, Floats, Operation, Reading, ReadPulse
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.mapping import to_levels
from quest_lab.network import Network
from quest_lab.protocols.scores import Judge
from quest_lab.protocols.validate import validate
from quest_lab.protocols.validate_budget import expected
from quest_lab.protocols.validate_costs import costs
from quest_lab.protocols.validate_plan import ValidateSettings, plan_of, validated_so_far
from quest_lab.protocols.validate_rows import Validation
from quest_lab.protocols.validate_tiles import program
from quest_lab.record import Recorded, RunWriter, open_run
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

Networks = Callable[..., Network]
Make = Callable[..., Session]
Characterized = Callable[..., Characterization]
SCALED, USED, PATTERN = SkMTJ.preset("scaled"), (0, 3, 6), (1, 0, 2)
IMAGES = np.random.default_rng(3).random((60, 1, 4, 4)).astype(np.float32)
Few = Callable[[Characterization, int], Characterization]
TILES = ValidateSettings(tiles=True)
CLOSED = "decoded read-back, closed loop"


def validated(
    session: Session,
    small: Network,
    full: Characterization,
    settings: ValidateSettings = TILES,
    used: tuple[int, ...] = USED,
    pattern: tuple[int, ...] = PATTERN,
) -> Validation:
    labels = small.infer(IMAGES).predictions
    return validate(session, small, IMAGES, labels, full, used, pattern, settings)


@pytest.fixture
def quiet(noise_free: Callable[[str], SkMTJ]) -> SkMTJ:
    return noise_free("scaled")


@pytest.mark.parametrize("preset", ["scaled", "lab"])
def test_a_network_larger_than_the_chip_comes_back_tile_by_tile(
    few: Few, network: Networks, session_on: Make, characterized: Characterized, noise_free: Callable[[str], SkMTJ],
    tmp_path: Path, preset: str,
) -> None:  # fmt: skip
    quiet = noise_free(preset)
    small, full, session = network(), few(characterized(quiet), 50), session_on(quiet)
    with RunWriter.create(tmp_path / "v.h5", kind="validation", title="", seed=0, settings={}) as run:
        found = validated(replace(session, run=run), small, full)
    assert (found.tiles, found.wrong, found.accuracy[CLOSED]) == (3, 0, 1.0)
    with open_run(tmp_path / "v.h5") as kept:
        tiles, cells = kept.table("validation_tiles"), kept.table("validation_cells")
    assert tiles["count"].sum() == len(cells)
    closed = cells.iloc[:108].set_index("weight")
    assert to_levels(closed["state"].sort_index(), PATTERN).tolist() == small.levels.tolist()
    assert set(cells["cell"]) == set(range(50))


def test_without_tiles_a_placement_larger_than_the_array_is_refused(
    few: Few,
    network: Networks,
    session_on: Make,
    characterized: Characterized,
    quiet: SkMTJ,
) -> None:
    full, session = few(characterized(quiet), 110), session_on(quiet)
    for analogue, need in ((("reference",), 135), (("differential",), 216)):
        with pytest.raises(BadInput, match=rf"needs {need} cells, .* has 110 with a baseline"):
            validated(session, network(), full, ValidateSettings(analogue=analogue))
    assert session.clock.now() == 0.0
    found = validated(session, network(), full, ValidateSettings())
    assert [text.split(":")[0] for text in found.skipped] == ["reference", "differential"]


class Cut(KeyboardInterrupt):
    """The process ends here."""


class CutOff(SimulatedChip):
    """A chip whose program ends just after the n-th call; `given` counts the calls."""

    left, given = 10**9, 0

    def _count(self) -> None:
        self.given += 1
        if self.given >= self.left:
            raise Cut

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        done = super().apply(operation, cells, then_read=then_read)
        self._count()
        return done

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        done = super().read(cells, at)
        self._count()
        return done


READS_TOO = ValidateSettings(tiles=True, read_at_v=(0.2,))


def one_go(
    model: SkMTJ, small: Network, full: Characterization, folder: Path, cut_after: int = 10**9
) -> tuple[Validation, int]:
    """Validate into `folder`, cut off after so many calls; taken up again if there is something to take up."""
    array, clock = CellArray(model, 240, seed=5, path=folder / "cells"), VirtualClock()
    chip, out, so_far = CutOff(array, clock), folder / "run.h5", None
    chip.left = cut_after
    try:
        if out.exists():
            with open_run(out) as before:
                so_far = validated_so_far(before, plan_of(small, full, USED, PATTERN, READS_TOO))
            run = RunWriter.resume(out, kind="validation", seed=0, settings={})
        else:
            run = RunWriter.create(out, kind="validation", title="", seed=0, settings={})
        labels = small.infer(IMAGES).predictions
        with run:
            session = Session(Recorded(chip, run, clock), clock, run=run, truth=array.states)
            done = validate(session, small, IMAGES, labels, full, USED, PATTERN, READS_TOO, resume=so_far)
        return done, chip.given
    finally:
        array.close()


@pytest.mark.parametrize("share", [0.05, 0.4, 0.8])
def test_cut_off_anywhere_it_goes_on_with_the_first_tile_that_is_not_kept(
    few: Few,
    network: Networks,
    characterized: Characterized,
    quiet: SkMTJ,
    tmp_path: Path,
    share: float,
) -> None:
    small, full = network(), few(characterized(quiet), 60)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, calls = one_go(quiet, small, full, tmp_path / "whole")
    with pytest.raises(Cut):
        one_go(quiet, small, full, tmp_path / "cut", cut_after=int(share * calls))
    again, rest = one_go(quiet, small, full, tmp_path / "cut")
    assert again.rows == whole.rows
    with open_run(tmp_path / "cut" / "run.h5") as run:
        tiles = run.table("validation_tiles")
    assert not tiles.duplicated(["programming", "tile"]).any()
    assert len(tiles) == 2 + 2 + 4 + 4  # decoded twice, with 27 references each, in pairs
    longest = calls // 4  # of a tile, or of the baselines
    assert rest <= (1 - share) * calls + longest


class Forgetful(SimulatedChip):
    """Every cell falls back to R0 within the hour."""

    written_s = 0.0

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        if self._clock.now() - self.written_s > 3000.0:
            self.array.field(np.arange(240), 0.1, 0.01)
        return super().read(cells, at)

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        self.written_s = self._clock.now()
        return super().apply(operation, cells, then_read=then_read)


def test_after_a_wait_every_tile_is_read_again(
    few: Few,
    network: Networks,
    characterized: Characterized,
    quiet: SkMTJ,
) -> None:
    small, clock, array = network(), VirtualClock(), CellArray(quiet, 240, seed=5)
    settings = ValidateSettings(analogue=(), open_loop=False, tiles=True, wait_s=3600.0)
    found = validated(Session(Forgetful(array, clock), clock), small, few(characterized(quiet), 50), settings)
    array.close()
    first, again = found.rows[1:]
    assert again.name == f"{CLOSED}, after 1 h"
    assert (first.wrong, again.wrong) == (0, np.count_nonzero(small.levels))
    assert 3 * 3600 <= clock.now() < 3 * 3600 + 60


def test_at_another_voltage_cells_are_decoded_against_baselines_of_that_voltage(
    network: Networks, session_on: Make, characterized: Characterized, quiet: SkMTJ
) -> None:
    """Seven states at 0.2 V: the contrast is 1.04/1.16 of that at 0.1 V, so state 6 stands where 5 was."""
    small, full = network(bits=3), characterized(quiet)
    settings = ValidateSettings(analogue=(), read_at_v=(0.2,))
    pattern = (3, 2, 1, 0, 4, 5, 6)
    found = validated(session_on(quiet), small, full, settings, tuple(range(7)), pattern)
    rows = {row.name: row.wrong for row in found.rows}
    assert rows[f"{CLOSED}, at 0.2 V"] == 0
    session = session_on(quiet)
    session.device.apply(full.operation(6, 0), full.cells)
    assert np.all(full.decode(session.device.read(full.cells, ReadPulse(0.2, full.read.width_s))) < 6)


def test_a_forbidden_read_voltage_is_refused_before_the_first_pulse(
    network: Networks, session_on: Make, characterized: Characterized
) -> None:
    session = session_on(SCALED)
    with pytest.raises(LimitExceeded, match=r"read at 0\.5 V: outside 0\.01 to 0\.2 V"):
        validated(session, network(), characterized(SCALED), ValidateSettings(read_at_v=(0.5,)))
    assert session.clock.now() == 0.0


def conductances(model: SkMTJ, states: tuple[int, ...], volts: float) -> Floats:
    """Of one cell without spread, by the law in sim/skmtj.py worked by hand."""
    tmr = model.tmr / (1 + (volts / model.v_half_v) ** 2)
    return 1 / (model.r0_ohm * (1 + model.sign * tmr * np.array(states) / 6))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("pattern", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_against_a_reference_column_a_weight_is_a_difference_of_conductances(
    few: Few, network: Networks, session_on: Make, characterized: Characterized, quiet: SkMTJ, sign: int,
    pattern: tuple[int, ...],
) -> None:  # fmt: skip
    """The third pattern is not monotone, so the levels lie in the order of the states."""
    model, small = replace(quiet, sign=sign), network()
    full = few(characterized(model), 90)
    plan = plan_of(small, full, USED, pattern, ValidateSettings(analogue=("reference",), tiles=True))
    raw, corrected = program(session_on(model), small.levels, plan.programmings[2:])[0].analogue()
    g = conductances(model, (6, 3, 0) if pattern == (2, 1, 0) else (0, 3, 6), model.read.amplitude_v)
    want = ((g - g[1]) / ((g[2] - g[0]) / 2))[small.levels + 1]
    np.testing.assert_allclose(raw, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(corrected, want, rtol=1e-4, atol=1e-4)


def test_only_what_a_layer_or_a_kind_did_wrong_is_in_its_cost(network: Networks) -> None:
    """Errors planted by hand; the network with and without them evaluated by hand."""
    small = network(3, "2-3-3-A")
    read, stuck = small.levels.copy(), np.zeros(small.levels.size, bool)
    first = np.flatnonzero(small.levels[:54] == 3)[:4]  # conv2 has 54 weights
    read[first] = -3
    stuck[first[:2]] = True
    second = 54 + np.flatnonzero(small.levels[54:] == 0)[:6]
    read[second] = 1
    judge = Judge(small, IMAGES, small.infer(IMAGES).predictions)
    found = costs("read-back", small, read, stuck, judge)
    assert {c.errors: c.wrong for c in (*found.by_layer, *found.by_kind)} == {
        "conv2": 4, "conv3": 6, "stuck cells": 2, "one level off": 6, "further off": 2,
    }  # fmt: skip
    only = small.levels.copy()
    only[first] = -3
    without = small.levels.copy()
    without[second] = 1
    assert found.by_layer[0].only == judge.score(small.with_levels(only))
    assert found.by_layer[0].without == judge.score(small.with_levels(without))
    assert found.everything == judge.score(small.with_levels(read))
    assert found.confusion[0, 6, 0] == 4
    assert found.confusion[1, 3, 4] == 6
    assert found.confusion.sum(axis=(1, 2)).tolist() == [54, 81]


@pytest.fixture
def in_the_ledger(quiet: SkMTJ, session_on: Make, tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """in_the_ledger(pulses=, energy_j=): a session whose cells may get so much in their life."""
    with open_ledger(tmp_path / "chip.ledger", "simulated-240", 240) as ledger:

        def make(**budget: Any) -> Session:
            session = session_on(quiet)
            device = Budgeted(session.device, ledger, Budget(**budget))
            return replace(session, device=device, pulses_left=device.pulses_left,
                           energy_left_j=device.energy_left_j)  # fmt: skip

        yield make


def test_a_budget_that_does_not_suffice_is_told_before_the_first_pulse(
    few: Few, network: Networks, characterized: Characterized, quiet: SkMTJ, in_the_ledger: Callable[..., Session],
    tmp_path: Path,
) -> None:  # fmt: skip
    small, full, settings = network(), few(characterized(quiet), 50), READS_TOO
    session = in_the_ledger()
    plan = plan_of(small, full, USED, PATTERN, settings)
    need = expected(session, full, small.levels, plan.programmings, {}, baselines=True)
    validated(session, small, full, settings)
    given = read_ledger(tmp_path / "chip.ledger")
    for want, got in ((need.pulses, given.pulses), (need.energy_j, given.energy_j)):
        assert np.all(got <= 1.02 * want)  # at first the dearest state is taken; energies are means of cells
        assert got.sum() > 0.8 * want.sum()
    pulses, most, most_j = given.pulses.copy(), int(given.pulses.max()), float(given.energy_j.max())
    for budget, short in (
        (
            {"pulses": most + 20},
            f"20 pulses are left of its life: {np.ceil(need.pulses.max()) - 20:.4g} pulses",
        ),
        ({"energy_j": 1.5 * most_j}, "J are left of its life: "),
    ):
        with pytest.raises(LimitExceeded, match=rf"{short}.* short"):
            validated(in_the_ledger(**budget), small, full, settings)
    assert np.array_equal(read_ledger(tmp_path / "chip.ledger").pulses, pulses)
