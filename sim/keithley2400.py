"""Keithley 2400 SourceMeter as a voltage source that measures current: range, compliance, NPLC noise, timing.

Model 2400 User's Manual: one source-delay-measure cycle keeps the output on for the delay and the aperture,
three apertures with autozero on; with :SOURce:CLEar:AUTO the output is on only during the cycle, without it
a reading needs the output on (+803). Status word bit 3: compliance. Overflow reads 9.9E37. Sourcing current
is not modelled (-224). Noise of 2e-5 of range at one power line cycle: assumed.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from quest_lab.sim.scpi import Call, Command, Scpi, number_setting, setting
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag, keyword, number, scientific
from quest_lab.sim.world import World

IDENTITY = "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1000001,C32   Oct  4 2010 14:20:11/A02  /S/K"
RANGES_A = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LINE_HZ = 50.0
AUTO_DELAY_S = 1e-3
OVERFLOW, NOT_MEASURED = 9.9e37, 9.91e37
IN_COMPLIANCE = 1 << 3
NOISE_OF_RANGE = 2e-5
ELEMENTS = ("VOLTage", "CURRent", "RESistance", "TIME", "STATus")


def _defaults() -> dict[str, Any]:
    return {
        "output": False,
        "volts": 0.0,
        "volts_range": 20.0,
        "volts_auto": True,
        "range": 1e-4,
        "auto": True,
        "limit": 1.05e-4,
        "nplc": 1.0,
        "autozero": True,
        "delay": AUTO_DELAY_S,
        "delay_auto": True,
        "clear_auto": False,
        "average": False,
        "average_count": 10.0,
        "average_kind": "REP",
        "off_state": "NORM",
        "elements": ("VOLT", "CURR", "RES", "TIME", "STAT"),
        "functions": ("CURR",),
        "ohms_mode": "MAN",
    }


class Keithley2400:
    """The instrument: the world's meter."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.values = _defaults()
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self.reset)
        self._last = ""

    def reset(self) -> None:
        self.values.update(_defaults())
        self._drive()

    def read(self, _: Call) -> str:
        """One source-delay-measure cycle; answers the chosen elements."""
        v = self.values
        if not v["output"] and not v["clear_auto"]:
            raise ScpiError(803, "Not permitted with OUTPUT off")
        self.world.drive(self.world.meter, True, v["volts"])
        volts, ampere = self.world.measure(v["volts"], v["limit"], self._seconds())
        self.world.drive(self.world.meter, not v["clear_auto"], v["volts"])
        if v["clear_auto"]:
            v["output"] = False
        self._last = self._answer(volts, ampere)
        return self._last

    def _initiate(self, call: Call) -> None:
        self.read(call)

    def _seconds(self) -> float:
        v = self.values
        delay: float = AUTO_DELAY_S if v["delay_auto"] else v["delay"]
        aperture = v["nplc"] / LINE_HZ * (v["average_count"] if v["average"] else 1.0)
        return delay + aperture * (3.0 if v["autozero"] else 1.0)

    def _answer(self, volts: float, ampere: float) -> str:
        v = self.values
        full = self._range(ampere)
        limited = abs(ampere) >= v["limit"] * (1 - 1e-9) or volts != v["volts"]
        if self.world.meter_noise is not None:
            averaged = v["nplc"] * (v["average_count"] if v["average"] else 1.0)
            ampere += NOISE_OF_RANGE * full / sqrt(averaged) * self.world.meter_noise.standard_normal()
        if abs(ampere) > 1.05 * full:
            ampere = OVERFLOW
        ohm = volts / ampere if ampere and "RES" in v["functions"] else NOT_MEASURED
        time_s = self.world.clock.now() % 99999.999
        status = IN_COMPLIANCE if limited else 0
        row = {"VOLT": volts, "CURR": ampere, "RES": ohm, "TIME": time_s, "STAT": float(status)}
        return ",".join(scientific(row[element]) for element in v["elements"])

    def _range(self, ampere: float) -> float:
        """The fixed range, or the smallest that holds the current and the compliance allows."""
        if not self.values["auto"]:
            return float(self.values["range"])
        return next((r for r in RANGES_A if abs(ampere) <= 1.05 * r), RANGES_A[-1])

    def _drive(self) -> None:
        v = self.values
        self.world.drive(self.world.meter, v["output"], v["volts"] if v["output"] else 0.0)

    def _commands(self) -> list[Command]:
        return [*self._source(), *self._sense(), *self._measure(), *self._system()]

    def _source(self) -> list[Command]:
        top = "SOURce#"
        return [
            Command("OUTPut#[:STATe]", self._set_output, lambda _: flag(self.values["output"])),
            setting(
                self.values,
                "OUTPut#:SMODe",
                "off_state",
                lambda a: keyword(a, "HIMPedance", "NORMal", "ZERO", "GUARd"),
                str,
            ),
            Command(top + ":FUNCtion[:MODE]", self._set_source, lambda _: "VOLT"),
            Command(
                top + ":VOLTage[:LEVel][:IMMediate][:AMPLitude]",
                self._set_volts,
                lambda _: scientific(self.values["volts"]),
            ),
            number_setting(
                self.values, top + ":VOLTage:RANGe", "volts_range", -210.0, 210.0, off="volts_auto"
            ),
            setting(self.values, top + ":VOLTage:RANGe:AUTO", "volts_auto", boolean, flag),
            number_setting(self.values, top + ":DELay", "delay", 0.0, 999.9999, off="delay_auto"),
            setting(self.values, top + ":DELay:AUTO", "delay_auto", boolean, flag),
            setting(self.values, top + ":CLEar:AUTO", "clear_auto", boolean, flag),
            Command(top + ":CLEar[:IMMediate]", write=lambda _: self._off()),
        ]

    def _sense(self) -> list[Command]:
        top = "SENSe#"
        nplc = [
            number_setting(self.values, f"{top}:{f}:NPLCycles", "nplc", 0.01, 10.0)
            for f in ("CURRent[:DC]", "VOLTage[:DC]", "RESistance")
        ]
        return [
            *nplc,
            Command(top + ":FUNCtion[:ON]", self._set_functions, lambda _: self._functions()),
            Command(top + ":FUNCtion[:ON]:ALL", write=lambda _: self._all_functions()),
            Command(
                top + ":CURRent[:DC]:RANGe[:UPPer]",
                self._set_range,
                lambda _: scientific(self.values["range"]),
            ),
            setting(self.values, top + ":CURRent[:DC]:RANGe:AUTO", "auto", boolean, flag),
            number_setting(self.values, top + ":CURRent[:DC]:PROTection[:LEVel]", "limit", -1.05, 1.05),
            setting(
                self.values,
                top + ":RESistance:MODE",
                "ohms_mode",
                lambda a: keyword(a, "MANual", "AUTO"),
                str,
            ),
            setting(self.values, top + ":AVERage[:STATe]", "average", boolean, flag),
            number_setting(self.values, top + ":AVERage:COUNt", "average_count", 1, 100),
            setting(
                self.values,
                top + ":AVERage:TCONtrol",
                "average_kind",
                lambda a: keyword(a, "REPeat", "MOVing"),
                str,
            ),
        ]

    def _measure(self) -> list[Command]:
        return [
            Command("READ", query=self.read),
            Command("MEASure[:CURRent[:DC]]", query=self.read),
            Command("MEASure:VOLTage[:DC]", query=self.read),
            Command("MEASure:RESistance", query=self._measure_ohms),
            Command("INITiate[:IMMediate]", write=self._initiate),
            Command("FETCh", query=lambda _: self._last),
            Command("ABORt", write=lambda _: None),
        ]

    def _system(self) -> list[Command]:
        return [
            Command(
                "FORMat:ELEMents[:SENSe#]", self._set_elements, lambda _: ",".join(self.values["elements"])
            ),
            Command("SYSTem:AZERo[:STATe]", self._set_autozero, lambda _: flag(self.values["autozero"])),
            Command("SYSTem:BEEPer[:IMMediate]", write=lambda _: None),
            Command("*OPT", query=lambda _: "0"),
        ]

    def _set_output(self, call: Call) -> None:
        self.values["output"] = boolean(call.one())
        self._drive()

    def _off(self) -> None:
        self.values["output"] = False
        self._drive()

    def _set_source(self, call: Call) -> None:
        if keyword(call.one(), "VOLTage", "CURRent", "MEMory") != "VOLT":
            raise ScpiError(-224)

    def _set_volts(self, call: Call) -> None:
        self.values["volts"] = number(call.one(), -210.0, 210.0, unit="V")
        self._drive()

    def _set_range(self, call: Call) -> None:
        wanted = abs(number(call.one(), -1.05, 1.05, unit="A"))
        self.values["range"] = next(r for r in RANGES_A if wanted <= 1.05 * r)
        self.values["auto"] = False

    def _set_functions(self, call: Call) -> None:
        names = [keyword(a.split(":")[0].strip("'\""), *ELEMENTS[:3]) for a in call.arguments]
        self.values["functions"] = tuple(names)

    def _all_functions(self) -> None:
        self.values["functions"] = ("VOLT", "CURR", "RES")

    def _functions(self) -> str:
        return ",".join(f'"{name}"' for name in self.values["functions"])

    def _measure_ohms(self, call: Call) -> str:
        self._all_functions()
        return self.read(call)

    def _set_elements(self, call: Call) -> None:
        asked = {keyword(a, *ELEMENTS) for a in call.arguments}
        self.values["elements"] = tuple(e for e in _defaults()["elements"] if e in asked)

    def _set_autozero(self, call: Call) -> None:
        if call.one().upper() != "ONCE":
            self.values["autozero"] = boolean(call.one())
