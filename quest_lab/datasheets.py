"""What instruments can do, from their datasheets: bench files are checked against it, drivers refuse beyond it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quest_lab.device import Range


@dataclass(frozen=True, slots=True)
class PulserSheet:
    """A pulse source: widths in seconds, open-circuit volts above 0 V, and whether it also pulses below 0 V."""

    name: str
    width_s: Range
    open_v: Range
    bipolar: bool = False


AGILENT33500 = PulserSheet("33500", Range(16e-9, 1e6), Range(2e-3, 10.0))  # 1 mVpp to 10 Vpp into 50 ohm
KEYSIGHT81160A = PulserSheet("81160A", Range(1.5e-9, 1e6), Range(0.1, 10.0))  # 50 mVpp to 5 Vpp into 50 ohm
KEITHLEY2450 = PulserSheet("2450", Range(1e-3, 1.0), Range(1e-3, 2.0), bipolar=True)
"""Its output settles within 200 µs (typical): five times that, and the upper end, are assumed. 2 V: its range."""
ARCONE = PulserSheet("ArC ONE", Range(1e-6, math.inf), Range(1e-6, 12.0), bipolar=True)

LOAD_81160A_OHM = Range(0.3, 1e6)  # what an 81160A can be told as its load
GS200_RANGES_A = {1e-3: 1.2e-3, 10e-3: 12e-3, 100e-3: 120e-3, 200e-3: 200e-3}  # range: highest level
GS200_LIMITER_V = Range(1.0, 30.0)  # of a GS200 as a current source (user's manual IM GS210-01EN, p. 13-12)
GAUSSMETER_RANGES_T = (3.5e-3, 35e-3, 0.35, 3.5)  # of a 425 with a high sensitivity probe


@dataclass(frozen=True, slots=True)
class Grid:
    """Places of cells on a matrix or a board: two numbers counted from 1, and the rows of a card."""

    firsts: int
    seconds: int
    rows: int
    words: str


GRIDS = {
    "keithley7001": Grid(2, 10, 4, "slot!column"),
    "keithley2700": Grid(2, 8, 6, "slot!column"),
    "arcone": Grid(32, 32, 2, "word!bit"),
}
