"""Benches from files: the twin by default, hardware only when armed, one process, and who answers is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_bench, open_run
from quest_lab.benches import control, locked, open_file_bench, site_of
from quest_lab.benchfile import BenchFile, load_bench, parse_bench
from quest_lab.clock import WallClock
from quest_lab.device import FieldPulse, VoltagePulse
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.twin import twin_laboratory

SLOW = Path(__file__).parents[1] / "examples" / "benches" / "slow-matrix.toml"
PULSER, METER, MAGNET = "GPIB0::10::INSTR", "GPIB0::24::INSTR", "GPIB0::6::INSTR"
CELLS = np.arange(16)
PULSE = VoltagePulse(0.7, 1e-6)


def bench(*replacements: tuple[str, str], path: Path = SLOW) -> BenchFile:
    text = SLOW.read_text(encoding="utf-8")
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after, 1)
    return parse_bench(text, path)


def on_own_addresses(tmp_path: Path) -> BenchFile:
    """The slow bench at addresses that no other test locks."""
    return bench(
        *[(a, f"GPIB{os.getpid()}::{a.split('::')[1]}::INSTR") for a in ADDRESSES], path=tmp_path / "b.toml"
    )


ADDRESSES = (PULSER, METER, "GPIB0::7::INSTR", MAGNET)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> BenchFile:
    return on_own_addresses(tmp_path)


@pytest.fixture
def real(file: BenchFile) -> Iterator[Laboratory]:
    """Instruments that stand for real ones: behind a library of their own, in real time."""
    laboratory = twin_laboratory(file, clock=WallClock())
    yield laboratory
    laboratory.close()


def test_a_path_opens_the_twin(tmp_path: Path) -> None:
    with open_bench(SLOW, run=tmp_path / "r.h5") as session:
        assert session.device.capabilities.chip_id == "skmtj-die-7-twin"
        before = session.device.read(CELLS).resistance_ohm
        raised = session.device.apply(PULSE, CELLS, then_read=True).expect_reading().resistance_ohm
    assert (raised > 1.1 * before).all()


def test_the_run_keeps_text_and_hash(tmp_path: Path) -> None:
    with open_bench(SLOW, run=tmp_path / "r.h5"):
        pass
    with open_run(tmp_path / "r.h5") as run:
        assert run.provenance["bench_file"] == SLOW.read_text(encoding="utf-8")
        assert run.provenance["bench_file_sha256"] == load_bench(SLOW).sha256
        assert (run.settings["bench"], run.settings["hardware"]) == ("slow-matrix.toml", False)


def test_every_exchange_is_in_the_runs_table(tmp_path: Path) -> None:
    with open_bench(SLOW, run=tmp_path / "r.h5", log_wire=True) as session:
        session.device.read(CELLS[:1])
    with open_run(tmp_path / "r.h5") as run:
        visa = run.table("visa")
    words = visa[visa["instrument"] == "meter"]
    assert words["message"].iloc[0] == "*IDN?"
    assert {"write", "read"} == set(words["direction"])
    assert ":READ?;:SYST:ERR?" in set(words["message"])
    assert {"pulser", "meter", "switch", "magnet"} == set(visa["instrument"])


def test_without_asking_the_twins_exchanges_are_not_kept(tmp_path: Path) -> None:
    with open_bench(SLOW, run=tmp_path / "r.h5") as session:
        session.device.read(CELLS[:1])
    with open_run(tmp_path / "r.h5") as run:
        assert len(run.table("visa")) == 0


def test_limits_of_the_file_are_refused_by_its_name() -> None:
    with open_bench(SLOW) as session:
        with pytest.raises(LimitExceeded, match=r"above 0.01 s, limits\.width in slow-matrix\.toml"):
            session.device.apply(VoltagePulse(0.5, 0.1), CELLS)
        with pytest.raises(LimitExceeded, match=r"energy_j .* limits\.energy in slow-matrix\.toml"):
            session.device.apply(VoltagePulse(0.9, 0.01), CELLS)
        with pytest.raises(LimitExceeded, match=r"limits\.read_amplitude"):
            session.device.read(CELLS, type(session.device.capabilities.read)(0.2, 0.02))


@pytest.mark.parametrize("sign", [1, -1])
def test_both_polarities_reset(sign: int) -> None:
    device, _ = open_file_bench(bench(("polarity = 1", f"polarity = {sign}")))
    low = device.apply(FieldPulse(0.1, 1e-2), CELLS, then_read=True).expect_reading().resistance_ohm
    high = device.apply(PULSE, CELLS, then_read=True).expect_reading().resistance_ohm
    again = device.apply(FieldPulse(0.1, 1e-2), CELLS, then_read=True).expect_reading().resistance_ohm
    assert (high > 1.1 * low).all()
    np.testing.assert_allclose(again, low, rtol=0.03)
    device.close()


def test_the_twins_cells_can_survive_it(tmp_path: Path) -> None:
    keeps = bench(("# cells_file", "cells_file"), path=tmp_path / "b.toml")
    for _ in range(2):
        device, _clock = open_file_bench(keeps)
        last = device.read(CELLS).resistance_ohm
        device.apply(PULSE, CELLS)
        device.close()
    first, _ = open_file_bench(bench())
    assert (last > 1.1 * first.read(CELLS).resistance_ohm).all()
    first.close()


def test_more_cells_than_wired_are_refused_and_fewer_are_another_chip() -> None:
    with (
        pytest.raises(BadInput, match=r"cells=17: slow-matrix.toml wires 16 cells"),
        open_bench(SLOW, cells=17),
    ):
        pass
    with open_bench(SLOW, cells=8) as session:
        assert session.device.capabilities.cells == 8
        assert session.device.capabilities.chip_id == "skmtj-die-7-8-seed1-twin"


def test_on_hardware_all_cells_are_there() -> None:
    with pytest.raises(BadInput, match="cells=8"), open_bench(SLOW, cells=8, hardware=True):
        pass


def test_an_example_opens_by_its_name_as_by_its_path() -> None:
    for name in ("slow-matrix", SLOW):
        with open_bench(name) as session:
            assert (session.device.capabilities.chip_id, session.seed) == ("skmtj-die-7-twin", 1)


def test_conditions_are_in_the_runs_settings(tmp_path: Path) -> None:
    with open_bench("slow-matrix", cells=2, run=tmp_path / "r.h5"):
        pass
    with open_run(tmp_path / "r.h5") as run:
        assert (run.settings["temperature_k"], run.settings["bias_field_t"]) == (295.0, 0.0)


def test_hardware_needs_a_bench_file() -> None:
    with pytest.raises(BadInput, match="'lab': is simulated"), open_bench("lab", hardware=True):
        pass


def test_the_variable_refuses_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEST_LAB_NO_HARDWARE", "1")
    with pytest.raises(DeviceError, match="QUEST_LAB_NO_HARDWARE is set"), open_bench(SLOW, hardware=True):
        pass


def test_armed_instruments_that_answer_as_written_are_driven(file: BenchFile, real: Laboratory) -> None:
    device, clock = open_file_bench(file, hardware=True, library=real.library)
    assert isinstance(clock, WallClock)
    assert device.capabilities.chip_id == "skmtj-die-7"
    device.apply(PULSE, CELLS[:2], then_read=True)
    device.close()
    assert [d.cell for d in real.world.delivered] == [0, 1]
    assert real.world.outputs_off
    assert real.world.violations == []


@pytest.mark.parametrize("which", range(4))
def test_a_wrong_identity_is_not_touched(file: BenchFile, real: Laboratory, which: int) -> None:
    wire = list(real.wires.values())[which]
    wire.instrument.scpi.identity = "ACME,9000,1,1"
    with pytest.raises(DeviceError, match=r"devices\.\w+: 'ACME,9000,1,1' answers at .* not touched"):
        open_file_bench(file, hardware=True, library=real.library)
    sent = [message for w in real.wires.values() for message in w.sent]
    assert set(sent) == {"*IDN?"}


def test_another_serial_number_is_another_instrument(file: BenchFile, real: Laboratory) -> None:
    scpi = next(iter(real.wires.values())).instrument.scpi
    scpi.identity = scpi.identity.replace("MY50000001", "MY500000012")
    with pytest.raises(DeviceError, match="not touched"):
        open_file_bench(file, hardware=True, library=real.library)


def test_an_instrument_that_is_not_there_frees_the_others(file: BenchFile, real: Laboratory) -> None:
    del real.wires[file.bench.devices.switch.address]
    with pytest.raises(DeviceError, match="cannot be opened"):
        open_file_bench(file, hardware=True, library=real.library)
    with locked(file):  # the locks are free again
        pass


HOLD = """
import sys
from quest_lab.benches import locked
from quest_lab.benchfile import load_bench
with locked(load_bench(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_bench_that_another_process_holds_is_refused(file: BenchFile, real: Laboratory) -> None:
    file.path.write_text(file.text, encoding="utf-8")
    command = [sys.executable, "-c", HOLD, str(file.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DeviceError, match="is in use by another quest-lab process"):
            open_file_bench(file, hardware=True, library=real.library)
        holder.communicate("")
    assert real.messages == 0
    device, _ = open_file_bench(file, hardware=True, library=real.library)
    with pytest.raises(DeviceError, match="in use"), locked(file):
        pass
    device.close()
    with locked(file):  # closing the device frees the bench
        pass


def test_a_displayed_load_changes_nothing_at_the_cell() -> None:
    volts = []
    for load in ('"infinite"', '"50 ohm"', '"1 kohm"'):
        laboratory_file = bench(('displayed_load = "infinite"', f"displayed_load = {load}"))
        laboratory = twin_laboratory(laboratory_file)
        volts.append(delivered(laboratory_file, laboratory))
    np.testing.assert_allclose(volts[1:], [volts[0]] * 2, rtol=1e-6)
    np.testing.assert_allclose(volts[0], 0.7, rtol=1e-3)


def delivered(file: BenchFile, laboratory: Laboratory) -> list[float]:
    """Volts at the cells of one pulse after one read, and nothing the world minds."""
    device, _ = control(file, site_of(file, laboratory))
    device.read(CELLS)
    device.apply(PULSE, CELLS)
    volts = [d.volts for d in laboratory.world.delivered]
    assert laboratory.world.violations == []
    device.close()
    return volts
