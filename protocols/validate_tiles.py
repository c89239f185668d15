"""Program weights tile by tile, read every tile back, and keep what was read before the next one overwrites it.

A tile counts as done once all its read-backs are in the run file, flushed. A validation cut off at any time goes on
with the first tile that is not: that one is programmed again, from whatever its cells hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Cells, Floats, ReadPulse
from quest_lab.mapping import to_levels
from quest_lab.placement import Placement
from quest_lab.policy import Objective
from quest_lab.protocols.validate_encodings import Analogue, Decoded, Levels
from quest_lab.protocols.validate_kept import Key, TileRead, keep_read, keep_tile
from quest_lab.session import Session
from quest_lab.write import Programmer, Written


@dataclass(frozen=True)
class ReadBack:
    """When and how the cells are read: `at`, after `waited_s`; their baselines at that voltage (ohm, (2, cells)), None
    for those of the characterisation."""

    at: ReadPulse
    waited_s: float = 0.0
    baselines_ohm: Floats | None = None

    def of(self, found: Characterization) -> Characterization:
        """`found` as these reads are to be decoded."""
        if self.baselines_ohm is None:
            return found
        return replace(found, read=self.at, baseline_ohm=self.baselines_ohm[0], top_ohm=self.baselines_ohm[1])


@dataclass(frozen=True)
class Programming:
    """One way to put the network into the cells; open loop: each pulse once, unverified. `objective`: what its writes
    are to save."""

    encoding: Decoded | Analogue
    placements: Sequence[Placement]
    read_backs: Sequence[ReadBack]
    closed_loop: bool = True
    objective: Objective = "energy"

    @property
    def steps(self) -> int:
        """A tile's write and its read-backs."""
        return 1 + len(self.read_backs)

    @property
    def title(self) -> str:
        if not isinstance(self.encoding, Decoded):
            return f"{self.encoding.name} analogue"
        return f"decoded read-back, {'closed' if self.closed_loop else 'open'} loop"


@dataclass(frozen=True)
class Programmed:
    """The read-backs of every tile of a programming."""

    programming: Programming
    tiles: Sequence[TileRead]

    @property
    def weights(self) -> int:
        return sum(placement.weights for placement in self.programming.placements)

    @property
    def truly_wrong(self) -> int | None:
        """Cells not in their target by the simulator's true states; None where they are not known."""
        counts = [tile.truly_wrong for tile in self.tiles]
        return None if min(counts) < 0 else sum(counts)

    def levels(self, read_back: int = 0) -> Levels:
        """The level of every weight; of decoded cells only."""
        return to_levels(self.states(read_back), self._decoded.pattern)

    def analogue(self, read_back: int = 0) -> tuple[Floats, Floats]:
        """Weights in units of a level, as read and with baselines corrected; not of decoded cells."""
        encoding = self.programming.encoding
        if isinstance(encoding, Decoded):
            raise TypeError("the analogue weights of decoded cells are not defined")
        at = self.programming.read_backs[read_back].of(encoding.found)
        pairs = [
            encoding.weights(placement, tile.ohm[read_back], at)
            for placement, tile in zip(self.programming.placements, self.tiles, strict=True)
        ]
        return self._gathered([raw for raw, _ in pairs]), self._gathered([found for _, found in pairs])

    def states(self, read_back: int = 0) -> States:
        """The decoded state of every weight's (first) cell."""
        return self._of_cells([tile.states[read_back] for tile in self.tiles])

    @property
    def stuck(self) -> NDArray[np.bool_]:
        """Weights on cells whose write gave up and that never left their state."""
        return self._of_cells([tile.stuck for tile in self.tiles])

    def cells_wrong(self) -> tuple[Cells, NDArray[np.int64]]:
        """Every cell that was written, and in how many tiles it was first read in another state than its target."""
        cells = np.concatenate([placement.every for placement in self.programming.placements])
        wrong = np.concatenate([tile.states[0] != tile.intended for tile in self.tiles])
        unique, where = np.unique(cells, return_inverse=True)
        return unique, np.bincount(where, wrong).astype(np.int64)

    def _of_cells(self, columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """What the tiles' cells say, of every weight's (first) cell."""
        placements = self.programming.placements
        return self._gathered(
            [c[: p.cells.size : p.per_weight] for p, c in zip(placements, columns, strict=True)]
        )

    def _gathered(self, columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """What the tiles' weights say, in the order of the weights."""
        out = np.empty(self.weights, columns[0].dtype)
        for placement, column in zip(self.programming.placements, columns, strict=True):
            out[placement.placed] = column
        return out

    @property
    def _decoded(self) -> Decoded:
        if not isinstance(self.programming.encoding, Decoded):
            raise TypeError(f"{self.programming.title}: only decoded cells have levels")
        return self.programming.encoding


def program(
    session: Session,
    levels: Levels,
    programmings: Sequence[Programming],
    done: Mapping[Key, TileRead] | None = None,
) -> list[Programmed]:
    """Write and read back every tile of every programming but those that are `done`."""
    done = done or {}
    total = sum(one.steps * len(one.placements) for one in programmings)
    step = _Steps(session, sum(programmings[number].steps for number, _ in done), total)
    out = []
    for number, programming in enumerate(programmings):
        tiles = []
        for tile, placement in enumerate(programming.placements):
            kept = done.get((number, tile))
            tiles.append(kept or _tile(session, levels, programming, placement, (number, tile), step))
        out.append(Programmed(programming, tiles))
    return out


class _Steps:
    """Counts writes and read-backs: between two of them a stop is heard."""

    def __init__(self, session: Session, done: int, total: int) -> None:
        self._session, self._done, self._total = session, done, total
        self._tell()

    def __call__(self) -> None:
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        self._session.stop.check()
        self._session.progress("writes and read-backs of tiles", self._done, self._total)


def _tile(
    session: Session,
    levels: Levels,
    programming: Programming,
    placement: Placement,
    key: Key,
    step: _Steps,
) -> TileRead:
    encoding, cells = programming.encoding, placement.every
    programmer = Programmer(
        session.device, encoding.found, check=session.stop.check, closed_loop=programming.closed_loop,
        objective=programming.objective,
    )  # fmt: skip
    done = programmer.write(cells, encoding.targets(placement, levels))
    step()
    truly_wrong = _truly_wrong(session, encoding.found, done)
    stuck = (done.states != done.target) & (done.states == done.before)
    first = session.run.rows("validation_cells") if session.run else 0
    states, ohms, waited_s, read_j = [], [], 0.0, 0.0
    for number, read_back in enumerate(programming.read_backs):
        _wait(session, read_back.waited_s - waited_s)
        waited_s = read_back.waited_s
        reading = session.device.read(cells, read_back.at)
        states.append(read_back.of(encoding.found).decode(reading))
        ohms.append(reading.resistance_ohm)
        read_j += float(reading.energy_j.sum())
        keep_read(session, placement, number, done.target, states[-1], stuck, ohms[-1])
        step()
    keep_tile(session, key, first, cells.size * len(states), truly_wrong, done, read_j)
    return TileRead(done.target, stuck, np.stack(states), np.stack(ohms), truly_wrong)


def _wait(session: Session, seconds: float) -> None:
    """Let time pass, in steps between which a stop is heard."""
    waited = 0.0
    while waited < seconds:
        session.stop.check()
        step = min(max(1.0, seconds / 100.0), seconds - waited)
        session.clock.sleep(step)
        waited += step


def _truly_wrong(session: Session, found: Characterization, done: Written) -> int:
    """Cells whose true state, counted as the used state it decodes to, is not the target; -1 on real cells."""
    if session.truth is None:
        return -1
    held = session.truth(done.cells)
    if found.fold is not None:
        if held.max() >= found.fold.size:  # a state that the characterisation did not tell apart
            return -1
        held = found.fold[held].astype(np.int8)
    return int(np.count_nonzero(held != done.target))
