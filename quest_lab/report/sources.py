"""The files of a report: what each one is, where it comes from, which chip it is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from quest_lab.errors import BadInput
from quest_lab.network import Network
from quest_lab.protocols.measurements import MEASUREMENTS
from quest_lab.runfile import open_run
from quest_lab.schedule import Schedule

CHARACTERIZATION, SCHEDULE, WEIGHTS = "characterization", "schedule", "weights"
TRAINING, ENERGY, REPLAY, VALIDATION = "training", "energy", "replay", "validation"
IN_THE_LOOP = "in-the-loop"
KINDS = (
    CHARACTERIZATION,
    *MEASUREMENTS,
    SCHEDULE,
    TRAINING,
    IN_THE_LOOP,
    WEIGHTS,
    ENERGY,
    REPLAY,
    VALIDATION,
)  # in the order of the page
_FORMATS = {"quest-lab-schedule": SCHEDULE, "quest-lab-network": WEIGHTS}
SIMULATED = ("scaled", "lab", "domain-wall")  # chips that come with quest-lab


@dataclass(frozen=True)
class Source:
    """One input file. `about` holds its provenance for the last table, in the order of `ABOUT`."""

    path: Path
    kind: str
    status: str
    settings: dict[str, Any] = field(default_factory=dict)
    chip_id: str = ""
    about: tuple[str, ...] = ()

    @property
    def states(self) -> list[int]:
        """States in use, empty if the file does not say."""
        return [int(s) for s in self.settings.get("states") or []]

    @property
    def complete(self) -> bool:
        return self.status == "complete"


ABOUT = ("file", "kind", "status", "seed", "quest-lab", "commit", "began (UTC)", "settings")


def identify(path: Path) -> Source:
    """What `path` is. Raises BadInput if it is no file of quest-lab, or of a kind no report shows."""
    kind = _FORMATS.get(_format(path), "")
    if kind == SCHEDULE:
        return _schedule(path)
    return _weights(path) if kind == WEIGHTS else _run(path)


def _format(path: Path) -> str:
    if not path.is_file() or not h5py.is_hdf5(path):
        return ""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("format", ""))
    except OSError:
        return ""  # truncated or locked: opening it as a run says which


def _schedule(path: Path) -> Source:
    with Schedule.open(path) as schedule:
        head = schedule.header
        settings = f"{head.dataset}, {head.network}, {head.bits} bits, T = {head.time_steps}"
        return Source(
            path, SCHEDULE, schedule.status,
            about=(path.name, SCHEDULE, schedule.status, str(head.seed), "", "", "", settings),
        )  # fmt: skip


def _weights(path: Path) -> Source:
    network = Network.load(path)
    settings = f"{network.dataset}, {network.topology.text}, {network.bits} bits, T = {network.time_steps}"
    about = (path.name, WEIGHTS, "complete", str(network.seed), "", "", "", settings)
    return Source(path, WEIGHTS, "complete", about=about)


def _run(path: Path) -> Source:
    with open_run(path) as run:
        path = run.path
        if run.kind not in KINDS:
            raise BadInput(f"{path}: a run of kind {run.kind!r}; a report shows {', '.join(KINDS)}")
        result = run.result(CHARACTERIZATION).attrs if CHARACTERIZATION in run.results else {}
        chip = str(result.get("chip_id", run.settings.get("chip_id", "")))
        about = (
            path.name, run.kind, run.status, str(run.seed), run.provenance.get("quest_lab_version", ""),
            _commit(run.provenance.get("git_commit", "")), run.start_time.removesuffix("+00:00"),
            _short(run.settings),
        )  # fmt: skip
        return Source(path, run.kind, run.status, dict(run.settings), chip, about)


def _commit(text: str) -> str:
    """A commit as people quote it: 0b70c0e63a73, -dirty kept."""
    commit, dash, dirty = text.partition("-")
    return commit[:12] + dash + dirty


def _short(settings: dict[str, Any]) -> str:
    return json.dumps(settings, ensure_ascii=False).strip("{}").replace('"', "")


@dataclass(frozen=True)
class Files:
    """All files of a report, which explain each other."""

    sources: tuple[Source, ...]

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Files:
        """Identify every file, each once. Raises BadInput at the first that is none, or if there is none."""
        if not paths:
            raise BadInput("report: no file given; want run files, schedule.h5 or weights.h5")
        unique = {path.resolve(): path for path in paths}
        found = [identify(path) for path in unique.values()]
        return cls(tuple(sorted(found, key=lambda source: KINDS.index(source.kind))))

    def of(self, kind: str) -> list[Source]:
        return [source for source in self.sources if source.kind == kind]

    def characterization_of(self, source: Source) -> Source | None:
        """The characterisation that `source` was made with, if it is among the files."""
        named, chip = source.settings.get(CHARACTERIZATION), source.settings.get("chip_id")
        same = [
            c for c in self.of(CHARACTERIZATION)
            if (chip and c.chip_id == chip) or (named and c.path.name == named)
        ]  # fmt: skip
        near = [c for c in same if c.path.parent == source.path.parent]
        return next(iter([*near, *same]), None)

    def chip(self, source: Source) -> str:
        """Name of the chip a file is about."""
        if source.chip_id:
            return source.chip_id
        characterization = self.characterization_of(source)
        if characterization is not None and characterization.chip_id:
            return characterization.chip_id
        return str(source.settings.get("bench") or source.path.stem)

    def states_used(self, characterization: Source) -> list[tuple[int, ...]]:
        """Sets of states that other files use of this chip."""
        users = [s for s in self.sources if s.states and self.characterization_of(s) is characterization]
        return list(dict.fromkeys(tuple(sorted(s.states)) for s in users))

    def assumed(self, source: Source) -> str:
        """What is assumed about the cells a file is about: the sentence every caption needs."""
        other = self.characterization_of(source)
        named = source if source.settings.get("bench") or other is None else other
        bench = named.settings.get("bench")
        if bench in SIMULATED or named.settings.get("hardware") is False:  # or a bench file's twin
            return (
                f"The cells (bench {bench}) are simulated and their parameters assumed: no public resistance, "
                "voltage, width or field of the Sk-MTJ exists."
            )
        if bench:
            return f"Measured on the bench {bench}."
        return "The file does not name its bench; the parameters of simulated cells are assumed."
