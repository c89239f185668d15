"""The ledger of a chip and the device that debits it: never too little, whatever happens on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_bench
from quest_lab.benchfile import parse_bench
from quest_lab.budget import Budget, Budgeted, Ledger, open_ledger, read_ledger
from quest_lab.clock import VirtualClock
from quest_lab.device import FieldPulse, VoltagePulse
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.limits import Limited
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

SLOW = Path(__file__).parents[1] / "examples" / "benches" / "slow-matrix.toml"
PULSE = VoltagePulse(0.6, 2e-8)
CELLS = np.array([4, 1])


class Chip(SimulatedChip):
    """A simulated chip that can fail after having given, perhaps given, or not given a pulse."""

    error: BaseException | None = None

    def apply(self, operation, cells, *, then_read=False):
        if self.error is not None:
            raise self.error
        return super().apply(operation, cells, then_read=then_read)


@pytest.fixture
def chip() -> Iterator[Chip]:
    array = CellArray(SkMTJ.preset("scaled"), 6, seed=1)
    yield Chip(array, VirtualClock())
    array.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "chip.ledger", "chip", 6) as opened:
        yield opened


def test_every_pulse_is_counted_with_the_energy_the_device_tells(chip, ledger) -> None:
    device = Budgeted(chip, ledger, Budget(energy_at_ohm=500.0))
    spent = [device.apply(PULSE, CELLS).energy_j for _ in range(3)]
    device.apply(FieldPulse(0.1, 1e-6), np.arange(6))
    device.read(CELLS)
    np.testing.assert_array_equal(ledger.pulses, [1, 4, 1, 1, 4, 1])
    np.testing.assert_allclose(ledger.energy_j[CELLS], sum(spent), rtol=1e-12)


def test_what_was_known_not_to_be_given_is_credited_back(chip, ledger) -> None:
    chip.error = DeviceError("stuck", delivered=np.array([5]), ambiguous=np.array([0]))
    with pytest.raises(DeviceError):
        Budgeted(chip, ledger, Budget(energy_at_ohm=1000.0)).apply(PULSE, np.array([5, 0, 3]))
    np.testing.assert_array_equal(ledger.pulses, [1, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(ledger.energy_j, 0.36 * 2e-8 / 1000 * np.array([1, 0, 0, 0, 0, 1]), atol=1e-30)


def test_an_interrupted_pulse_stays_debited(chip, ledger) -> None:
    chip.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        Budgeted(chip, ledger).apply(PULSE, CELLS)
    assert ledger.pulses.tolist() == [0, 1, 0, 0, 1, 0]


def test_a_refused_pulse_costs_nothing(chip, ledger) -> None:
    with pytest.raises(LimitExceeded, match="amplitude_v"):
        Budgeted(Limited(chip), ledger).apply(VoltagePulse(99.0, 1e-8), CELLS)
    assert not ledger.pulses.any()


def test_the_limit_is_reached_and_not_passed(chip, ledger) -> None:
    device = Budgeted(chip, ledger, Budget(pulses=2, where="{} in b.toml"))
    device.apply(PULSE, CELLS)
    assert device.pulses_left(np.array([1, 0])).tolist() == [1, 2]
    device.apply(PULSE, CELLS)
    with pytest.raises(
        LimitExceeded, match=r"cell 4: 2 pulses given, 1 more asked, limits.pulses_per_cell = 2 in b"
    ):
        device.apply(PULSE, np.array([0, 4]))
    assert ledger.pulses.tolist() == [0, 2, 0, 0, 2, 0]


def test_energy_is_limited_by_the_worst_case(chip, ledger) -> None:
    worst_j = 0.36 * 2e-8 / 500.0
    device = Budgeted(chip, ledger, Budget(energy_j=0.9 * worst_j, energy_at_ohm=500.0, where="{} in b.toml"))
    with pytest.raises(
        LimitExceeded, match=r"cell 1: 0 J given, up to 1.44e-11 J more asked, limits.energy_per_c"
    ):
        device.apply(PULSE, np.array([1]))
    device.apply(FieldPulse(0.1, 1e-6), np.arange(6))


def test_a_ledger_is_of_one_chip(tmp_path: Path, ledger: Ledger) -> None:
    del ledger
    for chip_id, cells, message in (
        ("other", 6, "is the ledger of chip chip, not of other"),
        ("chip", 7, "7"),
    ):
        with pytest.raises(BadInput, match=message), open_ledger(copy(tmp_path), chip_id, cells):
            pass


def copy(folder: Path) -> Path:
    other = folder / "copy.ledger"
    other.write_bytes((folder / "chip.ledger").read_bytes())
    return other


@pytest.mark.parametrize("damage", [b"", b"\0" * 5000, b'{"format": "quest-lab ledger", "version": 9}'])
def test_a_file_that_is_no_ledger_is_bad_input(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "bad").write_bytes(damage)
    with pytest.raises(BadInput, match="no ledger of version 1"), open_ledger(tmp_path / "bad", "chip", 6):
        pass


def test_a_truncated_ledger_is_bad_input(tmp_path: Path, ledger: Ledger) -> None:
    short = copy(tmp_path)
    short.write_bytes(short.read_bytes()[:-1])
    with pytest.raises(BadInput, match=f"damaged ledger: .* not {4096 + 6 * 16}"):
        read_ledger(short)
    assert ledger.pulses.size == 6


KILLED = """
import os, signal, sys
import numpy as np
from quest_lab import open_bench
from quest_lab.device import VoltagePulse

with open_bench("scaled", cells=6, seed=1, ledger=sys.argv[1], cells_file=sys.argv[2]) as session:
    print("open", flush=True)
    sys.stdin.readline()
    for _ in range(5):
        session.device.apply(VoltagePulse(0.6, 2e-8), np.arange(3))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on this system")
def test_counts_survive_kill_9_and_one_process_debits(tmp_path: Path) -> None:
    path = tmp_path / "chip.ledger"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "cells.h5")]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        with pytest.raises(DeviceError, match="another quest-lab process"), open_ledger(path, "", 6):
            pass
        program.communicate("go\n")
    assert read_ledger(path).pulses.tolist() == [5, 5, 5, 0, 0, 0]
    with open_bench("scaled", cells=6, seed=1, ledger=path) as session:
        session.device.apply(PULSE, np.arange(6))
    assert read_ledger(path).pulses.tolist() == [6, 6, 6, 1, 1, 1]


def test_a_session_tells_what_is_left_only_where_a_ledger_counts(tmp_path: Path) -> None:
    with open_bench("scaled", cells=6) as session:
        assert session.pulses_left is None
    with open_bench("scaled", cells=6, ledger=tmp_path / "l") as session:
        assert session.pulses_left is not None
        assert session.pulses_left(CELLS).tolist() == [np.iinfo(np.int64).max] * 2


def test_a_limit_of_a_life_needs_a_ledger_that_counts() -> None:
    text = SLOW.read_text(encoding="utf-8").replace("[limits]", "[limits]\npulses_per_cell = 100")
    with pytest.raises(BadInput, match=r"limits.pulses_per_cell.*need chip.ledger"):
        parse_bench(text, SLOW)
