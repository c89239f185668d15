"""What changed between two characterisations of a chip or two measurements, each change beside its standard error.

Cells are the independent units: the error of a mean over n sampled cells is its spread over sqrt(n), and two
measurements are taken as independent, so that a change within a few sigma is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.device import Floats
from quest_lab.findings import Finding


@dataclass(frozen=True, slots=True)
class Change:
    """One quantity twice; `error` is the standard error of the difference, NaN where it is not known."""

    what: str
    unit: str
    values: tuple[float, float]
    error: float

    @property
    def sigmas(self) -> float:
        """The change in standard errors; 0 for none at all."""
        difference = self.values[1] - self.values[0]
        if difference == 0:
            return 0.0
        return difference / self.error if self.error > 0 else np.nan


def changes(a: Characterization, b: Characterization) -> list[Change]:
    """Levels, separations, set operations, transition counts, energies; of other states only their number."""
    if a.states != b.states:
        return [Change("states", "", (a.states, b.states), np.nan)]
    return [*_levels(a, b), *_separations(a, b), *_sets(a, b), *_transitions(a, b), *_energies(a, b)]


def changes_of_findings(a: Sequence[Finding], b: Sequence[Finding]) -> list[Change]:
    """What both measurements found, by name; the error of each from its interval."""
    after = {finding.what: finding for finding in b}
    both = [(finding, after[finding.what]) for finding in a if finding.what in after]
    return [_of_means(f.what, f.unit, f.value, g.value, f.error, g.error) for f, g in both]


def _levels(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Resistance and position of each state."""
    ohm = [_resistance_errors(found) for found in (a, b)]
    position = [found.levels.std / np.sqrt(found.sample.size) for found in (a, b)]
    for s in range(a.states):
        yield _of_means(f"R{s}", "ohm", a.resistance_ohm[s], b.resistance_ohm[s], ohm[0][s], ohm[1][s])
    for s in range(1, a.states):
        means = a.levels.mean[s], b.levels.mean[s]
        yield _of_means(f"position of R{s}", "", *means, position[0][s], position[1][s])


def _resistance_errors(found: Characterization) -> Floats:
    """Standard error of each state's mean resistance: spread of R0 over cells, and of the position."""
    mine = found.index_of(found.sample)
    baseline, span = found.baseline_ohm[mine], found.top_ohm[mine] - found.baseline_ohm[mine]
    spread = np.hypot(np.std(baseline, ddof=1), found.levels.std * np.mean(span))
    return np.asarray(spread / np.sqrt(found.sample.size))


def _separations(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Distance of neighbours in standard deviations of single reads, d; its error as in Hedges & Olkin (1985),
    Statistical Methods for Meta-Analysis, §5.E: sqrt(2/n + d²/4n)."""
    for s in range(1, a.states):
        d = [_separation(found, s) for found in (a, b)]
        error = [np.sqrt((2 + x**2 / 4) / found.sample.size) for x, found in zip(d, (a, b), strict=True)]
        yield _of_means(f"separation of R{s - 1} and R{s}", "sigma", d[0], d[1], error[0], error[1])


def _separation(found: Characterization, state: int) -> float:
    mean, std = found.levels.mean[state - 1 : state + 1], found.levels.std[state - 1 : state + 1]
    return float((mean[1] - mean[0]) / np.sqrt(np.mean(std**2)))


def _sets(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Set amplitudes; error from the thresholds' spread over cells."""
    for s in range(1, a.states):
        errors = [_mean_error(found.threshold_v[:, s - 1]) for found in (a, b)]
        yield _of_means(f"set pulse of R{s}", "V", a.set_v[s - 1], b.set_v[s - 1], errors[0], errors[1])


def _mean_error(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.std(known, ddof=1) / np.sqrt(known.size)) if known.size > 1 else np.nan


def _transitions(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Share of first tries of each set operation that landed, from the state where the two differ most."""
    for s in range(1, a.states):
        every = [_landing(a, b, s, start) for start in range(s)]
        known = [change for change in every if change is not None]
        if known:
            yield max(known, key=lambda change: abs(change.sigmas))


def _landing(a: Characterization, b: Characterization, op: int, start: int) -> Change | None:
    """Two shares compared with their pooled binomial error; None where one was never tried."""
    tries = [found.counts[op, found.attempts // 2, 0, start] for found in (a, b)]
    total, landed = np.array([t.sum() for t in tries]), np.array([t[op] for t in tries])
    if not np.all(total):
        return None
    pooled = landed.sum() / total.sum()
    error = float(np.sqrt(pooled * (1 - pooled) * np.sum(1 / total)))
    share = landed / total
    return Change(f"set R{op} lands, from R{start}", "", (float(share[0]), float(share[1])), error)


def _energies(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Mean energy of each operation's pulse from R0 (of the reset: of the pulses given). A pulse spends V²t/R, so
    its spread over cells is taken to be that of R0."""
    baselines = [found.baseline_ohm[found.index_of(found.sample)] for found in (a, b)]
    relative = [_mean_error(ohm) / float(ohm.mean()) for ohm in baselines]
    pulses = [("reset", a.reset_energy_j, b.reset_energy_j)]
    first = [found.energy_j[:, found.attempts // 2, 0] for found in (a, b)]
    pulses += [(f"set R{s} from R0", first[0][s], first[1][s]) for s in range(1, a.states)]
    for what, before, after in pulses:
        yield _of_means(f"energy, {what}", "J", before, after, relative[0] * before, relative[1] * after)


def _of_means(what: str, unit: str, before: float, after: float, error_a: float, error_b: float) -> Change:
    return Change(what, unit, (float(before), float(after)), float(np.hypot(error_a, error_b)))
