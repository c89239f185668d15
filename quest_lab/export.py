"""Energy matrices for other programs: JSON for other trainers, CSV for tables, pandas in memory.

What the keys mean: docs/energy-matrices.md. Units stand at the end of names; intervals are 95 %, over cells.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.device import Floats, Scope
from quest_lab.errors import BadInput
from quest_lab.matrices import SCOPES, Errors, Matrices, reset_energies
from quest_lab.policy import WriteCost
from quest_lab.ranking import Ranking

if TYPE_CHECKING:
    import pandas

FORMAT, VERSION = "quest-lab energy matrices", 1
SUFFIXES = (".json", ".csv")


@dataclass(frozen=True, slots=True)
class Priced:
    """A chip `found`, restricted to its states `used`, what it charges and, for a training run, its patterns."""

    found: Characterization
    used: tuple[int, ...]
    matrices: Matrices
    errors: Errors | None
    ranking: Ranking | None = None

    @classmethod
    def of(cls, found: Characterization, used: tuple[int, ...], ranking: Ranking) -> Priced:
        return cls(found, used, ranking.matrices, ranking.errors, ranking)


def check_target(path: Path, *, overwrite: bool) -> None:
    """BadInput, before anything is computed, if a format is unknown or a file is there."""
    if path.suffix not in SUFFIXES:
        raise BadInput(f"--export {path}: want a name that ends with {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise BadInput(f"--export {path}: there is no folder {path.parent}")
    if not overwrite and (there := [p for p in targets(path) if p.exists()]):
        raise BadInput(f"{there[0]}: exists; --overwrite replaces it")


def targets(path: Path) -> list[Path]:
    """The files that an export to `path` may write."""
    return [path] if path.suffix == ".json" else [path, path.with_name(f"{path.stem}-patterns.csv")]


def export(path: Path, priced: Priced) -> list[Path]:
    """Write JSON or, as CSV, the matrices and beside them the patterns. Returns the files written."""
    if path.suffix == ".json":
        path.write_text(json.dumps(document(priced), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return [path]
    matrices, patterns = targets(path)
    matrix_frame(priced).to_csv(matrices, index=False)
    if priced.ranking is None:
        return [matrices]
    pattern_frame(priced.ranking, priced.used).to_csv(patterns, index=False)
    return [matrices, patterns]


def document(priced: Priced) -> dict[str, Any]:
    """What the JSON file holds; null where a write never arrives or there are no intervals."""
    found, ranking = priced.found, priced.ranking
    reset_j, field_j = (ranking.reset_j, ranking.field_j) if ranking else reset_energies(found)
    out: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "chip_id": found.chip_id,
        "reset_scope": str(found.reset_scope),
        "reset_energy_j": reset_j,
        "field_energy_j": field_j,
        "read_amplitude_v": found.read.amplitude_v,
        "read_width_s": found.read.width_s,
        "set_width_s": found.set_width_s,
        "resamples": priced.errors.resamples if priced.errors else 0,
        "sampled_cells": int(found.sample.size),
        "states": _rows(state_frame(priced)),
        "matrices": {str(scope): _matrix(priced, k) for k, scope in enumerate(SCOPES)},
    }
    if ranking is not None:
        out["steps"], out["samples"] = float(ranking.steps[0]), float(ranking.samples[0])
        if ranking.bound_j is not None:
            out["lower_bound_cell_sum_j"] = ranking.bound_j
        rows = _rows(pattern_frame(ranking, priced.used).drop(columns="pattern"))
        names = ([priced.used[s] for s in p] for p in ranking.patterns)
        out["patterns"] = [{"states": states, **row} for states, row in zip(names, rows, strict=True)]
    return out


def state_frame(priced: Priced) -> pandas.DataFrame:
    """One row a state in use."""
    import pandas

    found, error = priced.found, None if priced.errors is None else priced.errors.read_j
    set_v = np.append(np.nan, found.set_v)
    columns: dict[str, Any] = {
        "state": list(priced.used),
        "resistance_ohm": found.resistance_ohm,
        "set_amplitude_v": set_v,
        "decoding_error_to_state_below": np.append(np.nan, found.levels.decoding_error),
        **_interval("read_energy", priced.matrices.read_j, error, priced.errors),
    }
    return pandas.DataFrame(columns)


def matrix_frame(priced: Priced) -> pandas.DataFrame:
    """One row for each reset scope and write from a state to another."""
    import pandas

    n, names = len(priced.used), np.asarray(priced.used)
    start, end = (x[~np.eye(n, dtype=bool)] for x in np.indices((n, n)))
    frames = []
    for k, scope in enumerate(SCOPES):
        values = {key: np.asarray(value, float)[start, end] for key, value in _columns(priced, k).items()}
        ohm = priced.found.resistance_ohm
        where = {"reset_scope": str(scope), "state_from": names[start], "state_to": names[end],
                 "resistance_from_ohm": ohm[start], "resistance_to_ohm": ohm[end]}  # fmt: skip
        frames.append(pandas.DataFrame({**where, **values}))
    return pandas.concat(frames, ignore_index=True)


def pattern_frame(ranking: Ranking, used: tuple[int, ...]) -> pandas.DataFrame:
    """One row a pattern, energies of the whole run, in the chip's own states: R3,R0,R6 for levels -1, 0, +1."""
    import pandas

    columns: dict[str, Any] = {
        "pattern": [",".join(f"R{used[s]}" for s in p) for p in ranking.patterns],
        **_of_run(ranking, "activation_gated", "read_j", "activation_j"),
        "activation_row_j": ranking.row_j[:, :, 0].sum(axis=1),
    }
    for scope in SCOPES:
        order, tied = ranking.order_of(scope), ranking.tied(scope)
        columns |= _of_run(ranking, f"{scope}_update", "run_j", "write_j", scope)
        columns |= _of_run(ranking, f"{scope}_sum", "sum_j", "sum_j", scope)
        columns |= _of_run(ranking, f"{scope}_above_best", "lead_j", "lead_j", scope)
        columns[f"{scope}_rank"] = np.argsort(order) + 1
        columns[f"{scope}_told_apart_from_best"] = [
            None if tied is None else p not in tied and p != order[0] for p in range(len(order))
        ]
    return pandas.DataFrame(columns)


def _of_run(
    ranking: Ranking, name: str, value: str, error: str, scope: Scope | None = None
) -> dict[str, Floats]:
    """An energy of every pattern, by scope if it has one, with its interval."""
    at = slice(None) if scope is None else SCOPES.index(scope)
    errors = None if ranking.pattern_errors is None else getattr(ranking.pattern_errors, error)[at]
    return _interval(name, getattr(ranking, value)[at], errors, ranking.errors)


def _columns(priced: Priced, scope: int) -> dict[str, Floats]:
    """Matrices [from, to] of a scope; NaN where a write never arrives."""
    cost: WriteCost = (priced.matrices.cell, priced.matrices.array)[scope]
    never, errors = ~priced.matrices.reachable[scope], priced.errors
    out = {
        **_interval("pulse_energy", cost.pulse_j, None if errors is None else errors.pulse_j[scope], errors),
        **_interval("total_energy", cost.total_j, None if errors is None else errors.total_j[scope], errors),
        "pulses": cost.pulses,
        "resets": cost.resets,
    }
    return {
        **{key: np.where(never, np.nan, x) for key, x in out.items()},
        "success_probability": cost.success,
    }


def _interval(name: str, value: Floats, error: Floats | None, errors: Errors | None) -> dict[str, Floats]:
    """The value and the ends of its interval, in joule; NaN without."""
    half = np.full(value.shape, np.nan) if error is None or errors is None else errors.reach * error
    return {f"{name}_j": value, f"{name}_low_j": value - half, f"{name}_high_j": value + half}


def _matrix(priced: Priced, scope: int) -> dict[str, Any]:
    return {key: [_plain(row) for row in x] for key, x in _columns(priced, scope).items()}


def _rows(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain objects, NaN as null."""
    names = list(frame.columns)
    return [dict(zip(names, _plain(row), strict=True)) for row in frame.itertuples(index=False)]


def _plain(row: Any) -> list[Any]:
    """Python values, None for NaN."""
    values = (x.item() if isinstance(x, np.generic) else x for x in row)
    return [None if isinstance(x, float) and not np.isfinite(x) else x for x in values]
