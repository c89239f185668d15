"""Yield map: is each cell good, open, shorted or stuck, from two pulses and a few reads.

A cell is short below and open above a window of resistance (by default a decade beyond the medians of the cells at R0
and at the top: give it where half of the chip may be broken), and stuck if reset and top pulse leave it the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, Range
from quest_lab.errors import BadInput
from quest_lab.findings import Finding, mean, share
from quest_lab.protocols.measurement import Ends, Kind, Measured, check_budget, ends, top_pulse
from quest_lab.schema import Field, Result
from quest_lab.session import Session


@dataclass(frozen=True, slots=True)
class YieldSettings:
    """Reads at each end of a cell; what counts as short and as open, ohm (None: by the medians)."""

    reads: int = 4
    short_below_ohm: float | None = None
    open_above_ohm: float | None = None

    def __post_init__(self) -> None:
        if self.reads < 2:
            raise BadInput(f"reads={self.reads}: want at least 2, they tell the noise")
        for name in ("short_below_ohm", "open_above_ohm"):
            if (value := getattr(self, name)) is not None and not 0 < value < np.inf:
                raise BadInput(f"{name}={value:g}: want a finite resistance above 0 ohm")
        self.window(Range(0.0, np.inf))

    def window(self, usual: Range) -> Range:
        low = usual.low if self.short_below_ohm is None else self.short_below_ohm
        high = usual.high if self.open_above_ohm is None else self.open_above_ohm
        if not low < high:
            raise BadInput(
                f"short_below_ohm={low:g}, open_above_ohm={high:g}: want the first below the second"
            )
        return Range(low, high)


def yield_map(session: Session, cells: Cells, settings: YieldSettings) -> Measured:
    """Classify every cell. Raises LimitExceeded before the first pulse if a ledger lacks the two pulses."""
    check_budget(session, cells, 2, 1, "yield map")
    session.progress("yield map", 0, 1)
    seen = ends(session, cells, settings.reads, top_pulse(session))
    session.progress("yield map", 1, 1)
    window = settings.window(seen.usual())
    kinds = seen.kinds(window)
    position = _positions(seen, kinds)
    return Measured(_result(cells, seen, kinds, position, window), tuple(_findings(seen, kinds, position)))


def _positions(seen: Ends, kinds: NDArray[np.uint8]) -> Floats:
    """Where a stuck cell is between the good cells' R0 (0) and top (1), NaN for others."""
    good = kinds == Kind.GOOD
    if not good.any():
        return np.full(kinds.size, np.nan)
    low, high = np.median(seen.low_ohm[good]), np.median(seen.high_ohm[good])
    return np.where(kinds == Kind.STUCK, (seen.low_ohm - low) / (high - low), np.nan)


def _findings(seen: Ends, kinds: NDArray[np.uint8], position: Floats) -> Iterator[Finding]:
    for kind in Kind:
        yield share(f"{kind.name.lower()} cells", int((kinds == kind).sum()), kinds.size, "cells")
    nearer_top = int((position > 0.5).sum())
    if stuck := int((kinds == Kind.STUCK).sum()):
        yield share("of the stuck cells, nearer to the top", nearer_top, stuck, "stuck cells")
    good = kinds == Kind.GOOD
    yield mean("R0 of good cells", "ohm", seen.low_ohm[good])
    yield mean("top of good cells", "ohm", seen.high_ohm[good])
    yield Finding("read noise", "", seen.noise)


def _result(cells: Cells, seen: Ends, kinds: NDArray[np.uint8], position: Floats, window: Range) -> Result:
    codes = ", ".join(f"{kind.value} {kind.name.lower()}" for kind in Kind)
    along = ("cell",)
    fields = {
        "kind": Field(kinds, "", codes, along),
        "cell": Field(cells, "", "cell index", along),
        "r0_ohm": Field(seen.low_ohm, "ohm", "median read after the reset, infinite where open", along),
        "top_ohm": Field(seen.high_ohm, "ohm", "median read after the top pulse, infinite where open", along),
        "position": Field(position, "", "of a stuck cell: between R0 (0) and top (1) of good ones", along),
    }
    attrs = {"short_below_ohm": window.low, "open_above_ohm": window.high}
    return Result("yield_map", fields, title="Yield map", signal="kind", axes=along, attrs=attrs)
