"""The stated 95 % intervals of a characterisation as a table, and in words what cannot be told apart."""

from __future__ import annotations

from quest_lab.characterization import Characterization
from quest_lab.estimates import Estimate
from quest_lab.separation import BOUND

HEADER = (
    "state",
    "R/R0",
    "position",
    "spread of a read",
    "landing residual",
    "threshold (V)",
    "between cells (mV)",
    "between pulses (mV)",
    "lands from R0 (%)",
    "error to state below",
)


def rows(found: Characterization) -> list[tuple[str, ...]]:
    """One row a state, below HEADER: the lower and the upper end of each interval; "" for what was not measured."""
    return [_row(found, s) for s in range(found.states)]


def note(found: Characterization) -> str:
    """What holds for the whole chip, the levels that are no states, and the pulses it took."""
    e, words = found.estimates, ["Ends of the 95 % intervals; cells are the independent units."]
    if "r0_ohm" in e:
        words.append(
            f"R0 {_ends(e['r0_ohm'], 1)} ohm, spread over cells {_ends(e['r0_spread_ohm'], 1)} ohm; top/R0 - 1 "
            f"{_ends(e['swing'], 4)}, spread {_ends(e['swing_spread'], 4)}; read noise "
            f"{_ends(e['read_noise'], 3, 100)} %."
        )
    return " ".join([*words, *_separation(found), f"A sampled cell got at most {found.pulses} pulses."])


def _separation(found: Characterization) -> list[str]:
    told = found.separation
    if told is None:
        return []
    apart = ", ".join(
        f"{i} and {j} (error {100 * told.error.value[i, j]:.2g} %, {_ends(_pair(told.error, i, j), 2, 100)} %)"
        for i, j in told.inseparable()
    )
    doubt = ", ".join(f"{i} and {j}" for i, j in told.undecided())
    found_levels, chosen = told.mean.value.size, ", ".join(map(str, told.chosen))
    words = [f"{found_levels} levels were found; the largest set that a read tells apart with at most {BOUND:.0%} error"
             f" are levels {chosen}."]  # fmt: skip
    words += [f"Not told apart: {apart}."] if apart else []
    return words + ([f"Undecided at this number of landings: {doubt}."] if doubt else [])


def _pair(error: Estimate, i: int, j: int) -> Estimate:
    return Estimate(error.value[i, j], error.low[i, j], error.high[i, j])


def _row(found: Characterization, s: int) -> tuple[str, ...]:
    def of(name: str, at: int | tuple[int, int], digits: int, factor: float = 1.0) -> str:
        e = found.estimates.get(name)
        return "" if e is None else _ends(Estimate(e.value[at], e.low[at], e.high[at]), digits, factor)

    levels = [of("level_ratio", s, 4), of("level_mean", s, 4), of("level_std", s, 4)]
    if not s:
        return (f"R{s}", *levels, *[""] * 6)
    error = found.estimates.get("decoding_error")
    return (
        f"R{s}", *levels, of("repeat_std", s, 4), of("threshold_mean_v", s - 1, 4),
        of("threshold_cells_v", s - 1, 2, 1e3), of("threshold_cycles_v", s - 1, 2, 1e3),
        of("set_probability", (s, 0), 1, 100),
        "" if error is None else f"{error.low[s - 1]:.1e} to {error.high[s - 1]:.1e}",
    )  # fmt: skip


def _ends(estimate: Estimate, digits: int, factor: float = 1.0) -> str:
    return f"{factor * estimate.low:.{digits}f} to {factor * estimate.high:.{digits}f}"
