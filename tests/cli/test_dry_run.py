"""`--dry-run`: counts from the twin, the ledger's verdict, and nothing left behind or touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_bench, open_run
from quest_lab.budget import open_ledger, read_ledger
from quest_lab.cli import main
from quest_lab.cli.characterize import measure
from quest_lab.cli.dryrun import duration, tally_of
from quest_lab.device import FieldPulse, VoltagePulse
from quest_lab.protocols.characterize import CharacterizeSettings
from quest_lab.schedule import synthesize

SLOW = Path(__file__).parents[2] / "examples" / "benches" / "slow-matrix.toml"


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """The slow bench with four cells, a ledger and a life of a thousand pulses."""
    text = SLOW.read_text(encoding="utf-8").replace('cells = ["1!1:1!10", "2!1:2!6"]', 'cells = ["1!1:1!4"]')
    text = text.replace("[limits]", "[limits]\npulses_per_cell = 1000").replace(
        "[chip]", '[chip]\nledger = "die-7.ledger"'
    )
    path = tmp_path / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return int(end.value.code or 0)


def cells_of(table: str) -> dict[str, str]:
    rows = [[part.strip() for part in line.split("│")[1:3]] for line in table.splitlines() if "│" in line]
    return dict(rows)  # type: ignore[arg-type]


def test_it_counts_what_the_real_run_then_does(bench: Path, tmp_path: Path, capsys) -> None:
    """The oracle: the same command on the twin, counted by hand from its file."""
    command = ("characterize", bench, "--set", "max_cycles=15", "--out", tmp_path / "run.h5")
    assert run(*command, "--dry-run") == 0
    told = cells_of(capsys.readouterr().out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bench.toml"]
    assert run(*command) == 0
    with open_run(tmp_path / "run.h5") as done:
        calls, applied = done.calls, done.applies
    pulses = np.bincount(applied["cell"], minlength=4)
    assert told["voltage pulses"] == str(calls[calls["op"] == 1]["count"].sum())
    assert told["field pulses"] == str((calls["op"] == 2).sum())
    assert told["reads"] == str(calls[calls["kind"] == 1]["count"].sum())
    assert told["highest volts at a cell"] == "0.85 V"
    assert told["most pulses on one cell, fields included"] == f"{pulses.max()} (cell {pulses.argmax()})"
    left = 1000 - pulses.max()
    assert told["pulses left afterwards, least of all cells"] == f"{left} (cell {pulses.argmax()})"
    seconds = float(calls["clock_s"].max() - calls["clock_s"].min())
    assert told["time on the bench"] == f"{seconds:.3g} s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59.4, "59.4 s"), (119.7, "2 min 0 s"), (125.4, "2 min 5 s"), (11040.0, "3 h 4 min")],
)
def test_long_times_are_told_in_minutes(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_life_too_short_is_told_with_what_is_missing(bench: Path, tmp_path: Path, capsys) -> None:
    with open_ledger(tmp_path / "die-7.ledger", "skmtj-die-7", 4) as ledger:
        ledger.pulses[2] = 990
    short = ("--set", "max_cycles=15")
    assert run("characterize", bench, *short, "--out", tmp_path / "run.h5", "--dry-run", "--hardware") == 2
    told = capsys.readouterr()
    missing = -int(cells_of(told.out)["pulses left afterwards, least of all cells"].split()[0])
    assert missing > 100
    assert (
        f"the budget does not suffice: cell 2 would get {missing} pulses more than "
        "limits.pulses_per_cell = 1000 in bench.toml" in told.err
    )
    assert read_ledger(tmp_path / "die-7.ledger").pulses.tolist() == [0, 0, 990, 0]
    assert not list(tmp_path.glob("run*"))


def test_energies_are_of_the_cells_and_fields_are_not(bench: Path, tmp_path: Path) -> None:
    with open_bench(bench, run=tmp_path / "run.h5", dry_run=True) as session:
        spent = session.device.apply(VoltagePulse(0.6, 1e-6), np.array([1, 3])).energy_j
        session.device.apply(FieldPulse(0.1, 0.01), np.arange(4))
        read = session.device.read(np.arange(4))
    with open_run(tmp_path / "run.h5") as done:
        tally = tally_of(done, 4)
    np.testing.assert_allclose(tally.cell_j, [0, spent[0], 0, spent[1]], rtol=1e-6)
    assert tally.cell_pulses.tolist() == [1, 2, 1, 2]
    assert tally.read_j == pytest.approx(float(read.energy_j.sum()))
    assert (tally.pulses, tally.field_pulses, tally.reads) == (2, 1, 4)


def test_with_hardware_the_twin_stands_for_the_chip_and_no_instrument_is_opened(
    bench: Path, monkeypatch
) -> None:
    monkeypatch.setenv("QUEST_LAB_NO_HARDWARE", "1")
    with open_bench(bench, hardware=True, dry_run=True) as session:
        assert session.device.capabilities.chip_id == "skmtj-die-7"
        assert session.pulses_left is None


def test_a_simulated_chip_needs_no_dry_run(tmp_path: Path, capsys) -> None:
    assert run("characterize", "scaled", "--out", tmp_path / "run.h5", "--dry-run") == 2
    assert "--dry-run needs a bench file" in capsys.readouterr().err


def test_a_replay_of_a_chip_measured_on_hardware_is_rehearsed(bench: Path, tmp_path: Path, capsys) -> None:
    """The characterisation is of the real chip; the twin stands for it."""
    found, schedule, out = tmp_path / "chip.h5", tmp_path / "schedule.h5", tmp_path / "replay.h5"
    with open_bench(bench, hardware=True, dry_run=True, run=found, kind="characterization") as session:
        measure(session, None, CharacterizeSettings(max_cycles=30))
    synthesize(schedule, [(1, 1, 2, 2)], steps=3, change_rate=0.5, seed=1)
    command = ["replay", bench, schedule, "--characterization", found, "--out", out, "--dry-run"]
    assert run(*command) == 2
    assert "was measured on instruments (--hardware)" in capsys.readouterr().err
    assert run(*command, "--hardware") == 0
    told = cells_of(capsys.readouterr().out)
    assert int(told["voltage pulses"]) >= 4
    assert told["cells touched"] == "4 of 4"
    assert not out.exists()
