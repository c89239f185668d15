"""Train a small spiking network on digits, then write its weights into the cells of a chip and see what is left."""

from pathlib import Path

from quest_lab.api import CharacterizeSettings, Schedule, TrainConfig, characterize, open_run, train, validate

config = TrainConfig(network="8-12M-F", epochs=4, learning_rate=1e-2, shift_pixels=0)
trained = train(out=Path("trained"), config=config, overwrite=True)
print(f"held-out accuracy {trained.test_accuracy:.1%} at {config.bits} bits")
with Schedule.open(trained.schedule) as schedule:
    print(f"{schedule.steps} steps, {schedule.writes} writes of {schedule.weights} weights")

quick = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)
characterize(device="scaled", out=Path("chip.h5"), cells=900, sample=48, settings=quick, overwrite=True)
done = validate(
    device="scaled", weights=trained.weights, characterization=Path("chip.h5"), out=Path("validation.h5"),
    overwrite=True,
)  # fmt: skip
for row, accuracy in done.accuracy.items():
    print(f"{accuracy:7.1%}  {row}")
with open_run("validation.h5") as run:
    cells = run.result("wrong_cells").wrong  # xarray.DataArray: a map of the chip, -1 where no weight is
print(f"{int((cells == 1).sum())} of {int((cells >= 0).sum())} weights read back wrong")
