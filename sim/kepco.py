"""Kepco BOP 36-12 bipolar supply with BIT 4886 interface card, driving the magnet around the chip.

In current mode the set point is the coil's current, slewed by what compliance leaves for the inductance; in
voltage mode it is volts over coil resistance within the current limit. Out of range: -222 (BIT 4886 manual).
"""

from __future__ import annotations

from typing import Any

from quest_lab.sim.scpi import Call, Command, Scpi
from quest_lab.sim.scpi_arguments import boolean, flag, keyword, number, scientific
from quest_lab.sim.world import World

IDENTITY = "KEPCO,BIT 4886 36-12  10-09-2008,A112345,3.05-1.82"
MAX_V, MAX_A = 36.0, 12.0


def _defaults() -> dict[str, Any]:
    return {"output": False, "mode": "VOLT", "ampere": 0.0, "volts": 0.0}


class Kepco:
    """The instrument: the world's magnet supply."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.values = _defaults()
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self.reset)

    def reset(self) -> None:
        self.values.update(_defaults())
        self._drive()

    def _commands(self) -> list[Command]:
        return [
            Command("OUTPut[:STATe]", self._set_output, lambda _: flag(self.values["output"])),
            Command(
                "FUNCtion:MODE", self._set_mode, lambda _: str(("VOLT", "CURR").index(self.values["mode"]))
            ),
            self._level("[SOURce:]CURRent[:LEVel][:IMMediate][:AMPlitude]", "ampere", MAX_A),
            self._level("[SOURce:]VOLTage[:LEVel][:IMMediate][:AMPlitude]", "volts", MAX_V),
            Command("MEASure[:SCALar]:CURRent[:DC]", query=lambda _: scientific(self._current())),
            Command("MEASure[:SCALar]:VOLTage[:DC]", query=lambda _: scientific(self._volts())),
            Command("SYSTem:BEEP", write=lambda _: None),
            Command("DIAGnostic:TEST", query=lambda _: "0"),
            Command("DIAG:TST", query=lambda _: "0"),
        ]

    def _level(self, header: str, key: str, limit: float) -> Command:
        def write(call: Call) -> None:
            self.values[key] = number(call.one(), -limit, limit)
            self._drive()

        return Command(header, write, lambda _: scientific(self.values[key]))

    def _set_output(self, call: Call) -> None:
        self.values["output"] = boolean(call.one())
        self._drive()

    def _set_mode(self, call: Call) -> None:
        self.values["mode"] = keyword(call.one(), "VOLTage", "CURRent")
        self._drive()

    def _drive(self) -> None:
        v, ohm = self.values, self.world.magnet.coil.coil_ohm
        if v["mode"] == "CURR":
            reach = abs(v["volts"]) / ohm  # the voltage set point is the compliance
            target = min(max(v["ampere"], -reach), reach)
        else:
            target = min(max(v["volts"] / ohm, -abs(v["ampere"])), abs(v["ampere"]))
        self.world.aim_magnet(v["output"], target)

    def _current(self) -> float:
        return self.world.magnet.current_a(self.world.clock.now())

    def _volts(self) -> float:
        return self._current() * self.world.magnet.coil.coil_ohm
