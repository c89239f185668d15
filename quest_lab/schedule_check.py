"""Checks of a schedule file at open: every fault is one BadInput that names the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from quest_lab.errors import BadInput
from quest_lab.layers import top_level

_ATTRS = ("bits", "time_steps", "batch_size", "dataset", "seed", "network", "convention", "status")
_LEVELS = ("initial_levels", "final_levels")
_STEPS = ("epoch", "batch", "samples", "stage", "loss", "taps", "spikes_in", "spikes_out")
_WRITES = ("weight", "old", "new")
_LAYER_COLUMNS = ("name", "c_out", "c_in", "kh", "kw", "offset", "taps_offset", "macs", "neurons", "inputs")
_BLOCK = 1 << 20


def check_contents(path: Path, file: Any, form: str, version: int) -> None:
    """Raise BadInput unless `file` is a whole schedule of this version with levels inside its bits."""
    found = file.attrs.get("format")
    if found != form:
        raise BadInput(f"{path}: format={found!r}, want {form!r}: not a schedule file")
    if file.attrs.get("version") != version:
        raise BadInput(f"{path}: version={file.attrs.get('version')}, this quest-lab reads version {version}")
    _check_present(path, file)
    if file.attrs["status"] == "writing":
        raise BadInput(
            f"{path}: status='writing': its trainer is still running or was killed; quest-lab train --resume goes on"
        )
    _check_layers(path, file)
    _check_lengths(path, file)
    _check_levels(path, file)


def _check_present(path: Path, file: Any) -> None:
    keys = ["layers", *_LEVELS, "steps/write_end"]
    keys += [f"steps/{n}" for n in _STEPS] + [f"writes/{n}" for n in _WRITES]
    missing = [key for key in keys if key not in file] + [name for name in _ATTRS if name not in file.attrs]
    if missing:
        raise BadInput(f"{path}: {', '.join(missing)} missing: not a whole schedule")
    bits = file.attrs["bits"]
    if not 2 <= bits <= 8:
        raise BadInput(f"{path}: bits={bits}, want 2 to 8")


def _check_layers(path: Path, file: Any) -> None:
    names = file["layers"].dtype.names or ()
    if missing := [name for name in _LAYER_COLUMNS if name not in names]:
        raise BadInput(f"{path}: layers: column {', '.join(missing)} missing")
    rows = file["layers"][()]
    taps = rows["c_in"] * rows["kh"] * rows["kw"]
    sizes = rows["c_out"] * taps
    for name, count in (("offset", sizes), ("taps_offset", taps)):
        want = np.concatenate([[0], np.cumsum(count)[:-1]])
        if not np.array_equal(rows[name], want):
            raise BadInput(f"{path}: layers.{name} is {rows[name].tolist()}, the shapes give {want.tolist()}")
    want_shapes: dict[str, tuple[int, ...]] = {key: (int(sizes.sum()),) for key in _LEVELS}
    steps = file["steps/write_end"].shape[0]
    want_shapes |= {"steps/taps": (steps, int(taps.sum()))}
    want_shapes |= {f"steps/{n}": (steps, len(rows)) for n in ("spikes_in", "spikes_out")}
    for key, shape in want_shapes.items():
        if file[key].shape != shape:
            raise BadInput(f"{path}: {key} has shape {file[key].shape}, want {shape}")


def _check_lengths(path: Path, file: Any) -> None:
    ends = file["steps/write_end"][()]
    for name in _STEPS:
        if file[f"steps/{name}"].shape[0] != ends.size:
            raise BadInput(
                f"{path}: steps/{name} has {file[f'steps/{name}'].shape[0]} rows, want {ends.size}"
            )
    if np.any(np.diff(ends, prepend=0) < 0):
        raise BadInput(f"{path}: steps/write_end goes backwards at step {int(np.argmin(np.diff(ends)))}")
    writes = int(ends[-1]) if ends.size else 0
    for name in _WRITES:
        if file[f"writes/{name}"].shape != (writes,):
            raise BadInput(
                f"{path}: writes/{name} has shape {file[f'writes/{name}'].shape}, want ({writes},)"
            )


def _check_levels(path: Path, file: Any) -> None:
    top = top_level(int(file.attrs["bits"]))
    weights = file["initial_levels"].shape[0]
    spans = [(key, -top, top) for key in (*_LEVELS, "writes/old", "writes/new")]
    for key, low, high in [*spans, ("writes/weight", 0, weights - 1)]:
        column = file[key]
        for start in range(0, column.shape[0], _BLOCK):
            block = column[start : start + _BLOCK]
            bad = (block < low) | (block > high)
            if bad.any():
                at = int(np.argmax(bad))
                raise BadInput(f"{path}: {key}[{start + at}]={block[at]}, want {low} to {high}")
