"""Retention at several temperatures together: attempt time and barrier of a state, neither of them given.

Each run of `measure retention` is of one temperature, `conditions.temperature` of its bench file: no device sets one.
The cells must be the same. A state of k bits that decay by themselves has the attempt time of one over k.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quest_lab.errors import BadInput
from quest_lab.findings import Finding
from quest_lab.lifetimes import Lives, fit_arrhenius
from quest_lab.runfile import open_run

if TYPE_CHECKING:
    import xarray

_SAME = "cell", "group", "amplitudes_v"
_EV_PER_K = 8.617333262e-5


def over_temperatures(paths: Sequence[Path | str], reference_k: float = 300.0) -> list[Finding]:
    """What the runs at `paths` say together, for each amplitude that programmed a state.

    Raises BadInput: no run of `measure retention`, no temperature stated, another chip or other cells.
    """
    found = [_load(Path(path)) for path in paths]
    (first, _, chip), temperatures = found[0], [temperature for _, temperature, _ in found]
    for path, (data, _, its_chip) in zip(paths, found, strict=True):
        if its_chip != chip or any(not np.array_equal(data[name], first[name]) for name in _SAME):
            raise BadInput(f"{path}: is of chip {its_chip}, or of other cells or amplitudes than {paths[0]}")
    programmed = np.all([data["programmed"].values == 1 for data, _, _ in found], axis=0)
    out = []
    for g, volts in enumerate(first["amplitudes_v"].values):
        mine = programmed & (first["group"].values == g)
        lives = [
            Lives(data["life_low_s"].values[mine], data["life_high_s"].values[mine]) for data, _, _ in found
        ]
        fit = fit_arrhenius(lives, temperatures, reference_k)
        if fit is None:
            continue
        name, failures = f"set by {volts:g} V", ", ".join(str(each.failures) for each in lives)
        kelvin = ", ".join(f"{temperature:g}" for temperature in temperatures)
        note = f"{failures} of {int(mine.sum())} cells moved at {kelvin} K"
        of_barrier = f"{_EV_PER_K * reference_k * fit.barrier[0]:.4g} eV; {note}"
        out += [
            Finding(f"{name}: attempt time of the state", "s", *fit.attempt_s, note),
            Finding(f"{name}: barrier at {reference_k:g} K", "kT", *fit.barrier, of_barrier),
            Finding(f"{name}: its spread over cells", "kT", *fit.spread, note),
        ]
    return out


def _load(path: Path) -> tuple[xarray.Dataset, float, str]:
    """Data, temperature in K, chip."""
    with open_run(path) as run:
        if run.kind != "retention":
            raise BadInput(f"{path}: is a run of kind {run.kind!r}, not 'retention'")
        if (temperature := run.settings.get("temperature_k")) is None:
            raise BadInput(
                f"{path}: does not say its temperature: want a run on a bench file, conditions.temperature"
            )
        return run.result("retention"), float(temperature), str(run.settings.get("chip_id"))
