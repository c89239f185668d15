"""What a validation leaves in its run file beside the read-backs themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quest_lab.network import Network
from quest_lab.protocols.scores import Score
from quest_lab.protocols.validate_costs import Costs
from quest_lab.protocols.validate_rows import Validation
from quest_lab.protocols.validate_tiles import Programmed
from quest_lab.schema import Field, Result


def to_results(found: Validation, network: Network, programmed: Sequence[Programmed]) -> list[Result]:
    """Accuracies (the default plot), map of wrong cells, what was read back how, and what the errors cost."""
    out = [_accuracies(found), wrong_map(programmed[0]), _read_backs(programmed), _programmings(programmed)]
    return out + (cost_results(found.costs, network) if found.costs else [])


def cost_results(found: Sequence[Costs], network: Network) -> list[Result]:
    """What the errors of each read-back cost, and its levels by layer."""
    return [_costs(found), _confusion(found, network)]


def _accuracies(found: Validation) -> Result:
    names = [row.name for row in found.rows]
    names += [f"read with the wrong pattern {row.name}" for row in found.controls]
    scores = [row.score for row in (*found.rows, *found.controls)]
    wrong = [-1 if row.wrong is None else row.wrong for row in (*found.rows, *found.controls)]
    fields = {
        "accuracy": _field([s.accuracy for s in scores], "share of held-out images classified right", "row"),
        "low": _field([s.interval[0] for s in scores], "lower end of its 95 % interval (Wilson)", "row"),
        "high": _field([s.interval[1] for s in scores], "upper end", "row"),
        **_changes("", scores, ("row",)),
        "wrong": _field(wrong, "weights at another level than the one written; -1: not decoded", "row"),
        "row": _field(np.arange(len(scores)), "row", "row"),
        "row_name": _field(names, "what was evaluated", "row"),
    }
    about: dict[str, str | int] = {"wrong_weights": found.wrong, "weights": found.weights, "tiles": found.tiles,
                                   "images": scores[0].images, "skipped": "; ".join(found.skipped),
                                   "analogue_accuracy_of_decoded": "not defined"}  # fmt: skip
    if found.truly_wrong is not None:
        about["truly_wrong_weights"] = found.truly_wrong
    return Result("accuracy", fields, title="Accuracies", signal="accuracy", axes=("row",), attrs=about)


def wrong_map(done: Programmed) -> Result:
    """Picture of the cells, row by row: in how many tiles each was wrong, -1 not used."""
    cells, wrong = done.cells_wrong()
    count = int(cells[-1]) + 1
    width = int(np.ceil(np.sqrt(count)))
    picture = np.full(-(-count // width) * width, -1, np.int32)
    picture[cells] = wrong
    meaning = "tiles in which the cell was read in another state than its target; -1: no weight"
    fields = {
        "wrong": _field(picture.reshape(-1, width), meaning, "row", "column"),
        "row": _field(np.arange(picture.size // width), "row of cells", "row"),
        "column": _field(np.arange(width), "column of cells", "column"),
    }
    return Result("wrong_cells", fields, title="Map of wrong cells", signal="wrong", axes=("row", "column"))


def _read_backs(programmed: Sequence[Programmed]) -> Result:
    every = programmed[0].programming.read_backs
    fields = {
        "read_v": Field(
            np.array([r.at.amplitude_v for r in every]), "V", "volts at the cell", ("read_back",)
        ),
        "waited_s": Field(np.array([r.waited_s for r in every]), "s", "time since the write", ("read_back",)),
    }
    return Result("read_backs", fields, title="Read-backs of a tile")


def _programmings(programmed: Sequence[Programmed]) -> Result:
    fields = {
        "name": _field([one.programming.title for one in programmed], "what was written", "programming"),
        "tiles": _field([len(one.tiles) for one in programmed], "tiles", "programming"),
    }
    return Result("programmings", fields, title="Programmings")


def _costs(found: Sequence[Costs]) -> Result:
    """Which layers and which errors cost the accuracy; dimensions: read-back, part (layers, then kinds)."""
    table = [[*one.by_layer, *one.by_kind] for one in found]
    whole = [one.everything for one in found]
    fields = {
        "wrong": _field([[c.wrong for c in line] for line in table], "wrong weights of this part", "read_back", "part"),
        **_changes("only_", [[c.only for c in line] for line in table], ("read_back", "part")),
        **_changes("without_", [[c.without for c in line] for line in table], ("read_back", "part")),
        **_changes("all_", whole, ("read_back",)),
        "part_name": _field([c.errors for c in table[0]], "layer or kind of error", "part"),
        "read_back_name": _field([one.read_back for one in found], "read-back", "read_back"),
    }  # fmt: skip
    attrs = {"images": whole[0].images, "layers": len(found[0].by_layer)}
    return Result("costs", fields, title="What the errors of layers and kinds cost", attrs=attrs)


def _confusion(found: Sequence[Costs], network: Network) -> Result:
    top = found[0].confusion.shape[1] // 2
    dims = ("read_back", "layer", "intended", "read")
    fields = {
        "weights": _field(np.stack([one.confusion for one in found]), "weights", *dims),
        "layer_name": _field([info.name for info in network.infos], "layer", "layer"),
        "intended": _field(np.arange(-top, top + 1), "level written", "intended"),
        "read": _field(np.arange(-top, top + 1), "level read back", "read"),
        "read_back_name": _field([one.read_back for one in found], "read-back", "read_back"),
    }
    return Result("layer_confusion", fields, title="Levels written and read back, by layer")


def _changes(prefix: str, scores: Any, dims: tuple[str, ...]) -> dict[str, Field]:
    """Accuracy minus that of the ideal network, with its interval; `scores` nested as `dims` say."""
    nested = np.asarray(scores, object)
    values: dict[str, tuple[Callable[[Score], float], str]] = {
        "change": (lambda s: s.change, "accuracy minus that of the ideal network on the same images"),
        "change_low": (
            lambda s: s.change_interval[0],
            "lower end of its 95 % interval (paired, Agresti-Min)",
        ),
        "change_high": (lambda s: s.change_interval[1], "upper end"),
    }
    return {
        prefix + name: _field(np.vectorize(value, otypes=[float])(nested), meaning, *dims)
        for name, (value, meaning) in values.items()
    }


def _field(values: object, meaning: str, *dims: str) -> Field:
    return Field(np.asarray(values), "", meaning, dims)
