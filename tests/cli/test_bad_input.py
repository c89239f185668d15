"""Bad input: one clear message on stderr, the right exit code, no traceback, nothing half-done left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from quest_lab.cli import main
from quest_lab.network import Network
from quest_lab.schedule import synthesize

CELLS = 4 * 4 * 9


@pytest.fixture(scope="module")
def chip_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A characterised chip of as many cells as the schedules below have weights."""
    out = tmp_path_factory.mktemp("chip") / "chip.h5"
    with pytest.raises(SystemExit) as end:
        main(["characterize", "scaled", "--cells", str(CELLS), "--sample", "32", "--out", str(out),
              "--set", "repeats=2", "--set", "max_cycles=10"])  # fmt: skip
    assert end.value.code == 0
    return out


@pytest.fixture
def schedule(tmp_path: Path) -> Path:
    return synthesize(tmp_path / "s.h5", [(4, 4, 3, 3)], steps=4, change_rate=0.1, seed=0)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """fails(*words) runs the command line, expects exit code 2, and returns the message."""

    def run(*words: str | Path) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(w) for w in words])
        said = capsys.readouterr().err
        assert end.value.code == 2, said
        assert "Traceback" not in said
        return said

    return run


def replay(schedule: Path, found: Path, out: Path, *more: str) -> list[str | Path]:
    return ["replay", "scaled", schedule, "--characterization", found, "--out", out, *more]


def test_a_missing_run_file_is_named(fails: Callable[..., str], tmp_path: Path) -> None:
    assert "nothing.h5" in fails("show", tmp_path / "nothing.h5")


def test_a_truncated_run_file_is_named(fails: Callable[..., str], tmp_path: Path, chip_run: Path) -> None:
    cut = tmp_path / "cut.h5"
    cut.write_bytes(chip_run.read_bytes()[:5000])
    assert "cut.h5" in fails("show", cut)


def test_a_foreign_hdf5_file_is_told_from_a_run(fails: Callable[..., str], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = np.arange(3)
    assert "foreign.h5" in fails("show", tmp_path / "foreign.h5")


def test_a_replay_whose_simulated_cells_are_lost_is_not_gone_on_with(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, schedule: Path
) -> None:
    said = fails(*replay(schedule, chip_run, tmp_path / "o.h5", "--resume"))
    assert "--resume: the simulated cells of scaled ended with the command that was cut off" in said


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("cycles=3", "characterize knows start_v=, stop_v=, step_v=0.01"),
        ("step_v=wide", "'wide' is not a number"),
        ("repeats=1.5", "'1.5' is not an integer"),
        ("start_v=-1", "start_v=-1.0: want a finite amplitude above 0 V"),
    ],
)
def test_a_setting_that_characterize_does_not_know(
    fails: Callable[..., str], tmp_path: Path, word: str, names: str
) -> None:
    assert names in fails("characterize", "scaled", "--out", tmp_path / "c.h5", "--set", word)
    assert not list(tmp_path.iterdir())


def test_a_text_file_as_a_schedule(fails: Callable[..., str], tmp_path: Path, chip_run: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    assert "text.h5" in fails(*replay(tmp_path / "text.h5", chip_run, tmp_path / "o.h5"))
    assert not (tmp_path / "o.h5.part").exists()


def test_a_run_without_a_characterisation(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, schedule: Path
) -> None:
    energies = tmp_path / "e.h5"
    with pytest.raises(SystemExit):
        main(["energy", str(chip_run), "--schedule", str(schedule), "--out", str(energies)])
    said = fails(*replay(schedule, energies, tmp_path / "o.h5"))
    assert "e.h5" in said
    assert "characterization" in said


def test_a_schedule_of_more_bits_than_the_states_given(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path
) -> None:
    three_bits = synthesize(tmp_path / "b3.h5", [(4, 4, 3, 3)], steps=2, change_rate=0.1, seed=0, bits=3)
    said = fails(*replay(three_bits, chip_run, tmp_path / "o.h5", "--states", "0,3,6"))
    assert "7 weight levels need 7 states" in said


def test_states_that_the_chip_does_not_have(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, schedule: Path
) -> None:
    assert "7 states" in fails(*replay(schedule, chip_run, tmp_path / "o.h5", "--states", "0,3,9"))


def test_another_bench_than_the_characterised_one(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, schedule: Path
) -> None:
    said = fails("replay", "lab", schedule, "--characterization", chip_run, "--out", tmp_path / "o.h5")
    assert "'scaled'" in said
    assert "'lab'" in said


def test_an_existing_output_is_refused_and_kept(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, schedule: Path
) -> None:
    out = tmp_path / "o.h5"
    out.write_bytes(b"precious")
    assert "--overwrite" in fails(*replay(schedule, chip_run, out))
    assert out.read_bytes() == b"precious"


def test_a_dataset_folder_without_its_files(fails: Callable[..., str], tmp_path: Path) -> None:
    said = fails("train", "--dataset", "cifar10", "--data", tmp_path, "--out", tmp_path / "trained")
    assert "data_batch_1.bin" in said
    assert "3072" in said


def test_a_chip_file_of_another_chip(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, schedule: Path
) -> None:
    other = tmp_path / "other.cells"
    with pytest.raises(SystemExit):
        main(["characterize", "scaled", "--cells", "64", "--sample", "32", "--chip", str(other),
              "--out", str(tmp_path / "c.h5")])  # fmt: skip
    said = fails(*replay(schedule, chip_run, tmp_path / "o.h5", "--chip", str(other)))
    assert "other.cells" in said
    assert "64" in said


def test_a_damaged_characterisation_names_the_field(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, schedule: Path
) -> None:
    broken = tmp_path / "broken.h5"
    shutil.copy(chip_run, broken)
    with h5py.File(broken, "r+") as file:
        del file["entry/results/characterization/baseline_ohm"]
    said = fails(*replay(schedule, broken, tmp_path / "o.h5"))
    assert "baseline_ohm" in said
    assert "broken.h5" in said


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("baseline_ohm", np.nan, "baseline_ohm has values that are not finite"),
        ("cells", -7, "cells has values below 0, the least is -7"),
        ("estimate_swing_low", None, "No variable named 'estimate_swing_low'"),
    ],
)
def test_a_characterisation_with_values_that_cannot_be(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path, field: str, value: float | None, says: str
) -> None:
    broken = shutil.copy(chip_run, tmp_path / "broken.h5")
    with h5py.File(broken, "r+") as file:
        result = file["entry/results/characterization"]
        if value is None:
            del result[field]
        else:
            result[field][0] = value
    assert f"broken.h5: result 'characterization': {says}" in fails("energy", broken)


TRAIN = ("train", "--network", "4-4M-A", "--epochs", "1", "--batch", "640")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--network", "vgg7"), "names are vgg6, vgg8, vgg9, vgg16"),
        (("--network", "8M-8M-8M-8M"), "pooling of part 4 of 4 leaves nothing of images of 8x8 pixels"),
        (("--bits", "9"), "bits=9: want 2 to 8, or 32"),
        (("--neuron", "lif"), "neuron='lif': want if-hard"),
        (("--encoding", "phase"), "encoding='phase': want one of direct, rate, latency"),
        (("--config", "none.toml"), "none.toml: no such file"),
    ],
)
def test_a_training_that_cannot_be_is_refused(
    fails: Callable[..., str], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    assert message in fails(*TRAIN, *words, "--out", tmp_path / "trained")


def test_a_config_file_is_taken_and_the_command_line_goes_over_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.toml").write_text('bits = 32\nneuron = "lif-soft"\nbatch_size = 640\nepochs = 50\n')
    with pytest.raises(SystemExit) as end:
        main([*TRAIN, "--config", str(tmp_path / "net.toml"), "--out", str(tmp_path / "trained")])
    assert end.value.code == 0
    assert "schedule: none, an FP32 network writes no levels" in capsys.readouterr().out
    network = Network.load(tmp_path / "trained" / "weights.h5")
    assert (network.bits, str(network.neuron), network.topology.text) == (32, "lif-soft", "4-4M-A")


def test_an_fp32_network_cannot_be_validated(
    fails: Callable[..., str], tmp_path: Path, chip_run: Path
) -> None:
    with pytest.raises(SystemExit):
        main([*TRAIN, "--bits", "32", "--out", str(tmp_path)])
    weights = tmp_path / "weights.h5"
    said = fails("validate", "scaled", weights, "--characterization", chip_run, "--out", tmp_path / "v.h5")
    assert "weights.h5: an FP32 network has no levels to write into cells" in said
    with pytest.raises(SystemExit) as end:
        main(["report", str(weights), "--out", str(tmp_path / "report")])
    assert end.value.code == 0
