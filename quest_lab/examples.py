"""What comes with the package, by name: simulated chips (`sim/presets.py`) and example bench files.

`slow-matrix` is examples/benches/slow-matrix.toml.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias, get_args

_SkMTJ: TypeAlias = Literal["scaled", "lab", "lab-ageing"]
_Bipolar: TypeAlias = Literal["domain-wall", "domain-wall-3", "domain-wall-7", "domain-wall-9", "memristor"]
Preset: TypeAlias = _SkMTJ | _Bipolar
BIPOLAR: tuple[Preset, ...] = get_args(_Bipolar)  # reset by a pulse of the other polarity, not by a field
PRESETS: tuple[Preset, ...] = (*get_args(_SkMTJ), *BIPOLAR)


def example_benches() -> dict[str, Path]:
    """Their paths by name, sorted."""
    folder = Path(str(files("quest_lab.example_benches")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
