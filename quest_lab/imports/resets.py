"""How the neurons of a NIR file are reset: NIR knows a reset to a value alone, so by subtraction has to be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Weights
from quest_lab.imports.dialects import Dialect
from quest_lab.neurons import LEAK, Neuron


def with_reset(layers: Sequence[Weights], asked: str | None, dialect: Dialect, library: str) -> list[Weights]:
    """The layers, their neurons with the reset that was asked for. Raises BadInput where that does not fit."""
    found = [x.neuron for x in layers if x.neuron is not None]
    kind = _kind(found)
    hard, soft = f"{kind}-hard", f"{kind}-{'soft' if kind == 'if' else dialect.soft}"
    if asked is None:
        if not dialect.hard:
            raise BadInput(
                f"{library} resets by subtraction unless told otherwise, and NIR cannot say which reset it was: say "
                f"--neuron {soft}, or {hard} for a reset to zero"
            )
        return list(layers)
    reset = _reset(asked, found, hard, soft)
    if kind != "if" and reset.soft and not reset.delayed and dialect.soft == "delayed":
        raise BadInput(
            f"neuron={asked!r}: {library} takes the threshold off one step later, after the leak: say --neuron {soft} "
            "(with reset_delay=False it is lif-soft: then say --written-by nir)"
        )
    if kind == "cuba" and not reset.soft and dialect.soft == "delayed":
        raise BadInput(f"neuron={asked!r}: {library}'s reset to zero clears the synapse too; want {soft}")
    return [
        x
        if x.neuron is None
        else replace(x, neuron=replace(x.neuron, soft=reset.soft, delayed=reset.delayed))
        for x in layers
    ]


def _kind(neurons: Sequence[Neuron]) -> str:
    """The word for all of them: cuba if any has a synapse, lif if any has a leak."""
    if any(neuron.synapse for neuron in neurons):
        return "cuba"
    return "if" if all(neuron.leak == 1 for neuron in neurons) else "lif"


def _reset(asked: str, found: Sequence[Neuron], hard: str, soft: str) -> Neuron:
    """A neuron of the reset in `asked`, which may say the leaks of the file too. Raises BadInput."""
    kind, _, decays = asked.partition("@")
    words = (f"{hard.partition('-')[0]}-{reset}" for reset in ("hard", "soft", "delayed"))
    reset = Neuron.parse(asked if decays or not kind.startswith("cuba") else f"{asked}@{LEAK},{LEAK}")
    same = not decays or all((x.leak, x.synapse) == (reset.leak, reset.synapse) for x in found)
    if kind not in words or not same:
        raise BadInput(
            f"neuron={asked!r}: the file's are {', '.join(map(str, found))}; want {hard} or {soft}"
        )
    return reset
