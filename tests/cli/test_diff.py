"""`quest-lab diff` as it is typed: exit codes, and the words that name a difference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from quest_lab.cli import main
from quest_lab.schedule import synthesize

CELLS = 36


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: chip.h5 and replay.h5 of a chip, their copies again.h5 and replay-again.h5, small.h5 of another."""
    folder = tmp_path_factory.mktemp("runs")
    schedule = synthesize(folder / "s.h5", [(2, 2, 3, 3)], steps=4, change_rate=0.1, seed=0)
    for cells, name in ((CELLS, "chip"), (CELLS - 1, "small")):
        command = ["characterize", "scaled", "--cells", cells, "--sample", 16, "--out", folder / f"{name}.h5"]
        assert call(*command) == 0
    of_chip = ["--characterization", folder / "chip.h5", "--out", folder / "replay.h5"]
    assert call("replay", "scaled", schedule, *of_chip) == 0
    shutil.copy(folder / "chip.h5", folder / "again.h5")
    shutil.copy(folder / "replay.h5", folder / "replay-again.h5")
    return folder


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def told(runs: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """told(a, b, ...): exit code, and what was printed."""

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = call("diff", *(runs / w if str(w).endswith(".h5") else w for w in words))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.mark.parametrize("pair", [("chip.h5", "again.h5"), ("replay.h5", "replay-again.h5")])
@pytest.mark.parametrize("level", [[], ["--events"]])
def test_equal_runs_end_with_0(
    told: Callable[..., tuple[int, str]], pair: tuple[str, str], level: list[str]
) -> None:
    code, said = told(*pair, *level)
    assert code == 0
    assert "equal" in said


@pytest.mark.parametrize("kind", ["chip", "replay"])
def test_one_changed_read_ends_with_1_and_is_named(
    told: Callable[..., tuple[int, str]], runs: Path, kind: str
) -> None:
    changed = shutil.copy(runs / f"{kind}.h5", runs / f"{kind}-changed.h5")
    with h5py.File(changed, "r+") as file:
        reads = file["entry/reads"]
        cell = int(reads["cell"][-1])
        reads["resistance_ohm"][-1] *= 1.3
    code, said = told(f"{kind}.h5", f"{kind}-changed.h5")
    assert code == 1
    assert f"different: 1 of {CELLS} cells; first cell {cell}, its event " in said
    assert told(f"{kind}.h5", f"{kind}-changed.h5", "--events")[0] == 1


def test_other_chips_other_kinds_and_broken_files_end_with_2(
    told: Callable[..., tuple[int, str]], runs: Path
) -> None:
    (runs / "cut.h5").write_bytes((runs / "chip.h5").read_bytes()[:5000])
    assert told("chip.h5", "small.h5") == (
        2,
        f"error: {runs / 'chip.h5'} is of 36 cells, {runs / 'small.h5'} of 35: not comparable\n",
    )
    assert told("chip.h5", "replay.h5")[0] == 2
    code, said = told("chip.h5", "cut.h5")
    assert (code, "truncated" in said) == (2, True)


def test_a_replay_without_its_characterisation_asks_for_it(
    told: Callable[..., tuple[int, str]], runs: Path, tmp_path: Path
) -> None:
    alone = Path(shutil.copy(runs / "replay.h5", tmp_path / "alone.h5"))
    code, said = told("replay.h5", alone)
    assert code == 2
    assert "give --characterization" in said
    assert told("replay.h5", alone, "--characterization", "chip.h5")[0] == 0


def test_changes_of_a_chip_are_told_in_sigma(told: Callable[..., tuple[int, str]], runs: Path) -> None:
    assert call("characterize", "scaled", "--cells", CELLS, "--sample", 16, "--seed", 1,
                "--out", runs / "other.h5", "--overwrite") == 0  # fmt: skip
    code, said = told("chip.h5", "other.h5")
    assert code == 1
    assert "set pulse of R1" in said
    assert "in sigma" in said
    assert "settings: seed" in said
