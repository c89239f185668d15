"""Settings of a Keithley 2450 that its model only remembers: of functions that are not modelled."""

from __future__ import annotations

from functools import partial
from typing import Any

from quest_lab.sim.scpi import Command, setting
from quest_lab.sim.scpi_arguments import boolean, flag, number, scientific


def remembered() -> list[Command]:
    """Settings of the functions that are not modelled: kept and answered."""
    kept: dict[str, Any] = {}
    names = {
        "SOURce#:CURRent[:LEVel][:IMMediate][:AMPLitude]": (-1.05, 1.05),
        "SOURce#:CURRent:RANGe": (-1.05, 1.05),
        "SOURce#:CURRent:VLIMit[:LEVel]": (-210.0, 210.0),
        "SOURce#:CURRent:DELay": (0.0, 1e4),
        "[SENSe#:]VOLTage[:DC]:RANGe[:UPPer]": (-210.0, 210.0),
        "[SENSe#:]VOLTage[:DC]:NPLCycles": (0.01, 10.0),
        "[SENSe#:]RESistance:RANGe[:UPPer]": (0.0, 210e6),
        "[SENSe#:]RESistance:NPLCycles": (0.01, 10.0),
    }
    switches = (
        "SOURce#:CURRent:RANGe:AUTO",
        "SOURce#:CURRent:DELay:AUTO",
        "[SENSe#:]VOLTage[:DC]:RANGe:AUTO",
        "[SENSe#:]VOLTage[:DC]:AVERage[:STATe]",
        "[SENSe#:]RESistance:RANGe:AUTO",
        "[SENSe#:]RESistance:RSENse",
    )
    kept.update({name: low if low > 0 else 0.0 for name, (low, _) in names.items()})
    kept.update(dict.fromkeys(switches, False))
    return [
        *(setting(kept, name, name, partial(real, *limits), scientific) for name, limits in names.items()),
        *(setting(kept, name, name, boolean, flag) for name in switches),
    ]


def real(low: float, high: float, text: str) -> float:
    return number(text, low, high)


def integer(low: int, high: int, text: str) -> int:
    return int(number(text, low, high))
