"""Keysight 81160A pulse generator: two channels, single pulses on a trigger, channel 1 is the pulser.

Headers carry the channel on another node than the 33500's (`:PULSe:WIDTh1`, `:VOLTage1:HIGH`). Triggered mode:
one cycle, or TRIGger:COUNt of them, per trigger; the period is ignored (81160A User's Guide §3.1, §3.4.1).
Ranges: datasheet as in pymeasure's Keysight81160A. A value out of range is refused with -222, a level beyond a
limit with -222 too and a limit beyond a level with -221 (both assumed). Arbitrary waveforms are not modelled.
"""

from __future__ import annotations

from quest_lab.sim.agilent33500_channel import Channel
from quest_lab.sim.channel_commands import ChannelCommands
from quest_lab.sim.scpi import Call, Command, Scpi
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag, keyword, number, scientific
from quest_lab.sim.world import World

IDENTITY = "Agilent Technologies,81160A,MY51400001,1.0.3.0-2.6"
SHAPES = ("SINusoid", "SQUare", "RAMP", "PULSe", "NOISe", "DC", "USER")
SOURCES = ("IMMediate", "INTernal2", "EXTernal", "MANual")
OPEN_LIMIT_V = 10.0
MINIMUM_OPEN_V = 0.1  # 50 mVpp into 50 ohm
MINIMUM_WIDTH_S, MINIMUM_PERIOD_S = 1.5e-9, 3.03e-9
_TOLERANCE = 1 + 1e-9


class PulseChannel(Channel):
    """One output of an 81160A."""

    name = "81160A"

    def __init__(self, post: Scpi, world: World | None) -> None:
        super().__init__(post, world)
        self._own_defaults()

    def reset(self) -> None:
        super().reset()
        self._own_defaults()
        self.drive()

    def _own_defaults(self) -> None:
        self.values.update(
            high=0.1, low=-0.1, period=1e-6, width=100e-9, edge=2.5e-9, arm="IMM", count=1.0, coupled=False
        )

    @property
    def waits(self) -> bool:
        return bool(self.values["arm"] != "IMM" and self.values["function"] == "PULS")

    def set_level(self, name: str, shown_v: float) -> None:
        """High or low level; what does not fit is refused and nothing changes."""
        wanted = shown_v / self.shown_per_open
        low, high = self._bounds()
        if not low * _TOLERANCE <= wanted <= high * _TOLERANCE:
            raise ScpiError(-222)
        levels = {"high": self.values["high"], "low": self.values["low"], name: wanted}
        if (levels["high"] - levels["low"]) * _TOLERANCE < MINIMUM_OPEN_V:
            raise ScpiError(-222)
        self.values.update(levels)

    def set_amplitude(self, shown_vpp: float, shown_offset_v: float) -> None:
        k, (low, high) = self.shown_per_open, self._bounds()
        top, bottom = (shown_offset_v + shown_vpp / 2) / k, (shown_offset_v - shown_vpp / 2) / k
        if (
            top > high * _TOLERANCE
            or bottom < low * _TOLERANCE
            or shown_vpp / k * _TOLERANCE < MINIMUM_OPEN_V
        ):
            raise ScpiError(-222)
        self.values.update(high=top, low=bottom)

    def set_limit(self, name: str, shown_v: float) -> None:
        wanted = shown_v / self.shown_per_open
        v = self.values
        if (name == "limit_high" and wanted * _TOLERANCE < v["high"]) or (
            name == "limit_low" and wanted > v["low"] + 1e-12
        ):
            raise ScpiError(-221)
        v[name] = wanted

    def set_width(self, width_s: float) -> None:
        if self.values["arm"] == "IMM" and width_s + 1.6 * self.values["edge"] > self.values["period"]:
            raise ScpiError(-221)
        self.values["width"] = width_s

    def set_period(self, period_s: float) -> None:
        if self.values["arm"] == "IMM" and self.values["width"] > period_s:
            raise ScpiError(-221)
        self.values["period"] = period_s

    def trigger(self) -> bool:
        v = self.values
        if v["arm"] != "MAN":
            return False
        self.give(int(v["burst_cycles"] if v["burst"] else v["count"]))
        return True


class Keysight81160A:
    """The instrument: two channels behind one parser."""

    def __init__(self, world: World) -> None:
        self.channels: dict[int, PulseChannel] = {}
        self._on = ChannelCommands(self.channels)
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self._on.reset, no_error="+0")
        self.channels.update({1: PulseChannel(self.scpi, world), 2: PulseChannel(self.scpi, None)})

    def _apply(self, shape: str) -> Command:
        """`:APPLy1:PULSe frequency, amplitude, offset`: continuous, output on."""

        def do(call: Call) -> None:
            if len(call.arguments) != 3:
                raise ScpiError(-109 if len(call.arguments) < 3 else -108)
            frequency, amplitude, offset = (number(a, -1e9, 1e9) for a in call.arguments)
            channel = self.channels[call.suffix]
            channel.values.update(function=keyword(shape, *SHAPES), arm="IMM", period=1.0 / frequency)
            channel.values["width"] = min(channel.values["width"], 0.5 / frequency)
            channel.set_amplitude(amplitude, offset)
            channel.values["output"] = True
            channel.drive()

        return Command(f"APPLy#:{shape}", do, suffixes=2)

    def _commands(self) -> list[Command]:
        return [
            *self._on.levels("[SOURce:]VOLTage#", ":LIMit[:LEVel]", ":LIMit:STATe"),
            *self._timing(),
            *self._on.outputs(0.3, 1e6),
            *self._triggering(),
            *(self._apply(shape) for shape in ("SINusoid", "SQUare", "PULSe")),
            Command("*TRG", write=self._on.trigger),
            Command("SYSTem:BEEPer[:IMMediate]", write=lambda _: None),
        ]

    def _timing(self) -> list[Command]:
        return [
            self._on.stored("[SOURce:]FUNCtion#[:SHAPe]", "function", lambda a: keyword(a, *SHAPES), str),
            self._on.timed("[SOURce:]PULSe:WIDTh#", "width", PulseChannel.set_width, MINIMUM_WIDTH_S),
            self._on.timed("[SOURce:]PULSe:PERiod#", "period", PulseChannel.set_period, MINIMUM_PERIOD_S),
            self._on.command(
                "[SOURce:]FREQuency#[:CW]",
                lambda c, a: c.set_period(1.0 / number(a, 1e-6, 500e6, unit="HZ")),
                lambda c: scientific(1.0 / c.values["period"]),
            ),
            self._on.command(
                "[SOURce:]PULSe:DCYCle#",
                lambda c, a: c.set_width(number(a, 0.15, 99.99) / 100.0 * c.values["period"]),
                lambda c: scientific(100.0 * c.values["width"] / c.values["period"]),
            ),
            self._on.stored("[SOURce:]PULSe:HOLD#", "hold", lambda a: keyword(a, "WIDTh", "DCYCle"), str),
            self._on.number("[SOURce:]FUNCtion#:PULSe:TRANsition", "edge", 1e-9, 1e3, "S"),
            self._on.number("[SOURce:]FUNCtion#:SQUare:DCYCle", "square_duty", 1.515e-4, 99.9998485),
            self._on.number("[SOURce:]FUNCtion#:RAMP:SYMMetry", "ramp_symmetry", 0.0, 100.0),
        ]

    def _triggering(self) -> list[Command]:
        burst = "[SOURce:]BURSt#"
        return [
            self._on.stored("ARM:SOURce#", "arm", lambda a: keyword(a, *SOURCES), str),
            self._on.number("TRIGger#:COUNt", "count", 1, 2147483647),
            self._on.stored(burst + "[:STATe]", "burst", boolean, flag),
            self._on.stored(burst + ":MODE", "burst_mode", lambda a: keyword(a, "TRIGgered", "GATed"), str),
            self._on.number(burst + ":NCYCles", "burst_cycles", 2, 2147483647),
            self._on.number(burst + ":INTernal:PERiod", "burst_period", 3.03e-9, 1e6, "S"),
            self._on.stored("TRACk:CHANnel#", "coupled", boolean, flag),
        ]
