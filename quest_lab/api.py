"""The commands of `quest-lab` as functions, for scripts: the same options, results returned, nothing printed of them.

`characterize`, `measure`, `energy`, `train`, `import_network`, `replay`, `validate`, `report` hand files to each other
as the commands do. Options are keywords, those of a bench together in `options` (BenchOptions), those of a protocol in
`settings`. `open_run(path).result(name)` is an xarray.Dataset, `.table(name)` a pandas DataFrame. `open_bench` is one
level below: a Session, whose device applies pulses and reads (quest_lab.device), and which the protocols take.
Examples: the folder `examples`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from quest_lab.changes import changes
from quest_lab.characterization_file import load_characterization
from quest_lab.cli.characterize import execute as characterize
from quest_lab.cli.energy import RESAMPLES, Asked
from quest_lab.cli.energy import execute as _rank
from quest_lab.cli.import_ import Reading
from quest_lab.cli.import_ import execute as import_network
from quest_lab.cli.measure import execute as _measure
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.cli.replay import execute as replay
from quest_lab.cli.train import execute as train
from quest_lab.cli.validate import execute as validate
from quest_lab.errors import BadInput
from quest_lab.examples import example_benches
from quest_lab.network import Network
from quest_lab.protocols.characterize import CharacterizeSettings
from quest_lab.protocols.measurement import Measured
from quest_lab.protocols.measurements import MEASUREMENTS
from quest_lab.protocols.validate_plan import ValidateSettings
from quest_lab.ranking import Ranking
from quest_lab.runfile import open_run
from quest_lab.schedule import Schedule
from quest_lab.session import open_bench
from quest_lab.train.config import TrainConfig

if TYPE_CHECKING:
    import pandas

__all__ = [
    "BenchOptions",
    "CharacterizeSettings",
    "Network",
    "Reading",
    "Schedule",
    "TrainConfig",
    "ValidateSettings",
    "characterize",
    "diff",
    "energy",
    "example_benches",
    "import_network",
    "load_characterization",
    "measure",
    "open_bench",
    "open_run",
    "replay",
    "report",
    "train",
    "validate",
]


def energy(
    *,
    characterization: Path,
    schedule: Path,
    out: Path | None = None,
    states: tuple[int, ...] | None = None,
    max_decoding_error: float | None = None,
    resamples: int = RESAMPLES,
    overwrite: bool = False,
) -> Ranking:
    """A schedule's energy under every mapping pattern; `out` also gets it as results of a run file."""
    full = load_characterization(characterization)
    asked = Asked(states, max_decoding_error, resamples)
    return _rank(full=full, schedule=schedule, out=out, overwrite=overwrite, asked=asked).ranking


def measure(
    kind: str,
    *,
    device: str,
    out: Path,
    cells: int | None = None,
    sample: int | None = None,
    chip: Path | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    options: BenchOptions = AS_USUAL,
    **settings: Any,
) -> Measured:
    """One property of a chip; `settings` as `--set` names them: measure("endurance", ..., cycles=1000)."""
    if kind not in MEASUREMENTS:
        raise BadInput(f"kind={kind!r}: want one of {', '.join(MEASUREMENTS)}")
    return _measure(
        kind=kind, device=device, out=out, settings=MEASUREMENTS[kind].settings(**settings), cells=cells, sample=sample,
        chip=chip, seed=seed, overwrite=overwrite, resume=resume, options=options,
    )  # fmt: skip


def diff(first: Path, second: Path) -> pandas.DataFrame:
    """What changed between two characterisations of a chip: `what`, `unit`, `first`, `second`, `error`, `sigmas`."""
    import pandas

    found = changes(load_characterization(first), load_characterization(second))
    rows = [(c.what, c.unit, *c.values, c.error, c.sigmas) for c in found]
    return pandas.DataFrame(rows, columns=["what", "unit", "first", "second", "error", "sigmas"])


def report(*runs: Path, out: Path, overwrite: bool = False) -> Path:
    """One self-contained HTML page of run files, schedules and weights; returns it."""
    from quest_lab.report import make_report

    return make_report(runs, out, overwrite=overwrite)
