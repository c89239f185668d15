"""Validate trained weights on a chip: program, read back, and ask what accuracy the read-back gives.

*Decoded*: one cell a weight, sensed and added digitally (QUEST). *Differential*: two cells a weight, the
current difference G+ - G- is the weight, no decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Cells, Floats
from quest_lab.errors import BadInput
from quest_lab.mapping import Pattern, all_patterns, check, in_chip_states, level_count, to_levels, to_states
from quest_lab.network import Network
from quest_lab.placement import Placement
from quest_lab.schema import Field, Result
from quest_lab.session import Session
from quest_lab.write import Programmer, Written

Levels = NDArray[np.int8]


MISREAD_PATTERNS = 6  # reading back with every other pattern is for 2 bits; 5039 of them tell nothing more


@dataclass(frozen=True)
class Validation:
    """Accuracies 0..1 by row name, in the order measured, and how many weights read back wrong."""

    accuracy: dict[str, float]
    wrong: int
    weights: int
    misread: dict[str, float]
    pattern: str
    truly_wrong: int | None  # by the simulator's true states


@dataclass(frozen=True)
class Decoded:
    """Read-back of decoded cells: the `states` of every weight, its `levels`, and what the write cost."""

    pattern: Pattern
    cells: Cells
    intended: States
    states: States
    written: Written
    true_states: States | None = None  # what the simulated cells really hold

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
    placement = Placement.on(found, network.levels.size)
    intended = to_states(network.levels, pattern)
    written = _program(session, found, placement, intended, closed_loop=closed_loop)
    session.stop.check()
    states = found.decode(session.device.read(placement.cells, found.read))
    return Decoded(
        pattern, placement.cells, intended, states, written, _true_states(session, found, placement.cells)
    )


def program_differential(
    session: Session, network: Network, found: Characterization
) -> tuple[Floats, Floats]:
    """Write G+ and G- pairs; weights as the read conductances give them, in units of a level.

    Level v puts the state that holds |v| on one cell and R0 on the other. Returns (raw, corrected): raw uses
    the conductances as read, with one scale for the array; corrected first relates each cell's conductance
    to its own baseline, which needs a digital correction per cell.
    """
    ladder = _ladder(found, network.bits)
    placement = Placement.on(found, network.levels.size, per_weight=2)
    levels = network.levels.astype(np.int64)
    pair = np.stack([ladder[np.maximum(levels, 0)], ladder[np.maximum(-levels, 0)]], axis=1)
    _program(session, found, placement, pair.ravel().astype(np.int8), closed_loop=True)
    session.stop.check()
    cells = placement.cells
    conductance = 1.0 / session.device.read(cells, found.read).resistance_ohm
    base = 1.0 / found.baseline_ohm[found.index_of(cells)]
    top = 1.0 / found.top_ohm[found.index_of(cells)]
    unit = float(np.mean(top - base)) / (len(ladder) - 1)
    raw = conductance.reshape(-1, 2)
    relative = (conductance / base - 1.0).reshape(-1, 2) * float(np.mean(base))
    return (raw[:, 0] - raw[:, 1]) / unit, (relative[:, 0] - relative[:, 1]) / unit


def _true_states(session: Session, found: Characterization, cells: Cells) -> States | None:
    """The states that simulated cells hold, counted as the used state they decode to; None on real ones."""
    if session.truth is None:
        return None
    held = session.truth(cells)
    if found.fold is None:
        return held
    if held.size and held.max() >= found.fold.size:  # a state that the characterisation did not tell apart
        return None
    return found.fold[held].astype(np.int8)


def _ladder(found: Characterization, bits: int) -> NDArray[np.int64]:
    """States that hold |v| = 0, 1, ..., evenly spread from R0 to the top."""
    steps = level_count(bits) // 2
    if found.states < steps + 1:
        raise BadInput(
            f"differential pairs at {bits} bits need {steps + 1} states, the cells have {found.states}"
        )
    return np.round(np.linspace(0, found.states - 1, steps + 1)).astype(np.int64)


def _program(
    session: Session, found: Characterization, placement: Placement, target: States, *, closed_loop: bool
) -> Written:
    session.progress("program", 0, 1)
    programmer = Programmer(session.device, found, check=session.stop.check, closed_loop=closed_loop)
    done = programmer.write(placement.cells, target)
    session.progress("program", 1, 1)
    return done


def wrong_map(done: Decoded) -> Result:
    """Picture of the cells, row by row: 0 right, 1 wrong level, -1 not used."""
    count = int(done.cells[-1]) + 1
    width = int(np.ceil(np.sqrt(count)))
    picture = np.full(-(-count // width) * width, -1, np.int8)
    picture[done.cells] = done.wrong
    fields = {
        "wrong": Field(
            picture.reshape(-1, width), "", "1: decoded level is wrong; -1: no weight", ("row", "column")
        ),
        "row": Field(np.arange(picture.size // width), "", "row of cells", ("row",)),
        "column": Field(np.arange(width), "", "column of cells", ("column",)),
    }
    return Result("wrong_cells", fields, title="Map of wrong cells", signal="wrong", axes=("row", "column"))


def validate(
    session: Session,
    network: Network,
    images: NDArray[Any],
    labels: NDArray[np.int64],
    full: Characterization,
    used: tuple[int, ...],
    pattern: Pattern,
) -> Validation:
    """Program `network` several ways and evaluate each read-back on held-out `images` and `labels`.

    `full` is the characterisation of the chip, `used` its states that the pattern maps levels to. Rows: the
    ideal integer network; decoded read-back after closed-loop and after open-loop writing (each
    pulse once, unverified); differential analogue read-back where the chip has two cells a weight. At 2 bits
    also the decoded cells read with each wrong pattern. Results go into the session's run file. Raises as
    `replay` does.
    """
    found = full.restrict(used)

    def accuracy(of: Network) -> float:
        session.stop.check()
        return of.accuracy(images, labels)

    rows = {"ideal integer network": accuracy(network)}
    closed = program_decoded(session, network, found, pattern)
    rows["decoded read-back, closed loop"] = accuracy(network.with_levels(closed.levels))
    misread = _misread(network, closed, found.states, accuracy, used)
    opened = program_decoded(session, network, found, pattern, closed_loop=False)
    rows["decoded read-back, open loop"] = accuracy(network.with_levels(opened.levels))
    if full.cells.size >= 2 * network.levels.size:
        raw, corrected = program_differential(session, network, full)
        rows["differential analogue, as read"] = accuracy(network.with_weights(raw))
        rows["differential analogue, baselines corrected"] = accuracy(network.with_weights(corrected))
    truly = None if closed.true_states is None else int((closed.true_states != closed.intended).sum())
    out = Validation(
        rows, int(closed.wrong.sum()), network.levels.size, misread, in_chip_states(pattern, used), truly
    )
    if session.run is not None:
        session.run.add_result(_accuracies(out), default=True)
        session.run.add_result(wrong_map(closed))
    return out


def _misread(
    network: Network,
    done: Decoded,
    states: int,
    accuracy: Callable[[Network], float],
    used: tuple[int, ...],
) -> dict[str, float]:
    """Accuracy if the read-back is decoded with each other pattern."""
    patterns = [p for p in all_patterns(len(done.pattern), states) if p != done.pattern]
    if len(patterns) >= MISREAD_PATTERNS:
        return {}
    return {in_chip_states(p, used): accuracy(network.with_levels(done.misread(p))) for p in patterns}


def _accuracies(found: Validation) -> Result:
    names = [*found.accuracy, *(f"read with the wrong pattern {p}" for p in found.misread)]
    values = np.array([*found.accuracy.values(), *found.misread.values()])
    fields = {
        "accuracy": Field(values, "", "share of held-out images classified right", ("row",)),
        "row": Field(np.arange(values.size), "", "row", ("row",)),
        "row_name": Field(np.array(names), "", "what was evaluated", ("row",)),
    }
    about = {"wrong_weights": found.wrong, "weights": found.weights}
    if found.truly_wrong is not None:
        about["truly_wrong_weights"] = found.truly_wrong
    return Result("accuracy", fields, title="Accuracies", signal="accuracy", axes=("row",), attrs=about)
