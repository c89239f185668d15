"""What Keithley's source meters have in common when they read a resistance."""

from __future__ import annotations

import math

from quest_lab.device import ReadPulse
from quest_lab.errors import LimitExceeded, UnsoundRead

NPLC_LOW, NPLC_HIGH = 0.01, 10.0  # of 2400 (datasheet) and 2450 (manual)
OVERFLOW = 9.9e37
RESOLVED = 1e-4  # of the range: less current is none


def power_line_cycles(name: str, at: ReadPulse, *, limit_v: float, line_hz: float) -> float:
    """The aperture of a read. Raises LimitExceeded for one beyond the meter, or volts above `limit_v`."""
    nplc = at.width_s * line_hz
    if abs(at.amplitude_v) > limit_v:
        raise LimitExceeded(f"read amplitude_v={at.amplitude_v}: above {limit_v} V (read disturb)")
    if not NPLC_LOW * (1 - 1e-9) <= nplc <= NPLC_HIGH * (1 + 1e-9):
        raise LimitExceeded(
            f"read width_s={at.width_s}: a {name} measures {NPLC_LOW / line_hz} to "
            f"{NPLC_HIGH / line_hz} s at {line_hz} Hz mains"
        )
    return nplc


def resistance_ohm(name: str, volts: float, ampere: float, *, limit_a: float) -> float:
    """Volts over ampere. Raises UnsoundRead where that is no resistance."""
    ohm = volts / ampere if ampere else math.inf
    if abs(ampere) >= OVERFLOW or abs(ampere) < RESOLVED * limit_a or not ohm > 0.0:
        raise UnsoundRead(f"{name}: read: {volts} V, {ampere} A is no resistance: cell open?", ohm=math.inf)
    return ohm


def in_compliance(name: str, limit_a: float) -> UnsoundRead:
    """The error of a read whose current the meter limited."""
    return UnsoundRead(f"{name}: read: in compliance at {limit_a} A: cell shorted?", ohm=0.0)
