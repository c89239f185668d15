"""SCPI commands of an instrument with output channels: each names its channel by a numeric suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Generic, TypeVar

from quest_lab.sim.agilent33500_channel import Channel
from quest_lab.sim.scpi import Call, Command
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag, keyword, number, scientific

C = TypeVar("C", bound=Channel)


class ChannelCommands(Generic[C]):
    """Makes commands for `channels`, by suffix; `#` in a header stands for it."""

    def __init__(self, channels: Mapping[int, C]) -> None:
        self._channels = channels

    def command(self, header: str, write: Callable[[C, str], None], query: Callable[[C], str]) -> Command:
        """A command of one channel, which drives its output afterwards."""

        def do(call: Call) -> None:
            channel = self._channels[call.suffix]
            write(channel, call.one())
            channel.drive()

        return Command(header, do, lambda call: query(self._channels[call.suffix]), suffixes=2)

    def stored(
        self, header: str, key: str, parse: Callable[[str], Any], show: Callable[[Any], str]
    ) -> Command:
        """A setting that is kept as parsed."""

        def write(channel: C, text: str) -> None:
            channel.values[key] = parse(text)

        return self.command(header, write, lambda c: show(c.values[key]))

    def number(self, header: str, key: str, low: float, high: float, unit: str = "") -> Command:
        """A stored number within its range."""
        return self.stored(header, key, lambda a: number(a, low, high, unit=unit), scientific)

    def timed(self, header: str, key: str, write: Callable[[C, float], None], low: float) -> Command:
        """Seconds, from `low` on."""
        return self.command(
            header,
            lambda c, a: write(c, number(a, low, 1e6, unit="S")),
            lambda c: scientific(c.values[key]),
        )

    def shown(self, header: str, key: str, write: Callable[[C, float], None]) -> Command:
        """Displayed volts."""
        return self.command(
            header,
            lambda c, a: write(c, number(a, -1e3, 1e3, unit="V")),
            lambda c: scientific(c.shown(key)),
        )

    def levels(self, top: str, limit: str, state: str) -> list[Command]:
        """Displayed volts under the header `top`; behind it `limit` of their limits, `state` of whether those hold."""
        level = top + "[:LEVel][:IMMediate]"
        return [
            self.shown(level + ":HIGH", "high", lambda c, v: c.set_level("high", v)),
            self.shown(level + ":LOW", "low", lambda c, v: c.set_level("low", v)),
            self.shown(level + ":OFFSet", "offset", lambda c, v: c.set_amplitude(c.shown("amplitude"), v)),
            self.shown(
                level + "[:AMPLitude]", "amplitude", lambda c, v: c.set_amplitude(v, c.shown("offset"))
            ),
            self.shown(top + limit + ":HIGH", "limit_high", lambda c, v: c.set_limit("limit_high", v)),
            self.shown(top + limit + ":LOW", "limit_low", lambda c, v: c.set_limit("limit_low", v)),
            self.stored(top + state, "limits", boolean, flag),
            self.stored(top + ":UNIT", "unit", lambda a: keyword(a, "VPP", "VRMS", "DBM"), str),
        ]

    def outputs(self, low_ohm: float, high_ohm: float) -> list[Command]:
        """Output, polarity, and the load that the displayed volts are meant for, or INF."""

        def load(text: str) -> float:
            return inf if text.upper() in ("INF", "INFINITY") else number(text, low_ohm, high_ohm, unit="OHM")

        return [
            self.stored("OUTPut#[:STATe]", "output", boolean, flag),
            self.stored("OUTPut#:POLarity", "polarity", lambda a: keyword(a, "NORMal", "INVerted"), str),
            self.command(
                "OUTPut#:LOAD",
                lambda c, a: c.set_load(load(a)),
                lambda c: scientific(min(c.values["load"], 9.9e37)),
            ),
        ]

    def reset(self) -> None:
        for channel in self._channels.values():
            channel.reset()

    def trigger(self, _: Call) -> None:
        """A bus trigger, for every channel; -211 if none waits for it."""
        fired = [channel.trigger() for channel in self._channels.values()]
        if not any(fired):
            raise ScpiError(-211)
