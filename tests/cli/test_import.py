"""`quest-lab import`, and what is imported in the cells of a chip."""

from __future__ import annotations

from pathlib import Path

import pytest

from quest_lab.cli import characterize, import_, validate
from quest_lab.errors import BadInput
from quest_lab.protocols.characterize import CharacterizeSettings

PEERS = Path(__file__).parents[1] / "imports" / "peers"
NET = PEERS / "spikingjelly.nir"
READING = import_.Reading(time_steps=6, written_by="spikingjelly")
DELAYED = import_.Reading(time_steps=6, written_by="snntorch", neuron="lif-delayed")


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chip") / "chip.h5"
    characterize.execute(device="scaled", out=path, cells=9700, sample=48,
                         settings=CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20))  # fmt: skip
    return path


def test_an_imported_network_keeps_its_accuracy_in_the_cells(tmp_path: Path, chip: Path) -> None:
    """A LeNet that snnTorch trained on other digits: 95 % in FP32, at most three points less with seven levels."""
    done = import_.execute(
        file=PEERS / "snntorch-lenet.nir", out=tmp_path / "w.h5", dataset="digits", bits=3, reading=DELAYED,
        characterization=chip,
    )  # fmt: skip
    assert done.accuracy > 0.94
    assert done.quantised_accuracy is not None
    assert done.quantised_accuracy > done.accuracy - 0.03
    found = validate.execute(
        device="scaled", weights=tmp_path / "w.h5", characterization=chip, out=tmp_path / "v.h5",
        states=None, data=None, chip=None, overwrite=False,
    )  # fmt: skip
    assert found.accuracy["ideal integer network"] == done.quantised_accuracy
    assert found.accuracy["decoded read-back, closed loop"] > done.quantised_accuracy - 0.03


def test_more_levels_than_the_cells_have_states_are_refused(tmp_path: Path, chip: Path) -> None:
    with pytest.raises(BadInput, match="15 weight levels do not fit into the 7 states"):
        import_.execute(
            file=NET, out=tmp_path / "w.h5", dataset="digits", bits=4, reading=READING, characterization=chip
        )
    assert not (tmp_path / "w.h5").exists()


def test_options_of_the_other_kind_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--network: only of a state dict"):
        import_.execute(
            file=NET, out=tmp_path / "w.h5", dataset="digits", reading=import_.Reading(network="8-8-F")
        )
