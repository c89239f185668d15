"""What a bench file says: its sections as pydantic models.

Keys carry no unit, their values do ("50 ns"); inside, everything is an SI float with the unit in its name.
What contradicts what is in `benchrules`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from quest_lab.benchdevices import Devices, Section, optional_section, quantity_key
from quest_lab.benchtopology import Topology
from quest_lab.datasheets import GRIDS, Grid
from quest_lab.device import Range
from quest_lab.examples import Preset
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.quantity import Unit

_PLACE = re.compile(r"(\d+)!(\d+)(?::(\d+)!(\d+))?")
RISE_TIME = 0.35  # 10 to 90 % rise time of a single pole, times its bandwidth


class PathSection(Section):
    """The electrical way from the generator to the cell."""

    source_impedance_ohm: Annotated[float, Unit("ohm", low=0.0, high=1e5)] = quantity_key(
        "50 ohm", alias="source_impedance"
    )
    displayed_load_ohm: Annotated[float, Unit("ohm", low=0.3, high=1e6)] | Literal["infinite"] = quantity_key(
        "infinite", alias="displayed_load", description='the generator\'s load setting: "infinite" or ohms'
    )
    attenuation: float = Field(default=1.0, gt=0.0, le=1.0, description="volts out per volt in; 20 dB is 0.1")
    series_resistance_ohm: Annotated[float, Unit("ohm", low=0.0, high=1e6)] = quantity_key(
        "0 ohm", alias="series_resistance"
    )
    buffered: bool = Field(default=False, description="a unity-gain buffer stands at the fixture: no divider")
    bandwidth_hz: Annotated[float, Unit("Hz", above=0.0)] | None = Field(
        default=None,
        alias="bandwidth",
        description="of relays, cables and tees; a pulse narrower than two rise times, 2 x 0.35 / bandwidth, "
        "would not reach its level and is refused",
    )

    def signal_path(self) -> SignalPath:
        return SignalPath(
            self.source_impedance_ohm, self.attenuation, self.series_resistance_ohm, self.buffered
        )

    @property
    def narrowest_s(self) -> float:
        """Two rise times: no narrower pulse passes; 0 where no bandwidth is given."""
        return 0.0 if self.bandwidth_hz is None else 2.0 * RISE_TIME / self.bandwidth_hz


class WiringSection(Section):
    """Where the cells are."""

    cells: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | Annotated[int, Field(ge=1)] = (
        Field(
            description="slot!column of cell 0, 1, ... on a matrix, word!bit on a board, with ranges along a card "
            'or wordline: ["1!1:1!10", "2!3"]; how many there are, for a probe'
        )
    )
    pulser_row: int = Field(1, ge=1)
    meter_row: int = Field(2, ge=1)

    @field_validator("cells")
    @classmethod
    def _places_are_different(cls, cells: tuple[str, ...] | int) -> tuple[str, ...] | int:
        places = [] if isinstance(cells, int) else places_of(cells)
        if len(set(places)) < len(places):
            twice = next(p for p in places if places.count(p) > 1)
            raise ValueError(f"{list(cells)}: {twice[0]}!{twice[1]} is named twice")  # type: ignore[arg-type]  # a tuple here
        return cells

    @property
    def places(self) -> list[tuple[int, int]]:
        """Slot and column, or word and bit, of each cell; under a probe, cells stand in a row."""
        if isinstance(self.cells, int):
            return [(1, column) for column in range(1, self.cells + 1)]
        return places_of(self.cells)


class VoltageReset(Section):
    """The pulse of the other polarity that empties bipolar cells."""

    amplitude_v: Annotated[float, Unit("V")] = Field(alias="amplitude")
    width_s: Annotated[float, Unit("s", above=0.0)] = Field(alias="width")


class Chip(Section):
    """Which chip is in the fixture."""

    id: str = Field(pattern=r"^[\w.-]+$", max_length=64, description="names the chip in every run")
    resistance_ohm: Annotated[tuple[float, float], Unit("ohm", above=0.0, pair=True)] = Field(
        alias="resistance", description="least and highest resistance of a sound cell in any state"
    )
    set_width_s: Annotated[float, Unit("s", above=0.0)] = Field(
        alias="set_width", description="width of the pulses that set states"
    )
    set_amplitude_v: Annotated[tuple[float, float], Unit("V", above=0.0, pair=True)] = quantity_key(
        ["0.35 V", "0.85 V"],
        alias="set_amplitude",
        description="from below the first state's threshold to above the last one's: what a staircase covers",
    )
    reset: VoltageReset | None = Field(
        default=None, description="of bipolar cells; with a magnet the reset is field.reset"
    )
    states_ohm: Annotated[tuple[float, ...], Unit("ohm", above=0.0, several=True)] | None = Field(
        default=None,
        alias="states",
        description="nominal resistance of each state: a passive crossbar needs it",
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

    preset: Preset
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
    signal_path: PathSection | None = Field(
        default=None, description="needed but for a board, whose volts are volts at the cell"
    )
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
        from quest_lab.benchrules import contradictions

        for problem in contradictions(self):
            raise ValueError(problem)
        return self

    @property
    def cells(self) -> int:
        """How many cells are wired."""
        return len(self.wiring.places)

    @property
    def path(self) -> PathSection:
        """The way from what pulses to the cell; a board stands at the cell."""
        return self.signal_path or PathSection(buffered=True)

    @property
    def grid(self) -> Grid:
        """Where cells can be; under a probe they stand in a row."""
        joins = self.devices.board or self.devices.switch
        driver = "" if joins is None else joins.driver
        return GRIDS.get(driver, Grid(1, self.cells, 2, "a number"))

    def joined(self) -> Wiring:
        """Cells and their crosspoints."""
        grid, places = self.grid, tuple(self.wiring.places)
        rows = self.wiring.pulser_row, self.wiring.meter_row
        return Wiring(len(places), grid.firsts, grid.seconds, *rows, places=places)

    def pulse_width_s(self) -> Range:
        """Widths that limits, instrument and signal path all allow."""
        sheet, limits = self.devices.pulses().sheet.width_s, self.limits.width_s
        return Range(max(limits[0], sheet.low, self.path.narrowest_s), min(limits[1], sheet.high))

    def highest_field_t(self) -> float:
        """What magnet and limits allow, tesla; 0 without a magnet."""
        if self.field is None or self.devices.magnet is None:
            return 0.0
        reach_t = self.devices.magnet.limits.current_a * self.field.tesla_per_ampere
        return reach_t if self.limits.field_t is None else min(reach_t, self.limits.field_t)


def places_of(cells: tuple[str, ...]) -> list[tuple[int, int]]:
    """The two numbers of each place. ValueError for what is none."""
    found: list[tuple[int, int]] = []
    for text in cells:
        match = _PLACE.fullmatch(text.replace(" ", ""))
        first = (int(match[1]), int(match[2])) if match else (0, 0)
        last = (int(match[3]), int(match[4])) if match and match[3] else first
        if not match or first[0] != last[0] or first[1] > last[1]:
            raise ValueError(
                f"{text!r}: want slot!column (word!bit on a board) or a range of them on one card"
            )
        found += [(first[0], column) for column in range(first[1], last[1] + 1)]
    return found
