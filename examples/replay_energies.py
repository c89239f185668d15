"""Replay a training run on a chip under its best and its worst mapping pattern, and compare what was spent."""

from pathlib import Path

from quest_lab.api import CharacterizeSettings, characterize, energy, open_run, replay
from quest_lab.schedule import synthesize

chip, schedule = Path("chip.h5"), Path("schedule.h5")
quick = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)
characterize(device="scaled", out=chip, cells=600, sample=48, settings=quick, overwrite=True)
schedule.unlink(missing_ok=True)
synthesize(schedule, [(8, 4, 3, 3), (4, 8, 3, 3)], steps=20, change_rate=0.03, seed=1)

ranking = energy(characterization=chip, schedule=schedule)
for name, row in (("best", ranking.order[0]), ("worst", ranking.order[-1])):
    out = Path(f"replay-{name}.h5")
    replayed = replay(
        device="scaled", schedule=schedule, characterization=chip, out=out, pattern=ranking.patterns[row],
        overwrite=True,
    )  # fmt: skip
    with open_run(out) as run:
        steps = run.result("divergence").to_dataframe()
    spent = steps.spent_energy_j.iloc[1:].sum()
    expected = steps.predicted_energy_j.iloc[1:].sum()
    print(
        f"{name}: pattern {replayed.pattern}, {spent:.3g} J spent, {expected:.3g} J expected, "
        f"{replayed.done.diverged} of {replayed.done.read.size} weights differ at the end"
    )
