"""`quest-lab energy` from the command line: states by a bound, both scopes, exports, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.characterization import Characterization
from quest_lab.characterization_file import to_result
from quest_lab.cli import main
from quest_lab.record import RunWriter
from quest_lab.schedule import synthesize
from quest_lab.sim.skmtj import SkMTJ

Told = Callable[..., tuple[int, str]]
FOUR = SkMTJ.preset("scaled", set_v=(0.5, 0.6, 0.7))  # four states: four choices of three


@pytest.fixture(scope="module")
def chip(
    characterized: Callable[[SkMTJ], Characterization], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("chip") / "chip.h5"
    with RunWriter.create(path, kind="characterization", title="", seed=0, settings={}) as run:
        run.add_result(to_result(characterized(FOUR)))
    return path


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schedule") / "s.h5"
    return synthesize(path, [(4, 4, 3, 3)], steps=4, change_rate=0.1, seed=0)


@pytest.fixture
def told(chip: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """told(*words): exit code and what was said of that chip."""

    def run(*words: str | Path) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(["energy", str(chip), *map(str, words)])
        said = capsys.readouterr()
        return int(end.value.code or 0), " ".join((said.out + said.err).split())

    return run


def test_a_bound_chooses_states_which_the_run_and_the_table_name(
    told: Told, schedule: Path, tmp_path: Path
) -> None:
    words = ("--max-decoding-error", "0.01", "--resamples", "3", "--out", tmp_path / "e.h5")
    code, said = told("--schedule", schedule, *words)
    assert code == 0
    assert "reset scope cell: (" in said
    assert "reset scope array: (" in said
    with open_run(tmp_path / "e.h5") as run:
        choices, states = run.result("choices"), run.settings["states"]
        cost = np.where(choices["error"].values <= 0.01, choices["sum_j"].values[:, 0], np.inf)
        assert cost.size == 4
        assert states == sorted({0, *choices["states"].values[cost.argmin()].tolist()})
        assert run.result("patterns").attrs["resamples"] == 3
        assert run.result("energy_matrix_array")["pulse_j_errors"].attrs["units"] == "J"
    assert f"{','.join(map(str, states))} are in use" in said


def test_matrices_need_no_schedule(told: Told, tmp_path: Path) -> None:
    code, said = told("--states", "0,2,3", "--resamples", "0", "--export", tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    assert code == 0
    assert "No intervals" in said
    assert [s["state"] for s in document["states"]] == [0, 2, 3]
    assert "patterns" not in document


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-decoding-error", "0.01", "--states", "0,1,3"), "want one of them"),
        (("--max-decoding-error", "0.7"), "want a probability above 0, below 0.5"),
        (("--max-decoding-error", "1e-300"), "no 3 states are read that well"),
        (("--export", "m.txt"), "want a name that ends with .json or .csv"),
    ],
)
def test_what_cannot_be_is_refused(told: Told, schedule: Path, words: tuple[str, ...], message: str) -> None:
    code, said = told("--schedule", schedule, *words)
    assert code == 2
    assert message in said


def test_without_a_schedule_nothing_is_ranked(told: Told, tmp_path: Path) -> None:
    code, said = told("--out", tmp_path / "e.h5")
    assert (code, "--out: wants a --schedule" in said) == (2, True)
