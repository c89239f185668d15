"""Keithley 2450 SourceMeter, SCPI command set: voltage source that measures current, and its trigger model.

Model 2450 Reference Manual (2450-901-01): trigger blocks run one after the other on INITiate; output on, constant
delays and output off without a measurement between them are a pulse. Output settles with 29 µs (0.1 % within
200 µs, datasheet). A current limit below a tenth of the measure range is refused. Assumed: the error numbers of
refusals (-221, -222), READ? with the output off (-221), noise of 2e-5 of range at one power line cycle.
Sourcing current is not modelled (-224), nor are buffers beyond the last reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import exp, inf, sqrt
from typing import Any

from quest_lab.fixture import SignalPath
from quest_lab.sim.keithley2450_settings import integer, remembered
from quest_lab.sim.keithley2450_trigger import Block, TriggerModel
from quest_lab.sim.scpi import Call, Command, Scpi, number_setting, setting
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag, keyword, number, scientific
from quest_lab.sim.world import World

IDENTITY = "KEITHLEY INSTRUMENTS INC.,MODEL 2450,04000001,1.7.12b"
RANGES_A = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
RANGES_V = (0.02, 0.2, 2.0, 20.0, 200.0)
PROTECTION_V = {f"PROT{v}": float(v) for v in (2, 5, 10, 20, 40, 60, 80, 100, 120, 140, 160, 180)}
LINE_HZ = 50.0
SETTLING_S = 29e-6
AUTO_DELAY_S = 1e-3
OVERFLOW = 9.9e37
NOISE_OF_RANGE = 2e-5
ELEMENTS = ("READing", "SOURce", "RELative", "UNIT", "SOURUNIT", "STATus")  # of the manual's fourteen
FUNCTIONS = ("CURRent", "VOLTage", "RESistance")


def _defaults() -> dict[str, Any]:
    return {
        "output": False,
        "volts": 0.0,
        "volts_range": 0.02,
        "volts_auto": True,
        "protection": "NONE",
        "limit": 1.05e-4,
        "readback": True,
        "delay": AUTO_DELAY_S,
        "delay_auto": True,
        "function": "CURR",
        "range": 1e-4,
        "auto": True,
        "nplc": 1.0,
        "autozero": True,
        "four_wire": False,
        "off_state": "NORM",
        "language": "SCPI",
        "average": False,
        "average_count": 10,
        "average_kind": "REP",
    }


class EventLog(Scpi):
    """The 2450 adds the severity and a time to each text of its queue."""

    def _take_error(self) -> str:
        code, _, text = super()._take_error().partition(",")
        quiet = code.lstrip("+") == "0"
        return (
            f'{code},"{text.strip(chr(34))};{0 if quiet else 1};{"0 0" if quiet else "1970/01/01 00:00:00"}"'
        )


class Keithley2450:
    """The instrument: the world's meter, and its pulser while a trigger model gives a pulse."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.values = _defaults()
        self.model = TriggerModel()
        self.scpi: Scpi = EventLog(IDENTITY, self._commands(), reset=self.reset)
        self._last = (0.0, 0.0)

    def reset(self) -> None:
        self.values.update(
            _defaults() | {"language": self.values["language"]}
        )  # it survives, like the menu's
        self.model.blocks.clear()
        self._drive()

    @property
    def sourced_v(self) -> float:
        """The level as protection and source range let it out."""
        highest = PROTECTION_V.get(self.values["protection"], inf)
        return float(min(max(self.values["volts"], -highest), highest))

    def _drive(self) -> None:
        on = self.values["output"]
        self.world.drive(self.world.meter, on, self.sourced_v if on else 0.0)

    def _read(self, call: Call) -> str:
        if not self.values["output"]:
            raise ScpiError(-221, "Settings conflict; output is off")
        self._measure()
        return self._elements(call)

    def _measure(self) -> None:
        v = self.values
        self._note(*self.world.measure(self.sourced_v, v["limit"], self._seconds()))

    def _note(self, volts: float, ampere: float) -> None:
        """A reading of this much at the terminals."""
        v = self.values
        full = self._range(ampere)
        if self.world.meter_noise is not None:
            averaged = v["nplc"] * (v["average_count"] if v["average"] else 1.0)
            ampere += NOISE_OF_RANGE * full / sqrt(averaged) * self.world.meter_noise.standard_normal()
        self._last = (
            volts if v["readback"] else v["volts"],
            ampere if abs(ampere) <= 1.05 * full else OVERFLOW,
        )

    def _seconds(self) -> float:
        v = self.values
        delay: float = AUTO_DELAY_S if v["delay_auto"] else v["delay"]
        aperture = v["nplc"] / LINE_HZ * (v["average_count"] if v["average"] else 1.0)
        return delay + aperture * (3.0 if v["autozero"] else 1.0)

    def _range(self, ampere: float) -> float:
        if not self.values["auto"]:
            return float(self.values["range"])
        return next((r for r in RANGES_A if abs(ampere) <= 1.05 * r), RANGES_A[-1])

    def _elements(self, call: Call) -> str:
        """The reading, or the elements named after the buffer."""
        volts, ampere = self._last
        reading = {"CURR": ampere, "VOLT": volts, "RES": volts / ampere if ampere else OVERFLOW}
        names = [keyword(a, *ELEMENTS) for a in call.arguments[1:]] or ["READ"]
        row = {"READ": scientific(reading[self.values["function"]]), "SOUR": scientific(volts)}
        row |= {
            "REL": scientific(self.world.clock.now()),
            "STAT": "0",
            "UNIT": "Amp DC",
            "SOURUNIT": "Volt DC",
        }
        return ",".join(row[name] for name in names)

    def _initiate(self, _: Call) -> None:
        if not self.model.blocks:
            raise ScpiError(-221, "Settings conflict; trigger model is empty")
        blocks = self.model.run()
        for block in blocks:
            self._execute(block, blocks)

    def _execute(self, block: Block, rest: Iterator[Block]) -> None:
        if block.kind == "output":
            if block.value and (pulse := self.model.pulse_from_here(self._seconds())) is not None:
                width_s, blocks = pulse
                for _ in blocks:
                    next(rest)
                self._pulse(width_s, measured=any(b.kind == "measure" for b in blocks))
                return
            self.values["output"] = bool(block.value)
            self._drive()
        elif block.kind == "delay":
            self.world.clock.sleep(block.value)
        elif block.kind == "measure":
            self._measure()

    def _pulse(self, width_s: float, *, measured: bool) -> None:
        """The level for so long, as far as it settles in that time; the output is off afterwards."""
        v, world = self.values, self.world
        if v["output"]:
            v["output"] = False
            self._drive()
        world.drive(world.pulser, True, 0.0)
        own = SignalPath(source_impedance_ohm=0.0, series_ohm=world.path.series_ohm)
        level_v = self.sourced_v * (1.0 - exp(-width_s / SETTLING_S))
        volts, ampere = world.pulse(level_v, width_s, v["limit"], own)
        world.drive(world.pulser, False, 0.0)
        if measured:
            self._note(volts + ampere * own.in_series_ohm, ampere)

    def _commands(self) -> list[Command]:
        return [*self._source(), *self._sense(), *self._measuring(), *remembered(), *self._system()]

    def _source(self) -> list[Command]:
        v, top = self.values, "SOURce#:VOLTage"
        return [
            Command("OUTPut#[:STATe]", self._set_output, lambda _: flag(v["output"])),
            *(
                setting(
                    v,
                    f"OUTPut#:{f}:SMODe",
                    "off_state",
                    lambda a: keyword(a, "HIMPedance", "NORMal", "ZERO", "GUARd"),
                    str,
                )
                for f in ("CURRent", "VOLTage")
            ),
            Command("SOURce#:FUNCtion[:MODE]", self._set_source, lambda _: "VOLT"),
            Command(
                top + "[:LEVel][:IMMediate][:AMPLitude]", self._set_volts, lambda _: scientific(v["volts"])
            ),
            Command(top + ":RANGe", self._set_volts_range, lambda _: scientific(v["volts_range"])),
            setting(v, top + ":RANGe:AUTO", "volts_auto", boolean, flag),
            Command(top + ":ILIMit[:LEVel]", self._set_limit, lambda _: scientific(v["limit"])),
            Command(top + ":ILIMit[:LEVel]:TRIPped", query=lambda _: flag(self._limited())),
            setting(
                v,
                top + ":PROTection[:LEVel]",
                "protection",
                lambda a: keyword(a, *PROTECTION_V, "NONE"),
                str,
            ),
            Command(top + ":PROTection[:LEVel]:TRIPped", query=lambda _: flag(self.sourced_v != v["volts"])),
            setting(v, top + ":READ:BACK", "readback", boolean, flag),
            number_setting(self.values, top + ":DELay", "delay", 0.0, 1e4, off="delay_auto"),
            setting(v, top + ":DELay:AUTO", "delay_auto", boolean, flag),
        ]

    def _sense(self) -> list[Command]:
        v, top = self.values, "[SENSe#:]CURRent[:DC]"
        kinds = ("REPeat", "MOVing", "HYBRid")
        return [
            Command("[SENSe#:]FUNCtion[:ON]", self._set_function, lambda _: f'"{v["function"]}:DC"'),
            Command(top + ":RANGe[:UPPer]", self._set_range, lambda _: scientific(v["range"])),
            setting(v, top + ":RANGe:AUTO", "auto", boolean, flag),
            number_setting(self.values, top + ":NPLCycles", "nplc", 0.01, 10.0),
            setting(v, top + ":RSENse", "four_wire", boolean, flag),
            setting(v, top + ":AZERo[:STATe]", "autozero", boolean, flag),
            setting(v, top + ":AVERage[:STATe]", "average", boolean, flag),
            setting(v, top + ":AVERage:COUNt", "average_count", partial(integer, 1, 100), str),
            setting(v, top + ":AVERage:TCONtrol", "average_kind", lambda a: keyword(a, *kinds), str),
        ]

    def _measuring(self) -> list[Command]:
        return [
            Command("READ", query=self._read),
            Command("FETCh", query=self._elements),
            Command("INITiate[:IMMediate]", write=self._initiate),
            Command("ABORt", write=lambda _: None),
            *self.model.commands(),
        ]

    def _system(self) -> list[Command]:
        return [
            setting(self.values, "*LANG", "language", lambda a: keyword(a, "SCPI", "TSP", "SCPI2400"), str),
            Command("SYSTem:BEEPer[:IMMediate]", write=lambda _: None),
            Command("STATus:PRESet", write=lambda _: None),
        ]

    def _set_output(self, call: Call) -> None:
        self.values["output"] = boolean(call.one())
        self._drive()

    def _set_source(self, call: Call) -> None:
        if keyword(call.one(), "VOLTage", "CURRent") != "VOLT":
            raise ScpiError(-224)

    def _set_volts(self, call: Call) -> None:
        highest = 210.0 if self.values["volts_auto"] else 1.05 * self.values["volts_range"]
        self.values["volts"] = number(call.one(), -highest, highest, unit="V")
        self._drive()

    def _set_volts_range(self, call: Call) -> None:
        wanted = abs(number(call.one(), -200.0, 200.0, unit="V"))
        self.values["volts_range"] = next(r for r in RANGES_V if wanted <= r)
        self.values["volts_auto"] = False

    def _set_limit(self, call: Call) -> None:
        limit = number(call.one(), 1e-9, 1.05, unit="A")
        if not self.values["auto"] and limit < 0.1 * self.values["range"] * (1 - 1e-9):
            raise ScpiError(-221, "Settings conflict; current limit below 10 % of the measure range")
        self.values["limit"] = limit

    def _set_range(self, call: Call) -> None:
        wanted = abs(number(call.one(), -1.05, 1.05, unit="A"))
        full = next((r for r in RANGES_A if wanted <= r * (1 + 1e-9)), RANGES_A[-1])
        if self.values["limit"] < 0.1 * full * (1 - 1e-9):
            raise ScpiError(-221, "Settings conflict; current limit below 10 % of the measure range")
        self.values.update(range=full, auto=False)

    def _set_function(self, call: Call) -> None:
        self.values["function"] = keyword(call.one().split(":")[0].strip("'\""), *FUNCTIONS)

    def _limited(self) -> bool:
        return abs(self._last[1]) >= self.values["limit"] * (1 - 1e-9)
