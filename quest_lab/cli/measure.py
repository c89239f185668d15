"""`quest-lab measure`: one property of a chip, with findings that tomorrow's can be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quest_lab.cli.common import print_resumes, print_table, quantity, told_again
from quest_lab.cli.dryrun import rehearse
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.findings import Finding, to_result
from quest_lab.protocols.measurement import Measured
from quest_lab.protocols.measurements import MEASUREMENTS, settings_of
from quest_lab.session import bench_name


def run(
    *, kind: str, device: str, out: Path, words: Sequence[str], options: BenchOptions, **given: Any
) -> None:
    once = partial(
        execute, kind=kind, device=device, settings=settings_of(kind, words), options=options, **given
    )
    if options.dry_run:
        rehearse(device, once)
        return
    print_findings(f"{MEASUREMENTS[kind].title} on {bench_name(device)}", once(out=out).findings)
    print_resumes(out)
    print(f"measurement: {out}")


def execute(
    *,
    kind: str,
    device: str,
    out: Path,
    settings: Any,
    cells: int | None = None,
    sample: int | None = None,
    chip: Path | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    options: BenchOptions = AS_USUAL,
) -> Measured:
    """Measure and put the results into the run file, also of a measurement that was stopped (Interrupted)."""
    wanted = MEASUREMENTS[kind]
    with told_again(
        device, out=out, kind=kind, title=wanted.title, cells=cells, chip=chip,
        settings={**asdict(settings), "sample": sample}, seed=seed, overwrite=overwrite, resume=resume,
        options=options,
    ) as session:  # fmt: skip
        count = session.device.capabilities.cells
        most = min(sample or wanted.usual_cells or count, count)
        found = wanted.measure(session, np.linspace(0, count - 1, most).astype(np.int64), settings)
        if session.run is not None:
            session.run.add_result(found.result, default=True)
            session.run.add_result(to_result(found.findings))
        session.stop.check()
        return found


def print_findings(title: str, findings: Sequence[Finding]) -> None:
    """Every finding with its interval."""
    rows = [(f.what, quantity(f.value, f.unit), _interval(f), f.note) for f in findings]
    print_table(title, ("", "value", "95 % interval", "from"), rows)


def _interval(f: Finding) -> str:
    if f.low != f.low or f.high != f.high:
        return ""
    return f"{quantity(f.low, '')} to {quantity(f.high, f.unit)}"
