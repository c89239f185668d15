"""What changed between two characterisations of a chip or two measurements, each change beside its standard error.

Errors are those of the stated 95 % intervals, in which cells are the independent units; two measurements are taken as
independent, so that a change within a few sigma is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from quest_lab.characterization import Characterization
from quest_lab.estimates import Estimate, Z
from quest_lab.findings import Finding

_OF_CHIP = {  # estimates of the whole chip: what they are called, unit
    "r0_ohm": ("R0", "ohm"),
    "r0_spread_ohm": ("spread of R0 over cells", "ohm"),
    "swing": ("top/R0 - 1", ""),
    "swing_spread": ("spread of top/R0 - 1 over cells", ""),
    "read_noise": ("read noise", ""),
}
_OF_STATES = {  # those with one entry a state; positions and residuals count from R0
    "level_ratio": "R/R0 of",
    "level_mean": "position of",
    "level_std": "spread of a read of",
    "repeat_std": "landing residual of",
}
_FROM_R0 = ("level_mean", "repeat_std")
_OF_SETS = {  # those with one entry a set operation
    "threshold_mean_v": "threshold of",
    "threshold_cells_v": "spread over cells of the threshold of",
    "threshold_cycles_v": "spread over pulses of the threshold of",
}


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
    """All that both state with an interval, and the set amplitudes; of other states only their number."""
    if a.states != b.states:
        return [Change("states", "", (a.states, b.states), np.nan)]
    return [*_of_chip(a, b), *_of_states(a, b), *_separations(a, b), *_of_sets(a, b), *_of_trials(a, b)]


def changes_of_findings(a: Sequence[Finding], b: Sequence[Finding]) -> list[Change]:
    """What both measurements found, by name; the error of each from its interval."""
    after = {finding.what: finding for finding in b}
    both = [(finding, after[finding.what]) for finding in a if finding.what in after]
    return [_between(f.what, f.unit, f.value, g.value, f.error, g.error) for f, g in both]


def _of_chip(a: Characterization, b: Characterization) -> Iterator[Change]:
    for name, (what, unit) in _OF_CHIP.items():
        yield from _stated(a, b, name, what, unit, ())


def _of_states(a: Characterization, b: Characterization) -> Iterator[Change]:
    for name, what in _OF_STATES.items():
        for s in range(name in _FROM_R0, a.states):
            yield from _stated(a, b, name, f"{what} R{s}", "", (s,))


def _separations(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Decoding errors of neighbours as the z of which they are Phi(-z): its interval is nearly symmetric."""
    both = [found.estimates.get("decoding_error") for found in (a, b)]
    for s in range(1, a.states):
        z = [
            Estimate(*(-ndtri(end[s - 1]) for end in (e.value, e.high, e.low))) for e in both if e is not None
        ]
        if len(z) == 2:
            yield _change(f"separation of R{s - 1} and R{s}", "sigma", *z)


def _of_sets(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Thresholds; and set amplitudes, which follow the thresholds and are taken to be as uncertain."""
    for name, what in _OF_SETS.items():
        for s in range(1, a.states):
            yield from _stated(a, b, name, f"{what} R{s}", "V", (s - 1,))
    for s in range(1, a.states):
        of_threshold = next(_stated(a, b, "threshold_mean_v", "", "V", (s - 1,)), None)
        error = np.nan if of_threshold is None else of_threshold.error
        yield Change(f"set pulse of R{s}", "V", (float(a.set_v[s - 1]), float(b.set_v[s - 1])), error)


def _of_trials(a: Characterization, b: Characterization) -> Iterator[Change]:
    """Share of first tries of each set operation that landed, from the state where the two differ most; energies of
    a reset, and of the other pulses from R0."""
    for op in range(1, a.states):
        tried = [
            change
            for start in range(op)
            for change in _stated(a, b, "set_probability", f"set R{op} lands, from R{start}", "", (op, start))
        ]
        if tried:
            yield max(tried, key=lambda change: abs(change.sigmas))
    yield _between("energy, reset", "J", a.reset_energy_j, b.reset_energy_j, _reset_error(a), _reset_error(b))
    for op in range(1, a.states):
        yield from _stated(a, b, "pulse_energy_j", f"energy, set R{op} from R0", "J", (op, 0))


def _reset_error(found: Characterization) -> float:
    """A pulse spends V^2 t / R: its mean is taken to be as uncertain as that of R0."""
    r0 = found.estimates.get("r0_ohm")
    return np.nan if r0 is None else float(found.reset_energy_j * r0.half_width / Z / r0.value)


def _stated(
    a: Characterization, b: Characterization, name: str, what: str, unit: str, at: tuple[int, ...]
) -> Iterator[Change]:
    """One entry of an estimate, if both have it."""
    one, other = a.estimates.get(name), b.estimates.get(name)
    if one is not None and other is not None:
        yield _change(what, unit, *(Estimate(e.value[at], e.low[at], e.high[at]) for e in (one, other)))


def _change(what: str, unit: str, a: Estimate, b: Estimate) -> Change:
    return _between(
        what, unit, float(a.value), float(b.value), float(a.half_width / Z), float(b.half_width / Z)
    )


def _between(what: str, unit: str, before: float, after: float, error_a: float, error_b: float) -> Change:
    return Change(what, unit, (before, after), float(np.hypot(error_a, error_b)))
