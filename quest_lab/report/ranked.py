"""The results of an energy run, and which of its patterns are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quest_lab.report.numbers import levels, pattern_name
from quest_lab.runfile import Run

if TYPE_CHECKING:
    import xarray

_SHOWN = 6
SCOPES = ("cell", "array")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class States:
    """Choices of the states that hold the levels: `states[choice, place]`, decoding error, energy of the run
    [choice, scope] with its cheapest pattern `pattern[choice, scope, level]`, all in the chip's states."""

    states: NDArray[np.int64]
    error: Floats
    sum_j: Floats
    pattern: NDArray[np.int64]

    def front(self, scope: int) -> list[int]:
        """Choices than which none is both cheaper and read better, by ascending error."""
        out, least = list[int](), np.inf
        for i in np.lexsort((self.sum_j[:, scope], self.error)).tolist():
            if self.sum_j[i, scope] < least:
                least = float(self.sum_j[i, scope])
                out.append(i)
        return out


@dataclass(frozen=True)
class Ranked:
    """An energy run's results, in joule, and the patterns shown: rows of them, cheapest first.

    `update` is for resets of single cells (`reset_j` each), `array` for fields that reset all (`field_j` each);
    `scope` says which of the two the chip has.

    `states[pattern, level]` counts the states in use; `used` are their numbers on the chip. Shapes:
    `matrix[from, to]`, `success[from, to]`, `update`, `gated`, `row` [pattern, layer, stage],
    `array[pattern, stage]`, `steps[stage]`, `samples[stage]`; of the whole run `lead[scope, pattern]`, the distance
    to the cheapest pattern in update and gated activation energy. `half_<name>`: half of a 95 % interval, NaN
    without.
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
    upward: Floats
    upward_success: Floats
    lead: Floats
    never: Floats
    half_matrix: Floats
    half_upward: Floats
    half_run: Floats
    half_gated: Floats
    half_lead: Floats
    sampled_cells: int
    bound_j: float | None
    choices: States | None

    def order_of(self, scope: int) -> list[int]:
        """Patterns from cheapest to dearest under a reset scope."""
        return np.lexsort((self.lead[scope], self.never[scope])).tolist()

    def tied(self, scope: int) -> list[int]:
        """Patterns whose distance to the cheapest one is within its interval."""
        return [p for p in self.order_of(scope)[1:] if self.lead[scope, p] <= self.half_lead[scope, p]]

    @property
    def known(self) -> bool:
        """Whether there are intervals."""
        return self.sampled_cells > 0

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
    upward = run.result("energy_matrix_array")

    def values(name: str) -> NDArray[np.float64]:
        return np.asarray(data[name].values)

    total = values("write_j") + values("gated_j")[:, :, 0].sum(axis=1)
    never = values("never") if "never" in data else np.zeros((2, total.size))
    own = [str(scope) for scope in data["scope_name"].values].index(str(data.attrs["scope"]))
    order = np.lexsort((total, never[own])).tolist()
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
        upward=np.asarray(upward["pulse_j"].values), upward_success=np.asarray(upward["success"].values),
        lead=values("lead_j"), never=never, half_matrix=_half(matrix, "pulse_j"), half_upward=_half(upward, "pulse_j"),
        half_run=_half(data, "run_j"), half_gated=_half(data, "activation_j"), half_lead=_half(data, "lead_j"),
        sampled_cells=int(data.attrs.get("sampled_cells", 0)),
        bound_j=float(data.attrs["bound_j"]) if "bound_j" in data.attrs else None, choices=_choices(run),
    )  # fmt: skip


def _half(data: xarray.Dataset, name: str) -> Floats:
    """Half of the 95 % intervals of a field; NaN without."""
    if f"{name}_errors" not in data:
        return np.full(data[name].shape, np.nan)
    return np.asarray(data.attrs["interval_reach"] * data[f"{name}_errors"].values)


def _choices(run: Run) -> States | None:
    if "choices" not in run.results:
        return None
    data = run.result("choices")
    return States(*(np.asarray(data[name].values) for name in ("states", "error", "sum_j", "pattern")))
