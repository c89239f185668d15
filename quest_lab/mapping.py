"""Mapping patterns: which resistance state holds which weight level.

A pattern is the tuple of states of the levels in ascending order, (R(-1), R(0), R(+1)) at 2 bits: QUEST's
R-S mapping. Its numbering in the paper is not recoverable, so a pattern is named by its tuple alone.
"""

from __future__ import annotations

from itertools import permutations
from math import perm
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quest_lab.errors import BadInput

Pattern: TypeAlias = tuple[int, ...]
MOST_PATTERNS = 5040  # 3 bits on seven states; beyond that a search over all patterns is not offered


def level_count(bits: int) -> int:
    """Number of weight levels, 2^b - 1 (MINT, arXiv 2305.09850)."""
    if bits < 2:
        raise BadInput(f"bits={bits}: want 2 or more")
    return int(2**bits - 1)


def all_patterns(levels: int, states: int) -> list[Pattern]:
    """Every injective map of `levels` weight levels to `states` states."""
    if levels > states:
        raise BadInput(f"{levels} weight levels do not fit into {states} states of a cell")
    if perm(states, levels) > MOST_PATTERNS:
        raise BadInput(
            f"{levels} levels on {states} states: {perm(states, levels)} patterns, more than the "
            f"{MOST_PATTERNS} that are compared one by one"
        )
    return list(permutations(range(states), levels))


def name(pattern: Pattern) -> str:
    """(R1,R0,R2) for the pattern (1, 0, 2)."""
    return "(" + ",".join(f"R{s}" for s in pattern) + ")"


def in_chip_states(pattern: Pattern, used: tuple[int, ...]) -> str:
    """The name of a pattern of used states, in the chip's own states: (1, 0, 2) of 0,3,6 is (R3,R0,R6)."""
    return name(tuple(used[s] for s in pattern))


def parse(text: str, levels: int, states: int) -> Pattern:
    """The pattern that `name` wrote, or plain "1,0,2"."""
    words = text.strip("() ").replace("R", "").split(",")
    try:
        pattern = tuple(int(w) for w in words)
    except ValueError:
        raise BadInput(f"pattern {text!r}: want states like 1,0,2") from None
    return check(pattern, levels, states)


def check(pattern: Pattern, levels: int, states: int) -> Pattern:
    """The pattern itself, or BadInput if it is not an injective map into the states."""
    if len(pattern) != levels or len(set(pattern)) != levels or not all(0 <= s < states for s in pattern):
        raise BadInput(f"pattern {name(pattern)}: want {levels} different states below {states}")
    return pattern


def to_states(levels: ArrayLike, pattern: Pattern) -> NDArray[np.int8]:
    """States of signed weight levels -n..n."""
    half, index = len(pattern) // 2, np.asarray(levels, np.int64)
    if index.size and np.abs(index).max() > half:
        raise BadInput(
            f"level {index.flat[np.abs(index).argmax()]}: outside {-half}..{half} of {name(pattern)}"
        )
    return np.asarray(pattern, np.int8)[index + half]


def to_levels(states: ArrayLike, pattern: Pattern) -> NDArray[np.int8]:
    """Signed weight levels of states; a state that holds no level reads as the nearest one that does."""
    used = np.asarray(pattern)
    nearest = np.abs(np.arange(max(pattern) + 1)[:, None] - used).argmin(axis=1)
    where = np.minimum(np.asarray(states, np.int64), max(pattern))
    return (nearest[where] - len(pattern) // 2).astype(np.int8)
