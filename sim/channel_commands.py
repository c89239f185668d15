"""SCPI commands of an instrument with output channels: each names its channel by a numeric suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from quest_lab.sim.agilent33500_channel import Channel
from quest_lab.sim.scpi import Call, Command
from quest_lab.sim.scpi_arguments import number, scientific

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
