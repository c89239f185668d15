"""Every neuron, precision and encoding: trained a little, then compared spike for spike with the integer network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quest_lab import seeds
from quest_lab.errors import BadInput
from quest_lab.layers import Topology
from quest_lab.network import Network
from quest_lab.schedule import Schedule
from quest_lab.train import run as running
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.configfile import read_settings
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.loop import train
from quest_lab.train.model import SpikingVGG
from quest_lab.train.verify import compare

SMALL = TrainConfig(network="6-8M-8M-F-L24", epochs=1, batch_size=64, learning_rate=4e-3, shift_pixels=0)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """A part of the digits."""
    every = load_dataset("digits")
    return replace(
        every, train_images=every.train_images[:640], train_labels=every.train_labels[:640],
        test_images=every.test_images[:200], test_labels=every.test_labels[:200],
    )  # fmt: skip


def _train(folder: Path, digits: Dataset, config: TrainConfig) -> TrainResult:
    return train(config, weights=folder / "w.h5", schedule=folder / "s.h5", dataset=digits)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("neuron", ["if-hard", "if-soft", "lif-hard", "lif-soft", "mfp", "mfp-2"])
def test_the_integer_network_fires_every_spike_of_the_training_graph(
    tmp_path: Path, digits: Dataset, neuron: str, bits: int
) -> None:
    done = _train(tmp_path, digits, replace(SMALL, neuron=neuron, bits=bits))
    network = Network.load(done.weights)
    print(done.agreement)  # the count of encoder spikes that differ is part of the result
    assert (network.integer, str(network.neuron)) == (True, neuron if neuron != "mfp" else "mfp-3")
    assert done.agreement.exact
    assert done.agreement.layer_differences == (0, 0, 0)
    assert done.agreement.layer_spikes > 1000


def test_a_network_without_convolutions_is_the_same_in_both(tmp_path: Path, digits: Dataset) -> None:
    """Its encoder is a linear layer of all pixels."""
    done = _train(tmp_path, digits, replace(SMALL, network="F-L40-L24", epochs=6))
    network = Network.load(done.weights)
    assert done.agreement.exact
    assert network.encoder_weight.shape == (40, 64, 1, 1)
    assert [(info.name, info.shape) for info in network.infos] == [("fc2", (24, 40, 1, 1))]
    assert done.test_accuracy > 0.5


@pytest.mark.parametrize("encoding", ["rate", "latency"])
def test_encoded_images_give_the_same_spikes_in_both(tmp_path: Path, digits: Dataset, encoding: str) -> None:
    done = _train(tmp_path, digits, replace(SMALL, encoding=encoding, epochs=2))
    assert done.agreement.exact
    assert done.agreement.layer_spikes > 1000
    intensity = digits.test_images.sum((1, 2, 3)).mean()
    want = 4 * intensity if encoding == "rate" else (digits.test_images > 0).sum((1, 2, 3)).mean()
    assert done.encoding_spikes == pytest.approx(want, rel=0.02)


def test_a_memory_free_neuron_reads_a_weight_at_each_step_that_sees_the_spike() -> None:
    model = _model(TrainConfig(network="4-5-A", neuron="mfp-2", time_steps=3), size=8)
    images = np.random.default_rng(0).random((4, 3, 8, 8)).astype(np.float32)
    passed = model(model.present(images))
    a, b, c = (int(step.sum()) for step in passed.entering[0])
    centre = running._count(passed, model.topology.layers())["taps"].reshape(4, 3, 3)[:, 1, 1]
    assert centre.sum() == 2 * a + 2 * b + c > 0
    integer = model.export(tuple("0123456789")).propagate(
        model.encode(model.present(images)).detach().numpy()
    )
    assert integer.taps.reshape(4, 3, 3)[:, 1, 1].tolist() == centre.tolist()


@pytest.mark.parametrize("neuron", ["if-hard", "lif-soft", "mfp"])
def test_an_fp32_network_trains_without_a_schedule(tmp_path: Path, digits: Dataset, neuron: str) -> None:
    done = _train(tmp_path, digits, replace(SMALL, bits=32, neuron=neuron, epochs=3))
    network = Network.load(done.weights)
    assert done.schedule is None
    assert not (tmp_path / "s.h5").exists()
    assert not network.integer
    assert done.history[2].loss < done.history[0].loss
    # float sums in another order: a spike right at the threshold may fall either way
    assert sum(done.agreement.layer_differences) <= 1e-4 * done.agreement.layer_spikes


def test_an_fp32_network_leaves_no_schedule_of_an_earlier_run(tmp_path: Path, digits: Dataset) -> None:
    (tmp_path / "s.h5").write_text("of an earlier run")
    paths = {"weights": tmp_path / "w.h5", "schedule": tmp_path / "s.h5"}
    train(replace(SMALL, bits=32), **paths, dataset=digits, overwrite=True)
    assert not (tmp_path / "s.h5").exists()


def test_batch_norm_folds_exactly_with_memory_free_neurons(tmp_path: Path, digits: Dataset) -> None:
    done = _train(tmp_path, digits, replace(SMALL, neuron="mfp", batch_norm=True, epochs=2))
    assert Network.load(done.weights).integer
    assert done.agreement.exact
    assert done.agreement.layer_spikes > 1000


def test_batch_norm_with_a_membrane_is_an_experiment_without_integers(
    tmp_path: Path, digits: Dataset
) -> None:
    done = _train(tmp_path, digits, replace(SMALL, batch_norm=True, epochs=2))
    network = Network.load(done.weights)
    with Schedule.open(tmp_path / "s.h5") as schedule:
        assert np.array_equal(schedule.final_levels, network.levels)
    with pytest.raises(BadInput, match="with a if-hard membrane it does not fold"):
        network.check_integer("w.h5")
    assert sum(done.agreement.layer_differences) <= 1e-3 * done.agreement.layer_spikes


def test_the_schedule_says_the_network_spelled_out_and_the_neuron(tmp_path: Path, digits: Dataset) -> None:
    _train(tmp_path, digits, replace(SMALL, neuron="mfp"))
    with Schedule.open(tmp_path / "s.h5") as schedule:
        assert (schedule.header.network, schedule.header.neuron) == (SMALL.network, "mfp-3")
        assert [layer.name for layer in schedule.layers] == ["conv2", "conv3", "fc4"]
        assert schedule.layers[2].shape == (24, 8 * 2 * 2, 1, 1)


def _model(config: TrainConfig, size: int = 32) -> SpikingVGG:
    topology = Topology.parse(config.network, (3, size, size), 10)
    ones = np.ones(3, np.float32)
    return SpikingVGG(topology, config, 0 * ones, ones, seeds.generator(0, "weights"))


def test_vgg6_runs_and_agrees_on_images_of_cifar10s_size() -> None:
    images = np.random.default_rng(0).random((2, 3, 32, 32)).astype(np.float32)
    model = _model(TrainConfig(network="vgg6", time_steps=2))
    found = compare(model, model.export(tuple("0123456789")), images)
    assert found.exact
    assert found.layer_spikes > 1000


def test_spikes_of_rate_coding_differ_between_epochs_and_not_between_batches() -> None:
    model = _model(TrainConfig(network="4-4-A", encoding="rate"), size=8)
    images = np.random.default_rng(0).random((4, 3, 8, 8)).astype(np.float32)
    numbers = np.array([7, 3, 9, 1])
    whole = model.present(images, numbers=numbers, epoch=1)
    assert torch.equal(model.present(images[2:], numbers=numbers[2:], epoch=1), whole[:, 2:])
    assert not torch.equal(model.present(images, numbers=numbers, epoch=2), whole)


def test_sums_that_float32_could_round_are_refused() -> None:
    with pytest.raises(BadInput, match="float32 is exact below 16777216"):
        _model(TrainConfig(network="512-512-512-F-L8", bits=8, neuron="mfp-8"), size=8)


def test_a_config_file_has_the_fields_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    path.write_text('network = "vgg6"\nbits = 3\nlearning_rate = 1\nneuron = "mfp-2"\nbatch_norm = true\n')
    want = TrainConfig(network="vgg6", bits=3, learning_rate=1.0, neuron="mfp-2", batch_norm=True)
    assert TrainConfig(**read_settings(path)) == want


@pytest.mark.parametrize(("text", "message"), [
    ("bit = 2", "bit=2: unknown key; known here: bits, time_steps, network"),
    ('bits = "2"', "bits='2': want int"),
    ("flip = 1", "flip=1: want bool"),
    ("bits = 2.0", r"bits=2\.0: want int"),
    ("bits = 9", "bits=9: want 2 to 8"),
    ("bits =", "no TOML"),
])  # fmt: skip
def test_a_wrong_config_file_is_refused_by_name_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "net.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)


def test_a_missing_config_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_settings(tmp_path / "none.toml")
