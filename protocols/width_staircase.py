"""Width staircases: at some fixed amplitudes pulses of growing width, until a cell first moves from R0.

The threshold law of thermally assisted switching, V_th(t) = V_0 (1 - ln(t / t_ref) / Delta), is a straight line of
ln t over the volts. It is fitted for every cell: ln(t / t_ref) = Delta (1 - V / V_0), with t_ref the device's own set
width; cells are the independent units of the intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quest_lab.device import Cells, Floats, VoltagePulse
from quest_lab.errors import BadInput, DeviceError
from quest_lab.findings import Finding, mean, share
from quest_lab.protocols.measurement import (
    Measured,
    at_r0,
    check_amplitudes,
    check_budget,
    heat_of,
    log_spaced,
    moved,
    read_cells,
    steps,
    top_pulse,
)
from quest_lab.protocols.staircase import mean_over_repeats
from quest_lab.protocols.trials import reset_cells
from quest_lab.schema import Field, Result
from quest_lab.session import Session

_READS = 8  # that the noise and R0 are taken from
_COARSE = 26  # amplitudes that find where the cells move at the set width


@dataclass(frozen=True, slots=True)
class WidthSettings:
    """Amplitudes, how far they reach around the typical threshold, widths: decades to both sides and steps of one."""

    amplitudes: int = 5
    reach: float = 0.12
    decades: float = 1.5
    widths_per_decade: int = 8
    repeats: int = 2

    def __post_init__(self) -> None:
        if self.amplitudes < 3 or self.repeats < 1:
            raise BadInput(f"amplitudes={self.amplitudes}, repeats={self.repeats}: want at least 3 and 1")
        if not (0.0 < self.reach < 1.0 and 0.0 < self.decades <= 12.0 and self.widths_per_decade > 0):
            raise BadInput(
                f"reach={self.reach}, decades={self.decades}, widths_per_decade={self.widths_per_decade}: "
                "want a share below 1, at most 12 decades and a positive number"
            )

    def widths_s(self, session: Session) -> Floats:
        """Those of the device's range around its set width. BadInput if that is less than half a decade."""
        can, factor = session.device.capabilities, 10.0**self.decades
        low, high = (
            max(can.set_width_s / factor, can.width_s.low),
            min(can.set_width_s * factor, can.width_s.high),
        )
        if high < low * np.sqrt(10.0):
            raise BadInput(f"widths {low:g} to {high:g} s: want half a decade within the device's range")
        return log_spaced(low, high, self.widths_per_decade)


def width_staircase(session: Session, cells: Cells, settings: WidthSettings) -> Measured:
    """Find the typical threshold, then the staircases. LimitExceeded before the first pulse if a ledger lacks them."""
    width_s, rounds = settings.widths_s(session), settings.amplitudes * settings.repeats
    top = top_pulse(session)
    heat = heat_of(top, _COARSE) + rounds * top.amplitude_v**2 * float(width_s.sum())
    pulses = 1 + _COARSE + rounds * (1 + width_s.size)
    check_budget(session, cells, pulses, 1 + rounds, "width staircases", heat)
    reference, noise = at_r0(session, cells, _READS)
    typical_v = _typical_v(session, cells, reference, noise)
    amplitude_v = typical_v * (1.0 + np.linspace(-settings.reach, settings.reach, settings.amplitudes))
    check_amplitudes(session, float(amplitude_v[-1]))
    time_s = np.full((settings.repeats, settings.amplitudes, cells.size), np.nan)
    for i in steps(session, "width staircases", rounds):
        at = np.unravel_index(i, time_s.shape[:2])
        reset_cells(session.device, cells)
        track = np.stack([_given(session, cells, float(amplitude_v[at[1]]), float(t)) for t in width_s])
        time_s[at] = _first_s(moved(track, reference, noise, _READS), width_s)
    log_s = mean_over_repeats(np.log(time_s))
    delta, v0 = _law(amplitude_v, log_s, session.device.capabilities.set_width_s)
    fields = _fields(cells, amplitude_v, log_s, delta, v0)
    attrs = {"set_width_s": session.device.capabilities.set_width_s}
    result = Result(
        "width_staircase",
        fields,
        title="Width staircases",
        signal="median_s",
        axes=("amplitude_v",),
        attrs=attrs,
    )
    return Measured(result, tuple(_findings(delta, v0, typical_v)))


def _given(session: Session, cells: Cells, amplitude_v: float, width_s: float) -> Floats:
    session.device.apply(VoltagePulse(amplitude_v, width_s), cells)
    return read_cells(session, cells)


def _typical_v(session: Session, cells: Cells, reference: Floats, noise: float) -> float:
    """Median amplitude of the first move at the set width, volts."""
    usual = session.device.capabilities.set_amplitude_v
    amplitude_v = np.linspace(usual.low, usual.high, _COARSE)
    width_s = top_pulse(session).width_s
    track = np.stack([_given(session, cells, float(v), width_s) for v in amplitude_v])
    away = moved(track, reference, noise, _READS) & np.isfinite(reference)
    at = away.argmax(axis=0)[away.any(axis=0) & ~away[0]]
    if not at.size:
        raise DeviceError(f"no cell moves between {usual.low} and {usual.high} V: no threshold to be found")
    return float(np.median(amplitude_v[at]) - 0.5 * (amplitude_v[1] - amplitude_v[0]))


def _first_s(away: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], width_s: Floats) -> Floats:
    """Width at which each cell first moved, in the middle of the step; NaN if at the first one or never."""
    at = away.argmax(axis=0)
    middle = np.sqrt(width_s[at] * width_s[np.maximum(at - 1, 0)])
    return np.where(away.any(axis=0) & (at > 0), middle, np.nan)


def _law(amplitude_v: Floats, log_s: Floats, reference_s: float) -> tuple[Floats, Floats]:
    """Delta and V_0 of each cell by least squares; NaN where it moved at fewer than three amplitudes."""
    known = ~np.isnan(log_s)
    n = known.sum(axis=0)
    v, y = np.where(known, amplitude_v[:, None], 0.0), np.where(known, log_s - np.log(reference_s), 0.0)
    n_or_1 = np.maximum(n, 1)
    v_mean, y_mean = v.sum(axis=0) / n_or_1, y.sum(axis=0) / n_or_1
    dv = np.where(known, amplitude_v[:, None] - v_mean, 0.0)
    slope = (dv * y).sum(axis=0) / np.maximum((dv**2).sum(axis=0), 1e-30)
    enough = (n >= 3) & (slope < 0)
    delta = np.where(enough, y_mean - slope * v_mean, np.nan)
    return delta, np.where(enough, -delta / np.where(enough, slope, 1.0), np.nan)


def _findings(delta: Floats, v0: Floats, typical_v: float) -> Iterator[Finding]:
    yield share("cells that follow the law", int(np.isfinite(delta).sum()), delta.size, "cells")
    yield mean("Delta of the first threshold", "", delta)
    yield mean("threshold V_0 at the set width", "V", v0)
    yield Finding("typical first move in an amplitude staircase", "V", typical_v)


def _fields(cells: Cells, amplitude_v: Floats, log_s: Floats, delta: Floats, v0: Floats) -> dict[str, Field]:
    known = np.where(np.isnan(log_s).all(axis=1), np.nan, 0.0)
    median = np.array(
        [np.nan if np.isnan(k) else np.nanmedian(row) for k, row in zip(known, log_s, strict=True)]
    )
    along, cell = ("amplitude_v",), ("cell",)
    return {
        "median_s": Field(np.exp(median), "s", "median width of the first move", along),
        "amplitude_v": Field(amplitude_v, "V", "amplitude at the cell", along),
        "time_s": Field(np.exp(log_s), "s", "width of the first move, over repeats", ("amplitude_v", "cell")),
        "cell": Field(cells, "", "cell index", cell),
        "delta": Field(delta, "", "Delta of the cell's fit", cell),
        "v0_v": Field(v0, "V", "V_0 of the cell's fit", cell),
    }
