"""Quadratic assignment: weight levels to states where there are too many patterns to compare one by one.

    min_p  sum_{i != j} M[i, j] E[p(i), p(j)] + sum_v N_v e[p(v)]

with writes M and energies E [from, to], reads N and energies e on the diagonals of the two matrices. Levels are
filled up to the number of states with some that nothing asks for, so which states to use is part of the answer.
Found with FAQ (Vogelstein et al., PLoS ONE 10 (2015) e0121002) from several starts, each then improved by exchanges of
two states; no proof of optimality, so `lower_bound` (Gilmore, SIAM J. 10 (1962) 305; Lawler, Management Science 9
(1963) 586) says how far below the optimum can be at most.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.mapping import Pattern
from quest_lab.seeds import generator

Order = NDArray[np.int64]  # state of every level, those that nothing asks for behind
_SINKHORN = 30


def padded(asked: Floats, states: int) -> Floats:
    """`asked[level, level]` with levels that nothing asks for, up to the number of states."""
    more = states - asked.shape[0]
    return np.pad(asked, ((0, more), (0, more)))


def quadratic_patterns(asked: Floats, price_j: Floats, *, starts: int = 16, seed: int = 0) -> list[Pattern]:
    """Local optima from `starts` starts, each once, cheapest first.

    `asked[level, level]` writes and, on the diagonal, reads; `price_j[state, state]` their energies.
    """
    from scipy.optimize import quadratic_assignment  # half a second: only who optimises pays for it

    levels, flow = asked.shape[0], padded(asked, price_j.shape[0])

    def cost(order: Order) -> float:
        return float((flow * price_j[np.ix_(order, order)]).sum())

    rng, found = generator(seed, "quadratic assignment"), dict[Pattern, float]()
    for start in range(starts):
        begin = "barycenter" if start == 0 else _doubly_stochastic(rng, price_j.shape[0])
        rough = quadratic_assignment(flow, price_j, options={"P0": begin, "rng": rng})["col_ind"]
        order = exchanged(rough, cost)
        found[tuple(order[:levels].tolist())] = cost(order)
    return sorted(found, key=lambda pattern: (found[pattern], pattern))


def exchanged(order: Order, cost: Callable[[Order], float]) -> Order:
    """The best exchange of two states again and again, until none lowers the cost."""
    order, now = order.copy(), cost(order)
    pairs = list(combinations(range(order.size), 2))
    while True:
        tries = [_with_exchange(order, i, j) for i, j in pairs]
        costs = [cost(one) for one in tries]
        best = int(np.argmin(costs))
        if not costs[best] < now * (1.0 - 1e-12):
            return order
        order, now = tries[best], costs[best]


def linear_order(cost_j: Floats) -> Order:
    """The order of least `cost_j[level, state]` where levels do not interact; fewer levels than states allowed."""
    from scipy.optimize import linear_sum_assignment

    square = np.zeros((cost_j.shape[1],) * 2)
    square[: cost_j.shape[0]] = cost_j
    return np.asarray(linear_sum_assignment(square)[1], np.int64)


def lower_bound(asked: Floats, price_j: Floats) -> float:
    """No pattern costs less: each level's writes with its cheapest partners, then a linear assignment.

    The better of two: writes from each level, and (closer, since what a write costs is mostly a matter of its
    target) writes to it.
    """
    flow = padded(asked, price_j.shape[0])
    return max(_gilmore_lawler(flow, price_j), _gilmore_lawler(flow.T, price_j.T))


def _gilmore_lawler(flow: Floats, price_j: Floats) -> float:
    from scipy.optimize import linear_sum_assignment

    n = price_j.shape[0]
    away = ~np.eye(n, dtype=bool)
    many = -np.sort(-flow[away].reshape(n, n - 1), axis=1)
    cheap = np.sort(price_j[away].reshape(n, n - 1), axis=1)
    least = many @ cheap.T + np.outer(np.diag(flow), np.diag(price_j))
    return float(least[linear_sum_assignment(least)].sum())


def _with_exchange(order: Order, i: int, j: int) -> Order:
    out = order.copy()
    out[i], out[j] = order[j], order[i]
    return out


def _doubly_stochastic(rng: np.random.Generator, n: int) -> Floats:
    """A random matrix whose rows and columns sum to 1 (Sinkhorn)."""
    out = rng.random((n, n))
    for _ in range(_SINKHORN):
        out /= out.sum(axis=1, keepdims=True)
        out /= out.sum(axis=0, keepdims=True)
    return 0.5 * (out + 1.0 / n)
