"""What was measured of a chip's cells: operations, levels, baselines, thresholds, transition counts.

Saved as the result `characterization` of a run file; everything later (energy, replay, validation) reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quest_lab.cellcounts import CellCounts
from quest_lab.device import Cells, Floats, Operation, Reading, ReadPulse, Scope, VoltagePulse
from quest_lab.errors import BadInput, DeviceError
from quest_lab.estimates import Estimate
from quest_lab.levels import Levels
from quest_lab.separation import Separation

States = NDArray[np.int8]
MIN_EVIDENCE = 8  # a pulse that was seen less often than this from a state is not used there by a policy
ESTIMATES: dict[str, tuple[str, str, tuple[str, ...]]] = {  # 95 % intervals: unit, meaning, dimensions
    "level_mean": ("", "position of each state between R0 (0) and top (1)", ("state",)),
    "level_ratio": ("", "R/R0 of each state, mean over cells", ("state",)),
    "level_std": ("", "spread of a single read around its state", ("state",)),
    "repeat_std": ("", "landing residual: cycle-to-cycle spread of the position", ("state",)),
    "decoding_error": ("", "of neighbouring states, a single read", ("set_state",)),
    "threshold_mean_v": ("V", "mean threshold of each state", ("set_state",)),
    "threshold_cells_v": ("V", "spread of the threshold from cell to cell", ("set_state",)),
    "threshold_cycles_v": ("V", "spread of the threshold from pulse to pulse", ("set_state",)),
    "set_probability": ("", "share of first tries that landed [operation, from]", ("operation", "state")),
    "pulse_energy_j": (
        "J",
        "mean pulse energy at the middle attempt [operation, from]",
        ("operation", "state"),
    ),
    "read_noise": ("", "relative standard deviation of one read", ()),
    "r0_ohm": ("ohm", "mean R0 over cells", ()),
    "r0_spread_ohm": ("ohm", "standard deviation of R0 over cells", ()),
    "swing": ("", "mean of top/R0 - 1 over cells (TMR at the read bias)", ()),
    "swing_spread": ("", "standard deviation of top/R0 - 1 over cells", ()),
}
RSTD_PROBABILITY = 0.5  # an edge of the transition diagram needs this much at the lower 95 % bound


@dataclass(frozen=True, eq=False)
class Characterization:
    """Measured properties of a chip.

    Operation 0 is the reset, operation s sets state s from below. The attempt index a = 0..A-1 shifts the
    amplitude of a set pulse by (a - A//2) `attempt_step_v`. `counts[operation, attempt, previous pulse of
    this write missed, from, to]` are transitions between decoded states, shape (S, A, 2, S, S).
    """

    chip_id: str
    set_v: Floats  # amplitude of operation 1..S-1 at the middle attempt, shape (S-1,)
    set_width_s: float
    reset: Operation
    reset_scope: Scope
    reset_energy_j: float  # of one pulse: a cell (scope cell) or the domain (scope array)
    read: ReadPulse
    levels: Levels
    resistance_ohm: Floats  # mean per state, shape (S,)
    attempt_step_v: float
    counts: NDArray[np.int64]
    energy_j: Floats  # mean pulse energy [operation, attempt, from]; NaN where never given
    cells: Cells  # cells with a baseline, ascending
    baseline_ohm: Floats  # R0 of each of `cells`
    top_ohm: Floats  # top state of each of `cells`
    sample: Cells  # cells whose thresholds were measured
    threshold_v: Floats  # shape (len(sample), S-1); NaN where unknown
    read_noise: float  # relative, of one read
    repeat_std: Floats  # cycle-to-cycle spread of the position of each state within a cell, shape (S,)
    threshold_repeat_v: float  # cycle-to-cycle spread of a threshold within a cell
    stuck: Cells
    confidence: float  # half-width asked of the 95 % intervals of the set probabilities
    half_width: float  # the widest of these intervals when it stopped (cells, not pulses, are independent)
    fold: NDArray[np.int64] | None = None  # after restrict(): which used state each found state counts as
    whole: Characterization | None = None  # after restrict(): with all states found
    by_cell: CellCounts | None = None  # the counts of each sampled cell, if kept and not restricted
    estimates: Mapping[str, Estimate] = field(default_factory=dict)  # names: ESTIMATES
    separation: Separation | None = (
        None  # every level found, of which the states are the largest separable set
    )
    pulses: int = 0  # most that a sampled cell got, resets included

    @property
    def states(self) -> int:
        return self.levels.mean.size

    @property
    def attempts(self) -> int:
        return int(self.counts.shape[1])

    def operation(self, index: int, attempt: int) -> Operation:
        """The pulse of operation `index` at `attempt`."""
        if index == 0:
            return self.reset
        shift = (attempt - self.attempts // 2) * self.attempt_step_v
        volts = max(float(self.set_v[index - 1]) + shift, self.attempt_step_v)  # never of the other sign
        return VoltagePulse(round(volts, 6), self.set_width_s)

    def position(self, reading: Reading) -> Floats:
        """Position of each read between the cell's own baseline (0) and its top (1)."""
        where = self.index_of(reading.cells)
        ohm = checked_resistance(reading)
        return (ohm - self.baseline_ohm[where]) / (self.top_ohm[where] - self.baseline_ohm[where])

    def decode(self, reading: Reading) -> States:
        """State of each read, against the cell's own baseline."""
        return np.searchsorted(self.levels.boundary, self.position(reading)).astype(np.int8)

    def index_of(self, cells: Cells) -> NDArray[np.int64]:
        """Row of each cell in the baseline table; BadInput names a cell that has none."""
        if self._dense and (not cells.size or cells.max() < self.cells.size):
            return cells
        where = np.searchsorted(self.cells, cells)
        known = where < self.cells.size
        known[known] = self.cells[where[known]] == cells[known]
        if not np.all(known):
            missing = cells[~known]
            raise BadInput(
                f"characterization of {self.chip_id}: {missing.size} cells have no baseline, first cell "
                f"{missing[0]}; characterise with at least {int(cells.max()) + 1} cells"
            )
        return where

    @cached_property
    def _dense(self) -> bool:
        return bool(np.array_equal(self.cells, np.arange(self.cells.size)))

    def set_probability(self) -> Floats:
        """Share of first tries at the middle attempt that landed: [operation, from], NaN if none."""
        first = self.counts[:, self.attempts // 2, 0].copy()
        first[0] = self.counts[0].sum(axis=(0, 1))  # a reset knows no attempts
        total = first.sum(axis=-1)
        landed = np.stack([first[s, :, s] for s in range(self.states)])
        return np.divide(landed, total, out=np.full(total.shape, np.nan), where=total > 0)

    def rare_moves(self) -> list[tuple[int, int]]:
        """Upward moves and resets (from, to) whose pulse was seen too rarely for a policy to use it."""
        return rare_moves(self.counts)

    def edges(self) -> list[tuple[int, int, int]]:
        """The resistance-state transition diagram: (from, to, operation) with a usable direct operation."""
        out = []
        middle = self.counts[:, self.attempts // 2].sum(axis=1)
        middle[0] = self.counts[0].sum(axis=(0, 1))
        for op in range(self.states):
            for start in range(self.states):
                total = int(middle[op, start].sum())
                if start != op and _wilson_low(int(middle[op, start, op]), total) >= RSTD_PROBABILITY:
                    out.append((start, op, op))
        return out

    def restrict(self, states: tuple[int, ...]) -> Characterization:
        """The same cells used with some of their states only; a read decodes to the nearest used state."""
        used = np.asarray(states)
        if used.size < 2 or np.any(np.diff(used) <= 0) or used[0] != 0 or used[-1] >= self.states:
            raise BadInput(
                f"states={','.join(map(str, states))}: want ascending states from 0, below {self.states} "
                f"(this characterisation found {self.states} states)"
            )
        group = np.abs(self.levels.mean[:, None] - self.levels.mean[used]).argmin(axis=1)
        fold = np.eye(used.size, dtype=np.int64)[group]
        last = np.searchsorted(group, np.arange(used.size - 1), side="right") - 1
        shares = self.counts[used].sum(axis=(2, 4)).astype(np.float64)
        known = np.nan_to_num(self.energy_j[used])
        weighted = (known * shares) @ fold
        total = shares @ fold
        folded = np.divide(weighted, total, out=np.full(total.shape, np.nan), where=total > 0)
        own = self.energy_j[used][..., used]  # a write starts in a used state; its neighbours cost otherwise
        energy = np.where(np.isnan(own), folded, own)
        levels = Levels(self.levels.mean[used], self.levels.std[used], self.levels.boundary[last])
        kept = self.attempts_of(used)
        return replace(
            self,
            set_v=self.set_v[used[1:] - 1],
            levels=levels,
            resistance_ohm=self.resistance_ohm[used],
            attempt_step_v=self.attempt_step_v * (kept[-1] - kept[0]) / max(kept.size - 1, 1),
            counts=np.einsum("oafst,sp,tq->oafpq", self.counts[used][:, kept], fold, fold),
            energy_j=energy[:, kept],
            threshold_v=self.threshold_v[:, used[1:] - 1],
            repeat_std=self.repeat_std[used],
            fold=group if self.fold is None else group[self.fold],
            whole=self.whole or self,
            by_cell=None,
            estimates=dict(self._estimates_of(used)),
        )

    def _estimates_of(self, used: NDArray[np.int64]) -> Iterator[tuple[str, Estimate]]:
        """Those that stay true of the `used` states; what depends on the states left out is dropped."""
        for name, one in self.estimates.items():
            dims = ESTIMATES[name][2]
            if dims == ("state",):
                yield name, one.take(used)
            elif not dims or name.startswith("threshold"):
                yield name, one.take(used[1:] - 1) if dims else one

    def attempts_of(self, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """The attempts that fewer, wider plateaus need: a step further apart is enough for them."""
        step = attempt_step(self.set_v[used[1:] - 1], threshold_spread(self.threshold_v))
        stride = max(int(step / self.attempt_step_v + 1e-9), 1) if self.attempt_step_v else 1
        middle = self.attempts // 2
        return np.arange(middle % stride, self.attempts, stride)

    def read_energy_j(self) -> Floats:
        """V_read^2 / R_s t_read of each state, shape (S,): QUEST's activation energy (Algorithm 2)."""
        return self.read.amplitude_v**2 * self.read.width_s / self.resistance_ohm


def threshold_spread(threshold_v: Floats) -> float:
    """Mean over the states of the standard deviation over cells, volts, of `threshold_v[cell, S-1]`."""
    return float(np.nanmean(np.nanstd(threshold_v, axis=0, ddof=1)))


def attempt_step(set_v: Floats, spread_v: float) -> float:
    """Distance of two attempt amplitudes: the spread of the cells, at most half the narrowest plateau."""
    narrowest = float(np.diff(set_v).min()) if set_v.size > 1 else np.inf
    return min(spread_v, 0.5 * narrowest)


def rare_moves(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(from, to) seen less than MIN_EVIDENCE times: upward pulses at the middle attempt, and resets (to 0)."""
    seen = counts[:, counts.shape[1] // 2].sum(axis=(1, 3))
    seen[0] = counts[0].sum(axis=(0, 1, 3))  # a reset knows no attempts
    states = range(counts.shape[0])
    pairs = [(start, op) for op in states for start in states if start < op or (op == 0 and start)]
    return [(start, op) for start, op in pairs if seen[op, start] < MIN_EVIDENCE]


def checked_resistance(reading: Reading) -> Floats:
    """The resistances, or DeviceError naming the first cell whose read is no positive finite number."""
    good = np.isfinite(reading.resistance_ohm) & (reading.resistance_ohm > 0)
    if not np.all(good):
        first = int(np.flatnonzero(~good)[0])
        raise DeviceError(
            f"read of cell {reading.cells[first]}: {reading.resistance_ohm[first]} ohm "
            f"({int((~good).sum())} of {good.size} cells): a resistance is finite and above 0 ohm",
            partial=reading,
        )
    return reading.resistance_ohm


def _wilson_low(hits: int, total: int) -> float:
    """Lower end of Wilson's 95 % interval for a share."""
    if total == 0:
        return 0.0
    z, p = 1.96, hits / total
    middle = p + z * z / (2 * total)
    return (middle - z * np.sqrt(p * (1 - p) / total + z * z / (4 * total * total))) / (1 + z * z / total)
