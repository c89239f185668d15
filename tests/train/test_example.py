"""The example that writes a schedule from a plain PyTorch loop, run as a user runs it."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from quest_lab.energy import count
from quest_lab.schedule import Schedule

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_pytorch_schedule.py"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("example") / "schedule.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [str(EXAMPLE), str(path)])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    return path


def test_its_schedule_is_whole_and_counts_every_step(written: Path) -> None:
    with Schedule.open(written) as schedule:
        assert (schedule.status, schedule.steps, schedule.weights) == ("complete", 40, 72 + 576)
        assert schedule.writes > 0
        assert np.array_equal(schedule.levels_at(schedule.steps), schedule.final_levels)
        assert len({step.stage for step in schedule}) == 4


def test_its_reads_are_spikes_times_kernel_times_outputs(written: Path) -> None:
    """A spike inside the image meets 9 taps of 8 output channels; at the border fewer."""
    with Schedule.open(written) as schedule:
        reads = count(schedule).reads.sum(axis=2)
        entered = np.array([step.spikes_in for step in schedule])
    assert np.all(reads <= 72 * entered)
    assert np.all(reads > 72 * entered * (4 / 9))
