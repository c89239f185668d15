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
from quest_lab.estimates import Estimate, between_cells, mean_over_cells, within_cells
from quest_lab.protocols.levels import Found, Sampled, find_separable, state_estimates
from quest_lab.protocols.measurement import check_energy
from quest_lab.protocols.metered import Metered
from quest_lab.protocols.staircase import (
    Staircase,
    fit_thresholds,
    mean_over_repeats,
    resolved_spread,
    set_amplitudes,
    threshold_estimates,
    threshold_tries,
)
from quest_lab.protocols.terminals import check_terminals
from quest_lab.protocols.trials import CYCLE_PULSES, Trials, reset_cells
from quest_lab.seeds import generator
from quest_lab.session import Session

_REACH_SIGMAS = 2.5  # how far the attempts reach into the spread of the cells' thresholds
_MOST_STEPS = 10_000  # of a staircase
_LEAST_CYCLES = 8  # of write trials that a budget must leave room for
_RESPONSE_SIGMAS = 8.0  # a cell whose top differs from its R0 by less than this many read noises is stuck


@dataclass(frozen=True, slots=True)
class CharacterizeSettings:
    """What to measure. Amplitudes in volts at the cell, by default those that the device's capabilities name;
    `confidence` is the half-width asked of the 95 % intervals of the set probabilities; `attempts` is odd (None:
    as many as reach 2.5 standard deviations of the cells' thresholds to both sides). `pulses_per_cell` bounds what a
    cell gets, resets included, beside what its ledger leaves it."""

    start_v: float | None = None
    stop_v: float | None = None
    step_v: float = 0.01
    repeats: int = 4
    baseline_reads: int = 8
    attempts: int | None = None
    confidence: float = 0.03
    max_cycles: int = 150
    pulses_per_cell: int | None = None

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
        for name, least in (("repeats", 2), ("max_cycles", 1)):
            if (value := getattr(self, name)) < least:
                raise BadInput(f"{name}={value}: want at least {least}")
        if not 0 < self.confidence < 1:
            raise BadInput(
                f"confidence={self.confidence}: want a half-width of probabilities, above 0, below 1"
            )

    def amplitudes(self, usual: Range) -> list[float]:
        """The staircase, from start to stop, or where they are not given over the `usual` range."""
        start = usual.low if self.start_v is None else self.start_v
        stop = usual.high if self.stop_v is None else self.stop_v
        if not start < stop or not self.step_v <= stop - start:
            raise BadInput(
                f"staircase {start}:{stop}:{self.step_v} V: want start < stop and a step that fits between them"
            )
        if (count := round((stop - start) / self.step_v)) > _MOST_STEPS:
            raise BadInput(
                f"staircase {start}:{stop}:{self.step_v} V: {count} steps, want at most {_MOST_STEPS}"
            )
        return [round(start + i * self.step_v, 6) for i in range(count + 1)]


@dataclass(frozen=True, slots=True)
class _Baseline:
    """R0 and top of each cell in ohm, the variance of a single read or landing of either, the relative noise of one
    read, and the cells that answer to pulses."""

    ohm: Floats
    top_ohm: Floats
    variance: Floats
    top_variance: Floats
    reads: int
    noise: Estimate
    alive: NDArray[np.bool_]

    def estimates(self) -> dict[str, Estimate]:
        """Of the cells that answer."""
        ohm, top = self.ohm[self.alive], self.top_ohm[self.alive]
        variance, top_variance = self.variance[self.alive], self.top_variance[self.alive]
        swing = top / ohm - 1.0
        of_swing = (top_variance + (1.0 + swing) ** 2 * variance) / ohm**2
        return {
            "read_noise": self.noise,
            "r0_ohm": mean_over_cells(ohm),
            "r0_spread_ohm": between_cells(ohm, *self._of_mean(variance)),
            "swing": mean_over_cells(swing),
            "swing_spread": between_cells(swing, *self._of_mean(of_swing)),
        }

    def _of_mean(self, variance: Floats) -> tuple[float, float]:
        """Variance of a cell's mean, from that of its single reads, and the standard error of this."""
        return float(variance.mean()) / self.reads, float(
            variance.std() / np.sqrt(variance.size)
        ) / self.reads


def characterize(
    session: Session, cells: Cells, sample: Cells, settings: CharacterizeSettings | None = None
) -> tuple[Characterization, Staircase]:
    """Baseline every cell of `cells`; find states and count transitions on `sample`, a part of them.

    Raises BadInput when the device cannot do what the settings ask, DeviceError when no cell responds or a
    resistance is not a positive number.
    """
    settings = settings or CharacterizeSettings()
    cells, sample = _checked(session, cells, sample, settings)
    device = Metered(session.device, settings.pulses_per_cell, session.pulses_left)
    device.check(cells, _baseline_pulses(settings), "the baseline")
    device.check(sample, _least_pulses(session, settings), "baseline, staircase and a few write trials")
    check_energy(session, sample, _least_heat_v2s(session, settings), "characterisation", "at least")
    base = _baseline(session, device, cells, settings)
    sample = sample[base.alive[np.searchsorted(cells, sample)]]
    if sample.size < 2:
        raise DeviceError(
            f"only {sample.size} of the sampled cells respond to pulses: nothing to characterise"
        )
    where = np.searchsorted(cells, sample)
    sampled = Sampled(sample, base.ohm[where], base.top_ohm[where] - base.ohm[where], base.noise)
    stairs = _staircase(session, device, sample, settings)
    found = find_separable(session, device, sampled, stairs, _LEAST_CYCLES * CYCLE_PULSES)
    draft = _characterized(device, cells, sampled, base, stairs, found, settings)
    if device.capabilities.topology == "passive":
        check_terminals(session, draft, _top(session, settings), settings.baseline_reads)
    return _count_transitions(session, device, draft, settings), stairs


def _baseline_pulses(settings: CharacterizeSettings) -> int:
    return 1 + 2 * settings.baseline_reads


def _least_pulses(session: Session, settings: CharacterizeSettings) -> int:
    """Pulses that a sampled cell gets at least, resets included."""
    steps = len(settings.amplitudes(session.device.capabilities.set_amplitude_v))
    return _baseline_pulses(settings) + settings.repeats * (1 + steps) + _LEAST_CYCLES * CYCLE_PULSES


def _least_heat_v2s(session: Session, settings: CharacterizeSettings) -> float:
    """V^2 t of the set pulses of baseline and staircase."""
    volts = np.array(settings.amplitudes(session.device.capabilities.set_amplitude_v))
    sum_v2 = settings.baseline_reads * volts[-1] ** 2 + settings.repeats * (volts**2).sum()
    return float(sum_v2 * session.device.capabilities.set_width_s)


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


def _baseline(session: Session, device: Metered, cells: Cells, settings: CharacterizeSettings) -> _Baseline:
    """Mean of repeated reads at R0, and of as many landings at the highest amplitude, for every cell."""
    n = settings.baseline_reads
    top = _top(session, settings)
    reset_cells(device, cells)
    low = np.stack([_ohm(device, cells) for _ in _steps(session, "baseline at R0", n)])
    high = np.empty((n, cells.size))
    for i in _steps(session, "baseline at the top", n):
        reset_cells(device, cells)
        device.apply(top, cells)
        high[i] = _ohm(device, cells)
    base, peak = low.mean(axis=0), high.mean(axis=0)
    variance, top_variance = low.var(axis=0, ddof=1), high.var(axis=0, ddof=1)
    typical = float(np.median(np.sqrt(variance) / base))
    alive = np.abs(peak - base) > _RESPONSE_SIGMAS * typical * base * np.sqrt(2.0 / n)
    noise = within_cells((variance / base**2)[alive], n - 1)
    return _Baseline(base, peak, variance, top_variance, n, noise, alive)


def _top(session: Session, settings: CharacterizeSettings) -> VoltagePulse:
    """The pulse that sets the top state."""
    can = session.device.capabilities
    return VoltagePulse(settings.amplitudes(can.set_amplitude_v)[-1], can.set_width_s)


def _staircase(session: Session, device: Metered, sample: Cells, settings: CharacterizeSettings) -> Staircase:
    amplitudes = settings.amplitudes(device.capabilities.set_amplitude_v)
    ohm = np.empty((settings.repeats, len(amplitudes), sample.size))
    width = device.capabilities.set_width_s
    for r in _steps(session, "staircase", settings.repeats):
        reset_cells(device, sample)
        for i, amplitude in enumerate(amplitudes):
            session.stop.check()
            done = device.apply(VoltagePulse(amplitude, width), sample, then_read=True)
            ohm[r, i] = checked_resistance(done.expect_reading())
    return Staircase(np.asarray(amplitudes), ohm)


def _characterized(
    device: Metered,
    cells: Cells,
    sample: Sampled,
    base: _Baseline,
    stairs: Staircase,
    found: Found,
    settings: CharacterizeSettings,
) -> Characterization:
    """What the staircase and the landings tell; transitions are still to be counted."""
    can, levels = device.capabilities, found.separation.levels
    n, state = levels.mean.size, np.searchsorted(levels.boundary, found.stay)
    thresholds = fit_thresholds(stairs.amplitude_v, state, levels)
    each = mean_over_repeats(threshold_tries(stairs.amplitude_v, state, n))
    set_v = set_amplitudes(stairs.amplitude_v, thresholds)
    spread = resolved_spread(stairs.amplitude_v, each)
    step = round(attempt_step(set_v, spread), 6)
    attempts = settings.attempts or 2 * math.ceil(round(_REACH_SIGMAS * spread / step - 0.5, 3)) + 1
    top = set_v[-1] + attempts // 2 * step
    if top > can.amplitude_v.high:
        raise BadInput(
            f"attempts={attempts}: the top state's highest attempt needs {top:.3f} V, above the "
            f"device's {can.amplitude_v.high} V at the cell"
        )
    if can.reset is None:
        raise BadInput(f"chip {can.chip_id}: has no reset operation, which a staircase needs")
    estimates = {**state_estimates(sample, found), **base.estimates(), **threshold_estimates(thresholds)}
    return Characterization(
        chip_id=can.chip_id, set_v=set_v, set_width_s=can.set_width_s, reset=can.reset,
        reset_scope=can.reset_scope, reset_energy_j=np.nan, read=can.read, levels=levels,
        resistance_ohm=np.array([stairs.ohm[state == s].mean() for s in range(n)]),
        attempt_step_v=step, counts=np.zeros((n, attempts, 2, n, n), np.int64),
        energy_j=np.full((n, attempts, n), np.nan), cells=cells[base.alive],
        baseline_ohm=base.ohm[base.alive], top_ohm=base.top_ohm[base.alive], sample=sample.cells,
        threshold_v=each, read_noise=float(base.noise.value), stuck=cells[~base.alive],
        confidence=settings.confidence, half_width=np.inf, repeat_std=estimates["repeat_std"].value,
        threshold_repeat_v=float(thresholds.cycles_v.value.mean()), estimates=estimates,
        separation=found.separation,
    )  # fmt: skip


def _count_transitions(
    session: Session, device: Metered, draft: Characterization, settings: CharacterizeSettings
) -> Characterization:
    rng, sample = generator(session.seed, "characterize trials"), draft.sample
    trials = Trials(device, draft, sample, rng, session.stop.check)
    for _ in _steps(session, "write trials", settings.max_cycles):
        if device.left(sample) < CYCLE_PULSES:
            break
        trials.cycle()
        if trials.half_width() <= settings.confidence:
            break
    session.progress("write trials", settings.max_cycles, settings.max_cycles)
    more = {"set_probability": trials.set_probability(), "pulse_energy_j": trials.pulse_energy_j()}
    return replace(
        draft,
        counts=trials.counts,
        by_cell=trials.by_cell(),
        energy_j=trials.energy_j,
        reset_energy_j=trials.reset_j,
        half_width=trials.half_width(),
        estimates={**draft.estimates, **more},
        pulses=int(device.pulses[sample].max()),
    )


def _steps(session: Session, what: str, total: int) -> Iterator[int]:
    for i in range(total):
        session.stop.check()
        session.progress(what, i, total)
        yield i
    session.progress(what, total, total)


def _ohm(device: Metered, cells: Cells) -> Floats:
    return checked_resistance(device.read(cells))
