"""Retention: program cells, wait ever longer, read; a state's life ends when its resistance has moved.

Rounds of amplitudes program one state each, cells in turn. The barrier follows from Arrhenius' law with a given
attempt time, life = attempt time exp(barrier / kT), as a normal distribution over cells; it is in kT at the cells'
temperature, and that of a whole state: k bits that decay by themselves make it smaller by ln k. What has not moved
when the waiting ends is censored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats
from quest_lab.errors import BadInput, DeviceError
from quest_lab.findings import Finding, share
from quest_lab.lifetimes import Lives, fit_barrier
from quest_lab.protocols.measurement import (
    Measured,
    at_r0,
    check_amplitudes,
    check_budget,
    heat_of,
    log_spaced,
    moved,
    read_cells,
    reads,
    steps,
    top_pulse,
    wait_until,
)
from quest_lab.schema import Field, Result
from quest_lab.session import Session


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """First and last look after programming, s; looks a decade; amplitudes that program (none: the top)."""

    first_s: float = 1.0
    last_s: float = 1e5
    looks_per_decade: int = 2
    amplitudes_v: tuple[float, ...] = ()
    attempt_s: float = 1e-9
    reads: int = 4

    def __post_init__(self) -> None:
        if not 0.0 < self.first_s <= self.last_s < np.inf:
            raise BadInput(f"first_s={self.first_s}, last_s={self.last_s}: want 0 < first <= last, finite")
        if not 0.0 < self.attempt_s < self.first_s:
            raise BadInput(f"attempt_s={self.attempt_s}: want above 0 s and below first_s={self.first_s} s")
        if self.looks_per_decade < 1 or self.reads < 2:
            raise BadInput(
                f"looks_per_decade={self.looks_per_decade}, reads={self.reads}: want at least 1, 2"
            )


def retention(session: Session, cells: Cells, settings: RetentionSettings) -> Measured:
    """Program once and look until `last_s`. LimitExceeded before the first pulse if a ledger lacks the pulses."""
    amplitudes = settings.amplitudes_v or (top_pulse(session).amplitude_v,)
    check_amplitudes(session, *settings.amplitudes_v)
    check_budget(session, cells, 2, 1, "retention", heat_of(top_pulse(session, max(amplitudes))))
    group = np.arange(cells.size) % len(amplitudes)
    base, noise = at_r0(session, cells, settings.reads)
    for g, volts in enumerate(amplitudes):
        session.device.apply(top_pulse(session, volts), cells[group == g])
    began_s = session.clock.now()
    reference = reads(session, cells, settings.reads).mean(axis=0)
    programmed = moved(reference, base, noise, settings.reads) & np.isfinite(reference)
    if not programmed.any():
        raise DeviceError(f"no cell moved under pulses of {amplitudes} V: nothing to lose")
    looks, seen, after = log_spaced(settings.first_s, settings.last_s, settings.looks_per_decade), [], []
    for i in steps(session, "retention", looks.size):
        wait_until(session, began_s + float(looks[i]))
        if session.stop.requested:
            break
        after.append(session.clock.now() - began_s)
        seen.append(read_cells(session, cells))
    if not seen:
        session.stop.check()
    ohm, at_s = np.stack(seen), np.asarray(after)
    lives = _lives(moved(ohm, reference, noise, settings.reads), at_s)
    attrs = {"attempt_s": settings.attempt_s}
    fields = _fields(cells, at_s, (reference, ohm), (lives, group, programmed), amplitudes)
    result = Result("retention", fields, title="Retention", signal="kept", axes=("time_s",), attrs=attrs)
    found = _findings(lives, group, programmed, amplitudes, settings.attempt_s, float(at_s[-1]))
    return Measured(result, tuple(found))


def _lives(gone: NDArray[np.bool_], at_s: Floats) -> Lives:
    """From the first look at which a cell had moved, `gone[look, cell]`."""
    first = np.where(gone.any(axis=0), gone.argmax(axis=0), at_s.size)
    ends = np.concatenate([[0.0], at_s, [np.inf]])
    return Lives(ends[first], ends[first + 1])


def _findings(
    lives: Lives,
    group: NDArray[np.int64],
    programmed: NDArray[np.bool_],
    amplitudes: tuple[float, ...],
    attempt_s: float,
    last_s: float,
) -> Iterator[Finding]:
    for g, volts in enumerate(amplitudes):
        mine = programmed & (group == g)
        these, name = Lives(lives.low[mine], lives.high[mine]), f"set by {volts:g} V"
        kept = int(mine.sum()) - these.failures
        yield share(f"{name}: kept for {last_s:.3g} s", kept, int(mine.sum()), "cells")
        if (fit := fit_barrier(these, attempt_s)) is not None:
            note = f"{these.failures} of {int(mine.sum())} cells moved; attempt time {attempt_s:g} s given"
            yield fit.finding(0, f"{name}: barrier of the state", "kT", note)
            yield fit.finding(1, f"{name}: its spread over cells", "kT", note)


def _fields(
    cells: Cells,
    at_s: Floats,
    ohm: tuple[Floats, Floats],
    known: tuple[Lives, NDArray[np.int64], NDArray[np.bool_]],
    amplitudes: tuple[float, ...],
) -> dict[str, Field]:
    lives, group, programmed = known
    kept = (lives.low[programmed][None, :] >= at_s[:, None]).mean(axis=1)
    along, cell = ("time_s",), ("cell",)
    return {
        "kept": Field(kept, "", "share of the programmed cells that have not moved", along),
        "time_s": Field(at_s, "s", "time since programming", along),
        "resistance_ohm": Field(ohm[1], "ohm", "each read", ("time_s", "cell")),
        "reference_ohm": Field(ohm[0], "ohm", "mean read right after programming", cell),
        "cell": Field(cells, "", "cell index", cell),
        "group": Field(group, "", "which of the amplitudes programmed it", cell),
        "programmed": Field(
            programmed.astype(np.uint8), "", "1 where the pulse moved the cell from R0", cell
        ),
        "life_low_s": Field(lives.low, "s", "last look before it moved", cell),
        "life_high_s": Field(lives.high, "s", "look at which it had moved, infinite if never", cell),
        "amplitudes_v": Field(
            np.array(amplitudes), "V", "amplitude that programmed each group", ("program",)
        ),
    }
