"""R-H loop: field pulses from one end of the magnet's range to the other and back, resistance after each.

Pulses may be read after the field (at remanence, on any magnet) and, where the device can, also while it stands. A
cell's switching field lies between the two neighbouring pulses with the largest step of its resistance at remanence;
a cell whose largest step is within the noise does not switch on that branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, FieldPulse, Floats, Scope, whole_domains
from quest_lab.errors import BadInput
from quest_lab.estimates import chi_squared
from quest_lab.findings import Finding, mean, share
from quest_lab.protocols.measurement import (
    RESPONSE_SIGMAS,
    Measured,
    check_budget,
    read_cells,
    read_noise,
    reads,
    steps,
    top_pulse,
)
from quest_lab.schema import Field, Result
from quest_lab.session import Session

_BRANCHES = "rising", "falling"
_BEYOND_RESET = 1.25  # how far the loop goes by default, in reset fields


@dataclass(frozen=True, slots=True)
class FieldLoopSettings:
    """Largest field of either sign, T (None: 1.25 reset fields, or the magnet's most), fields of a branch, width;
    `in_field`: read while the field stands too, where the device can and no cell is broken."""

    field_t: float | None = None
    points: int = 41
    width_s: float | None = None
    reads: int = 4
    in_field: bool = True

    def __post_init__(self) -> None:
        if self.field_t is not None and not 0.0 < self.field_t < np.inf:
            raise BadInput(f"field_t={self.field_t}: want a finite field above 0 T")
        if self.width_s is not None and not 0.0 < self.width_s < np.inf:
            raise BadInput(f"width_s={self.width_s}: want a finite width above 0 s")
        if self.points < 3 or self.reads < 2:
            raise BadInput(f"points={self.points}, reads={self.reads}: want at least 3 and 2")

    def pulses(self, session: Session) -> tuple[Floats, float]:
        """Fields of the rising branch and the width. BadInput for a device without a field."""
        can = session.device.capabilities
        if can.field_t is None:
            raise BadInput(f"chip {can.chip_id}: has no field: no R-H loop can be measured")
        reset = can.reset if isinstance(can.reset, FieldPulse) else FieldPulse(can.field_t.high, 10e-3)
        most = min(_BEYOND_RESET * abs(reset.field_t), can.field_t.high, -can.field_t.low)
        top = most if self.field_t is None else self.field_t
        return np.linspace(-top, top, self.points), reset.width_s if self.width_s is None else self.width_s


def field_loop(session: Session, cells: Cells, settings: FieldLoopSettings) -> Measured:
    """Fill the cells by the top pulse, then go both branches.

    LimitExceeded before the first pulse if a ledger lacks the pulses.
    """
    field_t, width_s = settings.pulses(session)
    if settings.field_t is not None:  # refused here if it is beyond a limit
        session.device.apply(FieldPulse(settings.field_t, width_s), cells[:0])
    branches = np.stack([field_t, field_t[::-1]])
    check_budget(session, cells, 1 + branches.size, branches.size, "R-H loop")
    can = session.device.capabilities
    reached = whole_domains(can, cells) if can.reset_scope is Scope.ARRAY else cells
    in_field, order = settings.in_field and can.reads_in_field, _places(reached, cells)
    session.device.apply(top_pulse(session), cells)
    noise = read_noise(reads(session, cells, settings.reads))
    after, on_top = (np.full((*branches.shape, cells.size), np.nan) for _ in range(2))
    for i in steps(session, "R-H loop", branches.size):
        at = np.unravel_index(i, branches.shape)
        pulse = FieldPulse(float(branches[at]), width_s, read_on_top=in_field)
        done = session.device.apply(pulse, reached, then_read=in_field)
        if in_field:
            on_top[at] = done.expect_reading().resistance_ohm[order]
        after[at] = read_cells(session, cells)
    if np.isnan(after[0, 1]).any():
        session.stop.check()
    switching = _switching(branches, after, noise)
    return Measured(_result(cells, branches, after, on_top, switching), tuple(_findings(branches, switching)))


def _places(reached: Cells, cells: Cells) -> NDArray[np.intp]:
    """Where each of `cells` is among those that a field reaches."""
    order = np.argsort(reached)
    return order[np.searchsorted(reached, cells, sorter=order)]


def _switching(branches: Floats, after: Floats, noise: float) -> Floats:
    """Fields before and after each cell's largest step, T, shape (2, branches, cells); NaN where none stands out."""
    step = np.abs(np.diff(np.where(np.isfinite(after), after, np.nan), axis=1))
    step = np.where(np.isnan(step), 0.0, step)
    at = step.argmax(axis=1)
    least = RESPONSE_SIGMAS * noise * np.sqrt(2.0) * np.nan_to_num(after[:, 0])
    real = step.max(axis=1) > least
    ends = [np.take_along_axis(branches, at + i, axis=1) for i in (0, 1)]
    return np.stack([np.where(real, end, np.nan) for end in ends])


def _findings(branches: Floats, switching: Floats) -> Iterator[Finding]:
    step = float(branches[0, 1] - branches[0, 0])
    for name, before, after in zip(_BRANCHES, *switching, strict=True):
        field_t = 0.5 * (before + after)
        known = int(np.isfinite(field_t).sum())
        yield share(f"{name} field: cells that switch", known, field_t.size, "cells")
        if known:
            yield mean(
                f"{name} field: switching field",
                "T",
                field_t,
                f"{known} cells, each within {step:.3g} T",
                step,
            )
        if known > 2:
            yield _spread(f"{name} field: its spread over cells", field_t[np.isfinite(field_t)], step)


def _spread(what: str, field_t: Floats, step: float) -> Finding:
    """Standard deviation over cells without the width of the steps (Sheppard's correction), interval by chi-squared."""
    freedom = field_t.size - 1
    variance = float(field_t.var(ddof=1))
    ends = [variance * freedom / float(chi_squared(freedom, tail)) for tail in (0.975, 0.025)]
    value, low, high = (float(np.sqrt(max(v - step**2 / 12.0, 0.0))) for v in (variance, *ends))
    return Finding(what, "T", value, low, high, f"{field_t.size} cells")


def _result(cells: Cells, branches: Floats, after: Floats, on_top: Floats, switching: Floats) -> Result:
    each, along = ("branch", "step", "cell"), ("branch", "step")
    fields = {
        "median_ohm": Field(
            np.median(after, axis=-1).ravel(), "ohm", "median resistance after the field", ("pulse",)
        ),
        "field_t": Field(branches.ravel(), "T", "field of the pulse", ("pulse",)),
        "branch_t": Field(branches, "T", "field, rising branch and falling branch", along),
        "remanent_ohm": Field(after, "ohm", "resistance after each field pulse", each),
        "cell": Field(cells, "", "cell index", ("cell",)),
        "switch_before_t": Field(switching[0], "T", "last field before the largest step", ("branch", "cell")),
        "switch_after_t": Field(switching[1], "T", "first field after it", ("branch", "cell")),
    }
    if np.isfinite(on_top).any():
        fields["in_field_ohm"] = Field(on_top, "ohm", "resistance while the field stands", each)
    return Result("field_loop", fields, title="R-H loop", signal="median_ohm", axes=("field_t",))
