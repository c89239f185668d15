"""Every example runs as it stands, in a folder of its own, and says what it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
WITH_ARGUMENTS = {"plain_pytorch_schedule"}  # tests/train/test_example.py
SAYS = {
    "characterize_chip": r"7 states of \[",
    "energy_matrices": r"states \(0, 3, 6\).*best \(.*states \(0, 1, 2\).*best \(",
    "nir_to_chip": r"96\.2% as found, 95\.6% with three levels.*decoded read-back, closed loop",
    "numpy_schedule": r"24 steps, \d{4} writes of 8480 weights",
    "own_driver": r"mine (\[.*\]) ohm, quest-lab's \1 ohm",
    "replay_energies": r"best: pattern .* J spent.*worst: pattern .* J spent",
    "staircase": r"6 steps, at 0\.50 V, 0\.54 V, 0\.60 V, 0\.66 V, 0\.70 V, 0\.76 V",
    "sweep_chips": r"scaled-32-seed4 +7 .*from chip to chip",
    "train_and_validate": r"held-out accuracy 9\d.* of 864 weights read back wrong",
    "two_days": r"set R1 lands, from R0.* of 74 quantities changed",
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SAYS) | WITH_ARGUMENTS


@pytest.mark.parametrize("name", SAYS)
def test_it_says_what_it_promises(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FOLDER / f"{name}.py"))
    said = capsys.readouterr().out
    assert re.search(SAYS[name], said, re.DOTALL), said
