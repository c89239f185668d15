"""Whether the levels of a passive crossbar can be told apart at its terminals, measured.

A few cells are brought to the top one by one, all others at R0. What a reading then spans belongs to the cell;
what it differs from the baseline at the top, taken with every cell at the top, belongs to the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quest_lab.characterization import Characterization, checked_resistance
from quest_lab.crossbar import LEAST_SIGMAS
from quest_lab.device import Cells, Floats, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.protocols.trials import reset_cells
from quest_lab.session import Session

_PROBES = 8


def check_terminals(session: Session, found: Characterization, top: VoltagePulse, reads: int) -> None:
    """Raise BadInput unless neighbouring levels are 3 sigma of a read apart, whatever the other cells hold.

    `found.top_ohm` was measured with all of `found.cells` at the top; `reads` are averaged for each cell.
    """
    probes = found.sample[:: -(-found.sample.size // _PROBES)]
    alone = np.array(list(_alone(session, found.cells, probes, top, reads)))
    where = found.index_of(probes)
    base, together = found.baseline_ohm[where], found.top_ohm[where]
    shift_ohm = abs(float(np.median(together - alone)))
    span_ohm, sigma_ohm = float(np.median(alone - base)), float(np.median(found.read_noise * alone))
    gap_ohm = np.diff(found.levels.mean) * abs(span_ohm)
    closest = int(gap_ohm.argmin())
    ratio = (gap_ohm[closest] - shift_ohm) / sigma_ohm
    if ratio < LEAST_SIGMAS:
        low, high = np.median(base) + span_ohm * found.levels.mean[closest : closest + 2]
        raise BadInput(
            f"chip {found.chip_id} is a passive crossbar: levels {closest} and {closest + 1} read {low:.5g} and "
            f"{high:.5g} ohm with all other cells at R0, which by themselves move a reading by {shift_ohm:.3g} ohm: "
            f"{ratio:.2f} sigma of a read are left between them (sigma = {sigma_ohm:.3g} ohm); want at least "
            f"{LEAST_SIGMAS:g}. Bias the unselected lines (topology.bias_scheme) or use 1T1R cells"
        )


def _alone(session: Session, cells: Cells, probes: Cells, top: VoltagePulse, reads: int) -> Iterator[float]:
    """Mean resistance of each probe at the top while all other cells are at R0, ohm."""
    reset_cells(session.device, cells)
    for i in range(probes.size):
        session.stop.check()
        session.progress("sneak paths", i, probes.size)
        cell: Cells = probes[i : i + 1]
        session.device.apply(top, cell)
        ohm: list[Floats] = [checked_resistance(session.device.read(cell)) for _ in range(reads)]
        yield float(np.mean(ohm))
        reset_cells(session.device, cell)
    session.progress("sneak paths", probes.size, probes.size)
