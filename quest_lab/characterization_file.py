"""A characterisation as the result `characterization` of a run file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.cellcounts import CellCounts
from quest_lab.characterization import ESTIMATES, Characterization
from quest_lab.device import FieldPulse, Operation, ReadPulse, Scope, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.estimates import Estimate
from quest_lab.levels import Levels
from quest_lab.runfile import open_run
from quest_lab.schema import Field, Result
from quest_lab.separation import Separation

if TYPE_CHECKING:
    import xarray as xr

NAME = "characterization"

# field: unit, meaning, dimensions
_FIELDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "set_v": ("V", "amplitude at the cell of the set pulse of each state", ("set_state",)),
    "level_mean": ("", "position of each level between R0 (0) and top (1)", ("state",)),
    "level_std": ("", "spread of a single read around its level", ("state",)),
    "boundary": ("", "decision boundary between neighbouring levels", ("set_state",)),
    "resistance_ohm": ("ohm", "mean resistance of each state", ("state",)),
    "counts": (
        "",
        "transitions counted [operation, attempt, previous pulse missed, from, to]",
        ("operation", "attempt", "missed", "state", "to_state"),
    ),
    "energy_j": ("J", "mean pulse energy [operation, attempt, from]", ("operation", "attempt", "state")),
    "repeat_std": ("", "cycle-to-cycle spread of the position within a cell", ("state",)),
    "cells": ("", "cells with a baseline", ("cell",)),
    "baseline_ohm": ("ohm", "R0 of each cell", ("cell",)),
    "top_ohm": ("ohm", "top state of each cell", ("cell",)),
    "sample": ("", "cells whose thresholds were measured", ("sampled",)),
    "threshold_v": ("V", "amplitude at which each sampled cell reached each state", ("sampled", "set_state")),
    "stuck": ("", "cells that do not respond to pulses", ("stuck_cell",)),
}
_BY_CELL: dict[str, tuple[str, str]] = {  # field: unit, meaning; a row for each cell and transition
    "cell": ("", "place of a cell in `sample`"),
    "transition": ("", "flat index into `counts`"),
    "count": ("", "how often this cell made this transition"),
    "energy_j": ("J", "energy of these pulses together"),
}
_RESET_FIELD, _RESET_VOLTAGE = "reset_field_t", "reset_amplitude_v"  # one of the two: how cells are reset
_ATTRS = (
    "chip_id",
    "set_width_s",
    "reset_width_s",
    "reset_scope",
    "reset_energy_j",
    "read_v",
    "read_s",
    "attempt_step_v",
    "read_noise",
    "threshold_repeat_v",
    "confidence",
    "half_width",
)
_ENDS = ("value", "low", "high")  # of an interval: a field each
_SEPARATION: dict[str, tuple[str, tuple[str, ...]]] = {
    "mean": ("position of each level found", ("level",)),
    "std": ("spread of a single read around each level found", ("level",)),
    "error": ("decoding error of each pair of levels found", ("level", "other_level")),
}


def to_result(found: Characterization) -> Result:
    """The characterisation as a collection of fields with units."""
    values: dict[str, NDArray[Any]] = {
        "level_mean": found.levels.mean,
        "level_std": found.levels.std,
        "boundary": found.levels.boundary,
    }
    fields = {
        name: Field(values.get(name, getattr(found, name, np.empty(0))), unit, meaning, dims)
        for name, (unit, meaning, dims) in _FIELDS.items()
    }
    if found.by_cell is not None:
        for name, (unit, meaning) in _BY_CELL.items():
            fields[f"trial_{name}"] = Field(getattr(found.by_cell, name), unit, meaning, ("trial",))
    for name, estimate in found.estimates.items():
        unit, meaning, dims = ESTIMATES[name]
        fields |= _interval(f"estimate_{name}", estimate, unit, meaning, dims)
    if found.separation is not None:
        for name, (meaning, dims) in _SEPARATION.items():
            fields |= _interval(f"found_{name}", getattr(found.separation, name), "", meaning, dims)
        fields["landings"] = Field(
            found.separation.landings, "", "landings seen of each, per cell", ("level",)
        )
        fields["chosen"] = Field(found.separation.chosen, "", "levels found that are states", ("state",))
    attrs: dict[str, Any] = {
        "pulses": found.pulses,
        **_reset_size(found.reset),
        "reset_width_s": found.reset.width_s,
        "reset_scope": str(found.reset_scope),
        "read_v": found.read.amplitude_v,
        "read_s": found.read.width_s,
    }
    rest = {name: getattr(found, name) for name in _ATTRS if name not in attrs}
    return Result(NAME, fields, title=f"Characterisation of {found.chip_id}", attrs={**rest, **attrs})


_FINITE = ("baseline_ohm", "resistance_ohm", "level_mean", "boundary", "set_v")


def load_characterization(path: Path | str) -> Characterization:
    """Read it from a run file of `characterize`. Raises BadInput naming the file and what is missing."""
    with open_run(path) as run:
        if NAME not in run.results:
            raise BadInput(
                f"{path}: holds no result {NAME!r} (it is a run of kind {run.kind!r}, {run.status})"
            )
        try:
            return _from_dataset(run.result(NAME), str(path))
        except KeyError as error:  # one of an interval's ends
            raise BadInput(f"{path}: result {NAME!r}: {str(error.args[0]).split('. ')[0]}") from error


def _from_dataset(data: xr.Dataset, path: str) -> Characterization:
    missing = [n for n in _FIELDS if n not in data] + [a for a in _ATTRS if a not in data.attrs]
    missing += [] if _RESET_VOLTAGE in data.attrs or _RESET_FIELD in data.attrs else [_RESET_FIELD]
    if missing:
        raise BadInput(f"{path}: result {NAME!r} lacks {missing[0]!r}")
    a: dict[str, Any] = dict(data.attrs)
    v = {name: np.asarray(data[name].values) for name in _FIELDS}
    for name in _FINITE:
        if not np.isfinite(v[name]).all():
            raise BadInput(f"{path}: result {NAME!r}: {name} has values that are not finite")
    for name in ("cells", "counts"):
        if (v[name] < 0).any():
            raise BadInput(
                f"{path}: result {NAME!r}: {name} has values below 0, the least is {v[name].min()}"
            )
    return Characterization(
        chip_id=str(a["chip_id"]),
        set_v=v["set_v"],
        set_width_s=float(a["set_width_s"]),
        reset=_reset(a),
        reset_scope=Scope(a["reset_scope"]),
        reset_energy_j=float(a["reset_energy_j"]),
        read=ReadPulse(float(a["read_v"]), float(a["read_s"])),
        levels=Levels(v["level_mean"], v["level_std"], v["boundary"]),
        resistance_ohm=v["resistance_ohm"],
        attempt_step_v=float(a["attempt_step_v"]),
        counts=v["counts"],
        energy_j=v["energy_j"],
        cells=v["cells"],
        baseline_ohm=v["baseline_ohm"],
        top_ohm=v["top_ohm"],
        sample=v["sample"],
        threshold_v=v["threshold_v"],
        read_noise=float(a["read_noise"]),
        repeat_std=v["repeat_std"],
        threshold_repeat_v=float(a["threshold_repeat_v"]),
        stuck=v["stuck"],
        confidence=float(a["confidence"]),
        half_width=float(a["half_width"]),
        by_cell=_by_cell(data),
        estimates={
            name: _estimate(data, f"estimate_{name}")
            for name in ESTIMATES
            if f"estimate_{name}_value" in data
        },
        separation=_separation(data),
        pulses=int(a.get("pulses", 0)),
    )


def _interval(
    name: str, estimate: Estimate, unit: str, meaning: str, dims: tuple[str, ...]
) -> dict[str, Field]:
    ends = ("", ", lower end of the 95 % interval", ", upper end of the 95 % interval")
    return {
        f"{name}_{end}": Field(getattr(estimate, end), unit, meaning + which, dims)
        for end, which in zip(_ENDS, ends, strict=True)
    }


def _estimate(data: xr.Dataset, name: str) -> Estimate:
    return Estimate(*(np.asarray(data[f"{name}_{end}"].values) for end in _ENDS))


def _separation(data: xr.Dataset) -> Separation | None:
    if "chosen" not in data:
        return None
    mean, std, error = (_estimate(data, f"found_{name}") for name in _SEPARATION)
    return Separation(
        mean, std, error, np.asarray(data["chosen"].values), np.asarray(data["landings"].values)
    )


def _by_cell(data: xr.Dataset) -> CellCounts | None:
    if "trial_cell" not in data:
        return None
    return CellCounts(*(np.asarray(data[f"trial_{name}"].values) for name in _BY_CELL))


def _reset_size(reset: Operation) -> dict[str, float]:
    if isinstance(reset, FieldPulse):
        return {_RESET_FIELD: reset.field_t}
    return {_RESET_VOLTAGE: reset.amplitude_v}


def _reset(attrs: dict[str, Any]) -> Operation:
    width_s = float(attrs["reset_width_s"])
    if _RESET_VOLTAGE in attrs:
        return VoltagePulse(float(attrs[_RESET_VOLTAGE]), width_s)
    return FieldPulse(float(attrs[_RESET_FIELD]), width_s)
