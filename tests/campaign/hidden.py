"""Chips drawn at random, what is true of them by brute force, and what `characterize` says of them.

Nothing here uses the estimation code: truths are moments and counts of many drawn cells, landings and reads of the
law as `sim/skmtj.py` writes it down, and the best possible interval widths are textbook formulas of the hidden
parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Floats
from quest_lab.estimates import Estimate
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

CELLS = 96
SETTINGS = CharacterizeSettings(stop_v=1.1, repeats=4, confidence=0.05, max_cycles=40)
BOUND, NEAR = 0.01, (0.005, 0.02)
DRAWN = 40_000
RANGES = {
    "states": (2, 8), "step of thresholds (mV)": (35.0, 80.0), "first threshold (mV)": (400.0, 460.0),
    "step of resistance, relative to their mean": (0.4, 1.6), "landing residual (mean steps)": (0.02, 0.25),
    "read noise (%)": (0.1, 0.8), "TMR (%)": (20.0, 60.0), "TMR spread (%)": (1.0, 5.0), "R0 spread (%)": (2.0, 8.0),
    "threshold spread between cells (%)": (0.5, 3.0), "threshold spread between pulses (%)": (0.3, 1.5),
}  # fmt: skip


def draw(rng: np.random.Generator) -> SkMTJ:
    """A chip's law, everything uniform in RANGES; drawn again where a resistance 5 standard deviations below the
    lowest mean is not above 0."""
    law = _drawn(rng)
    while (
        law.sign < 0
        and law.tmr * (1 + 5 * np.hypot(law.tmr_spread, law.residual_states / len(law.set_v))) >= 1
    ):
        law = _drawn(rng)
    return law


def _drawn(rng: np.random.Generator) -> SkMTJ:
    at = {name: rng.uniform(*span) for name, span in RANGES.items() if "step of" not in name}
    steps = int(rng.integers(RANGES["states"][0], RANGES["states"][1] + 1)) - 1
    volts = 1e-3 * rng.uniform(*RANGES["step of thresholds (mV)"], steps - 1)
    size = rng.uniform(*RANGES["step of resistance, relative to their mean"], steps)
    rung = steps * np.cumsum(size) / size.sum()
    first = 1e-3 * at["first threshold (mV)"] + SkMTJ().guard_v
    return SkMTJ.preset(
        "scaled", set_v=tuple(first + np.append(0.0, np.cumsum(volts))),
        offset_states=tuple(rung - np.arange(1, steps + 1)), sign=int(rng.choice([-1, 1])),
        residual_states=at["landing residual (mean steps)"], read_noise=at["read noise (%)"] / 100,
        tmr=at["TMR (%)"] / 100, tmr_spread=at["TMR spread (%)"] / 100, r0_spread=at["R0 spread (%)"] / 100,
        d_cell=at["threshold spread between cells (%)"] / 100,
        xi_pulse=at["threshold spread between pulses (%)"] / 100,
    )  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """Of a law: positions that decoded reads have, drawn; `rung` and `residual` are fractions of the way to the top."""

    law: SkMTJ
    position: Floats  # (DRAWN, states): one read of a fresh cell, against its own measured baseline
    rung: Floats
    threshold_v: Floats
    swing: float

    @classmethod
    def of(cls, law: SkMTJ, rng: np.random.Generator) -> Truth:
        steps, reads = len(law.set_v), SETTINGS.baseline_reads
        rung = np.append(0.0, (np.arange(1, steps + 1) + np.array(law.offset_states)) / steps)
        swing = law.sign * law.tmr / (1 + (law.read.amplitude_v / law.v_half_v) ** 2)
        own = swing * (1 + law.tmr_spread * rng.standard_normal(DRAWN))
        residual = law.residual_states / steps

        def read(f: float, times: int) -> Floats:
            zeta = residual * rng.standard_normal((times, DRAWN)) * (f > 0)
            return (1 + own * (f + zeta)) * (1 + law.read_noise * rng.standard_normal((times, DRAWN)))

        low, top = read(0.0, reads).mean(axis=0), read(1.0, reads).mean(axis=0)
        position = np.stack([(read(f, 1)[0] - low) / (top - low) for f in rung], axis=1)
        threshold = np.array(law.set_v) - law.guard_v  # pulses of t_ref: no logarithm
        return cls(law, position, rung, threshold, swing)

    @property
    def residual(self) -> float:
        return self.law.residual_states / len(self.law.set_v)

    def errors(self) -> Floats:
        """Decoding error of each pair, at the boundary as many standard deviations from either."""
        mean, std = self.position.mean(axis=0), self.position.std(axis=0)
        z = np.abs(mean[:, None] - mean) / (std[:, None] + std)
        return np.asarray(norm.sf(z))

    def counted(self, i: int, j: int) -> float:
        """The same by counting reads on the wrong side."""
        mean, std = self.position.mean(axis=0)[[i, j]], self.position.std(axis=0)[[i, j]]
        cut = (mean[0] * std[1] + mean[1] * std[0]) / std.sum()
        return float(0.5 * (np.mean(self.position[:, i] > cut) + np.mean(self.position[:, j] < cut)))

    def largest(self) -> int:
        """Size of the largest set all of whose pairs are at most at the bound, by trying every set."""
        error, n = self.errors(), self.rung.size
        return max(
            size for size in range(1, n + 1) for chosen in combinations(range(n), size)
            if all(error[i, j] <= BOUND for i, j in combinations(chosen, 2))
        )  # fmt: skip

    def near(self) -> bool:
        """Whether some pair is too close to the bound for its size to be a fair question."""
        pairs = self.errors()[np.triu_indices(self.rung.size, 1)]
        return bool(np.any((pairs > NEAR[0]) & (pairs < NEAR[1])))


@dataclass(frozen=True)
class Row:
    """One stated interval: parameter kind, its half width, the best possible one, whether it holds the truth."""

    kind: str
    width: float
    best: float
    holds: bool
    off: float  # the value stated less the true one, in half widths


@dataclass(frozen=True)
class Outcome:
    """One chip."""

    seed: int
    states: int
    size: tuple[int, int]  # true, found
    near: bool
    undecided: int
    pulses: int
    left_out: int  # intervals of levels that stand for two true ones, or with true states left out between
    rows: list[Row]
    discrepancy: float  # of the two ways to the true decoding error, relative


def one(seed: tuple[int, int]) -> Outcome:
    """Draw the chip of this seed, characterise it, and compare."""
    rng = np.random.default_rng(seed)
    truth = Truth.of(draw(rng), rng)
    array, clock = CellArray(truth.law, CELLS, seed=int(rng.integers(2**62))), VirtualClock()
    session = Session(SimulatedChip(array, clock), clock, seed=int(rng.integers(2**31)))
    everyone = np.arange(CELLS)
    found, _ = characterize(session, everyone, everyone, SETTINGS)
    array.close()
    assert found.separation is not None
    rows = list(_Compared(truth, found).rows())
    error = truth.errors()
    checked = [(i, i + 1) for i in range(truth.rung.size - 1) if error[i, i + 1] > 2e-3]
    apart = [abs(truth.counted(i, j) / error[i, j] - 1) for i, j in checked]
    return Outcome(
        seed[1], truth.rung.size, (truth.largest(), found.states), truth.near(), len(found.separation.undecided()),
        found.pulses, sum(row is None for row in rows), [row for row in rows if row is not None],
        max(apart, default=0.0),
    )  # fmt: skip


class _Compared:
    """Every interval of a characterisation beside the truth; None for one that has no single true value."""

    def __init__(self, truth: Truth, found: Characterization) -> None:
        self.truth, self.found, self.law = truth, found, truth.law
        assert found.separation is not None
        self.all = found.separation
        self.mean, self.std = truth.position.mean(axis=0), truth.position.std(axis=0)
        nearest = np.abs(self.mean[:, None] - self.all.mean.value).argmin(
            axis=1
        )  # found level of each true one
        alone = np.bincount(nearest, minlength=self.all.mean.value.size) == 1
        own = np.abs(self.all.mean.value[:, None] - self.mean).argmin(axis=1)
        self.true_of = np.where(alone, own, -1)
        self.state = self.true_of[self.all.chosen]

    def rows(self) -> Iterator[Row | None]:
        yield from self._levels()
        yield from self._pairs()
        yield from self._chip()
        for s in range(1, self.found.states):
            yield from self._thresholds(s)
            yield self._probability(s)
            yield self._energy(s)

    def _levels(self) -> Iterator[Row | None]:
        for s in range(self.found.states):
            j, m = int(self.state[s]), float(self.all.landings[self.all.chosen[s]])
            if j < 0:
                yield from [None] * 3
                continue
            between, within, f = self._variances(j)
            best = np.sqrt((between + within / m) / CELLS)
            best_std = np.sqrt(self._of_total(between, within, m) / CELLS) / (2 * self.std[j])
            yield self._row("level position", "level_mean", s, float(self.mean[j]), best)
            yield self._row("level spread, one read", "level_std", s, float(self.std[j]), best_std)
            ratio = 1 + self.truth.swing * f
            by_cell = np.hypot(
                self.truth.swing * f * self.law.tmr_spread, self.truth.swing * np.sqrt(within / m)
            )
            if s:
                yield self._row("level R/R0", "level_ratio", s, ratio, by_cell / np.sqrt(CELLS))
                residual = self.truth.residual
                best = residual / np.sqrt(2 * CELLS * max(m - 1, 1e-9))
                yield self._row("landing residual", "repeat_std", s, residual, best)

    def _variances(self, j: int) -> tuple[float, float, float]:
        """Of position j between cells (their baselines) and within them (landings: reads cost no pulse, so the best
        possible has no read noise), and the rung."""
        f, reads = float(self.truth.rung[j]), SETTINGS.baseline_reads
        zeta = self.truth.residual**2
        low = (self.law.read_noise / self.truth.swing) ** 2
        top = zeta + low * (1 + self.truth.swing) ** 2
        between = ((1 - f) ** 2 * low + f**2 * top) / reads
        return between, zeta if j else 0.0, f

    def _of_total(self, between: float, within: float, landings: float) -> float:
        """Variance that an estimate of both together has, times the cells (balanced one-way layout)."""
        m = max(landings, 1.0)
        return 2 * (between + within / m) ** 2 + 2 * within**2 * (m - 1) / m**2

    def _pairs(self) -> Iterator[Row | None]:
        error = self.truth.errors()
        n = self.all.mean.value.size
        for i, j in zip(range(n - 1), range(1, n), strict=True):
            a, b = int(self.true_of[i]), int(self.true_of[j])
            if a < 0 or b < 0:
                yield None
                continue
            e = self.all.error
            ends = norm.isf([e.low[i, j], e.high[i, j]])
            z = float(norm.isf(error[a, b]))
            variance = 0.0
            for level, true in ((i, a), (j, b)):
                between, within, _ = self._variances(true)
                m = float(self.all.landings[level])
                variance += (between + within / m) / CELLS
                variance += z**2 * self._of_total(between, within, m) / CELLS / (2 * self.std[true]) ** 2
            best = 1.96 * np.sqrt(variance) / (self.std[a] + self.std[b])
            half = float(ends[0] - ends[1]) / 2
            off = float(norm.isf(e.value[i, j]) - z) / half
            yield Row(
                "decoding error of a pair (as z)", half, float(best), bool(ends[1] <= z <= ends[0]), off
            )

    def _chip(self) -> Iterator[Row]:
        law, n = self.law, CELLS
        reads = SETTINGS.baseline_reads
        noise = law.read_noise
        yield self._row("read noise", "read_noise", None, noise, noise / np.sqrt(2 * (reads - 1) * n))
        sigma = law.r0_ohm * law.r0_spread
        yield self._row("R0, mean", "r0_ohm", None, law.r0_ohm, sigma / np.sqrt(n))
        yield self._row("R0, spread over cells", "r0_spread_ohm", None, sigma, sigma / np.sqrt(2 * n))
        swing = abs(self.truth.swing)
        spread = swing * law.tmr_spread
        yield self._row("TMR, mean", "swing", None, self.truth.swing, spread / np.sqrt(n))
        yield self._row("TMR, spread over cells", "swing_spread", None, spread, spread / np.sqrt(2 * n))

    def _thresholds(self, s: int) -> Iterator[Row | None]:
        j = int(self.state[s])
        if j < 0 or self.state[s - 1] != j - 1:
            yield from [None] * 3
            return
        mean, r = float(self.truth.threshold_v[j - 1]), SETTINGS.repeats
        cells, cycles = mean * self.law.d_cell, mean * self.law.xi_pulse
        total = cells**2 + cycles**2 / r
        of_cells = 2 * total**2 + 2 * cycles**4 / (r**2 * (r - 1))
        yield self._row("threshold, mean", "threshold_mean_v", s - 1, mean, np.sqrt(total / CELLS))
        best = np.sqrt(of_cells / CELLS) / (2 * cells)
        yield self._row("threshold, spread between cells", "threshold_cells_v", s - 1, cells, best)
        best = cycles / np.sqrt(2 * CELLS * (r - 1))
        yield self._row("threshold, spread between pulses", "threshold_cycles_v", s - 1, cycles, best)

    def _probability(self, s: int) -> Row:
        """Drawn cells get the pulse at R0 and are decoded with the boundaries stated."""
        rng, volts = np.random.default_rng(s), float(self.found.set_v[s - 1])
        own = self.law.d_cell * rng.standard_normal(DRAWN)
        landed = [self._landed(volts, own, rng) == s for _ in range(2)]  # two pulses to the same cells
        share = float(np.mean(landed))
        between = max(float(np.mean(landed[0] & landed[1])) - share**2, 0.0)
        tries = float(self.found.counts[s, self.found.attempts // 2, 0, 0].sum())
        best = np.sqrt(between / CELLS + max(share * (1 - share) - between, 0.0) / tries)
        return self._row("write success at the first try", "set_probability", (s, 0), share, float(best))

    def _landed(self, volts: float, own: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
        shift = 1 + own + self.law.xi_pulse * rng.standard_normal(DRAWN)
        k = (volts >= self.truth.threshold_v[:, None] * shift).sum(axis=0)
        x = self.truth.position[rng.permutation(DRAWN), k]
        return np.searchsorted(self.found.levels.boundary, x)

    def _energy(self, s: int) -> Row:
        r0 = self.law.r0_ohm * (1 + self.law.r0_spread * np.random.default_rng(s).standard_normal(DRAWN))
        each = self.found.set_v[s - 1] ** 2 * self.law.t_ref_s / r0
        return self._row(
            "energy of a set pulse",
            "pulse_energy_j",
            (s, 0),
            float(each.mean()),
            float(each.std() / np.sqrt(CELLS)),
        )

    def _row(self, kind: str, name: str, at: int | tuple[int, int] | None, truth: float, error: float) -> Row:
        """`error`: the least standard error that these pulses allow."""
        e: Estimate = self.found.estimates[name]
        value, low, high = (float(x if at is None else x[at]) for x in (e.value, e.low, e.high))
        half = (high - low) / 2
        return Row(kind, half, 1.96 * error, low <= truth <= high, (value - truth) / half)
