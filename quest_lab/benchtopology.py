"""How the cells of a bench file hang together, and whether a passive crossbar's states can be told apart.

Neighbouring states must differ at the terminals by at least three standard deviations of a read, in the worst
background: `crossbar.separation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from quest_lab.benchdevices import Section, quantity_key
from quest_lab.crossbar import LEAST_SIGMAS, Crossbar, Noise, Scheme, WriteScheme, separation
from quest_lab.quantity import Unit

_LINES = 64  # no board of the known ones has more


class Topology(Section):
    """How the cells hang together. All keys but `kind` are a passive crossbar's."""

    kind: Literal["isolated", "1T1R", "passive"] = Field(
        default="isolated",
        description="isolated cells, cells behind a transistor each (1T1R), or a passive crossbar",
    )
    bias_scheme: Scheme | None = Field(
        default=None, description="how unselected lines stand during a read: a passive crossbar needs it"
    )
    write_scheme: WriteScheme = Field(default="V/3", description="and during a pulse")
    rows: int | None = Field(default=None, ge=1, le=_LINES, description="word lines")
    columns: int | None = Field(default=None, ge=1, le=_LINES, description="bit lines")
    line_resistance_ohm: Annotated[float, Unit("ohm", low=0.0, high=1e4)] = quantity_key(
        "0 ohm", alias="line_resistance", description="of a line from one crosspoint to the next"
    )
    driver_resistance_ohm: Annotated[float, Unit("ohm", low=0.0, high=1e6)] = quantity_key(
        "0 ohm", alias="driver_resistance", description="between a driver or virtual ground and its line"
    )
    meter_noise: float = Field(
        default=0.003,
        ge=0.0,
        lt=1.0,
        description="relative standard deviation of one read by the meter; assumed",
    )
    cell_noise: float = Field(
        default=0.003,
        ge=0.0,
        lt=1.0,
        description="relative standard deviation of a cell's own resistance; assumed",
    )

    @model_validator(mode="after")
    def _passive_or_not(self) -> Self:
        needed = [key for key in ("bias_scheme", "rows", "columns") if getattr(self, key) is None]
        if self.kind == "passive" and needed:
            raise ValueError(f'kind = "passive": needs {", ".join(needed)} too')
        extra = sorted(self.model_fields_set - {"kind"})
        if self.kind != "passive" and extra:
            key = type(self).model_fields[extra[0]].alias or extra[0]
            raise ValueError(f'{key} with kind = "{self.kind}": only a passive crossbar has one')
        return self

    def crossbar(self) -> Crossbar | None:
        """The lines of a passive crossbar, else None."""
        if self.rows is None or self.columns is None:
            return None
        return Crossbar(self.rows, self.columns, self.line_resistance_ohm, self.driver_resistance_ohm)


def indistinct(topology: Topology, states_ohm: Sequence[float] | None) -> list[str]:
    """Whether neighbouring states of a passive crossbar are too close at its terminals, in words with numbers."""
    crossbar, scheme = topology.crossbar(), topology.bias_scheme
    if crossbar is None or scheme is None:
        return []
    if states_ohm is None or len(states_ohm) < 2:
        return ['chip.states: topology.kind = "passive" needs the resistances of its states, at least two']
    pairs = separation(crossbar, scheme, states_ohm, Noise(topology.meter_noise, topology.cell_noise))
    closest = min(pairs, key=lambda pair: pair.worst)
    if closest.worst >= LEAST_SIGMAS:
        return []
    return [
        f'topology.bias_scheme = "{scheme}": in this {crossbar.rows}x{crossbar.columns} crossbar {closest}; '
        f"want at least {LEAST_SIGMAS:g} sigma (all pairs, worst background: "
        f"{', '.join(f'{pair.worst:.2f}' for pair in pairs)}; median: "
        f"{', '.join(f'{pair.median:.2f}' for pair in pairs)})"
    ]


def misplaced(topology: Topology, places: Sequence[tuple[int, int]]) -> list[str]:
    """Whether `places` (word, bit) are other than all crosspoints of a passive crossbar, row by row."""
    crossbar, (word, bit) = topology.crossbar(), places[0]
    if crossbar is None:
        return []
    whole = product(range(crossbar.rows), range(crossbar.columns))
    if list(places) == [(word + i, bit + j) for i, j in whole]:
        return []
    return [
        f"wiring.cells: want all {crossbar.rows * crossbar.columns} crosspoints of topology.rows={crossbar.rows} x "
        f"topology.columns={crossbar.columns}, row by row: in a passive crossbar every cell counts"
    ]
