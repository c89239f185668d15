"""`quest-lab characterize`: measure a chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quest_lab import intervals
from quest_lab.characterization import Characterization
from quest_lab.characterization_file import to_result
from quest_lab.cli.common import percent, print_resumes, print_table, told_again
from quest_lab.cli.dryrun import rehearse
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.settings import read_settings
from quest_lab.protocols.staircase import staircase_result
from quest_lab.session import Session


def run(*, device: str, out: Path, words: Sequence[str], options: BenchOptions, **given: Any) -> None:
    settings = read_settings(CharacterizeSettings, "characterize", words)
    once = partial(execute, device=device, settings=settings, options=options, **given)
    if options.dry_run:
        rehearse(device, once)
        return
    print_findings(once(out=out))
    print_resumes(out)
    print(f"characterisation: {out}")


def execute(
    *,
    device: str,
    out: Path,
    cells: int | None = None,
    sample: int | None = None,
    chip: Path | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    settings: CharacterizeSettings | None = None,
    options: BenchOptions = AS_USUAL,
) -> Characterization:
    """Measure the states, set operations and transitions of a chip. Raises BadInput, DeviceError, LimitExceeded."""
    settings = settings or CharacterizeSettings()
    with told_again(
        device, out=out, kind="characterization", title="Characterisation of a chip", cells=cells, chip=chip,
        settings={**asdict(settings), "sample": sample}, seed=seed, overwrite=overwrite, resume=resume,
        options=options,
    ) as session:  # fmt: skip
        return measure(session, sample, settings)


def measure(session: Session, sample: int | None, settings: CharacterizeSettings) -> Characterization:
    """Characterise all cells of the session's chip and put the results into its run file."""
    count = session.device.capabilities.cells
    chosen = np.linspace(0, count - 1, min(sample or 256, count)).astype(np.int64)
    found, stairs = characterize(session, np.arange(count), np.unique(chosen), settings)
    if session.run is not None:
        session.run.add_result(staircase_result(stairs, found), default=True)
        session.run.add_result(to_result(found))
    return found


def print_findings(found: Characterization) -> None:
    """States and their set operations, with units."""
    probability = found.set_probability()[:, 0]
    rows: list[tuple[object, ...]] = []
    for s in range(found.states):
        pulse, lands, wrong = "reset", "", ""
        if s:
            pulse, lands = f"{found.set_v[s - 1]:.3f} V", percent(float(probability[s]))
            wrong = f"{found.levels.decoding_error[s - 1]:.1e}"
        rows.append((
            f"R{s}", f"{found.resistance_ohm[s]:.0f}", pulse, lands,
            f"{found.levels.mean[s]:.3f}", f"{found.levels.std[s]:.3f}",
            f"{found.repeat_std[s]:.3f}", wrong,
        ))  # fmt: skip
    millivolt = 1e3 * found.attempt_step_v, 1e3 * found.threshold_repeat_v
    note = (
        f"Thresholds spread {millivolt[0]:.1f} mV from cell to cell, {millivolt[1]:.1f} mV from cycle to cycle; "
        f"a read spreads {percent(found.read_noise)}. {found.cells.size} cells with a baseline, "
        f"{found.sample.size} sampled, {found.stuck.size} stuck"
        f"{_some(found.stuck)}. Set pulses last {found.set_width_s:g} s. 95 % intervals of the set "
        f"probabilities: ± {percent(found.half_width)} or less (asked: {percent(found.confidence)})."
    )
    if rare := found.rare_moves():
        note += f" Seen too rarely to be used: {', '.join(f'R{a} to R{b}' for a, b in rare)}."
    header = (
        "state",
        "R (ohm)",
        "set by",
        "lands",
        "position",
        "spread",
        "cycle to cycle",
        "error to state below",
    )
    print_table(f"States of {found.chip_id}", header, rows, note=note)
    print_table("Intervals", intervals.HEADER, intervals.rows(found), note=intervals.note(found))


def _some(cells: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    return (
        ""
        if not cells.size
        else " (" + ", ".join(map(str, cells[:5])) + (", ..." if cells.size > 5 else "") + ")"
    )
