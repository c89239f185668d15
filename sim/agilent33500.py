"""Agilent 33500 series waveform generator: commands over its two channels; channel 1 is the pulser."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from quest_lab.sim.agilent33500_channel import MINIMUM_WIDTH_S, Channel
from quest_lab.sim.scpi import Call, Command, Scpi
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag, keyword, number, scientific
from quest_lab.sim.world import World

IDENTITY = "Agilent Technologies,33522A,MY50000001,2.03-1.19-2.00-52-00"
SHAPES = ("SINusoid", "SQUare", "TRIangle", "RAMP", "PULSe", "PRBS", "NOISe", "ARB", "DC")


class Agilent33500:
    """The instrument: two channels behind one parser."""

    def __init__(self, world: World) -> None:
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self.reset, no_error="+0")
        self.channels = {1: Channel(self.scpi, world), 2: Channel(self.scpi, None)}

    def reset(self) -> None:
        for channel in self.channels.values():
            channel.reset()

    def _trigger(self, _: Call) -> None:
        fired = [channel.trigger() for channel in self.channels.values()]
        if not any(fired):
            raise ScpiError(-211)

    def _commands(self) -> list[Command]:
        return [
            *self._levels(),
            *self._pulse(),
            *self._output(),
            *self._burst(),
            Command("*TRG", write=self._trigger),
            Command("SYSTem:BEEPer[:IMMediate]", write=lambda _: None),
            Command("DISPlay:TEXT", write=lambda _: None),
            Command("DISPlay:TEXT:CLEar", write=lambda _: None),
        ]

    def _levels(self) -> list[Command]:
        top = "[SOURce#:]VOLTage"
        level = top + "[:LEVel][:IMMediate]"
        return [
            self._shown(level + ":HIGH", "high", lambda c, v: c.set_level("high", v)),
            self._shown(level + ":LOW", "low", lambda c, v: c.set_level("low", v)),
            self._shown(level + ":OFFSet", "offset", lambda c, v: c.set_amplitude(c.shown("amplitude"), v)),
            self._shown(
                level + "[:AMPLitude]", "amplitude", lambda c, v: c.set_amplitude(v, c.shown("offset"))
            ),
            self._shown(top + ":LIMit:HIGH", "limit_high", lambda c, v: c.set_limit("limit_high", v)),
            self._shown(top + ":LIMit:LOW", "limit_low", lambda c, v: c.set_limit("limit_low", v)),
            self._stored(top + ":LIMit[:STATe]", "limits", boolean, flag),
            self._stored(top + ":UNIT", "unit", lambda a: keyword(a, "VPP", "VRMS", "DBM"), str),
        ]

    def _pulse(self) -> list[Command]:
        top = "[SOURce#:]FUNCtion"
        return [
            self._stored(top + "[:SHAPe]", "function", lambda a: keyword(a, *SHAPES), str),
            self._timed(top + ":PULSe:WIDTh", "width", Channel.set_width, MINIMUM_WIDTH_S),
            self._timed(top + ":PULSe:PERiod", "period", Channel.set_period, 33e-9),
            self._number(top + ":PULSe:TRANsition[:BOTH]", "edge", 8.4e-9, 1e-6, "S"),
            self._stored(top + ":PULSe:HOLD", "hold", lambda a: keyword(a, "WIDTh", "DCYCle"), str),
            self._command(
                top + ":PULSe:DCYCle",
                lambda c, a: c.set_width(number(a, 0.01, 99.99) / 100.0 * c.values["period"]),
                lambda c: scientific(100.0 * c.values["width"] / c.values["period"]),
            ),
            self._command(
                "[SOURce#:]FREQuency[:CW]",
                lambda c, a: c.set_period(1.0 / number(a, 1e-6, 30e6, unit="HZ")),
                lambda c: scientific(1.0 / c.values["period"]),
            ),
            self._number(top + ":SQUare:DCYCle", "square_duty", 0.01, 99.99),
            self._number(top + ":RAMP:SYMMetry", "ramp_symmetry", 0.0, 100.0),
            self._number("[SOURce#:]PHASe", "phase", -360.0, 360.0),
        ]

    def _output(self) -> list[Command]:
        def load(text: str) -> float:
            return inf if text.upper() in ("INF", "INFINITY") else number(text, 1.0, 1e4, unit="OHM")

        return [
            self._stored("OUTPut#[:STATe]", "output", boolean, flag),
            self._stored("OUTPut#:POLarity", "polarity", lambda a: keyword(a, "NORMal", "INVerted"), str),
            self._command(
                "OUTPut#:LOAD",
                lambda c, a: c.set_load(load(a)),
                lambda c: scientific(min(c.values["load"], 9.9e37)),
            ),
            self._stored("OUTPut:TRIGger[:STATe]", "trigger_out", boolean, flag),
        ]

    def _burst(self) -> list[Command]:
        top = "[SOURce#:]BURSt"
        sources = ("IMMediate", "EXTernal", "TIMer", "BUS")
        return [
            self._stored(top + "[:STATe]", "burst", boolean, flag),
            self._stored(top + ":MODE", "burst_mode", lambda a: keyword(a, "TRIGgered", "GATed"), str),
            self._number(top + ":NCYCles", "burst_cycles", 1, 1e8),
            self._number(top + ":INTernal:PERiod", "burst_period", 1e-6, 8e3, "S"),
            self._stored("TRIGger#:SOURce", "trigger", lambda a: keyword(a, *sources), str),
        ]

    def _command(
        self, header: str, write: Callable[[Channel, str], None], query: Callable[[Channel], str]
    ) -> Command:
        """A command of one channel; the world sees what then stands at the output."""

        def do(call: Call) -> None:
            channel = self.channels[call.suffix]
            write(channel, call.one())
            channel.drive()

        return Command(header, do, lambda call: query(self.channels[call.suffix]), suffixes=2)

    def _stored(
        self, header: str, key: str, parse: Callable[[str], Any], show: Callable[[Any], str]
    ) -> Command:
        def write(channel: Channel, text: str) -> None:
            channel.values[key] = parse(text)

        return self._command(header, write, lambda c: show(c.values[key]))

    def _number(self, header: str, key: str, low: float, high: float, unit: str = "") -> Command:
        return self._stored(header, key, lambda a: number(a, low, high, unit=unit), scientific)

    def _timed(self, header: str, key: str, write: Callable[[Channel, float], None], low: float) -> Command:
        return self._command(
            header,
            lambda c, a: write(c, number(a, low, 1e6, unit="S")),
            lambda c: scientific(c.values[key]),
        )

    def _shown(self, header: str, key: str, write: Callable[[Channel, float], None]) -> Command:
        """Displayed volts, which depend on the displayed load."""
        return self._command(
            header,
            lambda c, a: write(c, number(a, -1e3, 1e3, unit="V")),
            lambda c: scientific(c.shown(key)),
        )
