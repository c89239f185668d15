"""The journal of a run file: what a killed program had booked and not flushed comes back, in order and once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quest_lab.journal import journal_of
from quest_lab.record import RunWriter, open_run
from quest_lab.runstart import part_of
from quest_lab.runwriter import absorb_journal
from quest_lab.schema import Kind, Op, Origin, Outcome

CELLS = np.array([4, 1, 7])


def book(run: RunWriter, number: int) -> None:
    run.intend(Kind.APPLY, Op.VOLTAGE, float(number), 1e-6, 0.5, CELLS)
    done = Kind.APPLY, Op.VOLTAGE, Outcome.DONE, Origin.COMPUTED
    run.call(*done, float(number), 1e-6, 0.5, CELLS, np.full(3, float(number)))


def killed(folder: Path, cut: int = 0) -> Path:
    """What is on disk after two calls that were flushed, three that were not, and an intent; `cut` bytes short."""
    out, left = folder / "run.h5", folder / "left.h5"
    with RunWriter.create(out, kind="yield", title="", seed=0, settings={}, monotonic=lambda: 0.0) as run:
        run.keep_each_call()
        for number in range(2):
            book(run, number)
        run.flush()
        for number in range(2, 5):
            book(run, number)
        run.intend(Kind.APPLY, Op.VOLTAGE, 5.0, 1e-6, 0.5, CELLS)
        part_of(left).write_bytes(part_of(out).read_bytes())
        data = journal_of(out).read_bytes()
        journal_of(left).write_bytes(data[: len(data) - cut])
    assert not journal_of(out).exists()
    return left


@pytest.mark.parametrize(
    ("cut", "calls", "known"), [(0, 6, 5), (1, 5, 5), (70, 5, 4), (200, 4, 3), (10_000, 2, 2)]
)
def test_what_was_booked_comes_back(tmp_path: Path, cut: int, calls: int, known: int) -> None:
    left = killed(tmp_path, cut)
    absorb_journal(left)
    absorb_journal(left)
    with open_run(left) as run:
        assert run.calls["amplitude"].tolist() == list(range(calls))
        assert (run.calls["outcome"] == Outcome.DONE).tolist() == [True] * known + [False] * (calls - known)
        assert run.applies["cell"].tolist() == CELLS.tolist() * calls
        np.testing.assert_array_equal(run.applies["energy_j"][: 3 * known], np.repeat(np.arange(known), 3))


def test_a_journal_that_the_file_is_ahead_of_is_not_told_twice(tmp_path: Path) -> None:
    """Killed between the flush and the emptying of the journal."""
    out = tmp_path / "run.h5"
    with RunWriter.create(out, kind="yield", title="", seed=0, settings={}, monotonic=lambda: 0.0) as run:
        run.keep_each_call()
        book(run, 0)
        before = journal_of(out).read_bytes()
        run.flush()
        part_of(tmp_path / "left.h5").write_bytes(part_of(out).read_bytes())
    journal_of(tmp_path / "left.h5").write_bytes(before)
    absorb_journal(tmp_path / "left.h5")
    with open_run(tmp_path / "left.h5") as found:
        assert len(found.calls) == 1
        assert len(found.applies) == 3
