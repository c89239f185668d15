"""A short training run: its schedule, its integer network, its repeatability, its interruption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quest_lab import train as package
from quest_lab.blocks import KERNEL
from quest_lab.errors import BadInput, Interrupted
from quest_lab.network import Network
from quest_lab.schedule import Schedule
from quest_lab.train import loop
from quest_lab.train import run as running
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.model import SpikingVGG
from quest_lab.train.verify import compare

SHORT = TrainConfig(network="8-8M-12-F", epochs=2, batch_size=64, learning_rate=4e-3, shift_pixels=0)


@dataclass(frozen=True)
class Ran:
    """A run with what the tests look at: the model itself and the snapshots taken beside the schedule."""

    result: TrainResult
    model: SpikingVGG
    snapshots: list[np.ndarray]
    data: Dataset


def _train(config: TrainConfig, folder: Path, **kwargs: object) -> TrainResult:
    return loop.train(config, weights=folder / "w.h5", schedule=folder / "s.h5", **kwargs)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[2, 3])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run at each bit width, watched through the optimizer: levels without the trainer's own code."""
    models: list[SpikingVGG] = []
    snapshots: list[np.ndarray] = []
    with pytest.MonkeyPatch.context() as patch:
        build, step = running.SpikingVGG.__init__, torch.optim.Adam.step
        patch.setattr(
            running.SpikingVGG, "__init__", lambda self, *args: (build(self, *args), models.append(self))[0]
        )
        patch.setattr(
            torch.optim.Adam,
            "step",
            lambda self, *a, **k: (step(self, *a, **k), snapshots.append(_levels(models[0])))[0],
        )
        result = _train(replace(SHORT, bits=request.param), tmp_path_factory.mktemp("run"))
    return Ran(result, models[0], snapshots, load_dataset("digits"))


def _levels(model: SpikingVGG) -> np.ndarray:
    """Levels from the real-valued weights, in numpy, by MINT's equation."""
    top = 2 ** (model.config.bits - 1) - 1
    flat = []
    for conv in model.convs:
        w, alpha = conv.weight.detach().numpy(), np.float32(np.exp(conv.log_alpha.item()))
        flat.append(np.rint(np.clip(np.tanh(w) / alpha, -1, 1) * top).astype(np.int8).ravel())
    return np.concatenate(flat)


def test_every_transition_of_the_schedule_is_a_difference_of_snapshots(ran: Ran) -> None:
    with Schedule.open(ran.result.schedule) as schedule:
        assert schedule.steps == len(ran.snapshots) == 2 * (1347 // 64)
        wrong = [np.sum(schedule.levels_at(t + 1) != levels) for t, levels in enumerate(ran.snapshots)]
        # numpy's and torch's tanh differ by a last digit: a weight right on a boundary may fall either way
        assert sum(wrong) <= 2
        assert schedule.writes > 0


def test_initial_levels_and_all_writes_give_the_levels_of_the_saved_network(ran: Ran) -> None:
    network = Network.load(ran.result.weights)
    with Schedule.open(ran.result.schedule) as schedule:
        levels = schedule.initial_levels.copy()
        for step in schedule:
            assert np.array_equal(levels[step.weight], step.old)
            levels[step.weight] = step.new
        assert np.array_equal(levels, schedule.final_levels)
    assert np.array_equal(levels, network.levels)


def test_the_integer_network_fires_every_spike_of_the_training_graph(ran: Ran) -> None:
    images = np.concatenate([ran.data.test_images, ran.data.train_images])
    agreement = compare(ran.model, Network.load(ran.result.weights), images)
    print(agreement)  # the count of encoder spikes that differ is part of the result
    assert agreement.layer_spikes > 10_000
    assert agreement.layer_differences == (0, 0)
    assert agreement.encoder_unexplained == 0
    assert agreement.encoder_differences < 1e-4 * agreement.encoder_neurons


def test_a_changed_level_is_seen_by_the_comparison(ran: Ran) -> None:
    network = Network.load(ran.result.weights)
    other = network.with_levels(-network.levels)
    assert not compare(ran.model, other, ran.data.test_images[:20]).exact


def test_tap_counts_equal_brute_force_over_every_spike(ran: Ran) -> None:
    """The forward pass of one batch, spike by spike in Python, against the counts that the trainer writes."""
    passed = ran.model(torch.from_numpy(ran.data.train_images[:3]))
    counts = running._count(passed, ran.model.topology.layers())
    want = []
    for spikes in passed.entering:
        channels, height, width = spikes.shape[2:]
        taps = np.zeros((channels, KERNEL, KERNEL), int)
        for _, _, c, y, x in np.argwhere(spikes.detach().numpy()):
            for i, j in np.ndindex(KERNEL, KERNEL):
                taps[c, i, j] += 0 <= y + 1 - i < height and 0 <= x + 1 - j < width
        want.append(taps.ravel())
    assert np.array_equal(counts["taps"], np.concatenate(want))
    assert counts["spikes_in"].tolist() == [int(s.sum()) for s in passed.entering]


def test_the_saved_counts_of_inference_equal_the_training_graphs(ran: Ran) -> None:
    images = ran.data.test_images[:50]
    network = Network.load(ran.result.weights)
    passed = ran.model(torch.from_numpy(images))
    counts = running._count(passed, ran.model.topology.layers())
    found = network.propagate(ran.model.encode(torch.from_numpy(images)).detach().numpy())
    assert np.array_equal(found.taps, counts["taps"])
    assert np.array_equal(found.spikes_out, counts["spikes_out"])


def test_it_learns(ran: Ran) -> None:
    assert ran.result.test_accuracy > 0.5
    assert ran.result.history[1].loss < ran.result.history[0].loss
    network = Network.load(ran.result.weights)
    assert network.accuracy(ran.data.test_images, ran.data.test_labels) == ran.result.test_accuracy


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    config = replace(SHORT, epochs=1)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        _train(replace(config, seed=seed), tmp_path / name)
    a, b, c = ((tmp_path / name / "s.h5").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert (tmp_path / "a/w.h5").read_bytes() == (tmp_path / "b/w.h5").read_bytes()


class _StopAt:
    """Stops after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted("stopped")


def test_stopped_it_leaves_a_schedule_and_a_network_of_the_same_step(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        _train(SHORT, tmp_path, stop=_StopAt(5))
    with Schedule.open(tmp_path / "s.h5") as schedule:
        assert (schedule.status, schedule.steps) == ("aborted", 5)
        assert np.array_equal(schedule.final_levels, Network.load(tmp_path / "w.h5").levels)


def test_progress_is_told_of_every_step(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    _train(replace(SHORT, epochs=1, batch_size=300), tmp_path, progress=lambda *step: told.append(step))
    assert told == [("training", n, 4) for n in range(1, 5)]


def test_settings_of_torch_come_back(tmp_path: Path) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    _train(replace(SHORT, epochs=1, batch_size=600), tmp_path)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.mark.parametrize("name", ["w.h5", "s.h5"])
def test_an_existing_output_is_kept_unless_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(BadInput, match=f"{name}: exists already"):
        _train(SHORT, tmp_path)
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"bits": 1}, "bits=1: want 2 to 8, or 32 for an FP32"),
        ({"bits": 16}, "bits=16"),
        ({"neuron": "rf"}, "neuron='rf'"),
        ({"encoding": "x"}, "encoding='x'"),
        ({"network": "vgg7"}, "names are vgg6, vgg8"),
        ({"epochs": 0}, "epochs=0"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0"),
    ],
)
def test_a_bad_config_is_refused(bad: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        TrainConfig(**bad)  # type: ignore[arg-type]


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="only 1347 training images"):
        _train(replace(SHORT, batch_size=2000), tmp_path)


def test_the_package_itself_imports_no_torch() -> None:
    assert "torch" not in vars(package)
