"""Endurance: cycle cells between R0 and a set pulse, look at them at log-spaced numbers of cycles, fit their lives.

A look is a reset and an amplitude staircase: both ends, and the amplitudes of a cell's first and last move. A cell is
worn once its ends are less than `worn_share` of their first distance apart, or it is open or shorted; it gets no more
pulses (a reset field reaches it still). Its life lies between two looks; what lives at the end is censored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats
from quest_lab.errors import BadInput, DeviceError
from quest_lab.findings import Finding, mean, share
from quest_lab.lifetimes import Fit, Lives, fit_weibull
from quest_lab.protocols.measurement import (
    Ends,
    Kind,
    Measured,
    check_amplitudes,
    check_budget,
    heat_of,
    log_spaced,
    moved,
    read_cells,
    reads,
    steps,
    top_pulse,
)
from quest_lab.protocols.trials import reset_cells
from quest_lab.schema import Field, Result
from quest_lab.session import Session


@dataclass(frozen=True, slots=True)
class EnduranceSettings:
    """Cycles to give, looks a decade, set pulse of a cycle (None: the top), steps of a look's staircase."""

    cycles: int = 10_000
    looks_per_decade: int = 3
    amplitude_v: float | None = None
    staircase_steps: int = 21
    reads: int = 4
    worn_share: float = 0.5

    def __post_init__(self) -> None:
        if self.cycles < 1 or self.looks_per_decade < 1:
            raise BadInput(f"cycles={self.cycles}, looks_per_decade={self.looks_per_decade}: want at least 1")
        if self.staircase_steps < 2 or self.reads < 2:
            raise BadInput(f"staircase_steps={self.staircase_steps}, reads={self.reads}: want at least 2")
        if not 0.0 < self.worn_share < 1.0:
            raise BadInput(f"worn_share={self.worn_share}: want a share between 0 and 1")

    def looks(self) -> NDArray[np.int64]:
        """Cycles before each look, the first before any."""
        marks = np.round(log_spaced(1.0, float(self.cycles), self.looks_per_decade)).astype(np.int64)
        return np.unique(np.append(0, marks))


@dataclass(frozen=True, slots=True)
class _Look:
    """Both ends of each cell; amplitudes of its first and last move (NaN: it did not), in steps of `step_v`."""

    ends: Ends
    first_v: Floats
    last_v: Floats
    step_v: float


def endurance(session: Session, cells: Cells, settings: EnduranceSettings) -> Measured:
    """Cycle until all cells are worn or got their cycles.

    LimitExceeded before the first pulse if a ledger lacks them.
    """
    looks = settings.looks()
    resets = settings.cycles + looks.size
    pulses = resets + settings.cycles + looks.size * settings.staircase_steps
    heat = heat_of(top_pulse(session, settings.amplitude_v), pulses - resets)
    check_amplitudes(session, settings.amplitude_v)
    what = f"endurance, {settings.cycles} cycles and {looks.size} looks"
    check_budget(session, cells, pulses, resets, what, heat)
    seen = [_look(session, cells, settings)]
    usual = seen[0].ends.usual()
    kinds = seen[0].ends.kinds(usual)
    fresh = kinds == Kind.GOOD
    if not fresh.any():
        raise DeviceError("none of the cells responds to pulses: nothing to cycle")
    low, high, alive = np.zeros(cells.size), np.full(cells.size, np.inf), np.flatnonzero(fresh)
    span = np.abs(_span(seen[0].ends))
    for i in steps(session, "endurance", looks.size - 1):
        if not (alive.size and _cycle(session, cells[alive], int(looks[i + 1] - looks[i]), settings)):
            break
        look = _look(session, cells[alive], settings)
        now = look.ends.kinds(usual)
        worn = (now != Kind.GOOD) | ~(np.abs(_span(look.ends)) >= settings.worn_share * span[alive])
        high[alive[worn]], kinds[alive[worn]] = looks[i + 1], now[worn]
        seen.append(_of_all(look, alive, cells.size))
        alive = alive[~worn]
        low[alive] = looks[i + 1]
    return _measured(cells, looks[: len(seen)], seen, Lives(low, high), kinds, fresh)


def _cycle(session: Session, cells: Cells, count: int, settings: EnduranceSettings) -> bool:
    """So many resets and set pulses; False if someone asked to stop on the way."""
    pulse = top_pulse(session, settings.amplitude_v)
    for _ in range(count):
        if session.stop.requested:
            return False
        reset_cells(session.device, cells)
        session.device.apply(pulse, cells)
    return True


def _look(session: Session, cells: Cells, settings: EnduranceSettings) -> _Look:
    usual, top = session.device.capabilities.set_amplitude_v, top_pulse(session, settings.amplitude_v)
    amplitude_v = np.linspace(min(usual.low, top.amplitude_v), top.amplitude_v, settings.staircase_steps)
    reset_cells(session.device, cells)
    low = reads(session, cells, settings.reads)
    track = np.empty((amplitude_v.size, cells.size))
    for i, volts in enumerate(amplitude_v):
        session.device.apply(top_pulse(session, float(volts)), cells)
        track[i] = read_cells(session, cells)
    both = Ends(low, reads(session, cells, settings.reads))
    away = moved(track, both.low_ohm, both.noise, settings.reads)
    short_of = moved(track, both.high_ohm, both.noise, settings.reads)
    last = amplitude_v.size - short_of[::-1].argmax(
        axis=0
    )  # the step after the last one that was not there yet
    first_v = np.where(away.any(axis=0), amplitude_v[away.argmax(axis=0)], np.nan)
    reached = amplitude_v[np.minimum(last, amplitude_v.size - 1)]
    last_v = np.where(away.any(axis=0) & short_of.any(axis=0), reached, np.nan)
    return _Look(both, first_v, last_v, float(amplitude_v[1] - amplitude_v[0]))


def _span(both: Ends) -> Floats:
    """Top less R0, ohm; of no meaning where a cell is broken."""
    broken = ~(np.isfinite(both.low_ohm) & np.isfinite(both.high_ohm))
    return np.where(
        broken, 0.0, np.nan_to_num(both.high_ohm, posinf=0.0) - np.nan_to_num(both.low_ohm, posinf=0.0)
    )


def _of_all(look: _Look, alive: NDArray[np.int64], cells: int) -> _Look:
    """A look at the living, with NaN for the others."""

    def spread(values: Floats) -> Floats:
        out = np.full((*values.shape[:-1], cells), np.nan)
        out[..., alive] = values
        return out

    both = Ends(spread(look.ends.low), spread(look.ends.high))
    return _Look(both, spread(look.first_v), spread(look.last_v), look.step_v)


def _measured(
    cells: Cells,
    looks: NDArray[np.int64],
    seen: list[_Look],
    lives: Lives,
    kinds: NDArray[np.uint8],
    fresh: NDArray[np.bool_],
) -> Measured:
    of_fresh = Lives(lives.low[fresh], lives.high[fresh])
    fit = fit_weibull(of_fresh)
    working = (of_fresh.low[None, :] >= looks[:, None]).mean(axis=1)
    at, cell, both = ("cycles",), ("cell",), ("cycles", "cell")
    codes = ", ".join(f"{kind.value} {kind.name.lower()}" for kind in Kind)
    fields = {
        "working": Field(working, "", "share of the cells that work", at),
        "cycles": Field(looks.astype(np.float64), "", "cycles before the look", at),
        "r0_ohm": Field(np.stack([s.ends.low_ohm for s in seen]), "ohm", "R0, NaN once worn", both),
        "top_ohm": Field(np.stack([s.ends.high_ohm for s in seen]), "ohm", "after the set pulse", both),
        "first_v": Field(np.stack([s.first_v for s in seen]), "V", "amplitude of the first move", both),
        "last_v": Field(np.stack([s.last_v for s in seen]), "V", "amplitude of the last move", both),
        "cell": Field(cells, "", "cell index", cell),
        "life_low": Field(lives.low, "", "cycles after which the cell worked last", cell),
        "life_high": Field(lives.high, "", "cycles after which it was seen worn, infinite if never", cell),
        "kind": Field(kinds, "", f"what it was then: {codes}", cell),
        "fresh": Field(fresh.astype(np.uint8), "", "1 where it worked before the first cycle", cell),
    }
    attrs = {} if fit is None else {"weibull_life": fit.value[0], "weibull_shape": fit.value[1]}
    result = Result("endurance", fields, title="Endurance", signal="working", axes=at, attrs=attrs)
    return Measured(
        result, tuple(_findings(of_fresh, kinds[fresh], seen, lives.low, fit, int(looks[-1]), seen[0].step_v))
    )


def _findings(
    lives: Lives,
    kinds: NDArray[np.uint8],
    seen: list[_Look],
    low: Floats,
    fit: Fit | None,
    last: int,
    step_v: float,
) -> Iterator[Finding]:
    died, total = np.isfinite(lives.high), lives.low.size
    yield share(f"worn within {last} cycles", int(died.sum()), total, "cells")
    for kind in (Kind.SHORT, Kind.OPEN, Kind.STUCK) if died.any() else ():
        hits = int((died & (kinds == kind)).sum())
        yield share(f"of the worn cells, {kind.name.lower()}", hits, int(died.sum()), "worn cells")
    if fit is not None:
        note = f"{lives.failures} lives of {total}, the others censored"
        yield fit.finding(0, "Weibull life, 63 % worn", "cycles", note)
        yield fit.finding(1, "Weibull shape", "", note)
    alive = low == last
    for what, name in (("first", "first_v"), ("last", "last_v")):
        before, after = getattr(seen[0], name), getattr(seen[-1], name)
        yield mean(f"amplitude of the {what} move, fresh", "V", before, resolution=step_v)
        if last and alive.any():
            change = (after - before)[alive]
            yield mean(
                f"amplitude of the {what} move, change after {last} cycles", "V", change, resolution=step_v
            )
