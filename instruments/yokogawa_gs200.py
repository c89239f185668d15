"""Yokogawa GS200 series (GS210, GS211) as the current supply of a small magnet: up to 200 mA.

It sources a current within a voltage limiter and cannot measure it: what flows is the level that it says it sources,
unless its condition register says that the limiter holds it back. A magnet that would need more volts than the
limiter leaves is refused beforehand. What else may be wrong in the coil, only a gaussmeter sees.
"""

from __future__ import annotations

from typing import Any

from pymeasure.instruments import Instrument
from pymeasure.instruments.yokogawa import YokogawaGS200

from quest_lab.clock import Clock
from quest_lab.datasheets import GS200_LIMITER_V, GS200_RANGES_A
from quest_lab.errors import DeviceError, LimitExceeded
from quest_lab.instruments.magnet import FieldCalibration, FieldMagnet
from quest_lab.instruments.roles import Gaussmeter, Setting
from quest_lab.instruments.visa import Line

FUNCTIONS = ("VOLT", "CURR")
MAXIMUM_A = max(GS200_RANGES_A)
MINIMUM_V, MAXIMUM_V = GS200_LIMITER_V.low, GS200_LIMITER_V.high
LIMITING = (
    1 << 10 | 1 << 11
)  # condition register: low, high limiter at work (p. 13-30; the high one's bit: its figure)


class GS200(YokogawaGS200):  # type: ignore[misc]  # pymeasure ships no types
    """pymeasure's driver; it is SCPI, so its constructor has nothing to warn of."""

    def __init__(self, adapter: Any, name: str = "Yokogawa GS200", **kwargs: Any) -> None:
        Instrument.__init__(self, adapter, name, includeSCPI=False, **kwargs)


class CurrentSource200:
    """CurrentSupply on a GS200, in the smallest range that holds `limit_a`."""

    name = "GS200"

    def __init__(self, source: GS200, limit_a: float) -> None:
        self._line = Line(self.name, source)
        self._range_a = min(a for a, highest in GS200_RANGES_A.items() if limit_a <= highest)

    def take_over(self) -> float:
        """The current that flows. Raises DeviceError if volts stand on the coil: their current is not known."""
        self._line.identify()
        on, function, level = self._ask(":OUTP?;:SOUR:FUNC?;:SOUR:LEV?", "set up")
        if not int(on):
            return 0.0
        if function != "CURR":
            raise DeviceError(
                f"{self.name}: set up: sources {level} V: take its output to 0 V and off by hand"
            )
        return float(level)

    def enable(self, compliance_v: float) -> None:
        """Function, range, limiter, level, and only then the output."""
        setting = f":SOUR:FUNC CURR;:SOUR:RANG {self._range_a:g};:SOUR:PROT:VOLT {compliance_v:g};:SOUR:LEV 0"
        self._line.ask_ok(f"*CLS;{setting}", "set up")
        self._line.ask_ok(":OUTP 1", "output on")

    def set_ampere(self, ampere: float, what: str) -> None:
        self._line.write(f":SOUR:LEV {ampere:.6g}", what)

    def measure_ampere(self) -> float:
        """The level while the output is on: no measurement. Raises DeviceError if the limiter holds it back."""
        on, level, condition = self._ask(":OUTP?;:SOUR:LEV?;:STAT:COND?", "ask for the current")
        if int(condition) & LIMITING:
            raise DeviceError(
                f"{self.name}: less than {level} A flow: its voltage limiter is at work: coil open?"
            )
        return float(level) if int(on) else 0.0

    def read_back(self, compliance_v: float) -> list[Setting]:
        """What the source says of its limiter, range and level, against what was set."""
        volts, range_a, level = self._ask(":SOUR:PROT:VOLT?;:SOUR:RANG?;:SOUR:LEV?", "read back")
        return [
            Setting("compliance", compliance_v, float(volts), "V"),
            Setting("range", self._range_a, float(range_a), "A"),
            Setting("current set point", 0.0, float(level), "A"),
        ]

    def open(self) -> None:
        self._line.write(":OUTP 0", "output off")

    def close(self) -> None:
        self._line.close()

    def _ask(self, queries: str, what: str) -> list[str]:
        """Replies to queries in one message. Raises DeviceError where one is missing or unreadable."""
        replies = self._line.ask(queries, what).split(";")
        with self._line.step(what):
            if len(replies) != queries.count("?"):
                raise ValueError(f"unreadable reply {';'.join(replies)!r}")
            for reply in replies:
                if reply not in FUNCTIONS:
                    float(reply)
        return replies


class YokogawaMagnet(FieldMagnet):
    """FieldMagnet over a GS200. Raises LimitExceeded for a calibration that a GS200 cannot drive."""

    def __init__(
        self,
        source: GS200,
        calibration: FieldCalibration,
        clock: Clock,
        gaussmeter: Gaussmeter | None = None,
    ) -> None:
        self._check(calibration)
        self._source = CurrentSource200(source, calibration.limit_a)
        super().__init__(self._source, calibration, clock, gaussmeter)

    def read_back(self) -> list[Setting]:
        """Limiter, range and set point as the source tells them, and the gaussmeter's settings."""
        measured = self._gaussmeter.read_back() if self._gaussmeter else []
        return self._source.read_back(self.calibration.compliance_v) + measured

    @staticmethod
    def _check(calibration: FieldCalibration) -> None:
        limit_a, volts = calibration.limit_a, calibration.compliance_v
        if limit_a > MAXIMUM_A or not MINIMUM_V <= volts <= MAXIMUM_V:
            raise LimitExceeded(
                f"magnet.limit_a={limit_a}, magnet.compliance_v={volts}: a GS200 gives up to {MAXIMUM_A} A, its "
                f"limiter is {MINIMUM_V} to {MAXIMUM_V} V"
            )
        if limit_a * calibration.coil_ohm > volts:
            raise LimitExceeded(
                f"magnet.limit_a={limit_a}: needs {limit_a * calibration.coil_ohm:.4g} V in "
                f"{calibration.coil_ohm} ohm, above magnet.compliance_v={volts}"
            )
