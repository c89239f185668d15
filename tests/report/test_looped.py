"""The section of a training in the loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from quest_lab.report.make import make_report
from quest_lab.runwriter import RunWriter

ROW = {
    "writes_wrong": 3, "pulses": 9, "resets": 4, "spent_energy_j": 2e-9, "verify_energy_j": 1e-12,
    "field_energy_j": 0.0, "resume_energy_j": 0.0, "diverged": 2, "calls": 5,
}  # fmt: skip


@pytest.mark.parametrize("writes", [[], [500, 40, 20]])
def test_writes_and_what_the_cells_held_instead(writes: list[int], tmp_path: Path) -> None:
    settings = {"bench": "scaled", "cells": 600, "states": [0, 3, 6], "weights": 500, "open_loop": False}
    with RunWriter.create(
        tmp_path / "cells.h5", kind="in-the-loop", title="", seed=0, settings=settings
    ) as run:
        for step, written in enumerate(writes):
            run.append(
                "loop_steps", step=[step], writes_intended=[written], **{n: [v] for n, v in ROW.items()}
            )
    page = make_report([tmp_path / "cells.h5"], tmp_path / "report").read_text(encoding="utf-8")
    assert "Training in the loop on chip" in page
    assert ("560 writes of weights in 2 training steps, 9 of them" in page) == bool(writes)
    assert ("2 weights (0.40 %) do not hold" in page) == bool(writes)
    assert len(list((tmp_path / "report").glob("*in-the-loop.png"))) == bool(writes)
