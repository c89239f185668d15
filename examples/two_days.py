"""Characterise the same chip on two days and ask what changed: a pandas table with standard errors."""

from pathlib import Path

from quest_lab.api import CharacterizeSettings, characterize, diff

quick = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)
cells = Path("cells.h5")  # a simulated chip that survives the program; a real one needs no such file
cells.unlink(missing_ok=True)
for day in ("monday", "tuesday"):
    characterize(
        device="scaled", out=Path(f"{day}.h5"), cells=200, sample=48, chip=cells, settings=quick,
        overwrite=True,
    )  # fmt: skip

table = diff(Path("monday.h5"), Path("tuesday.h5"))
print(table.to_string(index=False, float_format="{:.4g}".format))
beyond = table[table.sigmas.abs() > 3]
print(f"{len(beyond)} of {len(table)} quantities changed by more than three standard errors")
