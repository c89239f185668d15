"""quest-lab: hardware-in-the-loop control of multi-state memory cells (after QUEST, arXiv 2504.00679)."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quest_lab.runfile import open_run as open_run
    from quest_lab.session import open_bench as open_bench

__version__ = "0.1.0"

_LAZY = {"open_run": "quest_lab.runfile", "open_bench": "quest_lab.session"}


def __getattr__(name: str) -> object:
    """Load what needs h5py and more only when asked for (PEP 562)."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
