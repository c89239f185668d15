"""Retention at several temperatures: attempt time and barrier together, against what the cells were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quest_lab.errors import BadInput
from quest_lab.findings import Finding
from quest_lab.lifetimes import Lives, fit_arrhenius
from quest_lab.protocols.arrhenius import over_temperatures
from quest_lab.protocols.retention import RetentionSettings, retention
from quest_lab.record import RunWriter
from quest_lab.session import Session
from quest_lab.sim.reliability import Retention
from quest_lab.sim.skmtj import SkMTJ

TEMPERATURES = 320.0, 360.0, 400.0


def run_at(
    session_on: Callable[..., Session], folder: Path, temperature_k: float, chip_id: str = "die-7"
) -> Path:
    """Retention of the same 200 cells at one temperature, set by two amplitudes."""
    cells, out = np.arange(200), folder / f"{chip_id}-{temperature_k:g}.h5"
    session = session_on(SkMTJ.preset("lab", retention=Retention(temperature_k=temperature_k)), cells.size)
    found = retention(session, cells, RetentionSettings(last_s=1e20, amplitudes_v=(0.5, 0.9)))
    said = {"temperature_k": temperature_k, "chip_id": chip_id}
    with RunWriter.create(out, kind="retention", title="", seed=0, settings=said) as run:
        run.add_result(found.result)
    return out


def test_attempt_time_and_barrier_are_recovered_together(
    session_on: Callable[..., Session], tmp_path: Path
) -> None:
    """1 ns a skyrmion, 60 kT at 300 K and 5 % of it; six of them are lost six times as fast."""
    found = over_temperatures([run_at(session_on, tmp_path, at_k) for at_k in TEMPERATURES])
    known = {f.what: f for f in found}
    for volts, k in (("0.5", 1), ("0.9", 6)):
        truth = {
            "attempt time of the state": 1e-9 / k,
            "barrier at 300 K": 60.0,
            "its spread over cells": 3.0,
        }
        for what, value in truth.items():
            one: Finding = known[f"set by {volts} V: {what}"]
            print(one)
            assert one.low <= value <= one.high
    barrier = known["set by 0.9 V: barrier at 300 K"]
    assert barrier.high - barrier.low < 6.0
    assert barrier.note.startswith(f"{1.380649e-23 * 300 * barrier.value / 1.602176634e-19:.4g} eV")


def test_what_cannot_be_fitted_together_is_refused(
    session_on: Callable[..., Session], tmp_path: Path
) -> None:
    one, other = (run_at(session_on, tmp_path, 400.0, chip) for chip in ("die-7", "die-8"))
    with pytest.raises(BadInput, match=r"die-8-400.h5: is of chip die-8"):
        over_temperatures([one, other])
    with pytest.raises(BadInput, match=r"temperature_k=\[400.0, 400.0\]: want two different ones"):
        over_temperatures([one, one])


def test_without_lives_that_ended_nothing_is_fitted() -> None:
    censored = Lives(np.full(9, 1e5), np.full(9, np.inf))
    assert fit_arrhenius([censored, censored], [300.0, 400.0]) is None
