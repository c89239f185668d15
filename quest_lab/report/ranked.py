"""The results of an energy run, and which of its patterns are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.report.numbers import levels, pattern_name
from quest_lab.runfile import Run

_SHOWN = 6
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """An energy run's results, in joule, and the patterns shown: rows of them, cheapest first.

    `update` is for resets of single cells (`reset_j` each), `array` for fields that reset all (`field_j` each);
    `scope` says which of the two the chip has.

    `states[pattern, level]` counts the states in use; `used` are their numbers on the chip. Shapes:
    `matrix[from, to]`, `success[from, to]`, `update`, `gated`, `row` [pattern, layer, stage],
    `array[pattern, stage]`, `steps[stage]`, `samples[stage]`.
    """

    states: NDArray[np.int64]
    used: NDArray[np.int64]
    shown: list[int]
    order: list[int]
    matrix: Floats
    success: Floats
    update: Floats
    gated: Floats
    row: Floats
    array: Floats
    write: Floats
    steps: Floats
    samples: Floats
    layers: list[str]
    stages: list[str]
    scope: str
    reset_j: float
    field_j: float
    changes: list[tuple[float, NDArray[np.int64], NDArray[np.int64]]]

    @property
    def weight_levels(self) -> list[str]:
        return levels(self.states.shape[1])

    @property
    def selection(self) -> str:
        """Which patterns a picture shows, for its caption."""
        total = len(self.order)
        return f"all {total} patterns" if total <= _SHOWN else f"the best and worst 3 of {total} patterns"

    def name(self, pattern: int) -> str:
        return pattern_name(self.used[self.states[pattern]])

    def label(self, pattern: int) -> str:
        return f"{self.name(pattern)}  #{self.order.index(pattern) + 1}"


def load(run: Run, used: list[int]) -> Ranked:
    """The ranking that an energy run holds."""
    data, matrix, change = (run.result(n) for n in ("patterns", "energy_matrix", "optimum_changes"))

    def values(name: str) -> NDArray[np.float64]:
        return np.asarray(data[name].values)

    total = values("write_j") + values("gated_j")[:, :, 0].sum(axis=1)
    order = np.argsort(total, kind="stable").tolist()
    half = _SHOWN // 2
    crossings = zip(*(np.asarray(change[n].values) for n in ("reset_j", "below", "above")), strict=True)
    return Ranked(
        states=np.asarray(data["states"].values), used=np.asarray(used or range(matrix.sizes["state_from"])),
        shown=order if len(order) <= _SHOWN else order[:half] + order[-half:], order=order,
        matrix=np.asarray(matrix["pulse_j"].values), success=np.asarray(matrix["success"].values),
        update=values("update_j"), gated=values("gated_j"), row=values("row_j"), array=values("array_j"),
        write=values("write_j"), steps=values("steps"), samples=values("samples"),
        layers=[str(x) for x in data["layer_name"].values], stages=[str(x) for x in data["stage_name"].values],
        scope=str(data.attrs["scope"]), reset_j=float(data.attrs["reset_j"]), field_j=float(data.attrs["field_j"]),
        changes=[(float(j), below, above) for j, below, above in crossings],
    )  # fmt: skip
