"""What an amplitude staircase tells: thresholds of each cell, their repeatability, set amplitudes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Floats
from quest_lab.schema import Field, Result


@dataclass(frozen=True, slots=True)
class Staircase:
    """Reads of the staircase: `ohm[repeat, amplitude, cell]`."""

    amplitude_v: Floats
    ohm: Floats


def threshold_tries(amplitude_v: Floats, state: NDArray[np.int64], states: int) -> Floats:
    """Amplitude at which each cell first reached each state: [repeat, cell, S-1], NaN where it never did.

    `state[repeat, amplitude, cell]`; the amplitude is the middle of the step that did it.
    """
    step = amplitude_v[1] - amplitude_v[0]
    out = np.full((state.shape[0], state.shape[2], states - 1), np.nan)
    for s in range(1, states):
        reached = state >= s
        volts = amplitude_v[reached.argmax(axis=1)] - step / 2
        out[..., s - 1] = np.where(reached.any(axis=1), volts, np.nan)
    return out


def mean_over_repeats(tries: Floats) -> Floats:
    """Mean over the first axis, of what is known; NaN where nothing is."""
    known = ~np.isnan(tries)
    count = known.sum(axis=0)
    total = np.where(known, tries, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def stay_positions(position: Floats, state: NDArray[np.int64], s: int) -> Floats:
    """Mean position of each cell's stay in state s: [repeat, cell], NaN where it never stayed there."""
    mine = state == s
    count = mine.sum(axis=1)
    total = np.where(mine, position, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def within_cell_std(tries: Floats) -> float:
    """Cycle-to-cycle spread: root mean square of the deviations from each cell's own mean over repeats."""
    known = ~np.isnan(tries)
    freedom = np.maximum(known.sum(axis=0) - 1, 0).sum()
    deviation = np.where(known, tries - mean_over_repeats(tries), 0.0)
    return float(np.sqrt((deviation**2).sum() / freedom)) if freedom else float("nan")


def set_amplitudes(amplitude_v: Floats, thresholds: Floats) -> tuple[Floats, float]:
    """Amplitude that sets each state, and the mean threshold spread over cells in volts.

    Half-way between the mean thresholds of a state and of the next, `thresholds[cell, S-1]`; the plateau of the
    top state never ends, so its amplitude is 2.5 standard deviations above its threshold. No spread is known
    better than the staircase resolves it.
    """
    step = amplitude_v[1] - amplitude_v[0]
    spread = np.maximum(np.nanstd(thresholds, axis=0, ddof=1), step / np.sqrt(12.0))
    mean = np.nanmean(thresholds, axis=0)
    volts = np.append(0.5 * (mean[:-1] + mean[1:]), mean[-1] + 2.5 * spread[-1])
    return np.round(volts, 6), float(np.nanmean(spread))


def staircase_result(stairs: Staircase, found: Characterization) -> Result:
    """The staircase as a plot: mean resistance and spread of the sampled cells over amplitude."""
    flat = np.moveaxis(stairs.ohm, 1, 0).reshape(stairs.amplitude_v.size, -1)
    track = ("amplitude",)
    fields = {
        "mean_ohm": Field(flat.mean(axis=1), "ohm", "mean resistance", track),
        "spread_ohm": Field(flat.std(axis=1), "ohm", "standard deviation over cells and repeats", track),
        "amplitude": Field(stairs.amplitude_v, "V", "pulse amplitude at the cell", track),
        "ohm": Field(stairs.ohm, "ohm", "each read", ("repeat", "amplitude", "sampled")),
    }
    return Result(
        "staircase", fields, title=f"Amplitude staircase of {found.chip_id}", signal="mean_ohm", axes=track
    )
