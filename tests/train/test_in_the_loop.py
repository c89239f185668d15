"""Training in the loop: what the network uses is what the cells hold, whatever they were asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quest_lab import open_bench, open_run
from quest_lab.budget import Budget, Budgeted, open_ledger
from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.errors import BadInput, DeviceError, Interrupted, LimitExceeded
from quest_lab.layers import Levels
from quest_lab.network import Network
from quest_lab.placement import Placement
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.validate import program_decoded
from quest_lab.record import Recorded, RunWriter
from quest_lab.schedule import Schedule
from quest_lab.schema import Status
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.train.chip import KIND, ChipWeights, Past
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.loop import Checkpoints, train
from quest_lab.write import policy_for

TINY = TrainConfig(network="2-4M-4-A", epochs=2, batch_size=256, learning_rate=0.03, shift_pixels=0)
WEIGHTS = 216
ROUGH = CharacterizeSettings(confidence=0.2, repeats=2, max_cycles=6)
Make = Callable[..., Any]


def _train(folder: Path, cells: Any = None, config: TrainConfig = TINY, **kwargs: Any) -> TrainResult:
    folder.mkdir(exist_ok=True)
    return train(config, weights=folder / "w.h5", schedule=folder / "s.h5", cells=cells, **kwargs)


def _on(session: Session, found: Characterization, bits: int = 2, **kwargs: Any) -> ChipWeights:
    return ChipWeights(session, found, Placement.on(found, WEIGHTS), bits, **kwargs)


def _recorded(session: Session, path: Path, *, resume: bool = False) -> Session:
    """The same session, booked in a run file."""
    said: dict[str, Any] = {"kind": KIND, "seed": 0, "settings": {"cells": session.device.capabilities.cells}}
    run = RunWriter.resume(path, **said) if resume else RunWriter.create(path, title="", **said)
    return replace(session, device=Recorded(session.device, run, session.clock), run=run)


@pytest.fixture
def quiet(noise_free: Make, session_on: Make, restricted: Make) -> tuple[Session, Characterization]:
    """A chip without noise."""
    model = noise_free("scaled")
    return session_on(model), restricted(model)


@pytest.fixture(scope="module")
def in_software(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return _train(tmp_path_factory.mktemp("software") / "run")


def test_cells_without_noise_change_nothing(
    quiet: tuple[Session, Characterization], in_software: TrainResult, tmp_path: Path
) -> None:
    done = _train(tmp_path / "run", _on(*quiet))
    assert done.weights.read_bytes() == in_software.weights.read_bytes()


def test_only_weights_that_changed_are_written(
    quiet: tuple[Session, Characterization], in_software: TrainResult, tmp_path: Path
) -> None:
    cells = _on(*quiet)
    _train(tmp_path / "run", cells)
    assert in_software.schedule is not None
    with Schedule.open(in_software.schedule) as schedule:
        changes = [step.weight.size for step in schedule.from_step(0)]
    assert sum(changes) > 0
    assert cells.past.rows["writes_intended"] == [WEIGHTS, *changes]
    assert cells.past.rows["step"] == list(range(len(changes) + 1))


def test_stuck_cells_are_in_the_network_as_they_are(
    quiet: tuple[Session, Characterization], tmp_path: Path
) -> None:
    """All start empty, at R0, which holds level -1; the saved network validates as it was trained."""
    session, found = quiet
    stuck = np.arange(0, WEIGHTS, 4)
    session.device.array.stick(stuck)  # type: ignore[attr-defined]  # a simulated chip
    done = _train(tmp_path / "run", _on(session, found))
    network = Network.load(done.weights)
    assert np.all(network.levels[stuck] == -1)
    assert done.agreement.exact
    programmed = program_decoded(session, network, found, (0, 1, 2))
    assert np.array_equal(programmed.levels(), network.levels)


def test_the_next_forward_pass_uses_what_the_cells_hold(tmp_path: Path) -> None:
    """Cells that all stay at level 0 let no spike through, so nothing depends on what is asked for."""
    done = _train(tmp_path / "run", _Deaf())
    assert all(epoch.spikes_out.sum() == 0 for epoch in done.history)
    assert not Network.load(done.weights).levels.any()


class _Deaf:
    def write(self, levels: Levels, *, step: int, read_all: bool) -> Levels:  # noqa: ARG002  # a Protocol's
        return np.zeros_like(levels)


def test_domain_walls_train_with_their_stochastic_writes(tmp_path: Path) -> None:
    """A reset and one pulse, as it lands: weights hold other levels than were asked for, and the network has them."""
    clock, everyone = VirtualClock(), np.arange(WEIGHTS)
    array = DomainWallArray(DomainWall(sites=9), WEIGHTS, seed=3)
    session = Session(SimulatedChip(array, clock), clock, seed=3)
    full = characterize(session, everyone, everyone[::8], ROUGH)[0]
    cells = ChipWeights(
        session, full.restrict(tuple(range(7))), Placement.on(full, WEIGHTS), 3, closed_loop=False
    )
    done = _train(tmp_path / "run", cells, replace(TINY, bits=3))
    levels = Network.load(done.weights).levels
    assert sum(cells.past.rows["writes_wrong"]) > 10
    assert np.mean(levels == array.states(everyone) - 3) > 0.98  # up to read noise
    array.close()


def test_on_a_virtual_bench_with_its_magnet(restricted: Make, tmp_path: Path) -> None:
    """Nine weights; a weight that falls empties all cells, and those that stand are set again."""
    known = restricted(SkMTJ.preset("lab"), 16)  # the same cells, measured in bulk
    with open_bench("slow-matrix", seed=5, run=tmp_path / "run.h5", kind=KIND) as session:
        can = session.device.capabilities
        found = replace(known, chip_id=can.chip_id, read=can.read)
        cells = ChipWeights(session, found, Placement.on(found, 9), 2)
        done = _train(tmp_path / "t", cells, replace(TINY, network="1-1-F", epochs=1, learning_rate=0.2))
        assert cells.total("resets") > 0
        assert not cells.wrong.any()
        assert np.array_equal(Network.load(done.weights).levels, cells.held)
    with open_run(tmp_path / "run.h5") as run:
        assert run.table("loop_steps")["calls"].iloc[-1] == len(run.calls)


@dataclass
class _Until:
    """Asks to stop, or breaks, when the session has been asked that many times."""

    left: int
    error: BaseException

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [Interrupted("stopped"), DeviceError("broken"), LimitExceeded("budget"), KeyboardInterrupt()],
    ids=repr,
)
def test_cut_off_within_a_write_it_goes_on(
    error: BaseException, quiet: tuple[Session, Characterization], in_software: TrainResult, tmp_path: Path
) -> None:
    """Without noise the end is that of an undisturbed training; every joule is in one account.

    Ctrl-C twice (KeyboardInterrupt) leaves the last checkpoint that was due, as a kill does.
    """
    session, found = quiet
    booked = _recorded(session, tmp_path / "cells.h5")
    assert booked.run is not None
    cut = replace(booked, stop=_Until(14, error))  # type: ignore[arg-type]  # all that a protocol asks of it
    checkpoints = Checkpoints(tmp_path / "run" / "c.h5", every_steps=2)
    with pytest.raises(type(error)), booked.run:
        _train(tmp_path / "run", _on(cut, found), checkpoints=checkpoints)
    with open_run(tmp_path / "cells.h5") as run:
        assert run.status in {Status.ABORTED, Status.FAILED}
        assert not run.results
    past = Past.of(tmp_path / "cells.h5", found)
    booked = _recorded(session, tmp_path / "cells.h5", resume=True)
    cells = _on(booked, found, past=past)
    with booked.run:
        done = _train(tmp_path / "run", cells, checkpoints=replace(checkpoints, resume=True))
    with open_run(tmp_path / "cells.h5") as run:
        given_j, read_s = run.columns("applies")["energy_j"], 1 / run.columns("reads")["resistance_ohm"]
        pulses = np.bincount(run.columns("applies")["cell"], minlength=WEIGHTS)
    whole_j = given_j.sum(dtype=float) + found.read.amplitude_v**2 * found.read.width_s * read_s.sum(
        dtype=float
    )
    assert np.array_equal(cells.pulses, pulses)
    assert cells.total("resume_energy_j") > 0
    accounts = ("spent_energy_j", "verify_energy_j", "resume_energy_j")
    assert sum(cells.total(name) for name in accounts) == pytest.approx(whole_j, rel=1e-5)
    assert done.weights.read_bytes() == in_software.weights.read_bytes()


def test_resumed_between_two_steps_it_writes_as_undisturbed(
    session_on: Make, noise_free: Make, tmp_path: Path
) -> None:
    """Cells differ in their thresholds and in nothing else: what was learned of a cell decides its pulses."""
    model, everyone = replace(noise_free("scaled"), d_cell=0.025), np.arange(240)
    found = characterize(session_on(model), everyone, everyone[::8], ROUGH)[0].restrict(tuple(range(7)))
    assert policy_for(found).model.lasting
    seven, checkpoints = replace(TINY, bits=3, learning_rate=0.1), Checkpoints(tmp_path / "cut" / "c.h5")
    whole, session = _on(session_on(model), found, 3), session_on(model)
    _train(tmp_path / "whole", whole, seven)
    booked, stop = _recorded(session, tmp_path / "cells.h5"), _Until(4, Interrupted("stopped"))
    assert booked.run is not None
    with pytest.raises(Interrupted), booked.run:
        _train(tmp_path / "cut", _on(booked, found, 3), seven, checkpoints=checkpoints, stop=stop)
    cells = _on(session, found, 3, past=Past.of(tmp_path / "cells.h5", found))
    _train(tmp_path / "cut", cells, seven, checkpoints=replace(checkpoints, resume=True))
    assert np.array_equal(cells.pulses, whole.pulses)


def test_a_life_too_short_for_the_load_is_told_before_the_first_pulse(
    quiet: tuple[Session, Characterization], tmp_path: Path
) -> None:
    """A reset and a set pulse are needed at least where one pulse is left."""
    session, found = quiet
    with open_ledger(tmp_path / "chip.ledger", found.chip_id, 240) as ledger:
        device = Budgeted(session.device, ledger, Budget(pulses=1))
        poor = replace(session, device=device, pulses_left=device.pulses_left)
        with pytest.raises(
            LimitExceeded, match=r"get 2 pulses, 1 pulses are left of its life: 1 pulses short"
        ):
            _train(tmp_path / "run", _on(poor, found))
        assert not ledger.pulses.any()


def test_an_fp32_network_has_nothing_for_cells(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="bits=32: an FP32 network has no levels"):
        _train(tmp_path / "run", _Deaf(), replace(TINY, bits=32))
