"""The levels of a chip: stays of the staircase, and more landings on levels that are not told apart yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import checked_resistance
from quest_lab.device import Cells, Floats, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.estimates import (
    Estimate,
    Z,
    of_mean,
    of_variance,
    stacked,
)
from quest_lab.levels import find_levels, stays
from quest_lab.mixture import Mixture, fit_mixture, refit_mixture, shares, split_twice
from quest_lab.protocols.metered import Metered
from quest_lab.protocols.staircase import Staircase
from quest_lab.protocols.trials import reset_cells
from quest_lab.segmentation import Observations, possible_stays
from quest_lab.separation import Separation, separate
from quest_lab.session import Session

_LEAST_NOISE = 1e-4  # of the way from R0 to the top: a meter's last digit can hide all noise
_FEW_CELLS = (
    12  # so few would show nothing if each counted once; what can be told apart is judged by cell anyway
)
_ROUNDS = 10  # of more landings
_LANDINGS = 2  # on each level in doubt in a round
_READS = 4  # of one landing
_LEAST_LIKELY = 1e-4  # stays less likely are left out, at a first fit that the last one changes


@dataclass(frozen=True, slots=True)
class Sampled:
    """The sampled cells, R0 and the way from there to the top of each (ohm), and the relative noise of a read."""

    cells: Cells
    low_ohm: Floats
    span_ohm: Floats
    noise: Estimate

    def variance(self, ohm: Floats) -> Floats:
        """Of the position of one read at `ohm`, whose last axis are the cells."""
        sigma = np.abs(float(self.noise.value) * ohm / self.span_ohm)
        return np.asarray(np.maximum(sigma, _LEAST_NOISE) ** 2)

    def position(self, ohm: Floats) -> Floats:
        return np.asarray((ohm - self.low_ohm) / self.span_ohm)


@dataclass(frozen=True, slots=True)
class Found:
    """Levels found: their separation, and the mixture that they are;
    `stay[repeat, amplitude, cell]` is the mean position of the stay that each read of the staircase belongs to."""

    separation: Separation
    fitted: Mixture
    stay: Floats


def find_separable(
    session: Session, device: Metered, sample: Sampled, stairs: Staircase, keep_pulses: int
) -> Found:
    """Levels and the largest set that single reads tell apart.

    Lands again and again on levels of undecided pairs, while the cells have more than `keep_pulses` left.
    """
    seen, stay = _stays(stairs, sample)
    floor = float(np.sqrt(np.median(seen.v)))
    repeats = stairs.ohm.shape[0]
    together = repeats if sample.cells.size > _FEW_CELLS else 1
    centres = find_levels(seen.x, max(floor, _LEAST_NOISE), per_cell=together)
    if centres.size < 2:
        raise BadInput(
            f"sample: {sample.cells.size} cells with {repeats} repeats show no two states apart: want "
            "more cells or repeats"
        )
    fitted = split_twice(fit_mixture(seen, centres), repeats)
    fitted = _uncut(stairs, sample, fitted)
    for done in range(_ROUNDS + 1):
        landings = fitted.share.sum(axis=0) / sample.cells.size
        separation = separate(fitted, _read_variance(fitted, sample), landings, sample.cells.size)
        doubtful = sorted({s for pair in separation.undecided() for s in pair} - {0})
        cost = 2 * _LANDINGS * len(doubtful)
        if not doubtful or done == _ROUNDS or device.left(sample.cells) < keep_pulses + cost:
            break
        session.progress("levels in doubt", done, _ROUNDS)
        volts = _amplitudes(stairs.amplitude_v, stay, separation.mean.value)
        seen = fitted.seen
        for s in doubtful:
            pulse = VoltagePulse(float(volts[s - 1]), session.device.capabilities.set_width_s)
            for _ in range(_LANDINGS):
                session.stop.check()
                seen = seen.joined(_landing(device, sample, pulse, s))
        fitted = refit_mixture(seen, fitted)
    if separation.chosen.size < 2:
        raise BadInput(
            f"sample: {sample.cells.size} cells with {repeats} repeats: single reads tell no two of the "
            f"{centres.size} levels apart: want reads with less noise"
        )
    return Found(separation, fitted, stay)


def state_estimates(sample: Sampled, found: Found) -> dict[str, Estimate]:
    """Of the chosen levels; `repeat_std` is 0 at R0, where nothing lands."""
    chosen, error = found.separation.chosen, found.separation.error
    ratio, residual = zip(*(_of_level(sample, found, int(s)) for s in chosen), strict=True)
    neighbours = chosen[:-1], chosen[1:]
    return {
        "level_mean": found.separation.mean.take(chosen),
        "level_std": found.separation.std.take(chosen),
        "level_ratio": stacked(list(ratio)),
        "repeat_std": stacked(list(residual)),
        "decoding_error": Estimate(error.value[neighbours], error.low[neighbours], error.high[neighbours]),
    }


def _of_level(sample: Sampled, found: Found, level: int) -> tuple[Estimate, Estimate]:
    """Mean R/R0 over cells, and landing residual within them.

    From the mixture's mean m and variance t: R/R0 = 1 + m E[s] + cov(x, s), s = R_top/R0 - 1 of the cell, and the
    residual's variance t - b, b = E[(x_i - m)(x_j - m)] of two landings of one cell. Errors from the sum of what
    each cell moves them by, which for m and t takes in that neighbouring levels overlap.
    """
    if level == 0:
        return _ratio(sample, found, level), Estimate(np.asarray(0.0), np.asarray(0.0), np.asarray(0.0))
    return _ratio(sample, found, level), _residual(sample, found, level)


def _ratio(sample: Sampled, found: Found, level: int) -> Estimate:
    fitted, cells = found.fitted, sample.cells.size
    seen, share = fitted.seen, fitted.share[:, level]
    swing = sample.span_ohm / sample.low_ohm
    mean, off = float(fitted.mean[level]), swing - swing.mean()
    total = np.bincount(seen.cell, share, cells)
    together = np.bincount(seen.cell, share * (seen.x - mean), cells) * off
    covariance = float(together.sum() / total.sum())
    moved = swing.mean() * fitted.influence[:, level] + mean * off / cells
    moved += (together - covariance * total) / total.sum()
    error = float(np.sqrt((moved**2).sum() * cells / (cells - 1)))
    return of_mean(1.0 + mean * float(swing.mean()) + covariance, error, cells)


def _residual(sample: Sampled, found: Found, level: int) -> Estimate:
    fitted, cells = found.fitted, sample.cells.size
    seen, share = fitted.seen, fitted.share[:, level]
    pairs = _other_tracks(seen, share * (seen.x - fitted.mean[level]), cells)
    count = _other_tracks(seen, share, cells)
    between = float(pairs.sum() / max(count.sum(), 1e-9))
    moved = fitted.influence[:, fitted.mean.size + level] - (pairs - between * count) / max(count.sum(), 1e-9)
    of_noise = 2.0 * float(sample.noise.half_width) / (Z * max(float(sample.noise.value), 1e-300))
    measured = float(np.average(seen.v, weights=share))
    error = np.hypot(np.sqrt((moved**2).sum() * cells / (cells - 1)), of_noise * measured)
    return of_variance(float(fitted.variance[level]) - between, float(error))


def _other_tracks(seen: Observations, each: Floats, cells: int) -> Floats:
    """Sum of the products of two of a cell's stays on different tracks, (cells,)."""
    by_track, whose = np.bincount(seen.track, each), np.zeros(int(seen.track.max()) + 1, np.int64)
    whose[seen.track] = seen.cell
    return np.asarray(np.bincount(seen.cell, each, cells) ** 2 - np.bincount(whose, by_track**2, cells))


def _tracks(values: Floats) -> Floats:
    """[repeat, amplitude, cell] as (amplitudes, repeats * cells)."""
    return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)


def _cut(stairs: Staircase, sample: Sampled) -> NDArray[np.int64]:
    """Likeliest stay of each read, (amplitudes, tracks)."""
    logs = np.log(_tracks(stairs.ohm))  # the noise of a read is relative
    least = _LEAST_NOISE * np.abs(sample.span_ohm / sample.low_ohm)
    return stays(logs, np.tile(np.hypot(float(sample.noise.value), least), stairs.ohm.shape[0]))


def _stays(stairs: Staircase, sample: Sampled) -> tuple[Observations, Floats]:
    """One observation a stay, where each track is cut likeliest, and the mean position of the stay of each read."""
    repeats, steps, cells = stairs.ohm.shape
    tracks, variance = _tracks(sample.position(stairs.ohm)), _tracks(sample.variance(stairs.ohm))
    label = _cut(stairs, sample)
    label = label + np.append(0, np.cumsum(label.max(axis=0) + 1))[:-1]
    inner = _inner(label).ravel()
    count = np.bincount(label.ravel(), inner)
    mean = np.bincount(label.ravel(), inner * tracks.ravel()) / count
    v = np.bincount(label.ravel(), inner * variance.ravel()) / count**2
    track, since = np.empty(count.size, np.int64), np.empty(count.size)
    track[label.ravel()] = np.tile(np.arange(repeats * cells), steps)
    since[label[::-1].ravel()] = np.repeat(stairs.amplitude_v[::-1], repeats * cells)
    stay = np.moveaxis(mean[label].reshape(steps, repeats, cells), 0, 1)
    seen = Observations.certain(mean, v, track % cells, since, track, np.zeros(count.size, np.int64))
    return seen, stay


def _uncut(stairs: Staircase, sample: Sampled, fitted: Mixture) -> Mixture:
    """The mixture refitted to every stay that is at all likely."""
    position, variance = _tracks(sample.position(stairs.ohm)), _tracks(sample.variance(stairs.ohm))
    possible = possible_stays(position, variance, _cut(stairs, sample))
    every = Observations.of(possible, position.shape[0], sample.cells.size, stairs.amplitude_v)
    return refit_mixture(every.where(shares(every, fitted).sum(axis=1) > _LEAST_LIKELY), fitted)


def _inner(label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which reads are neither the first nor the last of a stay of three or more, (reads, tracks): where levels are
    close, a cut can be a read off and a read's stay on another level go unseen."""
    cut = np.diff(label, axis=0) != 0
    edge = np.ones((1, label.shape[1]), bool)
    ends = np.vstack([edge, cut]) | np.vstack([cut, edge])
    return np.asarray(~ends | (np.bincount(label.ravel())[label] < 3))


def _landing(device: Metered, sample: Sampled, pulse: VoltagePulse, level: int) -> Observations:
    """Every sampled cell reset and set once; the mean of a few reads of each."""
    reset_cells(device, sample.cells)
    device.apply(pulse, sample.cells)
    ohm = np.mean([checked_resistance(device.read(sample.cells)) for _ in range(_READS)], axis=0)
    cells = np.arange(sample.cells.size)
    unknown, meant = np.full(cells.size, np.nan), np.full(cells.size, level)
    return Observations.certain(
        sample.position(ohm), sample.variance(ohm) / _READS, cells, unknown, cells, meant
    )


def _read_variance(fitted: Mixture, sample: Sampled) -> Estimate:
    """What one read adds to the variance of the position at each level."""
    share = 1.0 + np.multiply.outer(fitted.mean, sample.span_ohm / sample.low_ohm)  # R / R0
    each = sample.variance(share * sample.low_ohm).mean(axis=-1)
    relative = 2.0 * sample.noise.half_width / max(float(sample.noise.value), 1e-300)
    return Estimate(each, each * (1 - relative), each * (1 + relative))


def _amplitudes(amplitude_v: Floats, stay: Floats, mean: Floats) -> Floats:
    """Amplitude in the middle of each level's plateau, (L-1,); beyond the last threshold for the top."""
    cut = 0.5 * (mean[1:] + mean[:-1])
    first = np.array([_median_step(stay >= c, amplitude_v) for c in cut])
    return np.append(0.5 * (first[1:] + first[:-1]), amplitude_v[-1])


def _median_step(over: NDArray[np.bool_], amplitude_v: Floats) -> float:
    """Median amplitude of the first step over a level, of those that came over it."""
    reached = over.any(axis=1)
    return float(np.median(amplitude_v[over.argmax(axis=1)[reached]]))
