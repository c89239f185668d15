"""One output of an Agilent 33500 series waveform generator, as far as bursts of pulses need it.

Levels are kept as open-circuit volts: the displayed load only changes what is shown (Operating and Service
Guide, "Output Termination"), so 0.6 V shown at 50 ohm are 1.2 V open. Numbers: 10 Vpp and +-5 V into 50 ohm,
pulses from 16 ns (same guide). Texts of the -221 errors beyond "Settings conflict" are assumed.
"""

from __future__ import annotations

from math import inf
from typing import Any

from quest_lab.sim.scpi import Scpi
from quest_lab.sim.scpi_arguments import ScpiError
from quest_lab.sim.world import World

SOURCE_OHM = 50.0
OPEN_LIMIT_V = 10.0
MINIMUM_OPEN_V = 2e-3  # 1 mVpp into 50 ohm
MINIMUM_WIDTH_S = 16e-9
_CLIPPED = "Data out of range; value clipped to {} limit"


def _defaults() -> dict[str, Any]:
    return {
        "function": "SIN",
        "high": 0.1,
        "low": -0.1,
        "unit": "VPP",
        "load": SOURCE_OHM,
        "period": 1e-3,
        "width": 100e-6,
        "edge": 10e-9,
        "hold": "WIDT",
        "polarity": "NORM",
        "output": False,
        "limits": False,
        "limit_high": OPEN_LIMIT_V,
        "limit_low": -OPEN_LIMIT_V,
        "burst": False,
        "burst_mode": "TRIG",
        "burst_cycles": 1.0,
        "burst_period": 10e-3,
        "phase": 0.0,
        "square_duty": 50.0,
        "ramp_symmetry": 100.0,
        "trigger": "IMM",
        "trigger_out": False,
    }


class Channel:
    """One output: its settings in open-circuit volts, and the world's pulser if it is the wired one."""

    name = "33500"

    def __init__(self, post: Scpi, world: World | None) -> None:
        self.scpi, self.world = post, world
        self.values = _defaults()

    def reset(self) -> None:
        self.values.update(_defaults())
        self.drive()

    def set_limit(self, name: str, shown_v: float) -> None:
        self.values[name] = shown_v / self.shown_per_open

    @property
    def shown_per_open(self) -> float:
        """Displayed volts per open-circuit volt."""
        load: float = self.values["load"]
        return 1.0 if load == inf else load / (load + SOURCE_OHM)

    def set_load(self, ohm: float) -> None:
        if self.values["limits"]:
            raise ScpiError(-221, "Settings conflict; load cannot be changed with voltage limits on")
        self.values["load"] = ohm

    def set_level(self, name: str, shown_v: float) -> None:
        """High or low level; beyond a limit it is clipped and the error says so."""
        v = self.values
        low, high = self._bounds()
        wanted = shown_v / self.shown_per_open
        v[name] = min(max(wanted, low), high)
        if wanted != v[name]:
            self.scpi.error(-222, _CLIPPED.format("upper" if wanted > high else "lower"))
        if v["high"] - v["low"] < MINIMUM_OPEN_V * (1 - 1e-9):
            other, step = ("low", -MINIMUM_OPEN_V) if name == "high" else ("high", MINIMUM_OPEN_V)
            v[other] = v[name] + step
            self.scpi.error(-221, f"Settings conflict; {other} level has been adjusted")

    def set_amplitude(self, shown_vpp: float, shown_offset_v: float) -> None:
        half = shown_vpp / 2.0
        self.values["low"] = -inf  # out of the way of the new high level
        self.set_level("high", shown_offset_v + half)
        self.set_level("low", shown_offset_v - half)

    def set_width(self, width_s: float) -> None:
        longest = self.values["period"] - MINIMUM_WIDTH_S
        self.values["width"] = min(width_s, longest)
        if width_s > longest:
            self.scpi.error(-221, "Settings conflict; pulse width decreased due to period")

    def set_period(self, period_s: float) -> None:
        self.values["period"] = period_s
        if self.values["width"] > period_s - MINIMUM_WIDTH_S:
            self.values["width"] = period_s - MINIMUM_WIDTH_S
            self.scpi.error(-221, "Settings conflict; pulse width decreased due to period")

    def shown(self, name: str) -> float:
        v, k = self.values, self.shown_per_open
        if name == "amplitude":
            return float(v["high"] - v["low"]) * k
        if name == "offset":
            return float(v["high"] + v["low"]) / 2.0 * k
        return float(v[name]) * k

    def drive(self) -> None:
        """Tell the world what stands at the output between bursts."""
        v = self.values
        if not self.world:
            return
        idle = v["high"] if v["polarity"] == "INV" else v["low"]
        if v["output"] and not self.waits:
            self.world.violate(f"{self.name} output on with a free-running {v['function']}")
        self.world.drive(self.world.pulser, v["output"], idle if v["output"] else 0.0)

    @property
    def waits(self) -> bool:
        """Whether pulses come on a trigger only."""
        return bool(self.values["burst"] and self.values["function"] == "PULS")

    def trigger(self) -> bool:
        """Give the burst if it waits for a bus trigger; says whether it did."""
        v = self.values
        if not (v["burst"] and v["trigger"] == "BUS"):
            return False
        self.give(int(v["burst_cycles"]))
        return True

    def give(self, count: int) -> None:
        """So many pulses, a period apart, if the output is on."""
        v = self.values
        if not (self.world and v["output"]):
            return
        top = v["low"] if v["polarity"] == "INV" else v["high"]
        for _ in range(count):
            self.world.pulse(top, v["width"])
            self.world.clock.sleep(max(v["period"] - v["width"], 0.0))

    def _bounds(self) -> tuple[float, float]:
        v = self.values
        return (v["limit_low"], v["limit_high"]) if v["limits"] else (-OPEN_LIMIT_V, OPEN_LIMIT_V)
