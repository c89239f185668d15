"""What a writer remembers of a cell with thresholds, as a write model: a small grid of normal beliefs.

Memory 0 is the belief about a cell nobody has written yet, N(0, 1); each landing between two thresholds leads to the
belief of matched mean and variance, rounded to the grid, or back to the first where the belief before had all but
ruled the landing out. (A misread misleads: kept, it would try the same pulse again and again.) Only the beliefs that
can be reached are kept.

Where several found states count as one used state, a group begins at the threshold of its lowest, and a pulse aims at
the used one: the attempt is that which is to this cell, as far as it is known, what the middle one is to the mean cell.
(Left free, the policy would spare energy by landing on the lowest of the group, next to the boundary.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from quest_lab.characterization import Characterization
from quest_lab.device import Cells, Floats
from quest_lab.errors import BadInput
from quest_lab.thresholds import ThresholdLaw, decoded
from quest_lab.write_model import WriteModel, actions_of, reset_shares, widths_s

TYPES = np.linspace(
    -6.0, 6.0, 25
)  # offsets of the cells that expectations are taken over (finer grids tell the same)
MOST_MISFIT = 0.02  # share of first tries that may land elsewhere than the law says, chance apart
_DEVIATIONS = np.array([1.0, 0.8, 0.65, 0.5, 0.4, 0.3])
_MEAN_STEP = 0.25
_FURTHEST = 5.0


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Normal beliefs about the offset of a cell: `mean` and `deviation`, shape (memories,); the first is N(0, 1)."""

    mean: Floats
    deviation: Floats

    def shares(self) -> Floats:
        """Each belief as probabilities [memory, type] over TYPES."""
        weight = np.exp(-0.5 * ((TYPES - self.mean[:, None]) / self.deviation[:, None]) ** 2)
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))

    def nearest(self, mean: Floats, deviation: Floats) -> NDArray[np.int16]:
        """The memory closest to each of these beliefs."""
        apart = (mean[:, None] - self.mean) ** 2 + (deviation[:, None] - self.deviation) ** 2
        return apart.argmin(axis=1).astype(np.int16)


def write_model(found: Characterization) -> WriteModel:
    """The threshold law's model where the law describes what was counted, else the counted shares."""
    law = _law_of(found.whole or found)
    return WriteModel.measured(found) if law is None else threshold_model(law, found)


@lru_cache(maxsize=4)
def _law_of(whole: Characterization) -> ThresholdLaw | None:
    """The law, if it describes what was counted. Kept, since every write asks for it."""
    law = ThresholdLaw.fit(whole)
    return None if law is None or law.misfit(whole) > MOST_MISFIT else law


def threshold_model(law: ThresholdLaw, found: Characterization) -> WriteModel:
    """The write model of cells under `law` of all found states: its memories are beliefs about a cell's offset."""
    op, attempt = actions_of(found.states, found.attempts)
    volts = np.array([_volts(found, int(o), int(a)) for o, a in zip(op[1:], attempt[1:], strict=True)])
    fold = np.arange(law.volts.size + 1) if found.fold is None else found.fold
    used = law.of_groups(fold)
    beliefs, after = _reachable(used, volts)
    forgotten = np.broadcast_to(np.arange(after.shape[1])[:, None, None], after.shape[1:])[None]
    cells, memory = _known_cells(law, beliefs, found.whole or found)
    held = _held(law, found, fold)
    pulse_j, error_j = _pulse_j(found, op, volts, held)
    read = decoded(found)
    laws = [(other, read) for other in (law, *law.alternatives())]
    ways = laws + [(law, decoded(found, std)) for std in _spreads(found)]
    said, *others = (_probability(x, read, found, op, volts, held) for x, read in ways)
    return WriteModel(
        probability=said, share=beliefs.shares(), after=np.concatenate([forgotten, after]).astype(np.int16),
        operation=op, attempt=attempt, pulse_j=pulse_j[:, None], pulse_s=np.where(op == 0, *widths_s(found)[:2]),
        read_j=_read_j(found), read_s=found.read.width_s, allowed=_aims(law, found, fold, beliefs),
        begin=_begin(found, memory, beliefs), lasting=True, known_cells=cells, known_memory=memory,
        alternatives=(
            *((other, pulse_j[:, None]) for other in others), (said, (pulse_j + error_j)[:, None]),
        ),
    )  # fmt: skip


def _probability(
    law: ThresholdLaw,
    read: Floats,
    found: Characterization,
    op: NDArray[np.int8],
    volts: Floats,
    held: Floats,
) -> Floats:
    """Of transitions between read states [type, action, 1, from, to]."""
    usable = np.arange(found.states) < op[1:, None]  # a set pulse is for raising only
    landing = law.landing(volts, np.sqrt(law.shared) * TYPES, np.full(TYPES.size, 1.0 - law.shared))
    out = np.zeros((TYPES.size, op.size, 1, found.states, found.states))
    out[:, 1:, 0] = (held @ landing @ read) * usable[..., None]
    out[:, 0, 0] = reset_shares(found)
    return out


def _spreads(found: Characterization) -> list[Floats]:
    """Spreads of a single read around all found states, of one state after the other a standard error wider."""
    whole = found.whole or found
    if (told := whole.estimates.get("level_std")) is None:
        return []
    error = np.nan_to_num(np.log(told.high / told.low)) / (2 * 1.96)
    return list(whole.levels.std * np.exp(np.diag(error)))


def _aims(
    law: ThresholdLaw, found: Characterization, fold: NDArray[np.int64], beliefs: Beliefs
) -> NDArray[np.bool_]:
    """Pulses that may be given, [action, memory]: in a group of states those that aim at the used one."""
    op, attempt = actions_of(found.states, found.attempts)
    alone = np.bincount(fold)[op] == 1
    offset_v = np.sqrt(law.shared) * law.spread_v[_used(found)[op] - 1, None] * beliefs.mean
    middle, step = found.attempts // 2, max(found.attempt_step_v, 1e-9)
    aimed = np.clip(middle + np.rint(offset_v / step), 0, found.attempts - 1)
    return np.asarray(alone[:, None] | (aimed == attempt[:, None]) | (op == 0)[:, None])


def _begin(found: Characterization, known: NDArray[np.int16], beliefs: Beliefs) -> Floats:
    """Share of the cells that begin with each memory."""
    count = np.bincount(known, minlength=beliefs.mean.size).astype(np.float64)
    count[0] += found.cells.size - known.size
    return np.asarray(count / count.sum())


def _known_cells(
    law: ThresholdLaw, beliefs: Beliefs, found: Characterization
) -> tuple[Cells, NDArray[np.int16]]:
    """The cells whose thresholds were measured, and what the staircase says of each."""
    offset, deviation = law.offsets(found.threshold_v)
    known = ~np.isnan(offset)
    return found.sample[known], beliefs.nearest(offset[known], deviation[known])


def _volts(found: Characterization, operation: int, attempt: int) -> float:
    """Amplitude of a set operation."""
    return float(found.operation(operation, attempt).amplitude_v)  # type: ignore[union-attr]  # set: a voltage


def _used(found: Characterization) -> NDArray[np.int64]:
    """Which of all found states each state is."""
    return np.searchsorted((found.whole or found).levels.mean, found.levels.mean)


def _held(law: ThresholdLaw, found: Characterization, fold: NDArray[np.int64]) -> Floats:
    """In which of all found states a cell is that holds a used one, [used, found]: where its pulse brought it."""
    volts = np.array([_volts(found, s, found.attempts // 2) for s in range(1, found.states)])
    landed = law.landing(volts, np.zeros(1), np.ones(1))[0, :, 0] * (
        fold == np.arange(1, found.states)[:, None]
    )
    return np.concatenate([np.eye(1, fold.size), landed / landed.sum(axis=1, keepdims=True)])


def _pulse_j(
    found: Characterization, op: NDArray[np.int8], volts: Floats, held: Floats
) -> tuple[Floats, Floats]:
    """Mean energy of a pulse over all cells, and its standard error, [action, from].

    The sampled cells say what a pulse spends in proportion to the conductance of its cell at R0, which the baselines
    tell of every cell. A pulse that was never given: V^2 t times the mean conductance of its state.
    """
    whole, which = found.whole or found, _used(found)[op[1:]]
    ohm_j, error = _per_conductance(whole)
    attempt = np.rint((volts - whole.set_v[which - 1]) / max(whole.attempt_step_v, 1e-9)).astype(int)
    energy = ohm_j[which, attempt + whole.attempts // 2]
    square, known = volts[:, None] ** 2 * found.set_width_s, ~np.isnan(energy)
    ratio = np.where(known, energy / square, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    siemens = (1.0 / found.baseline_ohm).mean()
    out = np.where(known, energy, square * ratio) * siemens @ held.T
    wrong = np.where(known, error[which, attempt + whole.attempts // 2], 0.0) * siemens @ held.T
    reset = np.full((1, found.states), found.reset_energy_j)
    return np.concatenate([reset, out]), np.concatenate([np.zeros_like(reset), wrong])


def _per_conductance(whole: Characterization) -> tuple[Floats, Floats]:
    """Energy of a pulse over the conductance of its cell at R0 [operation, attempt, from], joule ohm, and its error.

    The ratio of sums over the sampled cells, each of which is one observation (Cochran, Sampling Techniques).
    """
    each, shape = whole.by_cell, whole.energy_j.shape
    if each is None:
        raise BadInput("characterization: holds no counts of each cell")
    op, attempt, _, start, _ = np.unravel_index(each.transition, whole.counts.shape)
    pulse = np.ravel_multi_index((op, attempt, start), shape)
    siemens = each.count / whole.baseline_ohm[whole.index_of(whole.sample)][each.cell]
    size = int(np.prod(shape))
    sums = [
        csr_matrix((x, (pulse, each.cell)), shape=(size, whole.sample.size)) for x in (each.energy_j, siemens)
    ]
    joule, given = (np.asarray(x.sum(axis=1)).ravel() for x in sums)
    ratio = np.divide(joule, given, out=np.full(size, np.nan), where=given > 0)
    apart = sums[0] - sums[1].multiply(np.nan_to_num(ratio)[:, None])
    square = np.asarray(apart.multiply(apart).sum(axis=1)).ravel()
    error = np.sqrt(square) / np.where(given > 0, given, np.inf)
    return ratio.reshape(shape), error.reshape(shape)


def _read_j(found: Characterization) -> Floats:
    """Mean energy of a read over all cells with a baseline, [state]."""
    swing = found.top_ohm - found.baseline_ohm
    siemens = [(1.0 / (found.baseline_ohm + level * swing)).mean() for level in found.levels.mean]
    return np.array(siemens) * found.read.amplitude_v**2 * found.read.width_s


def _reachable(law: ThresholdLaw, volts: Floats) -> tuple[Beliefs, NDArray[np.int64]]:
    """All beliefs that landings lead to from N(0, 1), and where each leads: [action - 1, memory, from, to]."""
    index, nodes, rows = {(0, 0): 0}, [(0, 0)], list[NDArray[np.int64]]()
    for at in range(10**4):
        if at == len(nodes):
            break
        mean, deviation = nodes[at][0] * _MEAN_STEP, float(_DEVIATIONS[nodes[at][1]])
        m, d, told = law.learned(volts, mean, deviation)
        step = np.rint(np.clip(m, -_FURTHEST, _FURTHEST) / _MEAN_STEP).astype(int)
        narrow = abs(np.log(d[..., None] / _DEVIATIONS)).argmin(axis=-1)
        keys = [
            (int(i), int(k)) if t else (0, 0)
            for i, k, t in zip(step.flat, narrow.flat, told.flat, strict=True)
        ]
        for key in keys:
            if key not in index:
                index[key] = len(nodes)
                nodes.append(key)
        rows.append(np.array([index[key] for key in keys]).reshape(told.shape))
    means, narrows = np.array(nodes).T
    return Beliefs(means * _MEAN_STEP, _DEVIATIONS[narrows]), np.stack(rows, axis=1)
