"""Characterise a chip: baselines, amplitude staircase, states, set operations, transition counts.

The number of states is not told to it. Every phase goes through the Device; its cost is in the run's calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, attempt_step, checked_resistance
from quest_lab.device import Cells, Floats, Range, VoltagePulse, as_cells
from quest_lab.errors import BadInput, DeviceError
from quest_lab.levels import find_levels, levels_of, visits
from quest_lab.protocols.staircase import (
    Staircase,
    mean_over_repeats,
    set_amplitudes,
    stay_positions,
    threshold_tries,
    within_cell_std,
)
from quest_lab.protocols.terminals import check_terminals
from quest_lab.protocols.trials import Trials, reset_cells
from quest_lab.seeds import generator
from quest_lab.session import Session

_REACH_SIGMAS = 2.5  # how far the attempts reach into the spread of the cells' thresholds
_LEAST_NOISE = 1e-4  # of the way from R0 to the top: a meter's last digit can hide all noise
_RESPONSE_SIGMAS = 8.0  # a cell whose top differs from its R0 by less than this many read noises is stuck


@dataclass(frozen=True, slots=True)
class CharacterizeSettings:
    """What to measure. Amplitudes in volts at the cell, by default those that the device's capabilities name;
    `confidence` is the half-width asked of the 95 % intervals of the set probabilities; `attempts` is odd (None:
    as many as reach 2.5 standard deviations of the cells' thresholds to both sides)."""

    start_v: float | None = None
    stop_v: float | None = None
    step_v: float = 0.01
    repeats: int = 4
    baseline_reads: int = 8
    attempts: int | None = None
    confidence: float = 0.03
    max_cycles: int = 150

    def __post_init__(self) -> None:
        for name in ("start_v", "stop_v", "step_v"):
            if (value := getattr(self, name)) is not None and not 0 < value < np.inf:
                raise BadInput(f"{name}={value}: want a finite amplitude above 0 V")
        if self.start_v is not None and self.stop_v is not None:
            self.amplitudes(Range(self.start_v, self.stop_v))
        if self.baseline_reads < 8:
            raise BadInput(f"baseline_reads={self.baseline_reads}: want at least 8 reads a baseline")
        if self.attempts is not None and (self.attempts < 1 or self.attempts % 2 == 0):
            raise BadInput(f"attempts={self.attempts}: want an odd number")
        if self.repeats < 2 or self.max_cycles < 1 or not self.confidence > 0:
            raise BadInput("want repeats >= 2, max_cycles >= 1, confidence > 0")

    def amplitudes(self, usual: Range) -> list[float]:
        """The staircase, from start to stop, or where they are not given over the `usual` range."""
        start = usual.low if self.start_v is None else self.start_v
        stop = usual.high if self.stop_v is None else self.stop_v
        if not start < stop or not self.step_v <= stop - start:
            raise BadInput(
                f"staircase {start}:{stop}:{self.step_v} V: want start < stop and a step that fits between them"
            )
        count = round((stop - start) / self.step_v)
        return [round(start + i * self.step_v, 6) for i in range(count + 1)]


@dataclass(frozen=True, slots=True)
class _Baseline:
    """R0 and top of each cell in ohm, relative noise of one read, and the cells that answer to pulses."""

    ohm: Floats
    top_ohm: Floats
    noise: float
    alive: NDArray[np.bool_]


def characterize(
    session: Session, cells: Cells, sample: Cells, settings: CharacterizeSettings | None = None
) -> tuple[Characterization, Staircase]:
    """Baseline every cell of `cells`; find states and count transitions on `sample`, a part of them.

    Raises BadInput when the device cannot do what the settings ask, DeviceError when no cell responds or a
    resistance is not a positive number.
    """
    settings = settings or CharacterizeSettings()
    cells, sample = _checked(session, cells, sample, settings)
    base = _baseline(session, cells, settings)
    sample = sample[base.alive[np.searchsorted(cells, sample)]]
    if sample.size < 2:
        raise DeviceError(
            f"only {sample.size} of the sampled cells respond to pulses: nothing to characterise"
        )
    stairs = _staircase(session, sample, settings)
    draft = _find_states(session, cells, sample, base, stairs, settings)
    if session.device.capabilities.topology == "passive":
        check_terminals(session, draft, _top(session, settings), settings.baseline_reads)
    return _count_transitions(session, draft, sample, settings), stairs


def _checked(
    session: Session, cells: Cells, sample: Cells, settings: CharacterizeSettings
) -> tuple[Cells, Cells]:
    can = session.device.capabilities
    highest = settings.amplitudes(can.set_amplitude_v)[-1]
    if highest > can.amplitude_v.high:
        raise BadInput(f"stop_v={highest}: above the device's {can.amplitude_v.high} V at the cell")
    cells, sample = np.sort(as_cells(cells, can.cells)), np.sort(as_cells(sample, can.cells))
    if sample.size < 2:
        raise BadInput(f"sample: {sample.size} cells, want at least 2")
    if not np.all(np.isin(sample, cells)):
        raise BadInput("sample: names cells that are not among the cells to characterise")
    return cells, sample


def _baseline(session: Session, cells: Cells, settings: CharacterizeSettings) -> _Baseline:
    """Mean of repeated reads at R0, and of as many landings at the highest amplitude, for every cell."""
    device, n = session.device, settings.baseline_reads
    top = _top(session, settings)
    reset_cells(device, cells)
    low = np.stack([_ohm(session, cells) for _ in _steps(session, "baseline at R0", n)])
    high = np.empty((n, cells.size))
    for i in _steps(session, "baseline at the top", n):
        reset_cells(device, cells)
        device.apply(top, cells)
        high[i] = _ohm(session, cells)
    base, peak = low.mean(axis=0), high.mean(axis=0)
    noise = float(np.median(low.std(axis=0, ddof=1) / base))
    alive = np.abs(peak - base) > _RESPONSE_SIGMAS * noise * base * np.sqrt(2.0 / n)
    return _Baseline(base, peak, noise, alive)


def _top(session: Session, settings: CharacterizeSettings) -> VoltagePulse:
    """The pulse that sets the top state."""
    can = session.device.capabilities
    return VoltagePulse(settings.amplitudes(can.set_amplitude_v)[-1], can.set_width_s)


def _staircase(session: Session, sample: Cells, settings: CharacterizeSettings) -> Staircase:
    amplitudes = settings.amplitudes(session.device.capabilities.set_amplitude_v)
    ohm = np.empty((settings.repeats, len(amplitudes), sample.size))
    width = session.device.capabilities.set_width_s
    for r in _steps(session, "staircase", settings.repeats):
        reset_cells(session.device, sample)
        for i, amplitude in enumerate(amplitudes):
            session.stop.check()
            done = session.device.apply(VoltagePulse(amplitude, width), sample, then_read=True)
            ohm[r, i] = checked_resistance(done.expect_reading())
    return Staircase(np.asarray(amplitudes), ohm)


def _find_states(
    session: Session,
    cells: Cells,
    sample: Cells,
    base: _Baseline,
    stairs: Staircase,
    settings: CharacterizeSettings,
) -> Characterization:
    can, where = session.device.capabilities, np.searchsorted(cells, sample)
    low, span = base.ohm[where], base.top_ohm[where] - base.ohm[where]
    position = (stairs.ohm - low) / span
    floor = max(float(np.median(base.noise * stairs.ohm / np.abs(span))), _LEAST_NOISE)
    stays = [visits(track, floor) for repeat in position for track in repeat.T]
    centres = find_levels(np.concatenate(stays), floor)
    if centres.size < 2:
        raise BadInput(
            f"sample: {sample.size} cells with {settings.repeats} repeats show no two states apart: want more "
            "cells or repeats"
        )
    levels = levels_of(position.ravel(), centres, floor)
    state = np.searchsorted(levels.boundary, position)
    each = threshold_tries(stairs.amplitude_v, state, centres.size)
    thresholds = mean_over_repeats(each)
    set_v, spread = set_amplitudes(stairs.amplitude_v, thresholds)
    ohm = np.array([stairs.ohm[state == s].mean() for s in range(centres.size)])
    step = round(attempt_step(set_v, spread), 6)
    attempts = settings.attempts or 2 * math.ceil(round(_REACH_SIGMAS * spread / step - 0.5, 3)) + 1
    top = set_v[-1] + attempts // 2 * step
    if top > can.amplitude_v.high:
        raise BadInput(
            f"attempts={attempts}: the top state's highest attempt needs {top:.3f} V, above the "
            f"device's {can.amplitude_v.high} V at the cell"
        )
    n, reset = centres.size, can.reset
    if reset is None:
        raise BadInput(f"chip {can.chip_id}: has no reset operation, which a staircase needs")
    return Characterization(
        chip_id=can.chip_id, set_v=set_v, set_width_s=can.set_width_s, reset=reset,
        reset_scope=can.reset_scope, reset_energy_j=np.nan, read=can.read, levels=levels, resistance_ohm=ohm,
        attempt_step_v=step, counts=np.zeros((n, attempts, 2, n, n), np.int64),
        energy_j=np.full((n, attempts, n), np.nan), cells=cells[base.alive],
        baseline_ohm=base.ohm[base.alive], top_ohm=base.top_ohm[base.alive], sample=sample,
        threshold_v=thresholds, read_noise=base.noise, stuck=cells[~base.alive],
        confidence=settings.confidence, half_width=np.inf,
        repeat_std=np.array([within_cell_std(stay_positions(position, state, s)) for s in range(n)]),
        threshold_repeat_v=within_cell_std(each),
    )  # fmt: skip


def _count_transitions(
    session: Session, draft: Characterization, sample: Cells, settings: CharacterizeSettings
) -> Characterization:
    rng = generator(session.seed, "characterize trials")
    trials = Trials(session.device, draft, sample, rng, session.stop.check)
    for _ in _steps(session, "write trials", settings.max_cycles):
        trials.cycle()
        if trials.half_width() <= settings.confidence:
            break
    session.progress("write trials", settings.max_cycles, settings.max_cycles)
    return replace(
        draft,
        counts=trials.counts,
        by_cell=trials.by_cell(),
        energy_j=trials.energy_j,
        reset_energy_j=trials.reset_j,
        half_width=trials.half_width(),
    )


def _steps(session: Session, what: str, total: int) -> Iterator[int]:
    for i in range(total):
        session.stop.check()
        session.progress(what, i, total)
        yield i
    session.progress(what, total, total)


def _ohm(session: Session, cells: Cells) -> Floats:
    return checked_resistance(session.device.read(cells))
