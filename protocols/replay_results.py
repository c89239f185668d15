"""What a replay leaves in its run file: divergence and energies over steps, confusion, states, layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quest_lab.layers import LayerInfo
from quest_lab.protocols.replay_costs import COSTS
from quest_lab.protocols.replayed import Replay
from quest_lab.schema import Field, Result
from quest_lab.write_costs import interval

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
        *_write_costs(out),
    ]  # fmt: skip


def _write_costs(out: Replay) -> list[Result]:
    """What the policy expected of all steps after the load, and what was observed."""
    if not out.expected:
        return []
    told = np.array([interval(out.expected[name]) for name in COSTS])
    columns = {
        "expected": (told[:, 0], "expected by the policy"),
        "low": (told[:, 1], "lower end of its 95 % interval: what the characterised cells leave open"),
        "high": (told[:, 2], "upper end"),
        "observed": (np.array([out.total(name) for name in COSTS]), "observed"),
    }
    fields = {name: Field(values, "", text, ("cost",)) for name, (values, text) in columns.items()}
    about = {"costs": ", ".join(COSTS), "units": ", ".join(COSTS.values()), "model": out.model}
    return [Result("write_costs", fields, title="Expected and observed cost of the writes", attrs=about)]
