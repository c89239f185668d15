"""Baselines of the cells at other read voltages: the contrast of a cell falls with bias, and so do its levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, checked_resistance
from quest_lab.device import ReadPulse, VoltagePulse
from quest_lab.errors import LimitExceeded
from quest_lab.protocols.trials import reset_cells
from quest_lab.record import Run
from quest_lab.session import Session

READS = 8  # of R0, and of landings on the top state: as many as a characterisation takes
Baselines = NDArray[np.float64]


def check_reads(session: Session, found: Characterization, reads: Sequence[ReadPulse]) -> None:
    """Read one cell at each voltage: what a limit forbids is refused before any pulse."""
    allowed = session.device.capabilities.read_amplitude_v
    for at in reads:
        if not allowed.low <= at.amplitude_v <= allowed.high:
            raise LimitExceeded(
                f"read at {at.amplitude_v:g} V: outside {allowed.low:g} to {allowed.high:g} V, "
                f"capabilities.read_amplitude_v of {session.device.capabilities.chip_id}"
            )
        session.device.read(found.cells[:1], at)


def measure_baselines(session: Session, found: Characterization, reads: Sequence[ReadPulse]) -> Baselines:
    """R0 and top of every cell of `found` at each of `reads`, ohm, shape (reads, 2, cells).

    Means of eight reads at R0 and of eight landings at the top, by the highest pulse of the top state. A cell that does
    not answer to pulses any more keeps its characterised ones, changed by as much as the median cell's.
    """
    if not reads:
        return np.empty((0, 2, found.cells.size))
    sums = np.zeros((len(reads), 2, found.cells.size))
    reset_cells(session.device, found.cells)
    for landing in range(2 * READS):
        session.stop.check()
        session.progress("baselines at other read voltages", landing, 2 * READS)
        top = landing >= READS
        if top:
            reset_cells(session.device, found.cells)
            session.device.apply(top_pulse(session, found), found.cells)
        for i, at in enumerate(reads):
            sums[i, int(top)] += checked_resistance(session.device.read(found.cells, at))
    session.progress("baselines at other read voltages", 2 * READS, 2 * READS)
    ohm = np.stack([_sound(found, one) for one in sums / READS])
    _keep(session, found, reads, ohm)
    return ohm


def baselines_so_far(run: Run, found: Characterization, reads: Sequence[ReadPulse]) -> Baselines | None:
    """What `measure_baselines` left in a run that goes on; None if it had not come to its end."""
    want = len(reads) * found.cells.size
    if not want:
        return None
    rows = {name: column[-want:] for name, column in run.columns("validation_baselines").items()}
    volts = np.repeat([at.amplitude_v for at in reads], found.cells.size)
    if not np.array_equal(rows["read_v"], volts) or np.any(rows["cell"] != np.tile(found.cells, len(reads))):
        return None
    pair = np.stack([rows["baseline_ohm"], rows["top_ohm"]])
    return np.ascontiguousarray(pair.reshape(2, len(reads), -1).swapaxes(0, 1))


def _sound(found: Characterization, ohm: Baselines) -> Baselines:
    """`ohm` (2, cells) of cells with at least half of the median contrast, and what it should be of the others."""
    was = found.top_ohm - found.baseline_ohm
    contrast, base = (ohm[1] - ohm[0]) / was, ohm[0] / found.baseline_ohm
    usual_ohm = found.baseline_ohm * np.median(base)
    usual = np.stack([usual_ohm, usual_ohm + was * np.median(contrast)])
    return np.where(contrast >= 0.5 * np.median(contrast), ohm, usual)


def top_pulse(session: Session, found: Characterization) -> VoltagePulse:
    """The pulse that sets the top state even in weak cells."""
    usual = session.device.capabilities.set_amplitude_v.high
    highest = found.operation(found.states - 1, found.attempts - 1)
    reached = highest.amplitude_v if isinstance(highest, VoltagePulse) else usual
    return VoltagePulse(max(reached, usual), found.set_width_s)


def _keep(session: Session, found: Characterization, reads: Sequence[ReadPulse], ohm: Baselines) -> None:
    if session.run is None:
        return
    for i, at in enumerate(reads):
        session.run.append(
            "validation_baselines", cell=found.cells, read_v=at.amplitude_v, baseline_ohm=ohm[i, 0], top_ohm=ohm[i, 1]
        )  # fmt: skip
    session.run.flush()
