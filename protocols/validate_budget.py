"""What a validation is expected to cost the cells' lives, said before the first pulse."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from quest_lab.device import Cells, Floats, Scope, whole_domains
from quest_lab.errors import LimitExceeded
from quest_lab.placement import Placement
from quest_lab.policy import WriteModel, evaluate, solve
from quest_lab.protocols.validate_baselines import READS
from quest_lab.protocols.validate_encodings import Levels
from quest_lab.protocols.validate_kept import Key
from quest_lab.protocols.validate_tiles import Programming
from quest_lab.session import Session


def check_budget(
    session: Session,
    levels: Levels,
    programmings: Sequence[Programming],
    done: Collection[Key],
    baselines: Cells,
) -> None:
    """Raise LimitExceeded, with the shortfall, if a cell has too few pulses left for the tiles that are not `done`.

    `baselines`: the cells whose baselines at other read voltages are still to be measured.
    """
    if session.pulses_left is None:
        return
    everyone = np.arange(session.device.capabilities.cells)
    need = np.ceil(pulses_expected(session, levels, programmings, done, baselines)).astype(np.int64)
    left = session.pulses_left(everyone)
    short = need - left
    if short.max() > 0:
        worst = int(short.argmax())
        raise LimitExceeded(
            f"the budget does not suffice: cell {worst} is expected to get {need[worst]} pulses, {left[worst]} are "
            f"left of its life: {short[worst]} short ({int((short > 0).sum())} cells are short)"
        )


def pulses_expected(
    session: Session,
    levels: Levels,
    programmings: Sequence[Programming],
    done: Collection[Key],
    baselines: Cells,
) -> Floats:
    """Pulses that each cell of the chip is expected to get, resets and retries included, shape (cells,)."""
    can = session.device.capabilities
    need = np.zeros(can.cells)
    if baselines.size:
        reached = whole_domains(can, baselines) if can.reset_scope is Scope.ARRAY else baselines
        need[reached] += READS + 1
        need[baselines] += READS
    for number, programming in enumerate(programmings):
        cost = _Cost(session, programming)
        for tile, placement in enumerate(programming.placements):
            if (number, tile) not in done:
                cost.add(need, placement, levels)
    return need


class _Cost:
    """Expected pulses of the tiles of one programming, one after the other."""

    def __init__(self, session: Session, programming: Programming) -> None:
        self._can, self._programming = session.device.capabilities, programming
        self._array = self._can.reset_scope is Scope.ARRAY
        found = programming.encoding.found
        self._pulses = evaluate(solve(WriteModel.measured(found), free_start=self._array)).pulses
        self._held = np.full(self._can.cells, -1)  # the state each cell was left in; -1: not known

    def add(self, need: Floats, placement: Placement, levels: Levels) -> None:
        """Add a tile to `need`; from an unknown state the dearest start is taken."""
        cells, target = placement.every, self._programming.encoding.targets(placement, levels).astype(np.intp)
        held = self._held[cells]
        self._held[cells] = target
        if self._array:
            need[whole_domains(self._can, cells)] += 1
            need[cells] += self._pulses[0, target]
        elif not self._programming.closed_loop:
            need[cells] += 1 + (target > 0)
        else:
            need[cells] += np.where(held < 0, self._pulses[:, target].max(axis=0), self._pulses[held, target])
