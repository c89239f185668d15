"""`quest-lab show`: what a run file holds."""

from __future__ import annotations

from pathlib import Path

from quest_lab.cli.common import print_table
from quest_lab.runfile import open_run


def run(*, path: Path) -> None:
    with open_run(path) as run:
        print(f"{path}: {run.kind}, {run.status}, seed {run.seed}")
        for key, value in run.settings.items():
            print(f"  {key} = {value}")
        tables = [(name, len(run.table(name))) for name in run.tables]
        print_table("Tables", ("table", "rows"), tables)
        rows = []
        for name in run.results:
            data = run.result(name)
            sizes = ", ".join(f"{dim} {size}" for dim, size in data.sizes.items())
            rows.append((name, data.attrs.get("title", ""), sizes))
        print_table("Results", ("result", "title", "sizes"), rows)
