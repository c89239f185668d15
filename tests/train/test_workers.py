"""Two processes under torchrun against one: the same training within float tolerance, one set of files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quest_lab.errors import BadInput
from quest_lab.network import Network
from quest_lab.schedule import Schedule
from quest_lab.train.config import TrainConfig
from quest_lab.train.loop import train

CONFIG = TrainConfig(network="8-8M-8-F", epochs=1, batch_size=128, shift_pixels=1, device="cpu")
SCRIPT = """
import os, sys
from pathlib import Path
from quest_lab.train.config import TrainConfig
from quest_lab.train.loop import train

folder = Path(sys.argv[1])
folder = folder if os.environ["RANK"] == "0" else folder / "nowhere"  # the second must write nothing
train(TrainConfig(network="8-8M-8-F", epochs=1, batch_size=128, shift_pixels=1, device="cpu"),
      weights=folder / "w.h5", schedule=folder / "s.h5")
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process and what two wrote."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    train(CONFIG, weights=one / "w.h5", schedule=one / "s.h5")
    (two / "script.py").write_text(SCRIPT)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words += ["--local-addr=127.0.0.1", two / "script.py", two]  # the machine's own name may lead nowhere
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    return one, two


def test_two_processes_train_what_one_does(folders: tuple[Path, Path]) -> None:
    one, two = (Network.load(folder / "w.h5") for folder in folders)
    np.testing.assert_allclose(two.encoder_weight, one.encoder_weight, atol=2e-3)
    assert np.mean(two.levels != one.levels) < 0.01
    with Schedule.open(folders[0] / "s.h5") as a, Schedule.open(folders[1] / "s.h5") as b:
        losses = [[step.loss for step in schedule] for schedule in (a, b)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1][:2] == pytest.approx(losses[0][:2], rel=1e-5)  # before rounding has spread


def test_their_counts_are_of_the_whole_batch(folders: tuple[Path, Path]) -> None:
    """The first forward pass is of the same weights and images: its integers are equal, not close."""
    with Schedule.open(folders[0] / "s.h5") as a, Schedule.open(folders[1] / "s.h5") as b:
        one, two = next(iter(a)), next(iter(b))
    assert np.array_equal(two.taps, one.taps)
    assert np.array_equal(two.spikes_out, one.spikes_out)
    assert two.samples == one.samples == 128


def test_only_the_first_process_writes(folders: tuple[Path, Path]) -> None:
    assert sorted(path.name for path in folders[1].iterdir()) == ["s.h5", "script.py", "w.h5"]


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(BadInput, match="batch_size=128: cannot be divided evenly among 3"):
        train(CONFIG, weights=tmp_path / "w.h5", schedule=tmp_path / "s.h5")


def test_cuda_asked_for_where_there_is_none_is_refused(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(BadInput, match="torch sees no CUDA device"):
        train(replace(CONFIG, device="cuda"), weights=tmp_path / "w.h5", schedule=tmp_path / "s.h5")
