"""The devices of a bench file: which instrument plays which role, where it is, what it must never exceed.

Keys carry no unit, their values do ("50 ns"); inside, everything is an SI float with the unit in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from quest_lab import datasheets
from quest_lab.datasheets import PulserSheet
from quest_lab.quantity import Unit


def quantity_key(default: str | list[str], **more: Any) -> Any:
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

    driver: str
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


class Pulser33500(Instrument):
    """An Agilent/Keysight 33500 series generator."""

    sheet: ClassVar[PulserSheet] = datasheets.AGILENT33500
    driver: Literal["agilent33500"]
    limits: PulserLimits = optional_section(PulserLimits)


class Pulser81160A(Instrument):
    """A Keysight 81160A."""

    sheet: ClassVar[PulserSheet] = datasheets.KEYSIGHT81160A
    driver: Literal["keysight81160a"]
    limits: PulserLimits = optional_section(PulserLimits)


class CurrentLimit(Section):
    """What a 2450 keeps while it pulses."""

    compliance_a: Annotated[float, Unit("A", low=1e-6, high=1.05)] = quantity_key("2 mA", alias="compliance")


class Pulser2450(Section):
    """The meter, a Keithley 2450, pulses too: one instrument, named once, so no address here."""

    sheet: ClassVar[PulserSheet] = datasheets.KEITHLEY2450
    driver: Literal["keithley2450"]
    limits: CurrentLimit = optional_section(CurrentLimit)


class MeterLimits(Section):
    """Limits that the source meter itself keeps."""

    compliance_a: Annotated[float, Unit("A", low=1e-6, high=1.05)] = quantity_key(
        "0.1 mA", alias="compliance"
    )


class Meter(Instrument):
    """The source meter that reads resistances."""

    driver: Literal["keithley2400", "keithley2450"]
    mains_hz: Annotated[float, Unit("Hz", low=45.0, high=65.0)] = quantity_key("50 Hz", alias="mains")
    limits: MeterLimits = optional_section(MeterLimits)


class Matrix(Instrument):
    """The matrix that joins instruments and cells."""

    driver: Literal["keithley7001", "keithley2700"]
    settle_s: Annotated[float, Unit("s", low=3e-3, high=1.0)] = quantity_key("5 ms", alias="settle")


class Probe(Section):
    """A probe that stands on one cell at a time and is moved by hand: no address, nothing to switch."""

    driver: Literal["probe"]
    settle_s: Annotated[float, Unit("s", low=3e-3, high=60.0)] = quantity_key("0.1 s", alias="settle")


class KepcoLimits(Section):
    """Limits of a Kepco BOP 36-12."""

    current_a: Annotated[float, Unit("A", above=0.0, high=12.0)] = Field(alias="current")
    voltage_v: Annotated[float, Unit("V", above=0.0, high=36.0)] = quantity_key("36 V", alias="voltage")


class Kepco(Instrument):
    """A Kepco BOP 36-12 drives the magnet."""

    driver: Literal["kepco_bop"]
    limits: KepcoLimits


class GS200Limits(Section):
    """Limits of a Yokogawa GS200: its voltage limiter is the voltage."""

    current_a: Annotated[float, Unit("A", above=0.0, high=max(datasheets.GS200_RANGES_A))] = Field(
        alias="current"
    )
    voltage_v: Annotated[
        float, Unit("V", low=datasheets.GS200_LIMITER_V.low, high=datasheets.GS200_LIMITER_V.high)
    ] = quantity_key("30 V", alias="voltage")


class GS200(Instrument):
    """A Yokogawa GS200 drives a small magnet."""

    driver: Literal["yokogawa_gs200"]
    limits: GS200Limits


class Gaussmeter(Instrument):
    """Measures the field in the gap: the magnet's current is corrected until the field is what was asked for."""

    driver: Literal["lakeshore425"]
    full_scale_t: Annotated[float, Unit("T", above=0.0)] = quantity_key(
        "0.35 T", alias="full_scale", description="its fixed range, which must hold the field"
    )

    @field_validator("full_scale_t")
    @classmethod
    def _is_a_range(cls, full_scale_t: float) -> float:
        if full_scale_t not in datasheets.GAUSSMETER_RANGES_T:
            known = ", ".join(f"{t:g}" for t in datasheets.GAUSSMETER_RANGES_T)
            raise ValueError(f"{full_scale_t:g} T: a 425 has the ranges {known} T")
        return full_scale_t


class Board(Instrument):
    """An ArC ONE: it pulses and reads by itself, in place of pulser, meter and switch."""

    sheet: ClassVar[PulserSheet] = datasheets.ARCONE
    driver: Literal["arcone"]
    address: str = Field(
        min_length=1, description="serial port, like /dev/ttyUSB0, COM3 or socket://host:port"
    )
    identity: str = Field(
        pattern=r"^\d+\.\d+$", description="its firmware, major.minor: what 999 must answer"
    )
    reset_s: Annotated[float, Unit("s", low=0.01, high=60.0)] = quantity_key(
        "2 s", alias="reset", description="how long it hears nothing after a reset"
    )


Pulser: TypeAlias = Annotated[Pulser33500 | Pulser81160A | Pulser2450, Field(discriminator="driver")]
Switch: TypeAlias = Annotated[Matrix | Probe, Field(discriminator="driver")]
Magnet: TypeAlias = Annotated[Kepco | GS200, Field(discriminator="driver")]


class Devices(Section):
    """The instruments by their role: pulser, meter and switch, or a board; a magnet if cells need a field."""

    pulser: Pulser | None = None
    meter: Meter | None = None
    switch: Switch | None = None
    board: Board | None = None
    magnet: Magnet | None = None
    gaussmeter: Gaussmeter | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    def named(self) -> dict[str, Instrument]:
        """Those with an address of their own, by role."""
        every = {role: getattr(self, role) for role in type(self).model_fields}
        return {role: section for role, section in every.items() if isinstance(section, Instrument)}

    def pulses(self) -> Pulser33500 | Pulser81160A | Pulser2450 | Board:
        """What gives the pulses."""
        found = self.board or self.pulser
        if found is None:
            raise ValueError("devices: neither pulser nor board")
        return found

    def _contradictions(self) -> Iterator[str]:
        single = {"pulser": self.pulser, "meter": self.meter, "switch": self.switch}
        there = [role for role, section in single.items() if section is not None]
        if self.board is not None and there:
            yield f"board and {there[0]}: a board pulses, reads and routes by itself"
        missing = [role for role in single if role not in there]
        if self.board is None and missing:
            yield f"{missing[0]}: missing section; want pulser, meter and switch, or a board"
        if isinstance(self.pulser, Pulser2450) and self.meter and self.meter.driver != "keithley2450":
            yield (
                f'pulser.driver = "keithley2450": it is the meter that pulses, and that is a {self.meter.driver}'
            )
        if self.gaussmeter is not None and self.magnet is None:
            yield "gaussmeter: without a magnet there is no field to correct"
        addresses = [section.address for section in self.named().values()]
        if twice := next((a for a in addresses if addresses.count(a) > 1), None):
            yield f"the address {twice!r} is given twice"
