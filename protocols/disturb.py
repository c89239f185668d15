"""Read noise and read disturb: read cells again and again, until their state has changed or the reads are given.

The noise is that of the first reads. Then each read at the disturbing volts is a trial; where they are not the
device's own, a read of its own after it tells whether the cell has moved. A cell that has moved is read no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, ReadPulse
from quest_lab.errors import BadInput
from quest_lab.findings import Finding, mean, share
from quest_lab.protocols.measurement import Measured, check_budget, moved, read_cells, reads, steps, top_pulse
from quest_lab.protocols.trials import reset_cells
from quest_lab.schema import Field, Result
from quest_lab.session import Session


@dataclass(frozen=True, slots=True)
class DisturbSettings:
    """Reads to give, their volts and seconds (None: the device's own), state before (`top` or R0), first reads."""

    reads: int = 1000
    amplitude_v: float | None = None
    width_s: float | None = None
    top: bool = False
    noise_reads: int = 32

    def __post_init__(self) -> None:
        if self.reads < 1 or self.noise_reads < 8:
            raise BadInput(f"reads={self.reads}, noise_reads={self.noise_reads}: want at least 1 and 8")

    def at(self, usual: ReadPulse) -> ReadPulse:
        volts = usual.amplitude_v if self.amplitude_v is None else self.amplitude_v
        return ReadPulse(volts, usual.width_s if self.width_s is None else self.width_s)


def disturb(session: Session, cells: Cells, settings: DisturbSettings) -> Measured:
    """Read noise of each cell, then reads until it moves. Refused before the first pulse: volts beyond the limits of
    a read, or pulses that the ledger lacks."""
    usual = session.device.capabilities.read
    at = settings.at(usual)
    session.device.read(cells[:0], at)  # refused here if it is beyond a limit
    check_budget(session, cells, 2 if settings.top else 1, 1, "read disturb")
    reset_cells(session.device, cells)
    if settings.top:
        session.device.apply(top_pulse(session), cells)
    first = reads(session, cells, settings.noise_reads)
    reference = first.mean(axis=0)
    noise = np.where(np.isfinite(reference) & (reference > 0), first.std(axis=0, ddof=1) / reference, np.nan)
    typical = float(np.sqrt(np.nanmedian(noise**2)))
    alive = np.flatnonzero(np.isfinite(noise))
    survived, gone = np.zeros(cells.size), np.zeros(cells.size, np.bool_)
    for _ in steps(session, "read disturb", settings.reads):
        ohm = read_cells(session, cells[alive], at)
        if at != usual:
            ohm = read_cells(session, cells[alive])
        hit = moved(ohm, reference[alive], typical, settings.noise_reads)
        gone[alive[hit]], alive = True, alive[~hit]
        survived[alive] += 1
        if not alive.size:
            break
    result = _result(cells, noise, survived, gone, at)
    return Measured(result, tuple(_findings(noise, survived, gone, at)))


def _findings(noise: Floats, survived: Floats, gone: NDArray[np.bool_], at: ReadPulse) -> Iterator[Finding]:
    tried = np.isfinite(noise)
    trials, hits = int((survived + gone)[tried].sum()), int(gone[tried].sum())
    yield mean("read noise of R", "", noise)
    yield share("cells disturbed", hits, int(tried.sum()), "cells")
    said = f"reads of {at.amplitude_v:g} V, {at.width_s:g} s, until a cell moved"
    yield share("disturbed by a read", hits, trials, said)
    if hits:
        each_s = (survived + 1.0)[gone] * at.width_s
        yield mean("bias until a cell moved, of those that did", "s", each_s)


def _result(cells: Cells, noise: Floats, survived: Floats, gone: NDArray[np.bool_], at: ReadPulse) -> Result:
    counts = np.unique(np.append(0.0, survived))
    tried = np.isfinite(noise)
    alive = (
        np.array([float(((survived >= n) | ~gone)[tried].mean()) for n in counts]) if tried.any() else counts
    )
    along, cell = ("reads",), ("cell",)
    fields = {
        "undisturbed": Field(alive, "", "share of the cells that have not moved", along),
        "reads": Field(counts, "", "reads given", along),
        "cell": Field(cells, "", "cell index", cell),
        "noise": Field(noise, "", "relative standard deviation of one read", cell),
        "survived": Field(survived, "", "reads after which the cell had not moved", cell),
        "moved": Field(gone.astype(np.uint8), "", "1 where the next read moved it", cell),
    }
    attrs = {"read_v": at.amplitude_v, "read_s": at.width_s}
    return Result("disturb", fields, title="Read disturb", signal="undisturbed", axes=along, attrs=attrs)
