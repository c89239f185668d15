"""What a validation is expected to cost the cells' lives, said before the first pulse."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.device import Cells, FieldPulse, Floats, Scope, whole_domains
from quest_lab.errors import LimitExceeded
from quest_lab.placement import Placement
from quest_lab.policy import evaluate
from quest_lab.protocols.validate_baselines import READS, top_pulse
from quest_lab.protocols.validate_encodings import Levels
from quest_lab.protocols.validate_kept import Key
from quest_lab.protocols.validate_tiles import Programming
from quest_lab.session import Session
from quest_lab.write import policy_for


@dataclass(frozen=True)
class Need:
    """What each cell of the chip is expected to get, shape (cells,): pulses, resets and retries included, and their
    energy in joule, without that of fields."""

    pulses: Floats
    energy_j: Floats

    @classmethod
    def none(cls, cells: int) -> Self:
        return cls(np.zeros(cells), np.zeros(cells))

    def add(self, cells: Cells, pulses: Floats | float, energy_j: Floats | float) -> None:
        """`pulses` and `energy_j` more for each of `cells`."""
        self.pulses[cells] += pulses
        self.energy_j[cells] += energy_j


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
    everyone = np.arange(session.device.capabilities.cells)
    need = expected(session, full, levels, programmings, done, baselines=baselines)
    if session.pulses_left is not None:
        _compare(np.ceil(need.pulses), session.pulses_left(everyone).astype(np.float64), "pulses")
    if session.energy_left_j is not None:
        _compare(need.energy_j, session.energy_left_j(everyone), "J")


def _compare(need: Floats, left: Floats, unit: str) -> None:
    short = need - left
    worst = int(short.argmax())
    if short[worst] > 0:
        raise LimitExceeded(
            f"the budget does not suffice: cell {worst} is expected to get {need[worst]:.4g} {unit}, {left[worst]:.4g} "
            f"{unit} are left of its life: {short[worst]:.4g} {unit} short ({int((short > 0).sum())} cells are short)"
        )


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
    need.add(reached, READS + 1, (READS + 1) * _reset_j(full))
    need.add(full.cells, READS, READS * top.amplitude_v**2 * top.width_s / full.baseline_ohm)


def _reset_j(found: Characterization) -> float:
    """What one reset spends in the cell; a field spends nothing there."""
    return 0.0 if isinstance(found.reset, FieldPulse) else found.reset_energy_j


class _Cost:
    """Expected cost of the tiles of one programming, one after the other."""

    def __init__(self, session: Session, programming: Programming) -> None:
        self._can, self._programming = session.device.capabilities, programming
        self._found = programming.encoding.found
        self._array = self._can.reset_scope is Scope.ARRAY
        self._cost = evaluate(policy_for(self._found, programming.objective))
        self._held = np.full(self._can.cells, -1)  # the state each cell was left in; -1: not known

    def add(self, need: Need, placement: Placement, levels: Levels) -> None:
        """Add a tile to `need`; from an unknown state the dearest start is taken."""
        cells, target = placement.every, self._programming.encoding.targets(placement, levels).astype(np.intp)
        held = self._held[cells]
        self._held[cells] = target
        if self._array:
            need.add(whole_domains(self._can, cells), 1.0, _reset_j(self._found))
            need.add(cells, *(table[0, target] for table in self._tables))
        elif not self._programming.closed_loop:
            set_j = np.nan_to_num(self._found.energy_j[target, self._found.attempts // 2, 0])
            need.add(
                cells,
                1.0 + (target > 0).astype(np.float64),
                _reset_j(self._found) + np.where(target > 0, set_j, 0.0),
            )
        else:
            need.add(
                cells,
                *(np.where(held < 0, t[:, target].max(axis=0), t[held, target]) for t in self._tables),
            )

    @property
    def _tables(self) -> tuple[Floats, Floats]:
        """Pulses and joule [from, to]; what the policy counts for a field is not the cell's."""
        by_field = isinstance(self._found.reset, FieldPulse) and not self._array
        field_j = self._cost.resets * self._found.reset_energy_j if by_field else 0.0
        return self._cost.pulses, self._cost.pulse_j - field_j
