"""Stays of a track of reads on levels, summed over all ways to cut the track into stays.

A cell on a staircase stays on a level for a number of reads, that share the residual of its landing, and then lands
on another one. Where levels are close no cut is certain, and to take the likeliest one for the truth pulls levels
towards each other; so every stay that the reads allow is weighed by the probability that it is one (hidden
semi-Markov model; Yu, Artificial Intelligence 174 (2010) 215). Stays are edges of a graph whose nodes are the points
between reads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats

_MOST_EXCESS = 40.0  # of the sum of squares within a stay above its expectation: no stay
_LEAST_LOG = -550.0  # a read far from every level tells nothing, instead of spoiling its track
_MOST_LOG = 600.0  # of a number that still fits
_NEGLIGIBLE = 1e-30  # of the likeliest level
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True)
class Stays:
    """Stays that the reads allow, track by track: reads `start` to `end` (not included) of `track`, their mean `x`
    with the variance `v` of its measurement, and the log density `inside` of the reads about their mean, beside what
    the reads have in common however they are cut."""

    track: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    x: Floats
    v: Floats
    inside: Floats


@dataclass(frozen=True, slots=True)
class Observations:
    """Stays with positions `x` and variances `v` of their measurement, of which `cell`, since which amplitude (NaN:
    not known), on which `track`, which is a staircase or a landing; brought about by which pulse (0: a staircase, k:
    one meant for level k); all of shape (n,). A stay leads from node `start` to node `end` of its track, in order of
    `start`; it may be the track's first (`opens`) and its last (`closes`); `inside`: see Stays."""

    x: Floats
    v: Floats
    cell: NDArray[np.int64]
    volts: Floats
    track: NDArray[np.int64]
    pulse: NDArray[np.int64]
    inside: Floats
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    opens: NDArray[np.bool_]
    closes: NDArray[np.bool_]

    @classmethod
    def certain(
        cls,
        x: Floats,
        v: Floats,
        cell: NDArray[np.int64],
        volts: Floats,
        track: NDArray[np.int64],
        pulse: NDArray[np.int64],
    ) -> Observations:
        """Where nothing is to be cut: the stays of a track one after the other."""
        opens = np.diff(track, prepend=-1) != 0
        start = np.arange(x.size) + np.cumsum(opens) - 1
        closes = np.append(opens[1:], True)
        return cls(x, v, cell, volts, track, pulse, np.zeros(x.size), start, start + 1, opens, closes)

    @classmethod
    def of(cls, stays: Stays, reads: int, cells: int, amplitude_v: Floats) -> Observations:
        """Of staircases of `reads` amplitudes each, tracks [repeat, cell] in this order; a stay begins anywhere as
        likely as its level's amplitude says."""
        opens, node = stays.start == 0, stays.track * (reads + 1)
        cut = np.where(opens, 0.0, np.log(amplitude_v[1] - amplitude_v[0]))
        return cls(
            stays.x, stays.v, stays.track % cells, amplitude_v[stays.start], stays.track,
            np.zeros(stays.x.size, np.int64), stays.inside + cut, node + stays.start, node + stays.end,
            opens, stays.end == reads,
        )  # fmt: skip

    def joined(self, other: Observations) -> Observations:
        """With the other's tracks after its own."""
        nodes, tracks = int(self.end.max()) + 1, int(self.track.max()) + 1
        later = replace(other, start=other.start + nodes, end=other.end + nodes, track=other.track + tracks)
        return Observations(*(np.append(getattr(self, f.name), getattr(later, f.name)) for f in fields(self)))

    def where(self, which: NDArray[np.bool_]) -> Observations:
        """Some of them."""
        return Observations(*(getattr(self, f.name)[which] for f in fields(self)))


def possible_stays(tracks: Floats, variance: Floats, label: NDArray[np.int64]) -> Stays:
    """Of `tracks` (reads, tracks) with the `variance` of each read; those of the cut `label` are always among them."""
    return Stays(*_possible(tracks.T.copy(), variance.T.copy(), label.T.copy()))


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]  # numba has no types
def _possible(y, variance, label):  # type: ignore[no-untyped-def]
    most, n = y.size * 2, 0
    whole, value = np.empty((3, most), np.int64), np.empty((3, most))
    for i in range(y.shape[0]):
        for s in range(y.shape[1]):
            total, squares, spread, logs = 0.0, 0.0, 0.0, 0.0
            for t in range(s, y.shape[1]):
                off = y[i, t] - y[i, s]
                count = t - s + 1
                total, squares = total + off, squares + off * off
                spread, logs = spread + variance[i, t], logs + np.log(variance[i, t])
                within = (squares - total * total / count) * count / spread
                if within - (count - 1) > _MOST_EXCESS and label[i, s] != label[i, t]:
                    break
                if n == most:
                    most *= 2
                    whole, value = _longer(whole, most), _longer(value, most)
                mean_v = spread / count
                whole[0, n], whole[1, n], whole[2, n] = i, s, t + 1
                value[0, n], value[1, n] = y[i, s] + total / count, mean_v / count
                value[2, n] = 0.5 * (
                    logs + count + _LOG_2PI - within - (count - 1) * np.log(mean_v) - np.log(count)
                )
                n += 1
    return whole[0, :n], whole[1, :n], whole[2, :n], value[0, :n], value[1, :n], value[2, :n]


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _longer(rows, most):  # type: ignore[no-untyped-def]
    out = np.empty((rows.shape[0], most), rows.dtype)
    for i in range(rows.shape[0]):  # one slice assigned to another takes seconds to compile
        for j in range(rows.shape[1]):
            out[i, j] = rows[i, j]
    return out


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]
def stay_densities(x, v, inside, at, mean, variance):  # type: ignore[no-untyped-def]
    """Of each stay on each level, (n, S), beside the density `at` of its amplitude there."""
    out = np.empty(at.shape)
    for e in range(x.size):
        for k in range(mean.size):
            total = variance[k] + v[e]
            log = inside[e] - 0.5 * ((x[e] - mean[k]) ** 2 / total + _LOG_2PI)
            out[e, k] = at[e, k] * np.exp(max(log, _LEAST_LOG)) / np.sqrt(total)
    return out


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]
def sum_paths(start, end, opens, closes, pulse, density, first, move, stop):  # type: ignore[no-untyped-def]
    """Probability of each stay on each level (n, S), the log likelihood, and the expected moves (S, S) and stops (S,).

    Stays in order of their `start` nodes; `density[n, S]` of each on each level, `first[pulse]` of the level that a
    track opens on, `move` and `stop` of what follows a stay (a landing by a pulse of its own has nothing to follow).
    """
    n, levels = density.shape
    nodes = end.max() + 1
    arrived, left = np.zeros((nodes, levels)), np.zeros((nodes, levels))
    into, onward = np.zeros((nodes, levels)), np.zeros((nodes, levels))
    scale, known = np.zeros(nodes), np.zeros(nodes, np.bool_)  # logarithms that keep long tracks within range
    for e in range(n):
        s, t = start[e], end[e]
        if opens[e]:
            for k in range(levels):
                into[s, k] = first[pulse[e], k]
        elif start[e - 1] != s:
            _rescale(arrived, scale, s, _most(arrived, s))
            _follow(arrived, move, into, s)
        if not known[t]:
            scale[t], known[t] = scale[s], True
        factor = _ratio(scale[s], scale[t])
        for k in range(levels):
            arrived[t, k] += density[e, k] * into[s, k] * factor
        most = _most(arrived, t)
        if most > 1.0:
            _rescale(arrived, scale, t, most)
    back = move.T.copy()
    for e in range(n - 1, -1, -1):
        s, t = start[e], end[e]
        if closes[e]:
            for k in range(levels):
                onward[t, k] = stop[k] if pulse[e] == 0 else 1.0
        factor = _ratio(scale[s], scale[t])
        for k in range(levels):
            left[s, k] += density[e, k] * onward[t, k] * factor
        if e == 0 or start[e - 1] != s:
            _follow(left, back, onward, s)
    share, moves, stops = np.zeros((n, levels)), np.zeros((levels, levels)), np.zeros(levels)
    total, whole, last = 0.0, 1.0, 0.0
    for e in range(n):
        s, t = start[e], end[e]
        if e == 0 or start[e - 1] != s:
            if opens[e]:
                whole = 0.0
                for k in range(levels):
                    whole += into[s, k] * left[s, k]
                whole = max(whole, 1e-300)
                total += np.log(whole)
            else:
                least = _NEGLIGIBLE * _most(arrived, s)
                for j in range(levels):
                    for k in range(levels if arrived[s, j] > least else 0):
                        moves[j, k] += arrived[s, j] / whole * move[j, k] * left[s, k]
        factor = _ratio(scale[s], scale[t])
        for k in range(levels):
            share[e, k] = into[s, k] * density[e, k] * onward[t, k] * factor / whole
            if closes[e] and pulse[e] == 0:
                stops[k] += share[e, k]
        if closes[e]:
            last = scale[t]
        if e == n - 1 or (opens[e + 1] and start[e + 1] != s):
            total += last
    return share, total, moves, stops


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _most(rows, node):  # type: ignore[no-untyped-def]  # a row's own max() costs more than all else here
    most = rows[node, 0]
    for k in range(1, rows.shape[1]):
        most = max(most, rows[node, k])
    return most


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _ratio(scale, of):  # type: ignore[no-untyped-def]
    return 1.0 if scale == of else np.exp(min(scale - of, _MOST_LOG))


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _rescale(arrived, scale, node, most):  # type: ignore[no-untyped-def]
    if most > 0:
        for k in range(arrived.shape[1]):
            arrived[node, k] /= most
        scale[node] += np.log(most)


@nb.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _follow(before, move, after, node):  # type: ignore[no-untyped-def]
    least = _NEGLIGIBLE * _most(before, node)
    for j in range(before.shape[1]):
        if before[node, j] > least:
            for k in range(before.shape[1]):
                after[node, k] += before[node, j] * move[j, k]
