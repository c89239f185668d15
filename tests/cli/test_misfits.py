"""What does not fit together: another chip, too many levels, too many weights, too small a budget. Every command that
can meet it, on a simulated chip and on a bench: said with exit code 2 before a pulse is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from quest_lab.budget import Budget, read_ledger
from quest_lab.cli import characterize, common, main
from quest_lab.examples import example_benches
from quest_lab.layers import Topology
from quest_lab.network import Layer, Network
from quest_lab.protocols.characterize import CharacterizeSettings
from quest_lab.schedule import synthesize
from quest_lab.session import open_bench
from quest_lab.sim.presets import cells_of

QUICK = CharacterizeSettings(confidence=0.2, repeats=2, max_cycles=2, step_v=0.04)
CELLS = 16
Says = Callable[..., str]


@dataclass(frozen=True)
class Chip:
    """A device of 16 cells by its name on the command line, and its characterisation."""

    device: str
    found: Path


@pytest.fixture(scope="module", params=["scaled", "bench.toml"])
def chip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Chip:
    folder = tmp_path_factory.mktemp("chip")
    device = request.param if request.param == "scaled" else str(bench(folder))
    characterize.execute(device=device, out=folder / "chip.h5", cells=CELLS, settings=QUICK)
    return Chip(device, folder / "chip.h5")


def bench(folder: Path, *changes: tuple[str, str]) -> Path:
    text = example_benches()["slow-matrix"].read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "bench.toml").write_text(text, encoding="utf-8")
    return folder / "bench.toml"


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    """says(*words): the one message of a command line that is refused."""

    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        said = capsys.readouterr().err
        assert end.value.code == 2, said
        assert "Traceback" not in said
        return " ".join(said.split())

    return run


def network(folder: Path, text: str, bits: int) -> Path:
    """Weights for the digits: 9 in `1M-1M-A`, 36 in `2M-2M-A`."""
    topology, top = Topology.parse(text, (1, 8, 8), 10), 2 ** (bits - 1) - 1
    info, width = topology.layers()[0], topology.features
    layer = Layer(info, np.resize(np.arange(-top, top + 1, dtype=np.int8), info.shape), 0.4, True)
    ones = lambda *shape: np.ones(shape, np.float32)  # noqa: E731 - shorthand
    Network(
        topology=topology, bits=bits, time_steps=2, theta=0.5, encoder_weight=ones(width, 1, 3, 3),
        encoder_bias=ones(width), layers=(layer,), head_weight=ones(10, width), head_bias=ones(10),
        mean=np.zeros(1, np.float32), std=ones(1), dataset="digits", class_names=tuple("0123456789"), seed=0,
    ).save(folder / "w.h5")  # fmt: skip
    return folder / "w.h5"


def words(
    command: str, device: str, found: Path, folder: Path, text: str = "1M-1M-A", bits: int = 2
) -> list[object]:
    """A command line that would do something with a network of this size on this chip."""
    side = int(text[0])
    if command == "train":
        return ["train", "--network", text, "--bits", bits, "--epochs", 1, "--on", device, "--characterization", found,
                "--out", folder / "out"]  # fmt: skip
    if command == "validate":
        return [command, device, network(folder, text, bits), "--characterization", found,
                "--out", folder / "o.h5"]  # fmt: skip
    if command == "characterize" or command.startswith("measure"):
        return [*command.split(), device, "--out", folder / "o.h5"]
    shape = (side, side, 3, 3)
    schedule = synthesize(folder / "s.h5", [shape], steps=3, change_rate=0.3, seed=0, bits=bits)
    if command == "energy":
        return ["energy", found, "--schedule", schedule]
    return ["replay", device, schedule, "--characterization", found, "--out", folder / "o.h5"]


@pytest.mark.parametrize("command", ["energy", "replay", "validate", "train"])
def test_more_levels_than_states_that_reads_tell_apart(
    chip: Chip, says: Says, tmp_path: Path, command: str
) -> None:
    said = says(*words(command, chip.device, chip.found, tmp_path, bits=4))
    assert re.search(r"15 weight levels do not fit into the \d states", said)


@pytest.mark.parametrize("command", ["replay", "validate", "train"])
def test_more_weights_than_cells(chip: Chip, says: Says, tmp_path: Path, command: str) -> None:
    said = says(*words(command, chip.device, chip.found, tmp_path, "2M-2M-A"))
    assert re.search(
        r"placement of 36 weights, 1 cells each: needs 36 cells, \S+ has 16 with a baseline", said
    )


@pytest.mark.parametrize("command", ["replay", "validate", "train"])
def test_a_characterisation_of_another_chip(chip: Chip, says: Says, tmp_path: Path, command: str) -> None:
    if chip.device == "scaled":
        cells_of("scaled", CELLS, seed=1, chip_id="scaled-16-seed1", path=tmp_path / "cells").close()
        said = says(*words(command, chip.device, chip.found, tmp_path), "--chip", tmp_path / "cells")
        assert "chip_id is 'scaled-16-seed1', this chip wants 'scaled-16-seed0'" in said
    else:
        other = bench(tmp_path, ('id = "skmtj-die-7"', 'id = "skmtj-die-8"'))
        said = says(*words(command, str(other), chip.found, tmp_path))
        assert "is of chip skmtj-die-7-twin, the device is skmtj-die-8-twin" in said


@pytest.mark.parametrize("command", ["characterize", "measure yield", "replay", "validate", "train"])
def test_a_budget_that_does_not_suffice(
    chip: Chip, says: Says, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted here as a chip on hardware is: the energy of a simulated chip, the pulses of a twin."""
    device, ledger, budget, left = chip.device, tmp_path / "ledger", Budget(energy_j=1e-15), "1e-15 J are"
    if device != "scaled":
        limits = ("# pulses_per_cell = 1000000", "pulses_per_cell = 1"), ("# ledger =", "ledger =")
        device, budget, left = str(bench(tmp_path, *limits)), None, "1 (pulses )?are"
    monkeypatch.setattr(common, "open_bench", partial(open_bench, ledger=ledger, budget=budget))
    said = says(*words(command, device, chip.found, tmp_path))
    assert re.search(rf"cell \d+.* {left} left.*: [\d.e-]+ (J |pulses )?(short|too few)", said)
    assert not read_ledger(ledger).pulses.any()
    assert not list(tmp_path.glob("*.part"))
