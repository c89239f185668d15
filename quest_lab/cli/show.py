"""`quest-lab show`: what a run file holds."""

from __future__ import annotations

from pathlib import Path

from quest_lab.runfile import open_run


def run(*, path: Path) -> None:
    with open_run(path) as run:
        print(f"{path}: {run.title or run.kind}")
        print(f"kind {run.kind}, status {run.status}, seed {run.seed}")
        print("\nsettings")
        for key, value in run.settings.items():
            print(f"  {key:20s} {value}")
        if "bench_file" in run.provenance:
            name, digest = (run.provenance[f"bench_file_{part}"] for part in ("name", "sha256"))
            print(f"\nbench file {name}, SHA-256 {digest} (verbatim in provenance)")
        print("\ntables (rows)")
        for name in run.tables:
            print(f"  {name:20s} {len(run.table(name))}")
        print("\nresults")
        for name in run.results:
            data = run.result(name)
            print(f"  {name:20s} {data.attrs.get('title', '')}")
            for field, values in data.variables.items():
                sizes = " x ".join(
                    f"{dim} {size}" for dim, size in zip(values.dims, values.shape, strict=True)
                )
                unit = values.attrs.get("units") or "1"
                print(
                    f"    {field!s:20s} {unit:6s} {sizes or 'single':40s} {values.attrs.get('long_name', '')}"
                )
