"""`quest-lab validate` from options to tables: tiles, resume, encodings, and what is refused before a pulse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.cli import characterize, main
from quest_lab.layers import Topology
from quest_lab.network import Layer, Network
from quest_lab.protocols.characterize import CharacterizeSettings


def save_network(path: Path, bits: int) -> Path:
    """One layer of 36 random weights for the digits."""
    rng, top = np.random.default_rng(0), 2 ** (bits - 1) - 1
    topology = Topology.parse("2M-2M-A", (1, 8, 8), 10)
    info = topology.layers()[0]
    layers = (Layer(info, rng.integers(-top, top + 1, info.shape).astype(np.int8), 0.4, True),)
    floats = lambda *shape: rng.normal(0, 1, shape).astype(np.float32)  # noqa: E731 - shorthand
    Network(
        topology=topology, bits=bits, time_steps=2, theta=0.5, encoder_weight=floats(2, 1, 3, 3),
        encoder_bias=floats(2), layers=layers, head_weight=floats(10, 2), head_bias=floats(10),
        mean=np.zeros(1, np.float32), std=np.ones(1, np.float32), dataset="digits",
        class_names=tuple("0123456789"), seed=0,
    ).save(path)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("weights") / "weights.h5", bits=2)


@pytest.fixture(scope="module")
def chip_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A characterised chip of 32 cells: fewer than there are weights."""
    out = tmp_path_factory.mktemp("chip") / "chip.h5"
    quick = CharacterizeSettings(confidence=0.2, repeats=2, max_cycles=20)
    characterize.execute(device="scaled", out=out, cells=32, sample=None, chip=None, seed=0, overwrite=False,
                         settings=quick)  # fmt: skip
    return out


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return int(end.value.code or 0)


def test_a_network_larger_than_the_chip_is_validated_tile_by_tile(
    weights: Path, chip_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["validate", "scaled", weights, "--characterization", chip_run, "--out", tmp_path / "v.h5"]
    assert run(*command) == 2
    assert "needs 36 cells, scaled-32-seed0 has 32 with a baseline" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    options = [
        "--tiles",
        "--wait",
        "10 min",
        "--read-at",
        "0.05 V",
        "--images",
        "50",
        "--objective",
        "pulses",
    ]
    assert run(*command, *options) == 0
    told = capsys.readouterr()
    said = " ".join(told.out.split())  # lines are wrapped
    assert "in 2 tiles" in said
    assert "On 50 images" in said
    assert "writes and read-backs of tiles: " in told.err
    with open_run(tmp_path / "v.h5") as kept:
        names = kept.result("accuracy")["row_name"].values.tolist()
        assert kept.settings["objective"] == "pulses"
    for name in (
        "decoded read-back, closed loop, at 0.05 V, after 10 min",
        "reference analogue, as read",
        "differential analogue, baselines corrected, after 10 min",
    ):
        assert name in names
    assert run(*command, *options, "--resume") == 2
    assert "is complete: nothing to resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--wait", "10"), "--wait '10': has no unit; want s"),
        (("--read-at", "0.1 V,2 s"), "--read-at '2 s': is in s, which cannot be V"),
        (("--read-at", "0.3 V"), "read at 0.3 V: outside 0.01 to 0.2 V"),
        (("--analogue", "binary"), "analogue encoding 'binary': want reference or differential"),
        (("--states", "0,6"), "3 weight levels need 3 states, 2 given"),
        (("--resume",), "nothing.h5: no such file"),
    ],
)
def test_what_cannot_be_is_refused(
    weights: Path, chip_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    out = tmp_path / "nothing.h5"
    command = ("validate", "scaled", weights, "--characterization", chip_run, "--out", out, "--tiles")
    assert run(*command, *words) == 2
    assert message in capsys.readouterr().err
