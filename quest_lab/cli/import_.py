"""`quest-lab import`: a network that was trained elsewhere, in levels that cells can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quest_lab.characterization_file import load_characterization
from quest_lab.cli.common import default_states, percent, print_table
from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images, Timing
from quest_lab.imports.nir_network import from_nir
from quest_lab.imports.quantise import Quantised, quantise
from quest_lab.imports.state_dict import SUFFIXES, from_state_dict
from quest_lab.layers import FP32, top_level
from quest_lab.network import Network
from quest_lab.neurons import IF_HARD, MEMBRANE_BITS, Neuron
from quest_lab.train.data import Dataset, load_dataset

NIR = ".nir"


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read the file; what the options mean: `from_nir` and `from_state_dict`. None: not said."""

    time_steps: int = 4
    neuron: str | None = None
    written_by: str | None = None
    dt: float | None = None
    network: str | None = None
    theta: float | None = None
    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class Imported:
    """The network as it was found and, unless it stays in FP32, with levels; accuracies 0..1 on held-out images."""

    found: Network
    quantised: Quantised | None
    accuracy: float
    quantised_accuracy: float | None


def run(*, file: Path, out: Path, dataset: str, bits: int, reading: dict[str, Any], **given: Any) -> None:
    done = execute(file=file, out=out, dataset=dataset, bits=bits, reading=Reading(**reading), **given)
    print_imported(done)
    print(f"weights: {out}")


def execute(
    *,
    file: Path,
    out: Path,
    dataset: str,
    bits: int = 2,
    data: Path | None = None,
    alpha: float | None = None,
    membrane_bits: int = MEMBRANE_BITS,
    characterization: Path | None = None,
    reading: Reading = Reading(),
    overwrite: bool = False,
) -> Imported:
    """Read a network that was trained elsewhere, round it to levels, write it to `out`. Raises BadInput."""
    if out.exists() and not overwrite:
        raise BadInput(f"{out}: exists already (overwrite it with --overwrite)")
    if characterization is not None:
        default_states(load_characterization(characterization), 2 * top_level(bits) + 1)
    images = load_dataset(dataset, data)
    found = read(file, images, reading)
    made = None if bits == FP32 else quantise(found, bits, alpha, membrane_bits)
    network = found if made is None else made.network
    network.save(out, overwrite=overwrite)
    held_out = images.test_images, images.test_labels
    return Imported(
        found, made, found.accuracy(*held_out), None if made is None else network.accuracy(*held_out)
    )


def read(file: Path, dataset: Dataset, reading: Reading) -> Network:
    """The FP32 network of a NIR file or a state dict. Raises BadInput."""
    images = Images(dataset.name, dataset.image_shape, dataset.class_names, reading.mean, reading.std)
    if file.suffix == NIR:
        _refuse(file, "of a state dict", network=reading.network, theta=reading.theta, map=reading.names)
        return from_nir(
            file, images, time_steps=reading.time_steps, written_by=reading.written_by or "nir",
            neuron=reading.neuron, dt=reading.dt,
        )  # fmt: skip
    if file.suffix not in SUFFIXES:
        raise BadInput(f"{file}: want a file of {', '.join((NIR, *SUFFIXES))}")
    _refuse(file, f"of a {NIR} file", written_by=reading.written_by, dt=reading.dt)
    if reading.network is None:
        raise BadInput(f"{file}: a state dict does not say how its layers follow; say it: --network 8-8M-F")
    neuron = IF_HARD if reading.neuron is None else Neuron.parse(reading.neuron)
    timing = Timing(reading.time_steps, neuron, 1.0 if reading.theta is None else reading.theta)
    return from_state_dict(file, reading.network, images, timing, names=_names(reading.names))


def _refuse(file: Path, kind: str, **given: object) -> None:
    """Raise BadInput if an option that has no meaning for this file was given."""
    said = [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, ())]
    if said:
        raise BadInput(f"{file}: {', '.join(said)}: only {kind}")


def _names(given: Sequence[str]) -> dict[str, str] | None:
    """`conv1=features.0`, ... as a table; None if nothing was given."""
    names = dict(text.partition("=")[::2] for text in given)
    if any("=" not in text for text in given) or len(names) < len(given):
        raise BadInput(f"--map {', '.join(given)}: want LAYER=NAME, each layer once, like conv1=features.0")
    return names or None


def print_imported(done: Imported) -> None:
    """What rounding to levels cost."""
    rows: list[tuple[object, ...]] = [("as found, FP32", percent(done.accuracy))]
    network = done.found
    if done.quantised is not None and done.quantised_accuracy is not None:
        network = done.quantised.network
        rows.append((f"in levels of {network.bits} bits", percent(done.quantised_accuracy)))
        print_table(
            f"{network.topology.text}, {network.neuron} neurons, {network.time_steps} time steps",
            ("layer", "weights", "alpha", "rms error / rms weight", "zeros"),
            [
                (x.name, x.weights, f"{x.alpha:.4g}", percent(x.error), percent(x.zeros))
                for x in done.quantised.layers
            ],
            note=f"Membranes of {network.membrane_bits or network.bits} bits, levels of the same scale. Without alpha "
            "given, that of the least squared error.",
        )
    print_table("Accuracy on held-out images", ("", "accuracy"), rows)
