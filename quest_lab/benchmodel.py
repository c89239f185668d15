"""What a bench file says: its sections as pydantic models, and what contradicts what.

Keys carry no unit, their values do ("50 ns"); inside, everything is an SI float with the unit in its name.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from quest_lab.benchdevices import Devices, Section, optional_section, quantity_key
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.quantity import Unit

_PLACE = re.compile(r"([12])!(\d+)(?::([12])!(\d+))?")
_SLOTS, _ROWS, _COLUMNS = 2, 4, 10  # of a 7001 with 7012 cards


class PathSection(Section):
    """The electrical way from the generator to the cell."""

    source_impedance_ohm: Annotated[float, Unit("ohm", low=0.0, high=1e5)] = quantity_key(
        "50 ohm", alias="source_impedance"
    )
    displayed_load_ohm: Annotated[float, Unit("ohm", low=1.0, high=1e4)] | Literal["infinite"] = quantity_key(
        "infinite", alias="displayed_load", description='the generator\'s load setting: "infinite" or ohms'
    )
    attenuation: float = Field(1.0, gt=0.0, le=1.0, description="volts out per volt in; 20 dB is 0.1")
    series_resistance_ohm: Annotated[float, Unit("ohm", low=0.0, high=1e6)] = quantity_key(
        "0 ohm", alias="series_resistance"
    )
    buffered: bool = Field(False, description="a unity-gain buffer stands at the fixture: no divider")

    def signal_path(self) -> SignalPath:
        return SignalPath(
            self.source_impedance_ohm, self.attenuation, self.series_resistance_ohm, self.buffered
        )


class WiringSection(Section):
    """Which crosspoints join a cell to the instruments."""

    cells: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = Field(
        description='slot!column of cell 0, 1, ..., ranges along a card: ["1!1:1!10", "2!3"]'
    )
    pulser_row: int = Field(ge=1, le=_ROWS)
    meter_row: int = Field(ge=1, le=_ROWS)

    @field_validator("cells")
    @classmethod
    def _places_exist(cls, cells: tuple[str, ...]) -> tuple[str, ...]:
        places = _places(cells)
        if len(set(places)) < len(places):
            twice = next(p for p in places if places.count(p) > 1)
            raise ValueError(f"{list(cells)}: {twice[0]}!{twice[1]} is named twice")
        return cells

    @model_validator(mode="after")
    def _rows_differ(self) -> Self:
        if self.pulser_row == self.meter_row:
            raise ValueError(f"pulser_row and meter_row are both {self.pulser_row}: they would be joined")
        return self

    def wiring(self) -> Wiring:
        places = _places(self.cells)
        return Wiring(
            len(places), _SLOTS, _COLUMNS, self.pulser_row, self.meter_row, places=places
        )  # fmt: skip


class Topology(Section):
    """How the cells hang together."""

    kind: Literal["isolated", "1T1R", "passive"] = Field(
        default="isolated", description="isolated cells, 1T1R, or a passive crossbar (not supported yet)"
    )
    bias_scheme: Literal["V/2", "V/3", "grounded", "floating"] | None = None

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if self.kind == "passive":
            raise ValueError(
                'kind = "passive": passive crossbars are not supported yet (sneak paths are not modelled, so '
                "their states could be mistaken); want isolated or 1T1R"
            )
        if self.bias_scheme is not None:
            raise ValueError(f'bias_scheme = "{self.bias_scheme}": only a passive crossbar has one')
        return self


class Chip(Section):
    """Which chip is in the fixture."""

    id: str = Field(pattern=r"^[\w.-]+$", max_length=64, description="names the chip in every run")
    resistance_ohm: Annotated[tuple[float, float], Unit("ohm", above=0.0, pair=True)] = Field(
        alias="resistance", description="least and highest resistance of a sound cell in any state"
    )
    set_width_s: Annotated[float, Unit("s", above=0.0)] = Field(
        alias="set_width", description="width of the pulses that set states"
    )
    ledger: str | None = Field(
        default=None,
        min_length=1,
        description="counts pulses and energy of each cell over the chip's life; a file beside the bench file",
    )


class LimitsSection(Section):
    """What must never be exceeded at a cell."""

    amplitude_v: Annotated[float, Unit("V", above=0.0, high=20.0)] = Field(
        alias="amplitude", description="highest volts at a cell, whatever its resistance"
    )
    width_s: Annotated[tuple[float, float], Unit("s", above=0.0, pair=True)] = Field(alias="width")
    read_amplitude_v: Annotated[float, Unit("V", above=0.0, high=20.0)] = Field(alias="read_amplitude")
    energy_j: Annotated[float, Unit("J", above=0.0)] | None = Field(
        default=None, alias="energy", description="highest energy of a pulse, V^2 t over the least resistance"
    )
    field_t: Annotated[float, Unit("T", above=0.0, high=10.0)] | None = Field(
        default=None, alias="field", description="highest field, of either sign"
    )
    pulses_per_cell: int | None = Field(
        default=None, ge=1, description="pulses and field pulses that a cell gets in its life (chip.ledger)"
    )
    energy_per_cell_j: Annotated[float, Unit("J", above=0.0)] | None = Field(
        default=None,
        alias="energy_per_cell",
        description="energy of all voltage pulses that a cell gets in its life (chip.ledger)",
    )


class Read(Section):
    """How a cell is read."""

    amplitude_v: Annotated[float, Unit("V", above=0.0)] = Field(alias="amplitude")
    width_s: Annotated[float, Unit("s", above=0.0)] = Field(alias="width")


class Reset(Section):
    """The field pulse that empties the cells."""

    field_t: Annotated[float, Unit("T")] = Field(alias="field")
    width_s: Annotated[float, Unit("s", above=0.0)] = Field(alias="width")


class FieldSection(Section):
    """The magnet around the chip."""

    tesla_per_ampere: Annotated[float, Unit("T/A", above=0.0)]
    coil_resistance_ohm: Annotated[float, Unit("ohm", above=0.0)] = Field(alias="coil_resistance")
    ramp_a_per_s: Annotated[float, Unit("A/s", above=0.0)] = Field(alias="ramp")
    ramp_step_a: Annotated[float, Unit("A", above=0.0)] = quantity_key("0.5 A", alias="ramp_step")
    settle_s: Annotated[float, Unit("s", low=0.0)] = quantity_key("0.2 ms", alias="settle")
    polarity: Literal[1, -1] = Field(1, description="sign of the field at the chip for a positive current")
    reset_scope: Literal["array", "cell"] = "array"
    reset: Reset

    @model_validator(mode="after")
    def _one_magnet_reaches_all(self) -> Self:
        if self.reset_scope == "cell":
            raise ValueError('reset_scope = "cell": this magnet reaches every cell in its gap; want "array"')
        return self


class Conditions(Section):
    """What surrounds the chip: kept with every run."""

    bias_field_t: Annotated[float, Unit("T")] = quantity_key("0 T", alias="bias_field")
    temperature_k: Annotated[float, Unit("K", above=0.0)] = Field(alias="temperature")


class Safety(Section):
    """What watches over the program that drives real instruments."""

    watchdog_s: Annotated[float, Unit("s", low=1.0, high=86400.0)] = quantity_key(
        "30 s",
        alias="watchdog",
        description="how long the program may exchange nothing before it counts as hanging and is ended",
    )


class Twin(Section):
    """The simulated cells behind the virtual instruments."""

    preset: Literal["lab", "scaled"]
    seed: int = Field(0, ge=0, lt=2**63, description="fabricates the twin's cells")
    cells_file: str | None = Field(
        default=None, description="keeps the cells between runs; beside the bench file"
    )


class Bench(Section):
    """A bench, complete."""

    name: str = Field(min_length=1, max_length=120)
    visa_library: str = Field("@py", description="pyvisa's backend of the real instruments, like @py or @ivi")
    chip: Chip
    devices: Devices
    signal_path: PathSection
    wiring: WiringSection
    topology: Topology = optional_section(Topology)
    limits: LimitsSection
    read: Read
    field: FieldSection | None = None
    conditions: Conditions
    safety: Safety = optional_section(Safety)
    twin: Twin

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self


def _contradictions(bench: Bench) -> list[str]:
    """Keys that are right alone and wrong together."""
    limits, found = bench.limits, []
    if (bench.field is None) != (bench.devices.magnet is None):
        found.append("devices.magnet and field: a bench has both or neither")
    if bench.read.amplitude_v > limits.read_amplitude_v:
        found.append(
            f"read.amplitude={bench.read.amplitude_v:g} V: above limits.read_amplitude="
            f"{limits.read_amplitude_v:g} V"
        )
    if not limits.width_s[0] <= bench.chip.set_width_s <= limits.width_s[1]:
        found.append(
            f"chip.set_width={bench.chip.set_width_s:g} s: outside limits.width="
            f"{limits.width_s[0]:g} to {limits.width_s[1]:g} s"
        )
    if bench.chip.ledger is None and (limits.pulses_per_cell or limits.energy_per_cell_j):
        found.append("limits.pulses_per_cell, limits.energy_per_cell: need chip.ledger, which counts")
    addresses = [d.address for d in bench.devices.named().values()]
    if len(set(addresses)) < len(addresses):
        twice = next(a for a in addresses if addresses.count(a) > 1)
        found.append(f"devices: the address {twice!r} is given twice")
    if bench.field is not None and bench.devices.magnet is not None:
        reach_t = highest_field_t(bench)
        if abs(bench.field.reset.field_t) > reach_t * (1 + 1e-9):
            found.append(
                f"field.reset.field={bench.field.reset.field_t:g} T: above {reach_t:g} T, the least of "
                "limits.field and devices.magnet.limits.current times field.tesla_per_ampere"
            )
    return found


def highest_field_t(bench: Bench) -> float:
    """What magnet and limits allow, tesla; 0 without a magnet."""
    if bench.field is None or bench.devices.magnet is None:
        return 0.0
    reach_t = bench.devices.magnet.limits.current_a * bench.field.tesla_per_ampere
    return reach_t if bench.limits.field_t is None else min(reach_t, bench.limits.field_t)


def _places(cells: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Slot and column of each cell. ValueError for what is no place of the matrix."""
    found: list[tuple[int, int]] = []
    for text in cells:
        match = _PLACE.fullmatch(text.replace(" ", ""))
        first = (int(match[1]), int(match[2])) if match else (0, 0)
        last = (int(match[3]), int(match[4])) if match and match[3] else first
        if not (1 <= first[1] <= _COLUMNS and first[0] == last[0] and first[1] <= last[1] <= _COLUMNS):
            raise ValueError(
                f"{text!r}: want slot!column or slot!column:slot!column on one card, slots 1 to {_SLOTS}, "
                f"columns 1 to {_COLUMNS}"
            )
        found += [(first[0], column) for column in range(first[1], last[1] + 1)]
    return tuple(found)
