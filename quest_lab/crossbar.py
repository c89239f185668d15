"""A passive crossbar: what its terminals show of one cell, and what volts all the others get.

Cell (i, j) joins word line i to bit line j. To reach (r, c), word line r is driven to V and the current into
bit line c, held at 0 V, is measured; the other lines stand at (word, bit)
    floating: not driven   grounded: 0, 0   V/2: V/2, V/2   V/3: V/3, 2V/3.
A line of resistance `line_ohm` a segment is driven at its first crosspoint, through one segment and
`driver_ohm`. Kirchhoff's current law at every node is one linear system, solved exactly. The resistance at the
terminals is V / I. All cells at R, floating and ideal lines: R (n + m - 1) / (n m), which follows by symmetry.

Read noise: with u the cells' volts when only the sense line is driven, to -1 V, reciprocity gives
dI/dG_c = v_c u_c, so a relative change of R_c moves the resistance at the terminals by the share v_c u_c G_c / I.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.errors import BadInput
from quest_lab.seeds import generator

Scheme: TypeAlias = Literal["floating", "grounded", "V/2", "V/3"]
WriteScheme: TypeAlias = Literal["V/2", "V/3"]
Crosspoint: TypeAlias = tuple[int, int]
"""Word and bit line of a cell, counted from 0."""

LEAST_SIGMAS = 3.0
_UNSELECTED: dict[Scheme, tuple[float, float]] = {  # word and bit lines, in volts of the selected word line
    "floating": (np.nan, np.nan),
    "grounded": (0.0, 0.0),
    "V/2": (0.5, 0.5),
    "V/3": (1 / 3, 2 / 3),
}
_SETTLE_STEPS = 30
_RANDOM_BACKGROUNDS = 9


@dataclass(frozen=True, slots=True)
class Crossbar:
    """Lines of the array: `rows` word lines, `columns` bit lines."""

    rows: int
    columns: int
    line_ohm: float = 0.0
    driver_ohm: float = 0.0

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < 1:
            raise BadInput(f"rows={self.rows}, columns={self.columns}: want at least 1 of each")
        if not (0.0 <= self.line_ohm < np.inf and 0.0 <= self.driver_ohm < np.inf):
            raise BadInput(f"line_ohm={self.line_ohm}, driver_ohm={self.driver_ohm}: want at least 0 ohm")


@dataclass(frozen=True, slots=True)
class Solution:
    """`cell_v`: word minus bit volts at each cell, shape (..., rows, columns); `current_a` sensed, (...)."""

    volts: float
    cell_v: Floats
    current_a: Floats

    @property
    def terminal_ohm(self) -> Floats:
        """Resistance at the terminals, shape (...)."""
        return self.volts / self.current_a


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative standard deviations of one read: of the meter, and of each cell's own resistance."""

    meter: float
    cell: float


@dataclass(frozen=True, slots=True)
class Separation:
    """Two neighbouring states at the terminals: ohm and sigma in the worst background, ratios |dR| / sigma."""

    states: tuple[int, int]
    cell_ohm: tuple[float, float]
    terminal_ohm: tuple[float, float]
    sigma_ohm: float
    worst: float
    median: float

    def __str__(self) -> str:
        (a, b), (low, high), (first, second) = self.states, self.cell_ohm, self.terminal_ohm
        return (
            f"states {a} and {b} ({low:g} and {high:g} ohm) read {first:.5g} and {second:.5g} ohm at the terminals, "
            f"{self.worst:.2f} sigma apart (sigma = {self.sigma_ohm:.3g} ohm)"
        )


def solve(crossbar: Crossbar, ohm: Floats, cell: Crosspoint, volts: float, scheme: Scheme) -> Solution:
    """Select `cell` at `volts`; `ohm` has the shape (..., rows, columns), one array a background."""
    pads = _pads(crossbar, cell, volts, scheme)
    cell_v, current_a = _kirchhoff(crossbar, 1.0 / ohm, pads, crossbar.rows + cell[1])
    return Solution(volts, cell_v, current_a)


def settle(
    crossbar: Crossbar, ohm_at: Callable[[Floats], Floats], cell: Crosspoint, volts: float, scheme: Scheme
) -> Solution:
    """As `solve`, for cells whose resistance depends on their own volts: the fixed point."""
    found = solve(crossbar, ohm_at(np.zeros((crossbar.rows, crossbar.columns))), cell, volts, scheme)
    for _ in range(_SETTLE_STEPS):
        before, found = found, solve(crossbar, ohm_at(found.cell_v), cell, volts, scheme)
        if np.all(np.abs(found.cell_v - before.cell_v) <= 1e-12 * abs(volts)):
            break
    return found


def sensitivity(crossbar: Crossbar, ohm: Floats, cell: Crosspoint, scheme: Scheme) -> Floats:
    """d ln(terminal ohm) / d ln(ohm) of every cell, shape of `ohm`: 1 and zeros where the cell is isolated."""
    read = solve(crossbar, ohm, cell, 1.0, scheme)
    pads, sense = _pads(crossbar, cell, 1.0, scheme), crossbar.rows + cell[1]
    pads[~np.isnan(pads)] = 0.0
    pads[sense] = -1.0
    adjoint_v, _ = _kirchhoff(crossbar, 1.0 / ohm, pads, sense)
    return read.cell_v * adjoint_v / ohm / read.current_a[..., None, None]


def separation(
    crossbar: Crossbar, scheme: Scheme, states_ohm: Sequence[float], noise: Noise
) -> tuple[Separation, ...]:
    """Every pair of neighbouring states of the cell farthest from the drivers, over backgrounds of these states.

    Worst and median are over the extreme backgrounds and some random ones; both states see the same one.
    """
    cell = crossbar.rows - 1, crossbar.columns - 1
    ohm = np.stack([backgrounds(crossbar, cell, states_ohm)] * len(states_ohm))
    ohm[..., cell[0], cell[1]] = np.asarray(states_ohm)[:, None]
    terminal = solve(crossbar, ohm, cell, 1.0, scheme).terminal_ohm
    sigma = terminal * terminal_noise(crossbar, ohm, cell, scheme, noise)
    pair_sigma = np.maximum(sigma[1:], sigma[:-1])
    ratio = np.abs(np.diff(terminal, axis=0)) / pair_sigma
    at = ratio.argmin(axis=1)
    return tuple(
        Separation(
            (s, s + 1),
            (float(states_ohm[s]), float(states_ohm[s + 1])),
            (float(terminal[s, b]), float(terminal[s + 1, b])),
            float(pair_sigma[s, b]),
            float(ratio[s, b]),
            float(np.median(ratio[s])),
        )
        for s, b in enumerate(at)
    )


def terminal_noise(crossbar: Crossbar, ohm: Floats, cell: Crosspoint, scheme: Scheme, noise: Noise) -> Floats:
    """Relative standard deviation of one read at the terminals, shape (...)."""
    share = sensitivity(crossbar, ohm, cell, scheme)
    return np.hypot(noise.meter, noise.cell * np.sqrt(np.sum(share**2, axis=(-2, -1))))


def backgrounds(crossbar: Crossbar, cell: Crosspoint, states_ohm: Sequence[float]) -> Floats:
    """The other cells' resistances, shape (B, rows, columns).

    Extremes: the cells of the same row, of the same column and the rest each all lowest or all highest. Then
    arrays of states drawn at random, always the same.
    """
    shape = crossbar.rows, crossbar.columns
    part = np.full(shape, 2)
    part[:, cell[1]], part[cell[0]] = 1, 0
    ends = np.array([min(states_ohm), max(states_ohm)])
    bits = np.arange(8)[:, None] >> np.arange(3) & 1
    drawn = generator(0, "crossbar backgrounds").choice(states_ohm, (_RANDOM_BACKGROUNDS, *shape))
    return np.concatenate([ends[bits][:, part], drawn])


def _pads(crossbar: Crossbar, cell: Crosspoint, volts: float, scheme: Scheme) -> Floats:
    """Volts at the ends of word lines, then bit lines, shape (rows + columns,); NaN floats."""
    word, bit = _UNSELECTED[scheme]
    pads = np.full(crossbar.rows + crossbar.columns, bit * volts)
    pads[: crossbar.rows] = word * volts
    pads[cell[0]], pads[crossbar.rows + cell[1]] = volts, 0.0
    return pads


@dataclass(frozen=True, slots=True)
class _Graph:
    """Edges between nodes: those of the cells first, row by row, then the wires, of conductance `wire_s`."""

    nodes: int
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    wire_s: Floats


@lru_cache(maxsize=8)
def _graph(crossbar: Crossbar) -> _Graph:
    """Nodes 0..rows+columns-1 are the ends of the lines; an ideal line is that node and no other."""
    n, m = crossbar.rows, crossbar.columns
    word, bit = np.broadcast_to(np.arange(n)[:, None], (n, m)), np.broadcast_to(n + np.arange(m), (n, m))
    feed_ohm, nodes = crossbar.driver_ohm + crossbar.line_ohm, n + m
    starts, ends, wires = [], [], []
    if crossbar.line_ohm:
        word = nodes + np.arange(n * m).reshape(n, m)
        bit = word + n * m
        nodes += 2 * n * m
        starts, ends = [word[:, :-1].ravel(), bit[:-1].ravel()], [word[:, 1:].ravel(), bit[1:].ravel()]
        wires = [np.full(sum(s.size for s in starts), 1.0 / crossbar.line_ohm)]
    elif feed_ohm:
        word, bit, nodes = word + nodes, bit + nodes, 2 * nodes
    if feed_ohm:
        starts.append(np.arange(n + m))
        ends.append(np.concatenate([word[:, 0], bit[0]]))
        wires.append(np.full(n + m, 1.0 / feed_ohm))
    return _Graph(
        nodes,
        np.concatenate([word.ravel(), *starts]),
        np.concatenate([bit.ravel(), *ends]),
        np.concatenate([np.empty(0), *wires]),
    )


def _kirchhoff(crossbar: Crossbar, cell_s: Floats, pads: Floats, sense: int) -> tuple[Floats, Floats]:
    """Volts at the cells, shape of `cell_s`, and current out of the pad `sense`."""
    graph, batch = _graph(crossbar), cell_s.shape[:-2]
    cells = crossbar.rows * crossbar.columns
    flat = cell_s.reshape(-1, cells)
    into = (graph.end == sense).astype(float) - (graph.start == sense)
    if graph.nodes == pads.size and not np.isnan(pads).any():  # ideal lines, all driven: nothing to solve
        held_v = pads[graph.start] - pads[graph.end]
        cell_v = np.broadcast_to(held_v, flat.shape).reshape(cell_s.shape).copy()
        return cell_v, (flat @ (held_v * into)).reshape(batch)
    edge_s = np.hstack([flat, np.broadcast_to(graph.wire_s, (len(flat), graph.wire_s.size))])
    volts = _node_volts(graph, edge_s, pads)
    drop = volts[:, graph.start] - volts[:, graph.end]
    return drop[:, :cells].reshape(cell_s.shape), ((edge_s * drop) @ into).reshape(batch)


def _node_volts(graph: _Graph, edge_s: Floats, pads: Floats) -> Floats:
    """Volts of every node for each row of `edge_s`, shape (B, nodes): one block-diagonal sparse system."""
    from scipy.sparse import coo_array  # a quarter of a second: only who solves pays for it
    from scipy.sparse.linalg import spsolve

    known = np.full(graph.nodes, np.nan)
    known[: pads.size] = pads
    free = np.isnan(known)
    count, batch = int(free.sum()), len(edge_s)
    volts = np.tile(known, (batch, 1))
    index = np.cumsum(free) - 1
    offset = count * np.arange(batch)[:, None]
    rows, columns, values, right = [], [], [], np.zeros((batch, graph.nodes))
    for a, b in ((graph.start, graph.end), (graph.end, graph.start)):
        inner, held = free[a] & free[b], free[a] & ~free[b]
        for here, there, sign in ((free[a], a, 1.0), (inner, b, -1.0)):
            rows.append((offset + index[a[here]]).ravel())
            columns.append((offset + index[there[here]]).ravel())
            values.append(sign * edge_s[:, here].ravel())
        np.add.at(right.T, a[held], (edge_s[:, held] * known[b[held]]).T)
    where = np.concatenate(rows), np.concatenate(columns)
    matrix = coo_array((np.concatenate(values), where), shape=(batch * count, batch * count)).tocsc()
    volts[:, free] = np.asarray(spsolve(matrix, right[:, free].ravel())).reshape(batch, count)
    return volts
