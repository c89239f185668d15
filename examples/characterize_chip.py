"""Characterise a chip and look at what was measured: dataclass, xarray results, pandas tables of every event."""

from pathlib import Path

from quest_lab.api import CharacterizeSettings, characterize, open_run

quick = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)  # leave it out to measure as usual
found = characterize(
    device="scaled", out=Path("chip.h5"), cells=600, sample=48, settings=quick, overwrite=True
)
print(f"{found.states} states of {found.resistance_ohm.round(0)} ohm, set by {found.set_v.round(3)} V")
print(f"direct moves (from, to, operation): {found.edges()}")

with open_run("chip.h5") as run:
    print(f"results {run.results}, tables {run.tables}")
    stairs = run.result("staircase")  # xarray.Dataset, units in the attributes
    print(stairs.mean_ohm.to_series().iloc[::8])
    events = run.applies  # pandas.DataFrame, a row each pulse that a cell got
    print(events.groupby("cell").energy_j.agg(["count", "sum"]).describe().loc[["mean", "max"]])
