"""`quest-lab report`: one page from run files."""

from __future__ import annotations

from pathlib import Path


def run(*, runs: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    from quest_lab.report import make_report

    print(f"report: {make_report(runs, out, overwrite=overwrite)}")
