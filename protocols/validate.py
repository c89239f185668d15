"""Validate trained weights on a chip: program, read back, and ask what accuracy the read-back gives.

*Decoded*: one cell a weight, sensed and added digitally (QUEST). *Differential*: two cells a weight, the
current difference G+ - G- is the weight, no decoding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Floats
from quest_lab.errors import BadInput
from quest_lab.mapping import Pattern, check, level_count, to_levels, to_states
from quest_lab.network import Network
from quest_lab.placement import Placement
from quest_lab.schema import Field, Result
from quest_lab.session import Session
from quest_lab.write import Programmer, Written

Levels = NDArray[np.int8]


@dataclass(frozen=True)
class Decoded:
    """Read-back of decoded cells: the `states` of every weight, its `levels`, and what the write cost."""

    pattern: Pattern
    intended: States
    states: States
    written: Written

    @property
    def levels(self) -> Levels:
        return to_levels(self.states, self.pattern)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Weights whose decoded level is not the intended one."""
        return self.levels != to_levels(self.intended, self.pattern)

    def misread(self, pattern: Pattern) -> Levels:
        """The levels that a reader with another mapping pattern would see."""
        return to_levels(self.states, pattern)


def program_decoded(
    session: Session,
    network: Network,
    found: Characterization,
    pattern: Pattern,
    *,
    closed_loop: bool = True,
) -> Decoded:
    """Write the network's levels, one cell each, and read every cell once more."""
    check(pattern, level_count(network.bits), found.states)
    placement = _placed(session, found, network.levels.size)
    intended = to_states(network.levels, pattern)
    written = _program(session, found, placement, intended, closed_loop=closed_loop)
    session.stop.check()
    states = found.decode(session.device.read(placement.all_cells(), found.read))
    return Decoded(pattern, intended, states, written)


def program_differential(
    session: Session, network: Network, found: Characterization
) -> tuple[Floats, Floats]:
    """Write G+ and G- pairs; weights as the read conductances give them, in units of a level.

    Level v puts the state that holds |v| on one cell and R0 on the other. Returns (raw, corrected): raw uses
    the conductances as read, with one scale for the array; corrected first relates each cell's conductance
    to its own baseline, which needs a digital correction per cell.
    """
    ladder = _ladder(found, network.bits)
    placement = _placed(session, found, network.levels.size, per_weight=2)
    levels = network.levels.astype(np.int64)
    pair = np.stack([ladder[np.maximum(levels, 0)], ladder[np.maximum(-levels, 0)]], axis=1)
    _program(session, found, placement, pair.ravel().astype(np.int8), closed_loop=True)
    session.stop.check()
    cells = placement.all_cells()
    conductance = 1.0 / session.device.read(cells, found.read).resistance_ohm
    base = 1.0 / found.baseline_ohm[found.index_of(cells)]
    top = 1.0 / found.top_ohm[found.index_of(cells)]
    unit = float(np.mean(top - base)) / (len(ladder) - 1)
    raw = conductance.reshape(-1, 2)
    relative = (conductance / base - 1.0).reshape(-1, 2) * float(np.mean(base))
    return (raw[:, 0] - raw[:, 1]) / unit, (relative[:, 0] - relative[:, 1]) / unit


def _ladder(found: Characterization, bits: int) -> NDArray[np.int64]:
    """States that hold |v| = 0, 1, ..., evenly spread from R0 to the top."""
    steps = level_count(bits) // 2
    if found.states < steps + 1:
        raise BadInput(
            f"differential pairs at {bits} bits need {steps + 1} states, the cells have {found.states}"
        )
    return np.round(np.linspace(0, found.states - 1, steps + 1)).astype(np.int64)


def _placed(session: Session, found: Characterization, weights: int, per_weight: int = 1) -> Placement:
    placement = Placement(weights, session.device.capabilities.cells, per_weight=per_weight)
    found.index_of(placement.all_cells())  # every cell needs a baseline before the first pulse
    return placement


def _program(
    session: Session, found: Characterization, placement: Placement, target: States, *, closed_loop: bool
) -> Written:
    session.progress("program", 0, 1)
    programmer = Programmer(session.device, found, check=session.stop.check, closed_loop=closed_loop)
    done = programmer.write(placement.all_cells(), target)
    session.progress("program", 1, 1)
    return done


def wrong_map(done: Decoded) -> Result:
    """Picture of the array, row by row: 0 right, 1 wrong level, -1 not used."""
    width = int(np.ceil(np.sqrt(done.states.size)))
    picture = np.full(-(-done.states.size // width) * width, -1, np.int8)
    picture[: done.states.size] = done.wrong
    fields = {
        "wrong": Field(
            picture.reshape(-1, width), "", "1: decoded level is wrong; -1: no weight", ("row", "column")
        ),
        "row": Field(np.arange(picture.size // width), "", "row of cells", ("row",)),
        "column": Field(np.arange(width), "", "column of cells", ("column",)),
    }
    return Result("wrong_cells", fields, title="Map of wrong cells", signal="wrong", axes=("row", "column"))
