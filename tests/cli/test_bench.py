"""The bench commands as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from quest_lab import open_run
from quest_lab.cli import main
from quest_lab.schedule import synthesize

SLOW = Path(__file__).parents[2] / "examples" / "benches" / "slow-matrix.toml"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """run(*words): exit code, stdout, stderr."""

    def command(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        assert isinstance(end.value.code, int)
        return end.value.code, told.out, told.err

    return command


def test_check_on_the_twin(run: Run) -> None:
    code, out, _ = run("bench", "check", SLOW)
    assert code == 0
    assert out.count("│ ok") >= 31
    assert "all as the file says" in out


def test_check_can_print_every_exchange(run: Run) -> None:
    code, _, err = run("bench", "check", SLOW, "--log-wire")
    assert code == 0
    assert "pulser   > *IDN?" in err
    assert "pulser   < Agilent Technologies,33522A" in err
    assert "meter    > :FORMAT:ELEMENTS" in err  # what a driver sends while it is made


def test_check_of_a_wrong_file_is_bad_input(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(SLOW.read_text(encoding="utf-8").replace('"0.15 T"', "0.15"), encoding="utf-8")
    code, _, err = run("bench", "check", wrong)
    assert code == 2
    assert "wrong.toml: limits.field=0.15: has no unit; want T" in err


def test_hardware_is_refused_by_the_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEST_LAB_NO_HARDWARE", "1")
    code, _, err = run("bench", "check", SLOW, "--hardware")
    assert code == 1
    assert "QUEST_LAB_NO_HARDWARE is set" in err


def test_list_survives_missing_backends(run: Run) -> None:
    code, out, _ = run("bench", "list")
    assert code == 0
    assert "pyvisa @ivi" in out or "address" in out


def test_schema_is_json(run: Run) -> None:
    code, out, _ = run("bench", "schema")
    assert code == 0
    assert json.loads(out)["properties"]["devices"]


def test_a_device_that_is_neither_name_nor_file(run: Run, tmp_path: Path) -> None:
    code, _, err = run("characterize", "slow-matricks", "--out", tmp_path / "c.h5")
    assert code == 2
    assert "want scaled, lab, " in err
    assert "or a bench file" in err


def test_hardware_without_a_bench_file_is_bad_input(run: Run, tmp_path: Path) -> None:
    code, _, err = run("characterize", "lab", "--hardware", "--out", tmp_path / "c.h5")
    assert code == 2
    assert "is simulated; --hardware needs a bench file" in err


def test_characterise_and_replay_on_a_bench_file(run: Run, tmp_path: Path) -> None:
    """The very same commands as on a simulated chip; the chip is one and the same through its file."""
    small = tmp_path / "small.toml"
    text = SLOW.read_text(encoding="utf-8").replace('["1!1:1!10", "2!1:2!6"]', '["1!1:1!9"]')
    small.write_text(text.replace("# cells_file", "cells_file"), encoding="utf-8")
    chip, out = tmp_path / "chip.h5", tmp_path / "replay.h5"
    short = ("--set", "max_cycles=15")
    assert run("characterize", small, "--sample", 4, *short, "--out", chip)[0] == 0
    schedule = synthesize(tmp_path / "s.h5", [(1, 1, 3, 3)], steps=2, change_rate=0.3, seed=0)
    words = ("replay", small, schedule, "--characterization", chip, "--out", out)
    code, _, err = run(*words, "--hardware")
    assert code == 2
    assert "was measured on the simulated twin of small.toml" in err
    assert run(*words, "--log-wire")[0] == 0
    with open_run(out) as done:
        assert done.provenance["bench_file_name"] == "small.toml"
        assert len(done.table("visa")) > 100
    code, shown, _ = run("show", out)
    assert "bench file small.toml, SHA-256" in shown
