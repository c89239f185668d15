"""`quest-lab demo`: the whole way on simulated chips, on real images, in a few minutes.

Preset `scaled` is characterised, a network is trained at 2 bits, its schedule replayed and its weights
validated on that chip; preset `lab`, whose reset empties the whole array, stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quest_lab.characterization_file import load_characterization
from quest_lab.cli import characterize, energy, replay, train, validate
from quest_lab.cli.report import run as report
from quest_lab.cli.summary import OnChip, print_summary
from quest_lab.errors import BadInput
from quest_lab.schedule import Schedule
from quest_lab.train.config import TrainConfig

QUICK_EPOCHS = 3
LAB_STEPS = 20  # an array-wide reset writes every cell again at every step: 20 steps show what it costs
KINDS = ("characterization", "energy", "replay", "validation")


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

    def of(self, kind: str, device: str) -> Path:
        return self.folder / f"{device}-{kind}.h5"


def run(*, out: Path, seed: int, overwrite: bool, quick: bool) -> None:
    files = Files(out)
    config = TrainConfig(seed=seed, epochs=QUICK_EPOCHS) if quick else TrainConfig(seed=seed)
    if not overwrite and files.schedule.exists():
        raise BadInput(f"{out}: holds an earlier demo; --overwrite replaces it")
    trained = train.execute(out=out, config=config, data=None, overwrite=overwrite)
    chips = {
        device: _on_chip(device, files, seed, steps, overwrite)
        for device, steps in (("scaled", None), ("lab", LAB_STEPS))
    }
    best = chips["scaled"].ranking
    validated = validate.execute(
        device="scaled", weights=files.weights, characterization=files.of("characterization", "scaled"),
        out=files.of("validation", "scaled"), states=chips["scaled"].used, data=None, chip=None,
        overwrite=overwrite, pattern=best.patterns[best.order[0]],
    )  # fmt: skip
    runs = [path for device in chips for kind in KINDS if (path := files.of(kind, device)).exists()]
    print_summary(trained, chips, validated)
    report(runs=(files.schedule, *runs), out=out / "report", overwrite=overwrite)


def _on_chip(device: str, files: Files, seed: int, steps: int | None, overwrite: bool) -> OnChip:
    """Characterise, rank and replay on a chip with two cells a weight."""
    with Schedule.open(files.schedule) as schedule:
        cells = 2 * schedule.weights
    measured = files.of("characterization", device)
    characterize.execute(
        device=device, out=measured, cells=cells, sample=256, chip=None, seed=seed, overwrite=overwrite
    )
    full = load_characterization(measured)
    ranked = energy.execute(
        full=full, schedule=files.schedule, out=files.of("energy", device), overwrite=overwrite
    )
    ranking, used = ranked.ranking, ranked.priced.used
    replayed = replay.execute(
        device=device, schedule=files.schedule, characterization=measured, out=files.of("replay", device),
        states=used, chip=None, steps=steps, overwrite=overwrite,
        pattern=ranking.patterns[ranking.order[0]],
    )  # fmt: skip
    return OnChip(full, used, ranking, replayed)
