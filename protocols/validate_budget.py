"""What a validation is expected to cost the cells' lives, said before the first pulse."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.device import Scope, whole_domains
from quest_lab.placement import Placement
from quest_lab.protocols.life import Need, cost_tables, from_to, reset_j
from quest_lab.protocols.validate_baselines import READS, top_pulse
from quest_lab.protocols.validate_encodings import Levels
from quest_lab.protocols.validate_kept import Key
from quest_lab.protocols.validate_tiles import Programming
from quest_lab.session import Session


def check_budget(
    session: Session,
    full: Characterization,
    levels: Levels,
    programmings: Sequence[Programming],
    done: Collection[Key],
    *,
    baselines: bool,
) -> None:
    """Raise LimitExceeded, with the shortfall, if a cell's life does not suffice for the tiles that are not `done`."""
    if session.pulses_left is not None or session.energy_left_j is not None:
        expected(session, full, levels, programmings, done, baselines=baselines).check(session)


def expected(
    session: Session,
    full: Characterization,
    levels: Levels,
    programmings: Sequence[Programming],
    done: Collection[Key],
    *,
    baselines: bool,
) -> Need:
    """What the cells are expected to get; `baselines`: those at other read voltages are still to be measured."""
    need = Need.none(session.device.capabilities.cells)
    if baselines:
        _add_baselines(session, full, need)
    for number, programming in enumerate(programmings):
        cost = _Cost(session, programming)
        for tile, placement in enumerate(programming.placements):
            if (number, tile) not in done:
                cost.add(need, placement, levels)
    return need


def _add_baselines(session: Session, full: Characterization, need: Need) -> None:
    can, top = session.device.capabilities, top_pulse(session, full)
    reached = whole_domains(can, full.cells) if can.reset_scope is Scope.ARRAY else full.cells
    need.add(reached, READS + 1, (READS + 1) * reset_j(full))
    need.add(full.cells, READS, READS * top.amplitude_v**2 * top.width_s / full.baseline_ohm)


class _Cost:
    """Expected cost of the tiles of one programming, one after the other."""

    def __init__(self, session: Session, programming: Programming) -> None:
        self._can, self._programming = session.device.capabilities, programming
        self._found = programming.encoding.found
        self._array = self._can.reset_scope is Scope.ARRAY
        self._tables = cost_tables(self._found, programming.objective)
        self._held = np.full(self._can.cells, -1)  # the state each cell was left in; -1: not known

    def add(self, need: Need, placement: Placement, levels: Levels) -> None:
        """Add a tile to `need`; from an unknown state the dearest start is taken."""
        cells, target = placement.every, self._programming.encoding.targets(placement, levels).astype(np.intp)
        held = self._held[cells]
        self._held[cells] = target
        if self._array:
            need.add(whole_domains(self._can, cells), 1.0, reset_j(self._found))
            need.add(cells, *(table[0, 0, target] for table in self._tables))
        elif not self._programming.closed_loop:
            set_j = np.nan_to_num(self._found.energy_j[target, self._found.attempts // 2, 0])
            need.add(
                cells,
                1.0 + (target > 0).astype(np.float64),
                reset_j(self._found) + np.where(target > 0, set_j, 0.0),
            )
        else:
            need.add(cells, *(from_to(table, held, target) for table in self._tables))
