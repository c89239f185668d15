"""The example bench files that come with the package, by name: `slow-matrix` is examples/benches/slow-matrix.toml."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def example_benches() -> dict[str, Path]:
    """Their paths by name, sorted."""
    folder = Path(str(files("quest_lab.example_benches")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
