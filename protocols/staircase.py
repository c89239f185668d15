"""What an amplitude staircase tells: thresholds of each cell, their repeatability, set amplitudes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Floats
from quest_lab.estimates import Estimate
from quest_lab.levels import Levels
from quest_lab.schema import Field, Result
from quest_lab.threshold_fit import Thresholds, fit_threshold


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


def first_over(state: NDArray[np.integer], s: int) -> NDArray[np.int64]:
    """Step of each staircase that first reached state s, [repeat, cell]; the number of steps where none did."""
    over = state >= s
    return np.where(over.any(axis=1), over.argmax(axis=1), state.shape[1])


def fit_thresholds(amplitude_v: Floats, state: NDArray[np.integer], levels: Levels) -> Thresholds:
    """Of each state 1..S-1, from `state[repeat, amplitude, cell]`."""
    stray = np.clip(levels.decoding_error, 1e-6, 0.05)
    return Thresholds.of_states([
        fit_threshold(first_over(state, s), amplitude_v, float(stray[s - 1]))
        for s in range(1, levels.mean.size)
    ])  # fmt: skip


def threshold_estimates(thresholds: Thresholds) -> dict[str, Estimate]:
    """By the names of a characterisation."""
    return {f"threshold_{f.name}": getattr(thresholds, f.name) for f in fields(thresholds)}


def set_amplitudes(amplitude_v: Floats, thresholds: Thresholds) -> Floats:
    """Amplitude that sets each state.

    Half-way between the mean thresholds of a state and of the next; the plateau of the top state never ends, so
    its amplitude is 2.5 standard deviations of the cells above its threshold. No spread is known better than the
    staircase resolves it.
    """
    step = amplitude_v[1] - amplitude_v[0]
    mean, top = thresholds.mean_v.value, thresholds.cells_v.value[-1]
    volts = np.append(0.5 * (mean[:-1] + mean[1:]), mean[-1] + 2.5 * max(top, step / np.sqrt(12.0)))
    return np.round(volts, 6)


def resolved_spread(amplitude_v: Floats, thresholds: Floats) -> float:
    """Mean over the states of the spread over cells, `thresholds[cell, S-1]`, volts; at least what a step resolves."""
    step = amplitude_v[1] - amplitude_v[0]
    return float(np.nanmean(np.maximum(np.nanstd(thresholds, axis=0, ddof=1), step / np.sqrt(12.0))))


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
