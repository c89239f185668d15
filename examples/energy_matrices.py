"""Energy matrices of a chip and the best of all mapping patterns for a training run, as xarray."""

from pathlib import Path

from quest_lab.api import CharacterizeSettings, characterize, energy, open_run
from quest_lab.schedule import synthesize

quick = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)
characterize(device="scaled", out=Path("chip.h5"), cells=200, sample=48, settings=quick, overwrite=True)
schedule = Path("schedule.h5")  # of `train`, or of any trainer: see numpy_schedule.py
schedule.unlink(missing_ok=True)
synthesize(schedule, [(8, 4, 3, 3), (8, 8, 3, 3)], steps=30, change_rate=0.03, seed=1)

for states in ((0, 3, 6), (0, 1, 2)):
    ranking = energy(
        characterization=Path("chip.h5"), schedule=schedule, states=states, out=Path("energy.h5"),
        overwrite=True,
    )  # fmt: skip
    with open_run("energy.h5") as run:
        matrix = run.result("energy_matrix")
        patterns = run.result("patterns")
    print(f"states {states}: joule of a write, from (rows) to (columns)\n{matrix.pulse_j.values}")
    best, worst = ranking.patterns[ranking.order[0]], ranking.patterns[ranking.order[-1]]
    spent = patterns.write_j.values
    print(f"best {best}, worst {worst}: {spent.min():.3g} J to {spent.max():.3g} J for the whole run")
