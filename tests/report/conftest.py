"""Small real runs: characterised, energies computed, replayed and validated by the commands' own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from quest_lab.characterization_file import load_characterization
from quest_lab.cli import characterize, energy, replay
from quest_lab.cli.common import chip_of
from quest_lab.layers import Topology
from quest_lab.network import Layer, Network
from quest_lab.protocols.characterize import CharacterizeSettings
from quest_lab.protocols.validate import validate
from quest_lab.schedule import synthesize

NETWORK = "4-8-4-A"
SHAPES = [(8, 4, 3, 3), (4, 8, 3, 3)]
CELLS = 600  # 576 weights
FEW = energy.Asked(resamples=10)
QUICK = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)


@dataclass(frozen=True)
class Runs:
    """Files of one chip; `every` in an order that is not the page's."""

    characterization: Path
    schedule: Path
    energy: Path
    replay: Path

    @property
    def every(self) -> list[Path]:
        return [self.replay, self.energy, self.characterization, self.schedule]


def make_runs(folder: Path, device: str, bits: int, steps: int = 30) -> Runs:
    runs = Runs(*(folder / f"{n}.h5" for n in ("chip", "schedule", "energy", "replay")))
    synthesize(runs.schedule, SHAPES, steps=steps, change_rate=0.03, seed=1, bits=bits)
    characterize.execute(device=device, out=runs.characterization, cells=CELLS, sample=48, chip=None, seed=1,
                         overwrite=False, settings=QUICK)  # fmt: skip
    full = load_characterization(runs.characterization)
    energy.execute(full=full, schedule=runs.schedule, out=runs.energy, overwrite=False, asked=FEW)
    replay.execute(device=device, schedule=runs.schedule, characterization=runs.characterization,
                   out=runs.replay, states=None, chip=None, steps=None, overwrite=False)  # fmt: skip
    return runs


@pytest.fixture(scope="session")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """2 bits on cells that are reset one by one."""
    return make_runs(tmp_path_factory.mktemp("scaled"), "scaled", 2)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """2 bits on an array that is reset as a whole."""
    return make_runs(tmp_path_factory.mktemp("lab"), "lab", 2)


@pytest.fixture(scope="session")
def three_bits(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Seven levels on seven states: 5040 patterns."""
    return make_runs(tmp_path_factory.mktemp("three"), "scaled", 3, steps=8)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random levels."""
    path = tmp_path_factory.mktemp("weights") / "weights.h5"
    make_network().save(path)
    return path


@pytest.fixture(scope="session")
def random_network() -> Callable[..., Network]:
    """random_network(topology, bits): a network of random levels for images of 6 x 6."""
    return make_network


@pytest.fixture(scope="session")
def validation(tmp_path_factory: pytest.TempPathFactory, scaled: Runs, weights: Path) -> Path:
    """That network validated on the scaled chip."""
    out = tmp_path_factory.mktemp("validation") / "validation.h5"
    rng = np.random.default_rng(0)
    images, labels = rng.random((20, 1, 6, 6)).astype(np.float32), rng.integers(0, 3, 20)
    settings = {"weights": weights.name, "states": [0, 3, 6], "pattern": [1, 0, 2]}
    with chip_of(scaled.characterization, "scaled", chip=None, out=out, kind="validation", overwrite=False,
                 settings=settings) as session:  # fmt: skip
        full = load_characterization(scaled.characterization)
        validate(session, Network.load(weights), images, labels, full, (0, 3, 6), (1, 0, 2))
    return out


def make_network(text: str = NETWORK, bits: int = 2) -> Network:
    rng, top = np.random.default_rng(3), 2 ** (bits - 1) - 1
    topology = Topology.parse(text, (1, 6, 6), 3)
    layers = tuple(
        Layer(info, rng.integers(-top, top + 1, info.shape).astype(np.int8), 0.3, False)
        for info in topology.layers()
    )
    random = {
        name: rng.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in {
            "encoder_weight": (4, 1, 3, 3), "encoder_bias": (4,), "head_weight": (3, 4), "head_bias": (3,),
        }.items()
    }  # fmt: skip
    one = np.ones(1, np.float32)
    return Network(topology=topology, bits=bits, time_steps=2, theta=0.5, layers=layers, mean=0 * one, std=one,
                   dataset="made up", class_names=("a", "b", "c"), seed=3, **random)  # fmt: skip
