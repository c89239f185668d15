"""Program and verify: the closed loop that brings cells to their target states.

Read, look up what the policy says, apply it to all cells that want the same pulse, read again, until all are
there or out of attempts. It decides from reads alone, so starting it again after a stop finishes the job.
A cell that never arrives is reported, never retried without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quest_lab.beliefs import write_model
from quest_lab.characterization import Characterization, States
from quest_lab.device import (
    Applied,
    Cells,
    Device,
    Floats,
    Reading,
    Scope,
    as_cells,
    whole_domains,
)
from quest_lab.errors import BadInput
from quest_lab.policy import Objective, Policy, solve

_MOST = 8192  # cells that get a pulse in one call: as many a cut leaves in doubt


@dataclass
class Written:
    """Outcome of a write: `states` as last read, `before` as first read, in the order of `cells`, and what it spent.

    Accounts in joule, never mixed: `write_j` pulses (and resets of single cells), `field_j` domain resets,
    `verify_j` reads. `rewritten` are cells outside `cells` that a domain reset made necessary to set again;
    `energies` the write energy of each call, cell by cell.
    """

    cells: Cells
    target: States
    states: States
    pulses: int = 0
    resets: int = 0
    reads: int = 0
    write_j: float = 0.0
    field_j: float = 0.0
    verify_j: float = 0.0
    rewritten: Cells = field(default_factory=lambda: np.empty(0, np.int64))
    rewritten_states: States = field(default_factory=lambda: np.empty(0, np.int8))
    energies: list[tuple[Cells, Floats]] = field(default_factory=list)
    before: States = field(default_factory=lambda: np.empty(0, np.int8))

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Cells whose decoded state is not the target, shape (len(cells),)."""
        return self.states != self.target

    def time_s(self, found: Characterization) -> float:
        """Seconds of all pulses, resets and verify reads, one after the other."""
        widths = found.set_width_s, found.reset.width_s, found.read.width_s
        return float(np.dot((self.pulses, self.resets, self.reads), widths))


def check_chip(device: Device, found: Characterization) -> None:
    """Raise BadInput unless `found` is a characterisation of this very chip."""
    if device.capabilities.chip_id != found.chip_id:
        raise BadInput(
            f"characterization is of chip {found.chip_id}, the device is {device.capabilities.chip_id}"
        )


class Programmer:
    """Writes states into the cells of a chip it has a characterisation of.

    `check` is called between write-read pairs and may raise to stop. `closed_loop=False` gives each pulse
    once, blindly (the open-loop row of a comparison): reset, one set pulse, one read. `memory` is what the writer
    remembers of each cell of the chip, where its model has a lasting memory: each landing tells more about a cell.
    """

    def __init__(
        self,
        device: Device,
        found: Characterization,
        *,
        check: Callable[[], None] = lambda: None,
        closed_loop: bool = True,
        objective: Objective = "energy",
    ) -> None:
        check_chip(device, found)
        self._device, self._found, self._check = device, found, check
        self._closed_loop = closed_loop
        self._array = device.capabilities.reset_scope is Scope.ARRAY
        self.policy = policy_for(found, objective)
        self.memory = first_memory(self.policy, device.capabilities.cells)
        self._book = np.full(device.capabilities.cells, -1, np.int8)  # what each written cell is to hold

    def take_over(self, cells: Cells, states: States, memory: NDArray[np.int16]) -> None:
        """Go on for a writer of these cells: what they are to hold, and what it remembers of them."""
        self._book[cells], self.memory[cells] = states, memory

    def write(self, cells: Cells, target: NDArray[np.integer]) -> Written:
        """Bring `cells` to `target` (states, one each). DeviceError carries what was delivered."""
        cells = as_cells(cells, self._device.capabilities.cells)
        wanted = self._checked(np.asarray(target), cells)
        if not cells.size:
            return Written(cells, wanted, wanted)
        self._found.index_of(cells)  # a cell without a baseline is refused before anything happens
        self._book[cells] = wanted
        if self._array:
            return self._write_array(cells, wanted)
        out = Written(cells, wanted, wanted.copy())
        state = self._read(cells, out)
        out.before = state.copy()
        self._program(cells, wanted, state, out)
        out.states = state
        return out

    def _checked(self, target: NDArray[np.integer], cells: Cells) -> States:
        if target.shape != cells.shape:
            raise BadInput(f"target: {target.size} states for {cells.size} cells")
        if target.size and not 0 <= target.min() <= target.max() < self._found.states:
            raise BadInput(f"target: {target.min()}..{target.max()}, want states 0..{self._found.states - 1}")
        return target.astype(np.int8)

    def _write_array(self, cells: Cells, wanted: States) -> Written:
        """One reset a step: if any cell must fall, empty its domains and set every cell of them again."""
        out = Written(cells, wanted, wanted.copy())
        state = self._read(cells, out)
        out.before = state.copy()
        falling = cells[state > wanted]
        if self._closed_loop and not falling.size:
            self._program(cells, wanted, state, out)
            out.states = state
            return out
        domain = whole_domains(self._device.capabilities, falling if self._closed_loop else cells)
        self._reset(domain, out)
        standing = domain[self._book[domain] >= 0]
        out.rewritten = np.setdiff1d(standing, cells, assume_unique=True)
        everyone = np.union1d(standing, cells)
        target = self._book[everyone]
        now = self._read(everyone, out)
        self._program(everyone, target, now, out)
        out.states = now[np.searchsorted(everyone, cells)]
        out.rewritten_states = now[np.searchsorted(everyone, out.rewritten)]
        return out

    def _program(self, cells: Cells, target: States, state: States, out: Written) -> None:
        """Run the policy on each cell; `state` is updated in place to what was last read."""
        if not self._closed_loop:
            self._program_blindly(cells, target, state, out)
            return
        policy, model = self.policy, self.policy.model
        memory = self.memory[cells] if model.lasting else policy.start[state, target]
        for left in range(policy.horizon, 0, -1):
            action = policy.action[left, state, memory, target]
            busy = np.flatnonzero(action >= 0)
            if not busy.size:
                return
            given = action[busy]  # as it is now: a cell that misses must not be pulsed again this round
            for pulse, mine in _calls(given, busy):
                self._check()
                landed = self._apply(cells[mine], int(model.operation[pulse]), int(model.attempt[pulse]), out)
                memory[mine] = model.after[pulse, memory[mine], state[mine], landed]
                state[mine] = landed
                if model.lasting:
                    self.memory[cells[mine]] = memory[mine]

    def _program_blindly(self, cells: Cells, target: States, state: States, out: Written) -> None:
        middle = self._found.attempts // 2
        if not self._array:
            state[:] = self._apply(cells, 0, middle, out)
        for op in range(1, self._found.states):
            mine = np.flatnonzero(target == op)
            if mine.size:
                self._check()
                state[mine] = self._apply(cells[mine], op, middle, out)

    def _apply(self, cells: Cells, op: int, attempt: int, out: Written) -> States:
        done = self._device.apply(self._found.operation(op, attempt), cells, then_read=True)
        self._account(done, out)
        return self._decode(done.expect_reading(), out)

    def _reset(self, domain: Cells, out: Written) -> None:
        self._check()
        self._account(self._device.apply(self._found.reset, domain), out)

    def _read(self, cells: Cells, out: Written) -> States:
        return self._decode(self._device.read(cells, self._found.read), out)

    def _decode(self, reading: Reading, out: Written) -> States:
        out.reads += reading.cells.size
        out.verify_j += float(reading.energy_j.sum())
        return self._found.decode(reading)

    def _account(self, done: Applied, out: Written) -> None:
        spent = float(done.energy_j.sum())
        if done.operation == self._found.reset:
            out.resets += 1 if self._array else done.cells.size
            if self._array:
                out.field_j += spent
                return
        else:
            out.pulses += done.cells.size
        out.write_j += spent
        out.energies.append((done.cells, done.energy_j))


def _calls(given: NDArray[np.integer], cells: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each pulse with the cells that get it, _MOST at a time."""
    for pulse in np.unique(given):
        mine = cells[given == pulse]
        for first in range(0, mine.size, _MOST):
            yield int(pulse), mine[first : first + _MOST]


@lru_cache(maxsize=4)
def policy_for(found: Characterization, objective: Objective = "energy") -> Policy:
    """The cheapest policy for a chip's cells, as far as they were characterised. Kept: every tile asks for it."""
    return solve(write_model(found), objective=objective, free_start=found.reset_scope is Scope.ARRAY)


def first_memory(policy: Policy, cells: int) -> NDArray[np.int16]:
    """What is remembered of each of a chip's cells before anything is written, shape (cells,)."""
    memory = np.zeros(cells, np.int16)
    memory[policy.model.known_cells] = policy.model.known_memory
    return memory
