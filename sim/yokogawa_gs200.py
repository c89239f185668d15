"""Yokogawa GS210, a voltage and current source, driving the magnet around the chip.

User's manual IM GS210-01EN, chapter 13. As a current source the level is the coil's current, held back where the
voltage limiter leaves less; as a voltage source it is volts over coil resistance, held back by the current limiter.
A program of one step is a ramp, as pymeasure makes it; programs of several steps are not simulated.
"""

from __future__ import annotations

from typing import Any

from quest_lab.sim.scpi import Call, Command, Scpi, setting
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag, keyword, number, scientific
from quest_lab.sim.world import World

IDENTITY = "YOKOGAWA,GS210,91W000001,2.02"
RANGES = {"CURR": (1e-3, 10e-3, 100e-3, 200e-3), "VOLT": (10e-3, 100e-3, 1.0, 10.0, 30.0)}
LARGEST_LEVEL = {0.2: 0.2, 30.0: 32.0}  # else 1.2 times the range (datasheet)
LIMITER_V, LIMITER_A = (1.0, 30.0), (1e-3, 200e-3)
IDLE = (
    1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8
)  # condition: nothing measured, stored or programmed just now
LOW_LIMITER, HIGH_LIMITER = 1 << 10, 1 << 11
RAMP_S = (0.1, 3600.0)  # of a program


def _defaults() -> dict[str, Any]:
    """After *RST; assumed: volts, the largest range, the largest limiters."""
    return {
        "output": False, "function": "VOLT", "range": 30.0, "level": 0.0, "limit_v": 30.0, "limit_a": 0.2,
        "editing": False, "steps": (), "interval": 1.0, "slope": 0.0, "repeat": False,
    }  # fmt: skip


class YokogawaGS200:
    """The instrument: the world's magnet supply."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.values = _defaults()
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self.reset)

    def reset(self) -> None:
        self.values.update(_defaults())
        self._drive()

    def _commands(self) -> list[Command]:
        v = self.values
        return [
            Command("OUTPut[:STATe]", self._set_output, lambda _: flag(v["output"])),
            Command("SOURce:FUNCtion", self._set_function, lambda _: str(v["function"])),
            Command("SOURce:RANGe", self._set_range, lambda _: scientific(v["range"])),
            Command("SOURce:LEVel[:FIXed]", self._set_level, lambda _: scientific(v["level"])),
            self._limiter("SOURce:PROTection:VOLTage", "limit_v", *LIMITER_V),
            self._limiter("SOURce:PROTection:CURRent", "limit_a", *LIMITER_A),
            Command("STATus:CONDition", query=lambda _: str(self._condition())),
            Command("PROGram:EDIT:STARt", lambda _: self.values.update(editing=True, steps=())),
            Command("PROGram:EDIT:END", lambda _: self.values.update(editing=False)),
            setting(v, "PROGram:INTerval", "interval", lambda text: number(text, *RAMP_S), scientific),
            setting(v, "PROGram:SLOPe", "slope", lambda text: number(text, 0.0, RAMP_S[1]), scientific),
            setting(v, "PROGram:REPeat", "repeat", boolean, flag),
            Command("PROGram:RUN", lambda _: self._run()),
        ]

    def _limiter(self, header: str, key: str, low: float, high: float) -> Command:
        def write(call: Call) -> None:
            self.values[key] = number(call.one(), low, high)
            self._drive()

        return Command(header, write, lambda _: scientific(self.values[key]))

    def _set_output(self, call: Call) -> None:
        self.values["output"] = boolean(call.one())
        self._drive()

    def _set_function(self, call: Call) -> None:
        """Another function: output off, level 0, its largest range (assumed)."""
        function = keyword(call.one(), "VOLTage", "CURRent")
        if function != self.values["function"]:
            self.values.update(output=False, level=0.0, function=function, range=RANGES[function][-1])
            self._drive()

    def _set_range(self, call: Call) -> None:
        """The smallest range that holds the number; a level beyond it is refused a range that small (assumed)."""
        ranges = RANGES[self.values["function"]]
        asked = number(call.one(), 0.0, ranges[-1])
        chosen = next(r for r in ranges if asked <= r * (1 + 1e-9))
        if abs(self.values["level"]) > _largest(chosen):
            raise ScpiError(-221)
        self.values["range"] = chosen

    def _set_level(self, call: Call) -> None:
        largest = _largest(self.values["range"])
        level = number(call.one(), -largest, largest)
        if self.values["editing"]:
            self.values["steps"] += (level,)
            return
        self.values["level"] = level
        self._drive()

    def _run(self) -> None:
        """The one step of the program: to its level within the slope time."""
        v = self.values
        if not v["output"] or v["editing"] or len(v["steps"]) != 1:
            raise ScpiError(-221)
        v["level"] = v["steps"][0]
        self._drive(v["slope"])

    def _drive(self, ramp_s: float = 0.0) -> None:
        wanted, reach = self._amperes()
        self.world.aim_magnet(self.values["output"], min(max(wanted, -reach), reach), ramp_s)

    def _amperes(self) -> tuple[float, float]:
        """Current that the level means, and the highest that the limiter lets through."""
        v, ohm = self.values, self.world.magnet.coil.coil_ohm
        return (
            (v["level"], v["limit_v"] / ohm) if v["function"] == "CURR" else (v["level"] / ohm, v["limit_a"])
        )

    def _condition(self) -> int:
        wanted, reach = self._amperes()
        if not self.values["output"] or abs(wanted) <= reach:
            return IDLE
        return IDLE | (HIGH_LIMITER if wanted > 0 else LOW_LIMITER)


def _largest(range_: float) -> float:
    return LARGEST_LEVEL.get(range_, 1.2 * range_)
