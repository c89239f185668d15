"""What a replay leaves in its run file: divergence and energies over steps, confusion, states, layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quest_lab.layers import LayerInfo
from quest_lab.protocols.replay import Replay
from quest_lab.schema import Field, Result

_LAYER_FIELDS = (
    ("weights", "", "weights of the layer", None),
    ("placed", "", "of these on cells", None),
    ("writes", "", "writes", None),
    ("write_j", "J", "write energy", "write_j_error"),
    ("diverged", "", "weights whose last read state is not the schedule's", None),
)


def to_results(out: Replay, layers: Sequence[LayerInfo]) -> list[Result]:
    """The outcome for a run file: divergence and energies over steps (plots), confusion, final states."""
    step = np.asarray(out.steps["step"])
    columns = {
        "diverged": ("", "weights whose last read state is not the schedule's"),
        "predicted_energy_j": ("J", "write energy predicted by the policy"),
        "spent_energy_j": ("J", "write energy spent"),
        "verify_energy_j": ("J", "verify reads"),
    }
    fields = {n: Field(np.asarray(out.steps[n]), u, text, ("step",)) for n, (u, text) in columns.items()}
    fields["step"] = Field(step, "", "training step (-1: initial load)", ("step",))
    states = np.arange(out.confusion.shape[0])
    confusion = {
        "writes": Field(out.confusion, "", "writes", ("intended", "read")),
        "intended": Field(states, "", "intended state", ("intended",)),
        "read": Field(states, "", "state read back", ("read",)),
    }
    final = {
        "weight": Field(out.weight, "", "index of the weight in the schedule", ("weight",)),
        "intended": Field(out.intended, "", "state the schedule ends in", ("weight",)),
        "read": Field(out.read, "", "state last read", ("weight",)),
    }
    last = out.by_layer(layers)
    shares = {
        name: Field(
            np.array([getattr(layer, name) for layer in last]), unit, text, ("layer",),
            None if error is None else np.array([getattr(layer, error) for layer in last]),
        )
        for name, unit, text, error in _LAYER_FIELDS
    }  # fmt: skip
    return [
        Result("divergence", fields, title="Divergence of the replay", signal="diverged", axes=("step",)),
        Result("confusion", confusion, title="Intended and read states", signal="writes",
               axes=("intended", "read")),
        Result("final_states", final, title="States at the end"),
        Result("replay_layers", shares, title="Writes of each layer after the initial load",
               attrs={"layers": ", ".join(layer.name for layer in layers)}),
    ]  # fmt: skip
