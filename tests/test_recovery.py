"""What a cut-off run leaves in doubt is found, is never overwritten, and is read before anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_bench, open_run
from quest_lab.clock import VirtualClock
from quest_lab.device import FieldPulse, VoltagePulse
from quest_lab.errors import BadInput, DeviceError
from quest_lab.record import Recorded, RunWriter, part_of
from quest_lab.recovery import leftovers, open_calls, recover
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

PULSE, FIELD = VoltagePulse(0.6, 2e-8), FieldPulse(0.1, 1e-6)


class Dies(Exception):
    """Stands for the end of the program: nothing is booked after it."""


class Chip(SimulatedChip):
    """A chip whose program dies, or that fails, at the next pulse if told so."""

    error: Exception | None = None

    def apply(self, operation, cells, *, then_read=False):
        if self.error is not None:
            raise self.error
        return super().apply(operation, cells, then_read=then_read)


@pytest.fixture
def chip() -> Iterator[Chip]:
    array = CellArray(SkMTJ.preset("scaled"), 8, seed=0)
    yield Chip(array, VirtualClock())
    array.close()


def cut_off(path: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch, cells: list[int]) -> None:
    """A run that got through two pulses and a read, and died in a pulse on `cells`."""
    run = RunWriter.create(path, kind="session", title="", seed=0, settings={"chip_id": "die"})
    device = Recorded(chip, run, VirtualClock(), immediate=True)
    device.apply(PULSE, np.array([1, 2]))
    device.apply(FIELD, np.arange(8), then_read=True)
    chip.error = Dies()
    monkeypatch.setattr(Recorded, "_broke_off", lambda *_: None)
    with pytest.raises(Dies):
        device.apply(PULSE, np.array(cells))
    monkeypatch.undo()
    chip.error = None
    run.flush()
    run._file.close()


def test_the_open_intent_is_found_with_its_cells(tmp_path, chip, monkeypatch) -> None:
    cut_off(tmp_path / "run.h5", chip, monkeypatch, [5, 3])
    with open_run(tmp_path / "run.h5") as run:
        (call,) = open_calls(run)
    assert (call.row, call.pulse, call.cells.tolist()) == (3, "0.6 V, 2e-08 s", [3, 5])


def test_an_ambiguous_cell_that_was_read_later_is_not_in_doubt(tmp_path, chip) -> None:
    with RunWriter.create(tmp_path / "run.h5", kind="session", title="", seed=0, settings={}) as run:
        device = Recorded(chip, run, VirtualClock(), immediate=True)
        chip.error = DeviceError("lost", ambiguous=np.array([4, 6]))
        with pytest.raises(DeviceError):
            device.apply(PULSE, np.array([4, 6, 7]))
        device.read(np.array([6]))
    with open_run(tmp_path / "run.h5") as opened:
        assert [call.cells.tolist() for call in open_calls(opened)] == [[4]]


@pytest.mark.parametrize("overwrite", [False, True])
def test_such_a_run_is_never_overwritten(tmp_path, chip, monkeypatch, overwrite) -> None:
    path = tmp_path / "run.h5"
    cut_off(path, chip, monkeypatch, [3])
    before = part_of(path).read_bytes()
    with (
        pytest.raises(
            BadInput, match=r"0.6 V, 2e-08 s\) may or may not have reached cells 3: --recover reads"
        ),
        open_bench("scaled", cells=8, run=path, overwrite=overwrite),
    ):
        pass
    assert part_of(path).read_bytes() == before


def test_another_chips_run_is_not_recovered(tmp_path, chip, monkeypatch) -> None:
    cut_off(tmp_path / "run.h5", chip, monkeypatch, [3])
    with pytest.raises(BadInput, match="is of chip die, not of other"):
        leftovers(tmp_path / "run.h5", "other", recover=True)


def test_recovering_reads_the_cells_notes_it_and_keeps_the_old_run(tmp_path, chip, monkeypatch) -> None:
    path = tmp_path / "run.h5"
    cut_off(path, chip, monkeypatch, [5, 3])
    left = leftovers(path, "die", recover=True)
    assert [one.part.name for one in left] == ["run.cut-off-1.h5.part"]
    with RunWriter.create(path, kind="session", title="", seed=0, settings={}) as run:
        recover(Recorded(chip, run, VirtualClock(), immediate=True), run, left)
    with open_run(path) as new, open_run(tmp_path / "run.cut-off-1.h5") as old:
        assert new.reads["cell"].tolist() == [3, 5]
        assert new.marks["name"].tolist() == ["recovered"]
        assert new.marks["text"][0].startswith(
            "run.cut-off-1.h5, call 3: 0.6 V, 2e-08 s may or may not have rea"
        )
        assert old.status == "running"
    assert leftovers(path, "die", recover=True) == []


def test_a_recovery_that_fails_is_not_forgotten(tmp_path, chip, monkeypatch) -> None:
    path = tmp_path / "run.h5"
    cut_off(path, chip, monkeypatch, [3])
    leftovers(path, "die", recover=True)  # and then the instruments do not answer
    cut_off(path, chip, monkeypatch, [4])
    with pytest.raises(BadInput, match=r"run.cut-off-1.h5.part: .* cells 3: --recover"):
        leftovers(path, "die", recover=False)
    left = leftovers(path, "die", recover=True)
    assert [(one.part.name, one.calls[0].cells.tolist()) for one in left] == [
        ("run.cut-off-1.h5.part", [3]),
        ("run.cut-off-2.h5.part", [4]),
    ]


def test_a_cut_off_run_without_doubt_is_the_users_to_overwrite(tmp_path, chip) -> None:
    run = RunWriter.create(tmp_path / "run.h5", kind="session", title="", seed=0, settings={})
    Recorded(chip, run, VirtualClock(), immediate=True).apply(PULSE, np.array([1]))
    run._file.close()
    with open_bench("scaled", cells=8, run=tmp_path / "run.h5", overwrite=True):
        pass
