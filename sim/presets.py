"""Simulated cells by the name of their preset: the one place that turns it into an array."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quest_lab.examples import Preset
from quest_lab.sim.array import SimulatedCells
from quest_lab.sim.cells import CellArray
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.memristor import Memristor
from quest_lab.sim.memristor_cells import MemristorArray
from quest_lab.sim.skmtj import SkMTJ

_SITES = {"domain-wall": 5, "domain-wall-3": 3, "domain-wall-7": 7, "domain-wall-9": 9}


def cells_of(
    preset: Preset,
    cells: int,
    *,
    seed: int,
    chip_id: str,
    path: Path | None = None,
    temperature_k: float = 300.0,
) -> SimulatedCells:
    """An array of `cells` of this preset, in a file at `path` or a temporary one."""
    if preset == "memristor":
        memristor = Memristor(temperature_k=temperature_k)
        return MemristorArray(memristor, cells, seed=seed, path=path, chip_id=chip_id)
    if preset in _SITES:
        wall = DomainWall(sites=_SITES[preset])
        return DomainWallArray(wall, cells, seed=seed, path=path, chip_id=chip_id)
    model = SkMTJ.preset(preset)  # type: ignore[arg-type]  # the walls' names are gone
    if model.retention:
        model = replace(model, retention=replace(model.retention, temperature_k=temperature_k))
    return CellArray(model, cells, seed=seed, path=path, chip_id=chip_id)
