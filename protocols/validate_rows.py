"""What every read-back of a validation does on held-out images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import perm

import numpy as np

from quest_lab.device import ReadPulse
from quest_lab.mapping import all_patterns, in_chip_states, to_levels
from quest_lab.network import Network
from quest_lab.protocols.scores import Judge, Score
from quest_lab.protocols.validate_costs import Costs, costs
from quest_lab.protocols.validate_encodings import Decoded
from quest_lab.protocols.validate_tiles import Programmed, ReadBack
from quest_lab.session import Session

MISREAD_PATTERNS = 6  # reading back with every other pattern is for 2 bits; 5039 of them tell nothing more


@dataclass(frozen=True, slots=True)
class Row:
    """What one read-back does; `wrong` weights of it are at another level than the one written (None: analogue)."""

    name: str
    score: Score
    wrong: int | None = None


@dataclass(frozen=True)
class Validation:
    """`rows` in the order measured, the ideal network first; `controls`: the cells read with other mapping patterns.

    `wrong` of `weights` are at another level right after the closed loop; `truly_wrong` by the simulator's true
    states. `skipped` says which analogue encodings do not fit on the chip.
    """

    rows: tuple[Row, ...]
    controls: tuple[Row, ...]
    costs: tuple[Costs, ...]
    wrong: int
    weights: int
    pattern: str
    truly_wrong: int | None
    tiles: int
    skipped: tuple[str, ...]

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracies 0..1 by row name."""
        return {row.name: row.score.accuracy for row in self.rows}

    @property
    def misread(self) -> dict[str, float]:
        """Accuracies 0..1 of the controls by mapping pattern."""
        return {row.name: row.score.accuracy for row in self.controls}


def rows_of(
    session: Session, network: Network, programmed: Sequence[Programmed], judge: Judge
) -> Iterator[Row]:
    total = sum(len(one.programming.read_backs) for one in programmed)
    at = 0
    for one in programmed:
        nominal = one.programming.encoding.found.read
        for i, read_back in enumerate(one.programming.read_backs):
            session.stop.check()
            session.progress("accuracies of the read-backs", at, total)
            yield from _scored(network, one, i, _when(read_back, nominal), judge)
            at += 1
    session.progress("accuracies of the read-backs", total, total)


def _scored(network: Network, one: Programmed, i: int, when: str, judge: Judge) -> Iterator[Row]:
    encoding = one.programming.encoding
    if isinstance(encoding, Decoded):
        read = one.levels(i)
        wrong = int(np.count_nonzero(read != network.levels))
        yield Row(f"{one.programming.title}{when}", judge.score(network.with_levels(read)), wrong)
        return
    for how, weights in zip(("as read", "baselines corrected"), one.analogue(i), strict=True):
        yield Row(f"{one.programming.title}, {how}{when}", judge.score(network.with_weights(weights)))


def _when(read_back: ReadBack, nominal: ReadPulse) -> str:
    volts = "" if read_back.at == nominal else f", at {read_back.at.amplitude_v:g} V"
    return volts + (f", after {_span(read_back.waited_s)}" if read_back.waited_s else "")


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"


def costs_of(
    session: Session, network: Network, programmed: Sequence[Programmed], judge: Judge
) -> tuple[Costs, ...]:
    """Of every decoded read-back with wrong levels."""
    out = []
    for one in programmed:
        if not isinstance(one.programming.encoding, Decoded):
            continue
        for i, read_back in enumerate(one.programming.read_backs):
            name = one.programming.title + _when(read_back, one.programming.encoding.found.read)
            if np.array_equal(one.levels(i), network.levels):
                continue

            def progress(done: int, total: int, name: str = name) -> None:
                session.stop.check()
                session.progress(f"what the errors cost: {name}", done, total)

            out.append(costs(name, network, one.levels(i), one.stuck, judge, progress=progress))
    return tuple(out)


def controls_of(
    session: Session, network: Network, done: Programmed, judge: Judge, used: tuple[int, ...]
) -> Iterator[Row]:
    """The decoded cells read with each other mapping pattern."""
    encoding = done.programming.encoding
    if not isinstance(encoding, Decoded) or perm(len(used), len(encoding.pattern)) > MISREAD_PATTERNS:
        return
    for pattern in all_patterns(len(encoding.pattern), len(used)):
        if pattern != encoding.pattern:
            session.stop.check()
            read = network.with_levels(to_levels(done.states(), pattern))
            yield Row(in_chip_states(pattern, used), judge.score(read))
