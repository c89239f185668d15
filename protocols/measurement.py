"""What the measurements of single properties share: reads that survive broken cells, both ends of every cell, and
the ledger asked before the first pulse.

A measurement gives a `Measured`: a plot for the run file and findings with intervals. Stopped between two steps, it
gives what it has: cells are left as the last whole step left them, and what was not seen is censored, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, Range, ReadPulse, Scope, VoltagePulse, whole_domains
from quest_lab.errors import DeviceError, LimitExceeded, UnsoundRead
from quest_lab.estimates import chi_squared
from quest_lab.findings import Finding
from quest_lab.protocols.trials import reset_cells
from quest_lab.schema import Result
from quest_lab.session import Session

RESPONSE_SIGMAS = 8.0  # a cell whose ends differ by fewer read noises does not respond
MOVED_SIGMAS = 6.0  # a cell that reads so many read noises away has changed
_BEYOND = 10.0  # a short (open) cell has a tenth of the least (ten times the highest) usual resistance
_SHORTEST_WAIT_S = 1.0
_WAITS = 1000  # a long wait is cut in so many, so that a wish to stop is heard


class Kind(IntEnum):
    """What a cell is."""

    GOOD = 0
    OPEN = 1
    SHORT = 2
    STUCK = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement found."""

    result: Result
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """Reads of each cell at R0 and at the top, ohm, shape (reads, cells)."""

    low: Floats
    high: Floats

    @property
    def low_ohm(self) -> Floats:
        return np.asarray(np.median(self.low, axis=0))

    @property
    def high_ohm(self) -> Floats:
        return np.asarray(np.median(self.high, axis=0))

    @property
    def noise(self) -> float:
        """Relative standard deviation of one read."""
        return read_noise(self.low)

    @property
    def responds(self) -> NDArray[np.bool_]:
        """Cells whose ends differ by more than noise explains, shape (cells,)."""
        error = self.noise * np.maximum(self.low_ohm, self.high_ohm) * np.sqrt(2.0 / len(self.low))
        return np.asarray(np.abs(_finite(self.high_ohm) - _finite(self.low_ohm)) > RESPONSE_SIGMAS * error)

    def usual(self) -> Range:
        """Resistances that are neither short nor open: a decade beyond the medians of the cells."""
        conducting = np.isfinite(self.low_ohm) & np.isfinite(self.high_ohm) & (self.low_ohm > 0)
        if not conducting.any():
            raise DeviceError("none of the cells conducts: is the chip connected?")
        median = [float(np.median(ohm[conducting])) for ohm in (self.low_ohm, self.high_ohm)]
        return Range(min(median) / _BEYOND, max(median) * _BEYOND)

    def kinds(self, usual: Range) -> NDArray[np.uint8]:
        """Kind of each cell, shape (cells,)."""
        least, most = np.minimum(self.low_ohm, self.high_ohm), np.maximum(self.low_ohm, self.high_ohm)
        kinds = np.where(self.responds, Kind.GOOD, Kind.STUCK)
        kinds = np.where(least < usual.low, Kind.SHORT, kinds)
        return np.where(most > usual.high, Kind.OPEN, kinds).astype(np.uint8)


def read_noise(ohm: Floats) -> float:
    """Relative standard deviation of a read, from repeated reads (reads, cells): of the median cell, so that broken
    ones do not count; a variance's median is below its mean (chi-squared)."""
    known = ohm[:, np.all(np.isfinite(ohm) & (ohm > 0), axis=0)]
    freedom = len(known) - 1
    if not known.size or freedom < 1:
        return 0.0
    relative = np.median(known.var(axis=0, ddof=1) / known.mean(axis=0) ** 2)
    return float(np.sqrt(relative * freedom / chi_squared(freedom, 0.5)))


def moved(ohm: Floats, reference: Floats, noise: float, reads: int) -> NDArray[np.bool_]:
    """Where single reads differ from a mean of `reads` by more than MOVED_SIGMAS, or the cell broke."""
    least = MOVED_SIGMAS * noise * np.sqrt(1.0 + 1.0 / reads) * reference
    return np.asarray(~(np.abs(ohm - reference) <= least))


def top_pulse(session: Session, amplitude_v: float | None = None) -> VoltagePulse:
    """The pulse that sets the top state, or one of another amplitude."""
    can = session.device.capabilities
    return VoltagePulse(can.set_amplitude_v.high if amplitude_v is None else amplitude_v, can.set_width_s)


def read_cells(session: Session, cells: Cells, at: ReadPulse | None = None) -> Floats:
    """One read of each cell, ohm, broken ones too: 0 where a short is too low to tell, infinite where open."""
    ohm = np.full(cells.size, np.inf)
    done = 0
    while done < cells.size:
        try:
            reading = session.device.read(cells[done:], at)
            ohm[done:] = reading.resistance_ohm
            break
        except UnsoundRead as error:
            came = np.empty(0) if error.partial is None else error.partial.resistance_ohm
            ohm[done : done + came.size] = came
            ohm[done + came.size] = error.ohm
            done += came.size + 1
    return np.where(np.isfinite(ohm) & (ohm >= 0), ohm, np.inf)


def reads(session: Session, cells: Cells, count: int) -> Floats:
    """Repeated reads, ohm, shape (count, cells)."""
    return np.stack([read_cells(session, cells) for _ in range(count)])


def at_r0(session: Session, cells: Cells, count: int) -> tuple[Floats, float]:
    """Reset the cells and read: mean of each cell in ohm, and the relative noise of one read."""
    reset_cells(session.device, cells)
    seen = reads(session, cells, count)
    return seen.mean(axis=0), read_noise(seen)


def ends(session: Session, cells: Cells, count: int, top: VoltagePulse) -> Ends:
    """Reset the cells and read, give the top pulse and read: two pulses for each cell."""
    reset_cells(session.device, cells)
    low = reads(session, cells, count)
    session.device.apply(top, cells)
    return Ends(low, reads(session, cells, count))


def check_budget(
    session: Session, cells: Cells, pulses: int, resets: int, what: str, heat_v2s: float | None = None
) -> None:
    """LimitExceeded with the shortfall unless the ledger leaves each of `cells` so many pulses, `resets` among them.

    A reset of scope `array` costs every other cell of the domain a pulse too. Where the ledger limits energy too, the
    cells are read: `heat_v2s`, V^2 t of all pulses but resets (by default top ones), over that resistance.
    """
    if session.pulses_left is None:
        return
    can = session.device.capabilities
    reached = whole_domains(can, cells) if can.reset_scope is Scope.ARRAY and resets else cells
    needed = np.where(np.isin(reached, cells), pulses, resets)
    left = session.pulses_left(reached)
    worst = int((needed - left).argmax())
    if needed[worst] > left[worst]:
        raise LimitExceeded(
            f"{what}: cell {reached[worst]} would get up to {needed[worst]} pulses, {left[worst]} are "
            f"left in its ledger: {needed[worst] - left[worst]} too few; no pulse was given"
        )
    heat = (pulses - resets) * heat_of(top_pulse(session)) if heat_v2s is None else heat_v2s
    heat += resets * heat_of(can.reset) if isinstance(can.reset, VoltagePulse) else 0.0
    check_energy(session, cells, heat, what, "up to")


def check_amplitudes(session: Session, *amplitudes_v: float | None) -> None:
    """LimitExceeded before the first pulse if a set pulse of one of these volts (None: the top) is beyond a limit."""
    for volts in amplitudes_v:
        if volts is not None:
            session.device.apply(top_pulse(session, volts), np.empty(0, np.int64))


def heat_of(pulse: VoltagePulse, count: int = 1) -> float:
    """V^2 t of so many pulses."""
    return count * pulse.amplitude_v**2 * pulse.width_s


def check_energy(session: Session, cells: Cells, heat_v2s: float, what: str, bound: str) -> None:
    """LimitExceeded with the shortfall unless the ledger leaves each of `cells` pulses of `heat_v2s` at the resistance
    it has now: where energy is limited, it is read."""
    if session.energy_left_j is None or not np.isfinite(left_j := session.energy_left_j(cells)).any():
        return
    ohm = read_cells(session, cells)
    need_j = np.divide(heat_v2s, ohm, out=np.zeros(ohm.size), where=ohm > 0)
    short_j = need_j - left_j
    worst = int(short_j.argmax())
    if short_j[worst] > 0:
        raise LimitExceeded(
            f"{what}: cell {cells[worst]} would get {bound} {need_j[worst]:.3g} J at its present {ohm[worst]:.4g} ohm, "
            f"{left_j[worst]:.3g} J are left in its ledger: {short_j[worst]:.3g} J too few; no pulse was given"
        )


def steps(session: Session, what: str, total: int) -> Iterator[int]:
    """0 .. total - 1 until someone asks to stop."""
    for i in range(total):
        if session.stop.requested:
            return
        session.progress(what, i, total)
        yield i
    session.progress(what, total, total)


def wait_until(session: Session, at_s: float) -> None:
    """Let the session's clock come to `at_s`, in pieces, so that a wish to stop is heard."""
    piece_s = max(_SHORTEST_WAIT_S, (at_s - session.clock.now()) / _WAITS)
    while (left_s := at_s - session.clock.now()) > 0 and not session.stop.requested:
        session.clock.sleep(min(left_s, piece_s))


def log_spaced(first: float, last: float, per_decade: int) -> Floats:
    """From first to last, both included, as evenly spaced in the logarithm as fits."""
    count = max(2, round(np.log10(last / first) * per_decade) + 1)
    return np.geomspace(first, last, count) if last > first else np.array([last])


def _finite(ohm: Floats) -> Floats:
    return np.where(np.isfinite(ohm), ohm, 0.0)
