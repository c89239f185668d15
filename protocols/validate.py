"""Validate trained weights on a chip: program, read back, and ask what accuracy the read-back gives.

Tile by tile where the chip has fewer cells than the network; again after a wait and at other read voltages; decoded,
against a reference column, and in differential pairs (`validate_encodings`). Every accuracy stands beside that of the
ideal integer network on the same held-out images, with the interval of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.mapping import Pattern, in_chip_states
from quest_lab.network import Network
from quest_lab.protocols.scores import Judge
from quest_lab.protocols.validate_baselines import check_reads, measure_baselines
from quest_lab.protocols.validate_budget import check_budget
from quest_lab.protocols.validate_encodings import Decoded
from quest_lab.protocols.validate_plan import AS_USUAL, Plan, SoFar, ValidateSettings, plan_of
from quest_lab.protocols.validate_results import to_results
from quest_lab.protocols.validate_rows import Row, Validation, controls_of, costs_of, rows_of
from quest_lab.protocols.validate_tiles import Programmed, Programming, ReadBack, program
from quest_lab.seeds import generator
from quest_lab.session import Session
from quest_lab.write import check_chip


def validate(
    session: Session,
    network: Network,
    images: NDArray[Any],
    labels: NDArray[np.int64],
    full: Characterization,
    used: tuple[int, ...],
    pattern: Pattern,
    settings: ValidateSettings = AS_USUAL,
    *,
    resume: SoFar | None = None,
) -> Validation:
    """Program `network` several ways and evaluate each read-back on held-out `images` and `labels`.

    `full` is the characterisation of the chip, `used` its states that the pattern maps levels to. Rows: the ideal
    integer network; decoded read-back after closed-loop and after open-loop writing (each pulse once, unverified);
    analogue read-back of the other encodings. At 2 bits also the decoded cells read with each wrong pattern. Results
    go into the session's run file; `resume` is what `validated_so_far` found there. Raises as `plan_of` does, and
    LimitExceeded before the first pulse if a cell's life does not suffice.
    """
    check_chip(session.device, full)
    plan = plan_of(network, full, used, pattern, settings)
    programmed = _programmed(session, network, plan, resume or SoFar({}, None))
    chosen = _drawn(session, len(labels), settings.images, "validation images")
    images, labels = images[chosen], labels[chosen]
    judge, closed = Judge(network, images, labels), programmed[0]
    few = _drawn(session, len(labels), settings.cost_images, "validation cost images")
    of_costs = judge if few.size == len(labels) else Judge(network, images[few], labels[few])
    out = Validation(
        rows=(Row("ideal integer network", judge.ideal), *rows_of(session, network, programmed, judge)),
        controls=tuple(controls_of(session, network, closed, judge, used)),
        costs=costs_of(session, network, programmed, of_costs),
        wrong=int(np.count_nonzero(closed.levels() != network.levels)),
        weights=network.levels.size,
        pattern=in_chip_states(pattern, used),
        truly_wrong=closed.truly_wrong,
        tiles=len(closed.programming.placements),
        skipped=plan.skipped,
    )
    if session.run is not None:
        session.run.add_results(to_results(out, network, programmed))
    return out


def _programmed(session: Session, network: Network, plan: Plan, so_far: SoFar) -> list[Programmed]:
    """All that the plan wants written and read back; what may not be is refused before the first pulse."""
    check_reads(session, plan.full, plan.reads)
    ohm = so_far.baselines
    unmeasured = bool(plan.reads) and ohm is None
    check_budget(session, plan.full, network.levels, plan.programmings, so_far.tiles, baselines=unmeasured)
    if ohm is None:
        ohm = measure_baselines(session, plan.full, plan.reads)
    return program(session, network.levels, plan.with_baselines(ohm), so_far.tiles)


def program_decoded(
    session: Session,
    network: Network,
    found: Characterization,
    pattern: Pattern,
    *,
    closed_loop: bool = True,
) -> Programmed:
    """Write the network's levels, one cell each, and read every cell once more."""
    encoding = Decoded(found, pattern)
    placements = encoding.placements(network, tiles=False)
    return program(
        session, network.levels, [Programming(encoding, placements, [ReadBack(found.read)], closed_loop)]
    )[0]


def _drawn(session: Session, count: int, most: int | None, purpose: str) -> NDArray[np.int64]:
    """At most `most` of `count` images, drawn with the session's seed, ascending."""
    if most is None or most >= count:
        return np.arange(count)
    return np.sort(generator(session.seed, purpose).choice(count, most, replace=False))
