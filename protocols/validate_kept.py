"""Read-backs of tiles in the run file: kept before the next tile overwrites the cells, and found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import States
from quest_lab.device import Floats
from quest_lab.placement import Placement
from quest_lab.record import Run
from quest_lab.session import Session
from quest_lab.write import Written

Key = tuple[int, int]  # number of the programming, number of its tile


@dataclass(frozen=True)
class TileRead:
    """What the cells of one tile (`placement.every`) were to hold and held.

    `stuck`: the write gave up, and the cell never left its state. `states`, `ohm`: (read-backs, cells).
    `truly_wrong`: cells not in their target by the simulator's true states, -1 where they are not known.
    """

    intended: States
    stuck: NDArray[np.bool_]
    states: States
    ohm: Floats
    truly_wrong: int = -1


def keep_read(
    session: Session,
    placement: Placement,
    number: int,
    intended: States,
    states: States,
    stuck: NDArray[np.bool_],
    ohm: Floats,
) -> None:
    """Keep read-back `number` of the tile that lies on `placement`."""
    if session.run is None:
        return
    weight = np.repeat(placement.placed, placement.per_weight)
    session.run.append(
        "validation_cells",
        cell=placement.every,
        weight=np.concatenate([weight, np.full(placement.references.size, -1)]),
        read_back=number,
        intended=intended,
        state=states,
        stuck=stuck,
        resistance_ohm=ohm,
    )
    session.run.flush()


def keep_tile(
    session: Session, key: Key, first: int, count: int, truly_wrong: int, done: Written, read_j: float
) -> None:
    """Say that all read-backs of a tile are kept: `count` rows from `first` on."""
    if session.run is None:
        return
    session.run.append(
        "validation_tiles",
        programming=key[0],
        tile=key[1],
        first=first,
        count=count,
        truly_wrong=truly_wrong,
        pulses=done.pulses,
        resets=done.resets,
        write_energy_j=done.write_j,
        verify_energy_j=done.verify_j + read_j,
        field_energy_j=done.field_j,
    )
    session.run.flush()


def tiles_so_far(run: Run, read_backs: Sequence[int]) -> dict[Key, TileRead]:
    """The tiles whose read-backs are all in the file of a validation that was cut off.

    `read_backs`: how many each programming has.
    """
    rows = run.columns("validation_tiles")
    out = {}
    for i in range(rows["tile"].size):
        number, first = int(rows["programming"][i]), int(rows["first"][i])
        kept = run.columns("validation_cells", None, first, first + int(rows["count"][i]))
        shape = (read_backs[number], -1)
        cells = {name: column.reshape(shape) for name, column in kept.items()}
        out[number, int(rows["tile"][i])] = TileRead(
            cells["intended"][0],
            cells["stuck"][0].astype(bool),
            cells["state"],
            cells["resistance_ohm"],
            int(rows["truly_wrong"][i]),
        )
    return out
