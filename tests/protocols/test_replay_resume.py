"""A replay cut off anywhere goes on and ends like the undisturbed one; samples and tiles."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from quest_lab.characterization import Characterization
from quest_lab.cli import characterize
from quest_lab.cli.replay import execute
from quest_lab.clock import VirtualClock
from quest_lab.device import Applied, Cells, FieldPulse, Operation, Reading, ReadPulse
from quest_lab.errors import BadInput, UnsoundRead
from quest_lab.placement import Placement
from quest_lab.protocols.characterize import CharacterizeSettings
from quest_lab.protocols.replay import replay, replay_tiles
from quest_lab.protocols.replay_results import to_results
from quest_lab.protocols.replay_resume import replayed_so_far
from quest_lab.protocols.replayed import Replay
from quest_lab.protocols.resume import resumable
from quest_lab.record import Recorded, RunWriter, open_run
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

Restricted = Callable[..., Characterization]
PATTERN, STEPS = (1, 0, 2), 12
PATTERNS = {3: PATTERN, 7: tuple(range(7))}
NOISE = 3e-3  # of a read
ACCOUNTS = (
    "spent_energy_j",
    "verify_energy_j",
    "field_energy_j",
    "inference_gated_energy_j",
    "pulses",
    "resets",
)


class Cut(KeyboardInterrupt):
    """The process ends here."""


class CutOff(SimulatedChip):
    """A chip whose program ends in the n-th call, before it hears the answer: `share` of its cells got it."""

    left, share, unsound_in = 10**9, 1.0, -1

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        share = (
            round(self.share) if isinstance(operation, FieldPulse) else self.share
        )  # a field reaches all or none
        self._count(lambda: super(CutOff, self).apply(operation, cells[: round(share * cells.size)]))
        return super().apply(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        self._count(lambda: super(CutOff, self).read(cells, at))
        if self.left == self.unsound_in:
            raise UnsoundRead("cell open?", ohm=np.inf, partial=super().read(cells[:5], at))
        return super().read(cells, at)

    def _count(self, last: Callable[[], object]) -> None:
        self.left -= 1
        if not self.left:
            last()
            raise Cut


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schedule]:
    path = tmp_path_factory.mktemp("resume") / "schedule.h5"
    synthesize(path, [(4, 3, 3, 3), (3, 4, 3, 3)], steps=STEPS, change_rate=0.1, seed=2, image=(5, 5))
    with Schedule.open(path) as opened:
        yield opened


def one_go(
    model: SkMTJ,
    schedule: Schedule,
    found: Characterization,
    folder: Path,
    cut_in: int = 10**9,
    share: float = 1.0,
) -> tuple[Replay, int]:
    """Replay into `folder`, cut off in this call; taken up again if there is something to take up."""
    array, clock = CellArray(model, 240, seed=5, path=folder / "cells"), VirtualClock()
    chip, out = CutOff(array, clock), folder / "run.h5"
    chip.left, chip.share = cut_in, share
    placement, pattern = Placement.on(found, schedule.weights), PATTERNS[found.states]
    so_far, log = None, None
    if out.exists():
        (so_far,), log = replayed_so_far(out, schedule, found, pattern, [placement])
        run = RunWriter.resume(out, kind="replay", seed=0, settings={})
    else:
        run = RunWriter.create(out, kind="replay", title="", seed=0, settings={})
    try:
        with run:
            opened = Session(Recorded(chip, run, clock), clock, run=run, truth=array.states)
            session = resumable(opened, log, found=found)
            done = replay(session, schedule, found, pattern, placement=placement, resume=so_far)
            for result in to_results(done, schedule.layers):
                run.add_result(result)
        return done, 10**9 - chip.left
    finally:
        array.close()


@pytest.fixture(params=["scaled", "lab"])
def model(request: pytest.FixtureRequest) -> SkMTJ:
    return SkMTJ.preset(request.param)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("when", [0.0, 0.02, 0.3, 0.55, 0.9])
def test_a_replay_cut_off_anywhere_ends_as_the_undisturbed_one(
    model: SkMTJ, restricted: Restricted, schedule: Schedule, tmp_path: Path, when: float, share: float
) -> None:
    """With noise: but for pulses in doubt, whose energy is not known, it is the same to the last pulse. A cell that was
    read once more shows other noise until it is pulsed again, and so a read of another energy."""
    found = restricted(model)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, calls = one_go(model, schedule, found, tmp_path / "whole")
    with pytest.raises(Cut):
        one_go(model, schedule, found, tmp_path / "cut", 1 + int(when * calls), share)
    with open_run(tmp_path / "cut" / "run.h5") as run:
        torn = len(run.table("replay_steps"))
    again, _ = one_go(model, schedule, found, tmp_path / "cut")
    for name in ("read", "writes", "confusion", "memory"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    assert again.steps["step"] == whole.steps["step"]
    for account in ACCOUNTS:
        undisturbed, resumed = np.delete(whole.steps[account], torn), np.delete(again.steps[account], torn)
        rtol = NOISE if account == "verify_energy_j" else 1e-6
        np.testing.assert_allclose(resumed, undisturbed, rtol=rtol)
        assert again.steps[account][torn] <= whole.steps[account][torn] * (1.0 + rtol)


def test_a_replay_cut_off_again_and_again_ends_as_the_undisturbed_one(
    model: SkMTJ, characterized: Callable[[SkMTJ], Characterization], tmp_path: Path
) -> None:
    """In the ninth call, then in the first (the reading of what is in doubt), then in the fourth, and so on; seven
    states, so that the writer learns of the cells. No cell gets a pulse more."""
    found, path = characterized(model).restrict(tuple(range(7))), tmp_path / "schedule.h5"
    synthesize(path, [(4, 3, 3, 3)], steps=5, change_rate=0.2, seed=3, bits=3, image=(5, 5))
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    again, cuts = None, 0
    with Schedule.open(path) as schedule:
        whole, _ = one_go(model, schedule, found, tmp_path / "whole")
        while again is None:
            try:
                again, _ = one_go(model, schedule, found, tmp_path / "cut", (9, 1, 4)[cuts % 3], share=0.5)
            except Cut:
                cuts += 1
    assert cuts > 15
    for name in ("read", "writes", "confusion", "memory"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    for account in ("pulses", "resets", "writes_wrong"):
        assert again.steps[account] == whole.steps[account]
    chips = [CellArray(model, 240, seed=5, path=tmp_path / run / "cells") for run in ("whole", "cut")]
    assert np.array_equal(*(chip._columns.pulses for chip in chips))
    for chip in chips:
        chip.close()


def test_a_replay_that_a_bad_contact_ended_reads_the_cell_again(
    restricted: Restricted, schedule: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SkMTJ.preset("scaled")
    found = restricted(model)
    (tmp_path / "whole").mkdir()
    whole, _ = one_go(model, schedule, found, tmp_path / "whole")
    monkeypatch.setattr(CutOff, "unsound_in", 10**9 - 1)
    with pytest.raises(UnsoundRead):
        one_go(model, schedule, found, tmp_path)
    monkeypatch.undo()
    again, _ = one_go(model, schedule, found, tmp_path)
    assert np.array_equal(again.read, whole.read)
    assert again.steps["pulses"] == whole.steps["pulses"]


def test_a_resume_cut_off_behind_its_own_reading_goes_on(
    restricted: Restricted, schedule: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the cells in doubt, and does not come to note that."""
    model = SkMTJ.preset("scaled")
    found = restricted(model)
    (tmp_path / "whole").mkdir()
    whole, _ = one_go(model, schedule, found, tmp_path / "whole")
    with pytest.raises(Cut):
        one_go(model, schedule, found, tmp_path, 30, share=0.5)
    monkeypatch.setattr(RunWriter, "update", Mock(side_effect=Cut))
    with pytest.raises(Cut):
        one_go(model, schedule, found, tmp_path)
    monkeypatch.undo()
    again, _ = one_go(model, schedule, found, tmp_path)
    for name in ("read", "writes", "confusion", "memory"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name


def test_what_is_read_from_the_file_is_what_was_in_memory(
    model: SkMTJ, restricted: Restricted, schedule: Schedule, tmp_path: Path
) -> None:
    found = restricted(model)
    done, _ = one_go(model, schedule, found, tmp_path)
    placement = Placement.on(found, schedule.weights)
    (found_again,), log = replayed_so_far(tmp_path / "run.h5", schedule, found, PATTERN, [placement])
    for name in ("intended", "read", "writes", "confusion"):
        assert np.array_equal(getattr(done, name), getattr(found_again, name)), name
    np.testing.assert_allclose(found_again.write_j, done.write_j, rtol=1e-6)
    assert not log.left


def test_other_settings_are_refused(tmp_path: Path) -> None:
    RunWriter.create(tmp_path / "r.h5", kind="replay", title="", seed=0, settings={"steps": 3}).flush()
    with pytest.raises(BadInput, match=r"was begun with steps=3, not 4"):
        RunWriter.resume(tmp_path / "r.h5", kind="replay", seed=0, settings={"steps": 4})


def test_tiles_bring_every_weight_to_its_last_level(
    session_on: Callable[..., Session],
    noise_free: Callable[[str], SkMTJ],
    restricted: Restricted,
    schedule: Schedule,
) -> None:
    quiet = noise_free("scaled")
    found = restricted(quiet, 100)
    placements = Placement.tiles(found, schedule.weights)
    out = replay_tiles(session_on(quiet), schedule, found, PATTERN, placements)
    assert len(placements) == 3
    assert np.array_equal(np.array([PATTERN.index(s) - 1 for s in out.read]), schedule.final_levels)
    assert out.total("writes_intended") == schedule.writes
    whole = replay(session_on(quiet), schedule, restricted(quiet), PATTERN)
    np.testing.assert_allclose(out.total("spent_energy_j"), whole.total("spent_energy_j"), rtol=1e-9)
    np.testing.assert_allclose(
        out.total("inference_gated_energy_j"), whole.total("inference_gated_energy_j"), rtol=1e-9
    )


def test_a_samples_interval_covers_the_whole(
    session_on: Callable[..., Session],
    noise_free: Callable[[str], SkMTJ],
    restricted: Restricted,
    schedule: Schedule,
) -> None:
    """95 % intervals from 40 samples of half of the weights: binomial(80, 0.95) is below 66 once in 10^5."""
    quiet = noise_free("scaled")
    found = restricted(quiet)
    whole = replay(session_on(quiet), schedule, found, PATTERN).by_layer(schedule.layers)
    covered = 0
    for seed in range(40):
        drawn = Placement.sample(found, schedule.layers, 108, np.random.default_rng(seed))
        part = replay(session_on(quiet), schedule, found, PATTERN, placement=drawn).by_layer(schedule.layers)
        covered += sum(
            abs(p.write_j - w.write_j) <= 1.96 * p.write_j_error for p, w in zip(part, whole, strict=True)
        )
    assert 66 <= covered <= 80


def test_a_resumed_run_file_takes_rows_behind_those_acknowledged(tmp_path: Path) -> None:
    run = RunWriter.create(tmp_path / "r.h5", kind="replay", title="", seed=0, settings={})
    row = dict.fromkeys(Replay.of(Placement(np.arange(1)), np.zeros(1, np.int8), 2).steps, 0)
    run.append("replay_steps", **{**row, "step": [0, 1]})
    run.close("aborted")
    with RunWriter.resume(tmp_path / "r.h5", kind="replay", seed=0, settings={}) as again:
        again.append("replay_steps", **{**row, "step": [2]})
    with open_run(tmp_path / "r.h5") as found:
        assert found.table("replay_steps")["step"].tolist() == [0, 1, 2]
        assert found.status == "complete"
        assert found.marks["name"].tolist() == ["resumed"]


@pytest.mark.parametrize("preset", ["scaled", "lab"])
def test_what_was_learned_of_the_cells_is_in_the_run_file(
    characterized: Callable[[SkMTJ], Characterization], tmp_path: Path, preset: str
) -> None:
    model = SkMTJ.preset(preset)
    found = characterized(model).restrict(tuple(range(7)))
    synthesize(
        tmp_path / "schedule.h5", [(4, 3, 3, 3)], steps=5, change_rate=0.2, seed=3, bits=3, image=(5, 5)
    )
    with (
        Schedule.open(tmp_path / "schedule.h5") as schedule,
        RunWriter.create(tmp_path / "run.h5", kind="replay", title="", seed=0, settings={}) as run,
    ):
        array, clock = CellArray(model, 240, seed=5), VirtualClock()
        session = Session(Recorded(SimulatedChip(array, clock), run, clock), clock, run=run)
        done = replay(session, schedule, found, tuple(range(7)))
        run.close("complete")
        array.close()
        placement = Placement.on(found, schedule.weights)
        (so_far,), _ = replayed_so_far(tmp_path / "run.h5", schedule, found, tuple(range(7)), [placement])
    assert done.memory is not None
    assert done.asked is not None
    assert so_far.asked is not None
    assert np.unique(done.memory).size > 5
    assert np.array_equal(so_far.memory, done.memory)
    assert np.array_equal(so_far.asked.moves, done.asked.moves)
    assert np.array_equal(so_far.asked.reads, done.asked.reads)


KILLED = """
import os, signal, sys
from pathlib import Path

from quest_lab.cli.replay import execute
from quest_lab.sim.chip import SimulatedChip

left, apply = 12, SimulatedChip.apply


def counted(chip, *given, **named):
    global left
    done, left = apply(chip, *given, **named), left - 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return done


SimulatedChip.apply = counted
execute(device="scaled", schedule=Path(sys.argv[1]), characterization=Path("chip.h5"), out=Path("run.h5"),
        chip=Path("cells"))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_in_the_middle_of_a_pulse_nothing_is_given_twice(schedule: Schedule, tmp_path: Path) -> None:
    """kill -9 after the pulse reached the cells and before that was written down."""
    chip = tmp_path / "chip.h5"
    settings = CharacterizeSettings(repeats=2, max_cycles=10)
    characterize.execute(
        device="scaled", out=chip, cells=schedule.weights, sample=32, chip=None, seed=0, overwrite=False,
        settings=settings,
    )  # fmt: skip
    killed = subprocess.run([sys.executable, "-c", KILLED, str(schedule.path)], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    common: dict[str, Any] = {"device": "scaled", "schedule": schedule.path, "characterization": chip}
    again = execute(**common, out=tmp_path / "run.h5", chip=tmp_path / "cells", resume=True).done
    whole = execute(**common, out=tmp_path / "whole.h5").done
    for name in ("read", "confusion", "memory"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    with open_run(tmp_path / "run.h5") as run, open_run(tmp_path / "whole.h5") as other:
        assert run.table("resumes")["pulses_in_doubt"].item() > 0
        cells = [np.bincount(each.applies["cell"]) for each in (run, other)]
    assert np.array_equal(*cells)
