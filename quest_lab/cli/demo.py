"""`quest-lab demo`: the whole way on simulated chips, on real images, in a few minutes.

Preset `scaled` is characterised, a network is trained at 2 bits, its schedule replayed and its weights
validated on that chip; preset `lab`, whose reset empties the whole array, stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization
from quest_lab.cli import characterize, energy, replay, train, validate
from quest_lab.cli.common import default_states
from quest_lab.cli.report import run as report
from quest_lab.errors import BadInput
from quest_lab.mapping import level_count
from quest_lab.ranking import Ranking
from quest_lab.schedule import Schedule
from quest_lab.train.config import TrainConfig, TrainResult

LAB_STEPS = 20  # an array-wide reset writes every cell again at every step: 20 steps show what it costs


@dataclass(frozen=True)
class Files:
    """What the demo writes into its folder."""

    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / "weights.h5"

    @property
    def schedule(self) -> Path:
        return self.folder / "schedule.h5"

    def run(self, kind: str, device: str) -> Path:
        return self.folder / f"{device}-{kind}.h5"


@dataclass(frozen=True)
class OnChip:
    """What the demo finds out on one chip."""

    full: Characterization
    used: tuple[int, ...]
    ranking: Ranking
    replayed: replay.Replayed


def run(*, out: Path, seed: int, overwrite: bool, quick: bool) -> None:
    files, config = Files(out), TrainConfig(seed=seed, epochs=3 if quick else TrainConfig().epochs)
    if not overwrite and files.schedule.exists():
        raise BadInput(f"{out}: holds an earlier demo; --overwrite replaces it")
    trained = train.execute(out=out, config=config, data=None, overwrite=overwrite)
    chips = {
        device: _on_chip(device, files, seed, steps, overwrite)
        for device, steps in (("scaled", None), ("lab", LAB_STEPS))
    }
    scaled = chips["scaled"]
    validated = validate.execute(
        device="scaled",
        weights=files.weights,
        characterization=files.run("characterization", "scaled"),
        out=files.run("validation", "scaled"),
        states=scaled.used,
        data=None,
        chip=None,
        overwrite=overwrite,
        pattern=scaled.ranking.patterns[scaled.ranking.order[0]],
    )
    runs = [files.run(k, d) for d in chips for k in ("characterization", "energy", "replay", "validation")]
    print_all(trained, chips)
    validate.print_validation(validated)
    report(runs=(files.schedule, *(p for p in runs if p.exists())), out=out / "report", overwrite=overwrite)


def _on_chip(device: str, files: Files, seed: int, steps: int | None, overwrite: bool) -> OnChip:
    """Characterise, rank and replay on one chip with two cells a weight."""
    measured = files.run("characterization", device)
    characterize.execute(
        device=device, out=measured, cells=2 * _weights(files), sample=256, chip=None, seed=seed,
        overwrite=overwrite,
    )  # fmt: skip
    full = load_characterization(measured)
    used = default_states(full, level_count(2))
    ranking = energy.execute(
        found=full.restrict(used), used=used, schedule=files.schedule, out=files.run("energy", device),
        overwrite=overwrite,
    )  # fmt: skip
    replayed = replay.execute(
        device=device, schedule=files.schedule, characterization=measured, out=files.run("replay", device),
        states=used, chip=None, steps=steps, overwrite=overwrite,
        pattern=ranking.patterns[ranking.order[0]],
    )  # fmt: skip
    return OnChip(full, used, ranking, replayed)


def _weights(files: Files) -> int:
    with Schedule.open(files.schedule) as schedule:
        return schedule.weights


def print_all(trained: TrainResult, chips: dict[str, OnChip]) -> None:
    """The tables of the demo, chip by chip."""
    for chip in chips.values():
        found = chip.full.restrict(chip.used)
        characterize.print_findings(chip.full)
        characterize.print_matrix(found, chip.used)
        energy.print_ranking(chip.ranking, chip.used, found)
        replay.print_replay(chip.replayed)
    train.print_training(trained)
