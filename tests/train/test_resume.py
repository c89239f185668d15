"""Killed, stopped and resumed: the same schedule, weights and epochs as undisturbed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from quest_lab.energy import count
from quest_lab.errors import BadInput, Diverged, Interrupted
from quest_lab.network import Network
from quest_lab.schedule import Schedule
from quest_lab.train.checkpoint import Checkpoint
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.data import load_dataset
from quest_lab.train.loop import Checkpoints, train

TINY = TrainConfig(network="8-8M-12-F", epochs=3, batch_size=128, learning_rate=4e-3)  # 10 batches an epoch

KILLED = """
import os, signal, sys, json  # torch is loaded once; what is killed is a process of its own each time
import sklearn.datasets  # of the digits: once too
from pathlib import Path
from quest_lab.train.config import TrainConfig
from quest_lab.train.loop import Checkpoints, train

def progress(what, done, total):
    if done == at:
        os.kill(os.getpid(), signal.SIGKILL)
for at in map(int, sys.argv[3:]):
    folder = Path(sys.argv[1], str(at))
    folder.mkdir()
    if os.fork():
        assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL
    else:
        train(TrainConfig(**json.loads(sys.argv[2])), weights=folder / "w.h5", schedule=folder / "s.h5",
              checkpoints=Checkpoints(folder / "c.h5", every_steps=4), progress=progress)
"""
KILLED_AT = (7, 10, 25)  # between checkpoints, at the end of an epoch, in the last one


def _train(folder: Path, config: TrainConfig = TINY, *, resume: bool = False, **kwargs: Any) -> TrainResult:
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder / "c.h5", every_steps=4, resume=resume)
    return train(config, weights=folder / "w.h5", schedule=folder / "s.h5", checkpoints=checkpoints, **kwargs)


def _contents(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda n, x: found.update({n: x[()].tobytes()} if isinstance(x, h5py.Dataset) else {})
        )
        found |= {name: str(value) for name, value in file.attrs.items()}
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return _train(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one folder for each training that was killed."""
    folder = tmp_path_factory.mktemp("killed")
    words = [sys.executable, "-c", KILLED, str(folder), json.dumps(asdict(TINY)), *map(str, KILLED_AT)]
    subprocess.run(words, check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which training was stopped after 14 steps."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        _train(folder, stop=_StopAfter(14))
    return folder


class _StopAfter:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted("stopped")


def _same(a: TrainResult, b: TrainResult) -> None:
    assert _contents(a.schedule) == _contents(b.schedule)
    assert a.weights.read_bytes() == b.weights.read_bytes()
    assert [e.loss for e in a.history] == [e.loss for e in b.history]
    assert all(np.array_equal(x.reads, y.reads) for x, y in zip(a.history, b.history, strict=True))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("at", KILLED_AT)
def test_killed_and_resumed_it_goes_on_bit_for_bit(killed: Path, undisturbed: TrainResult, at: int) -> None:
    folder = killed / str(at)
    assert not (folder / "s.h5").exists()
    _same(_train(folder, resume=True), undisturbed)


def test_stopped_and_resumed_it_goes_on_bit_for_bit(
    tmp_path: Path, stopped: Path, undisturbed: TrainResult
) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    _same(_train(folder, resume=True), undisturbed)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, stopped: Path) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    for other, words in (
        ({"network": "8-8-F"}, "network='8-8M-12-F' in the checkpoint"),
        ({"seed": 3}, "seed=0"),
    ):
        with pytest.raises(BadInput, match=words):
            _train(folder, replace(TINY, **other), resume=True)
    _train(folder, resume=True)  # and nothing was spoilt


def test_a_schedule_of_another_run_is_refused(tmp_path: Path, stopped: Path) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    with pytest.raises(Interrupted):
        _train(tmp_path / "other", replace(TINY, seed=1), stop=_StopAfter(14))
    shutil.copy(tmp_path / "other/s.h5", folder / "s.h5")
    with pytest.raises(BadInput, match="seed=1, the checkpoint has 0"):
        _train(folder, resume=True)


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"c\.h5: no such file"):
        _train(tmp_path, resume=True)
    (tmp_path / "c.h5").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(BadInput, match=r"c\.h5: not a whole checkpoint"):
        _train(tmp_path, resume=True)


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    _train(tmp_path, replace(TINY, epochs=1))
    with pytest.raises(BadInput, match="nothing is left to resume"):
        _train(tmp_path, replace(TINY, epochs=1), resume=True)


def test_a_checkpoint_is_data_alone(stopped: Path) -> None:
    with h5py.File(stopped / "c.h5") as file:
        kinds: set[str] = set()
        file.visititems(lambda _, x: kinds.add(x.dtype.kind) if isinstance(x, h5py.Dataset) else None)
    assert kinds <= set("fiu")
    assert Checkpoint.load(stopped / "c.h5").steps == 14


def test_nan_stops_names_the_layer_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    def spoil(run: Any) -> None:
        run.model.convs[1].weight.data[0, 0] = np.nan

    with pytest.raises(Diverged, match=r"epoch 2, batch 1: .*not finite: conv3 "):
        _train(tmp_path, on_epoch=spoil)
    saved = Checkpoint.load(tmp_path / "c.h5")
    assert saved.steps == 10
    assert all(np.isfinite(values).all() for values in saved.model.values())
    with Schedule.open(tmp_path / "s.h5") as schedule:
        assert (schedule.status, schedule.steps) == ("aborted", 10)
    assert not (tmp_path / "w.h5").exists()


def test_the_counts_of_the_epochs_are_those_of_the_schedule(undisturbed: TrainResult) -> None:
    with Schedule.open(undisturbed.schedule) as schedule:
        counts = count(schedule)
    for number, epoch in enumerate(undisturbed.history):
        own = slice(10 * number, 10 * number + 10)
        assert np.array_equal(epoch.transitions, counts.transitions[own].sum(0))
        assert np.array_equal(epoch.reads, counts.reads[own].sum(0))
        assert np.array_equal(epoch.weights, counts.levels[own][-1])


def test_the_resumed_weights_are_whole(tmp_path: Path, stopped: Path) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    done = _train(folder, resume=True)
    data = load_dataset("digits")
    assert Network.load(done.weights).accuracy(data.test_images, data.test_labels) == done.test_accuracy


def test_an_fp32_run_is_resumed_without_a_schedule(tmp_path: Path) -> None:
    config = replace(TINY, bits=32, epochs=2)
    whole = _train(tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        _train(tmp_path / "cut", config, stop=_StopAfter(13))
    again = _train(tmp_path / "cut", config, resume=True)
    assert again.weights.read_bytes() == whole.weights.read_bytes()
