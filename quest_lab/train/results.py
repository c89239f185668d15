"""What training.h5 keeps, and what the log says, of a training run's epochs: measures and energies by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quest_lab import cmos
from quest_lab.energy import activation_energy, update_energy
from quest_lab.layers import Floats, LayerInfo, Topology, layer_table
from quest_lab.mapping import Pattern
from quest_lab.ranking import Prices, spend
from quest_lab.schema import Field, Result
from quest_lab.train.history import Epoch


@dataclass(frozen=True, slots=True)
class Energies:
    """Joule of each epoch by layer, [epoch, layer], under the run's cheapest `pattern` and `neuron_pattern`."""

    pattern: Pattern
    neuron_pattern: Pattern
    update_j: Floats
    gated_j: Floats
    row_j: Floats
    neuron_j: Floats


def energies(prices: Prices, history: Sequence[Epoch]) -> Energies:
    """Algorithms 1 and 2 and the neuron cells, each epoch's sums, under the patterns that are cheapest over all."""
    counts = [np.array([getattr(e, n) for e in history]) for n in ("transitions", "reads", "neuron_moves")]
    moves, reads, neurons = counts
    total = spend(prices, moves.sum(axis=0), reads.sum(axis=0), neurons.sum(axis=0))
    best, neuron = prices.patterns[total.best], prices.patterns[total.best_neuron]
    return Energies(
        pattern=best,
        neuron_pattern=neuron,
        update_j=update_energy(moves, prices.pulse_j, best),
        gated_j=activation_energy(reads, prices.read_j, best),
        row_j=activation_energy(reads, prices.read_j, best, gated=False),
        neuron_j=update_energy(neurons, prices.pulse_j, neuron),
    )


def first_macs(topology: Topology) -> float:
    """Multiply-accumulates of the encoder on one image."""
    return float(layer_table([("encoder", topology.encoder_shape, topology.sizes()[0])])[0].macs)


def compare(epoch: Epoch, layers: Sequence[LayerInfo], encoder_macs: float) -> tuple[cmos.Way, ...]:
    """The 45 nm comparison of an epoch's rates, three ways."""
    macs = [layer.macs for layer in layers]
    return cmos.compare(macs, epoch.aor(layers), epoch.rate_in(layers), encoder_macs)


def log_rows(
    history: Sequence[Epoch], layers: Sequence[LayerInfo], found: Energies | None
) -> list[dict[str, float]]:
    """A row an epoch with units in its names: what quest_lab.train.log writes."""
    rows = []
    for number, epoch in enumerate(history):
        row = {"epoch": number + 1, "loss": epoch.loss, "accuracy": epoch.accuracy, "changed": epoch.changed}
        rates = {
            "rate_in": epoch.rate_in(layers), "rate_out": epoch.rate_out(layers), "sparsity": epoch.sparsity,
            "aor": epoch.aor(layers), "neuron_writes_per_sample": epoch.neuron_writes / epoch.samples,
        }  # fmt: skip
        if found is not None:
            rates |= {
                "update_j_per_batch": found.update_j[number] / epoch.steps,
                "update_j_per_sample": found.update_j[number] / epoch.samples,
                "gated_j_per_sample": found.gated_j[number] / epoch.samples,
                "row_j_per_sample": found.row_j[number] / epoch.samples,
                "neuron_j_per_sample": found.neuron_j[number] / epoch.samples,
            }
        row |= {f"{x.name}.{n}": float(v[i]) for n, v in rates.items() for i, x in enumerate(layers)}
        rows.append(row)
    return rows


def to_results(
    history: Sequence[Epoch], layers: Sequence[LayerInfo], encoder_macs: float, found: Energies | None
) -> list[Result]:
    """The results of training.h5: `epochs`, and `comparison` of the last one with ANN and DIET-SNN in 45 nm."""
    return [_epochs(history, layers, found), _comparison(compare(history[-1], layers, encoder_macs))]


def _epochs(history: Sequence[Epoch], layers: Sequence[LayerInfo], found: Energies | None) -> Result:
    one, two = ("epoch",), ("epoch", "layer")
    fields = {
        "epoch": Field(np.arange(1, len(history) + 1), "", "epoch", one),
        "layer_name": Field(np.array([x.name for x in layers]), "", "layer", ("layer",)),
        "loss": Field(np.array([e.loss for e in history]), "", "mean loss, nats", one),
        "accuracy": Field(np.array([e.accuracy for e in history]), "", "accuracy on training images", one),
        "changed": Field(np.array([e.changed for e in history]), "", "share of weights changed a step", one),
        "steps": Field(np.array([e.steps for e in history]), "", "optimizer steps", one),
        "samples": Field(np.array([e.samples for e in history]), "", "images", one),
        "rate_in": Field(np.array([e.rate_in(layers) for e in history]), "", "R_in", two),
        "rate_out": Field(np.array([e.rate_out(layers) for e in history]), "", "R_out", two),
        "sparsity": Field(np.array([e.sparsity for e in history]), "", "share of zero weights", two),
        "aor": Field(np.array([e.aor(layers) for e in history]), "", "activation operation rate", two),
        "reads": Field(np.array([e.reads for e in history]), "", "reads by weight level", (*two, "level")),
        "neuron_writes": Field(np.array([e.neuron_writes for e in history]), "", "membrane writes", two),
    }
    attrs: dict[str, str] = {}
    if found is not None:
        attrs = {"pattern": str(found.pattern), "neuron_pattern": str(found.neuron_pattern)}
        fields |= {
            "update_j": Field(found.update_j, "J", "update energy, Algorithm 1", two),
            "gated_j": Field(found.gated_j, "J", "activation energy, zero weights not read", two),
            "row_j": Field(found.row_j, "J", "activation energy, whole rows biased", two),
            "neuron_j": Field(found.neuron_j, "J", "energy of the neuron cells", two),
        }
    return Result(
        "epochs", fields, title="Epochs of the training", signal="accuracy", axes=("epoch",), attrs=attrs
    )


def _comparison(ways: Sequence[cmos.Way]) -> Result:
    fields = {
        "way_name": Field(np.array([w.name for w in ways]), "", "operations counted by", ("way",)),
        "gain": Field(
            np.array([w.gain for w in ways]), "", "energy of the ANN over this network's", ("way",)
        ),
        "vgg6": Field(
            np.array([w.vgg6 for w in ways]), "", "rate of VGG6-DIET-SNN over this one's", ("way",)
        ),
        "vgg16": Field(
            np.array([w.vgg16 for w in ways]), "", "rate of VGG16-DIET-SNN over this one's", ("way",)
        ),
        "energy_j": Field(np.array([w.energy_j for w in ways]), "J", "energy of an image in 45 nm", ("way",)),
    }
    return Result("comparison", fields, title="Operations in 45 nm CMOS, without any memory cell")
