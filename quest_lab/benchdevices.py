"""The devices of a bench file: which instrument plays which role, where it is, what it must never exceed.

Keys carry no unit, their values do ("50 ns"); inside, everything is an SI float with the unit in its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from quest_lab.quantity import Unit


def quantity_key(default: str, **more: Any) -> Any:
    """A key with a default, written as in the file."""
    return Field(default, **more)


def optional_section(model: Callable[[], BaseModel]) -> Any:
    """A section that may be left out."""
    return Field(default_factory=model)


class Section(BaseModel):
    """Part of a bench file: no key that is not known, no value converted behind the writer's back."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class Instrument(Section):
    """Where an instrument is and who must answer there."""

    address: str = Field(min_length=1, description="VISA resource name, like GPIB0::10::INSTR")
    identity: str = Field(
        min_length=1,
        description="what *IDN? must answer: its first comma-separated fields, with the serial number",
    )


class PulserLimits(Section):
    """Limits that the pulse generator itself keeps."""

    open_circuit_v: Annotated[float, Unit("V", above=0.0)] | None = Field(
        default=None,
        alias="open_circuit",
        description="highest open-circuit volts; default: limits.amplitude over the attenuation, so that "
        "not even an open cell sees more",
    )


class Pulser(Instrument):
    """The pulse generator."""

    driver: Literal["agilent33500"]
    limits: PulserLimits = optional_section(PulserLimits)


class MeterLimits(Section):
    """Limits that the source meter itself keeps."""

    compliance_a: Annotated[float, Unit("A", low=1e-6, high=1.0)] = quantity_key("0.1 mA", alias="compliance")


class Meter(Instrument):
    """The source meter that reads resistances."""

    driver: Literal["keithley2400"]
    mains_hz: Annotated[float, Unit("Hz", low=45.0, high=65.0)] = quantity_key("50 Hz", alias="mains")
    limits: MeterLimits = optional_section(MeterLimits)


class Switch(Instrument):
    """The matrix that joins instruments and cells."""

    driver: Literal["keithley7001"]
    settle_s: Annotated[float, Unit("s", low=3e-3, high=1.0)] = quantity_key("5 ms", alias="settle")


class MagnetLimits(Section):
    """Limits of the magnet's supply."""

    current_a: Annotated[float, Unit("A", above=0.0, high=12.0)] = Field(alias="current")
    voltage_v: Annotated[float, Unit("V", above=0.0, high=36.0)] = quantity_key("36 V", alias="voltage")


class Magnet(Instrument):
    """The bipolar supply that drives the magnet."""

    driver: Literal["kepco_bop"]
    limits: MagnetLimits


class Devices(Section):
    """The instruments by their role."""

    pulser: Pulser
    meter: Meter
    switch: Switch
    magnet: Magnet | None = None

    def named(self) -> dict[str, Pulser | Meter | Switch | Magnet]:
        """Those there are, by role."""
        every = {"pulser": self.pulser, "meter": self.meter, "switch": self.switch, "magnet": self.magnet}
        return {role: section for role, section in every.items() if section is not None}
