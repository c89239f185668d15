"""Agilent 33500 series waveform generator: commands over its two channels; channel 1 is the pulser."""

from __future__ import annotations

from quest_lab.sim.agilent33500_channel import MINIMUM_WIDTH_S, Channel
from quest_lab.sim.channel_commands import ChannelCommands
from quest_lab.sim.scpi import Command, Scpi
from quest_lab.sim.scpi_arguments import boolean, flag, keyword, number, scientific
from quest_lab.sim.world import World

IDENTITY = "Agilent Technologies,33522A,MY50000001,2.03-1.19-2.00-52-00"
SHAPES = ("SINusoid", "SQUare", "TRIangle", "RAMP", "PULSe", "PRBS", "NOISe", "ARB", "DC")


class Agilent33500:
    """The instrument: two channels behind one parser."""

    def __init__(self, world: World) -> None:
        self.channels: dict[int, Channel] = {}
        self._on = ChannelCommands(self.channels)
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self._on.reset, no_error="+0")
        self.channels.update({1: Channel(self.scpi, world), 2: Channel(self.scpi, None)})

    def _commands(self) -> list[Command]:
        return [
            *self._on.levels("[SOURce#:]VOLTage", ":LIMit", ":LIMit[:STATe]"),
            *self._pulse(),
            *self._on.outputs(1.0, 1e4),
            self._on.stored("OUTPut:TRIGger[:STATe]", "trigger_out", boolean, flag),
            *self._burst(),
            Command("*TRG", write=self._on.trigger),
            Command("SYSTem:BEEPer[:IMMediate]", write=lambda _: None),
            Command("DISPlay:TEXT", write=lambda _: None),
            Command("DISPlay:TEXT:CLEar", write=lambda _: None),
        ]

    def _pulse(self) -> list[Command]:
        top = "[SOURce#:]FUNCtion"
        return [
            self._on.stored(top + "[:SHAPe]", "function", lambda a: keyword(a, *SHAPES), str),
            self._on.timed(top + ":PULSe:WIDTh", "width", Channel.set_width, MINIMUM_WIDTH_S),
            self._on.timed(top + ":PULSe:PERiod", "period", Channel.set_period, 33e-9),
            self._on.number(top + ":PULSe:TRANsition[:BOTH]", "edge", 8.4e-9, 1e-6, "S"),
            self._on.stored(top + ":PULSe:HOLD", "hold", lambda a: keyword(a, "WIDTh", "DCYCle"), str),
            self._on.command(
                top + ":PULSe:DCYCle",
                lambda c, a: c.set_width(number(a, 0.01, 99.99) / 100.0 * c.values["period"]),
                lambda c: scientific(100.0 * c.values["width"] / c.values["period"]),
            ),
            self._on.command(
                "[SOURce#:]FREQuency[:CW]",
                lambda c, a: c.set_period(1.0 / number(a, 1e-6, 30e6, unit="HZ")),
                lambda c: scientific(1.0 / c.values["period"]),
            ),
            self._on.number(top + ":SQUare:DCYCle", "square_duty", 0.01, 99.99),
            self._on.number(top + ":RAMP:SYMMetry", "ramp_symmetry", 0.0, 100.0),
            self._on.number("[SOURce#:]PHASe", "phase", -360.0, 360.0),
        ]

    def _burst(self) -> list[Command]:
        top = "[SOURce#:]BURSt"
        sources = ("IMMediate", "EXTernal", "TIMer", "BUS")
        return [
            self._on.stored(top + "[:STATe]", "burst", boolean, flag),
            self._on.stored(top + ":MODE", "burst_mode", lambda a: keyword(a, "TRIGgered", "GATed"), str),
            self._on.number(top + ":NCYCles", "burst_cycles", 1, 1e8),
            self._on.number(top + ":INTernal:PERiod", "burst_period", 1e-6, 8e3, "S"),
            self._on.stored("TRIGger#:SOURce", "trigger", lambda a: keyword(a, *sources), str),
        ]
