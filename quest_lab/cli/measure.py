"""`quest-lab measure`: one property of a chip, with findings that tomorrow's can be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from quest_lab.cli.common import AS_USUAL, BenchOptions, log_of, print_resumes, print_table, quantity
from quest_lab.cli.dryrun import rehearse
from quest_lab.cli.progress import progress
from quest_lab.findings import Finding, to_result
from quest_lab.protocols.measurement import Measured
from quest_lab.protocols.measurements import MEASUREMENTS, settings_of
from quest_lab.protocols.resume import resumable
from quest_lab.session import bench_name, open_bench


def run(
    *, kind: str, device: str, out: Path, words: Sequence[str], options: BenchOptions, **given: Any
) -> None:
    settings = settings_of(kind, words)

    def measure(**changed: Any) -> Measured:
        return execute(kind=kind, device=device, settings=settings, options=options, **{**given, **changed})

    if options.dry_run:
        rehearse(device, lambda **temporary: measure(**temporary, resume=False))
        return
    print_findings(f"{MEASUREMENTS[kind].title} on {bench_name(device)}", measure(out=out).findings)
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
    log = log_of(out, kind, device, chip, options) if resume else None
    with (
        progress() as report,
        open_bench(
            str(device), cells=cells, seed=seed, cells_file=chip, run=out, kind=kind,
            title=f"{wanted.title} on the bench {bench_name(device)}",
            settings={**asdict(settings), "sample": sample}, overwrite=overwrite, resume=resume, each_call=True,
            progress=report, **asdict(options),
        ) as opened,
    ):  # fmt: skip
        session = resumable(opened, log, hardware=options.hardware)
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
