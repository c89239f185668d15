"""What a measurement found: named values with 95 % intervals, as the result `findings` of a run file and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import betaincinv, stdtrit

from quest_lab.device import Floats
from quest_lab.errors import BadInput
from quest_lab.runfile import open_run
from quest_lab.schema import Field, Result

NAME = "findings"
_TAILS = 0.025, 0.975
_Z = 1.959964  # of the normal distribution


@dataclass(frozen=True, slots=True)
class Finding:
    """A value with the ends of its 95 % interval, NaN where not known; an open end is infinite."""

    what: str
    unit: str
    value: float
    low: float = np.nan
    high: float = np.nan
    note: str = ""

    @property
    def error(self) -> float:
        """Standard error, as if the interval were a normal distribution's."""
        return (self.high - self.low) / (2.0 * _Z)


def share(what: str, hits: int, total: int, of: str) -> Finding:
    """A probability with its exact interval (Clopper and Pearson, Biometrika 26, 404, 1934); 0 of 0 is not known."""
    if not total:
        return Finding(what, "", np.nan, note=f"0 of 0 {of}")
    low = float(betaincinv(hits, total - hits + 1, _TAILS[0])) if hits else 0.0
    high = float(betaincinv(hits + 1, total - hits, _TAILS[1])) if hits < total else 1.0
    return Finding(what, "", hits / total, low, high, f"{hits} of {total} {of}")


def mean(what: str, unit: str, values: Floats, note: str = "", resolution: float = 0.0) -> Finding:
    """Mean over cells, the independent units, with Student's interval; NaN values are left out.

    `resolution` is the step in which values come: where cells scatter by less than half of it, half a step is
    added to both sides.
    """
    known = values[np.isfinite(values)]
    said = note or f"{known.size} cells"
    if known.size < 2:
        return Finding(what, unit, float(known[0]) if known.size else np.nan, note=said)
    value, std = float(known.mean()), float(known.std(ddof=1))
    half = float(stdtrit(known.size - 1, _TAILS[1])) * std / np.sqrt(known.size)
    half += 0.5 * resolution if std < 0.5 * resolution else 0.0
    return Finding(what, unit, value, value - half, value + half, said)


def to_result(found: Sequence[Finding]) -> Result:
    """The findings as a collection."""
    text = {name: np.array([getattr(f, name) for f in found], str) for name in ("what", "unit", "note")}
    number = {name: np.array([getattr(f, name) for f in found]) for name in ("value", "low", "high")}
    meaning = {
        "what": "quantity", "unit": "unit of value, low and high", "note": "what it was found from",
        "value": "value", "low": "lower end of the 95 % interval", "high": "upper end of the 95 % interval",
    }  # fmt: skip
    fields = {name: Field(v, "", meaning[name], ("finding",)) for name, v in {**text, **number}.items()}
    return Result(NAME, fields, title="Findings")


def load_findings(path: Path | str) -> list[Finding]:
    """Read them from a run file of `measure`. Raises BadInput if it holds none."""
    with open_run(path) as run:
        if NAME not in run.results:
            raise BadInput(
                f"{path}: holds no result {NAME!r} (it is a run of kind {run.kind!r}, {run.status})"
            )
        data = run.result(NAME)
    columns = ("what", "unit", "value", "low", "high", "note")
    return [Finding(*row) for row in zip(*(data[name].values.tolist() for name in columns), strict=True)]
