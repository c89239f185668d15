"""Every kind of fault at every distinct message of a short measurement: all off, honest books, a telling error."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
from striking import KILLS, KINDS, Children, Kind, Outcome, distinct, dry_pass, strike_served, strike_twin
from witnessing import Point

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="fork, SIGSTOP and kill -9 are POSIX's"),
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning"
    ),  # pyvisa-py leaves sockets that broke to be collected
]
MESSAGES, RANDOM_POINTS, KILL_POINTS, SEED = 150, 200, 40, 20260
WORKERS = 4
TRIGGER = "*TRG"
Case = tuple[Kind, Point]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    """Both phases of every message."""
    return dry_pass(tmp_path_factory.mktemp("dry"))


@pytest.fixture(scope="module")
def strike(
    points: list[Point], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Outcome]]:
    """strike(case): one measurement with one fault. May be called by several threads."""
    armed = next(
        point.number for point in points if point.message == "OUTP1 0"
    )  # the first that changes anything
    idle: SimpleQueue[Children] = SimpleQueue()
    root = tmp_path_factory.mktemp("faults")

    def one(case: Case) -> Outcome:
        kind, point = case
        folder = root / f"{kind.name} {point.number} {point.phase} {time.monotonic_ns()}".replace(" ", "-")
        folder.mkdir()
        if kind.front == "twin":
            return strike_twin(kind, point, points, folder)
        children = Children() if idle.empty() else idle.get()
        try:
            return strike_served(kind, point, points, folder, children, armed)
        finally:
            idle.put(children)

    yield one
    while not idle.empty():
        idle.get().close()


def fire(points: list[Point], kind: Kind) -> Point:
    """At the second trigger: the moment at which most can go wrong."""
    return [p for p in points if TRIGGER in p.message and kind.strikes(p)][-len(kind.phases) * 2]


@pytest.mark.parametrize("kind", [*KINDS, *KILLS[::3]], ids=lambda kind: kind.name)
def test_a_fault_at_a_trigger_leaves_all_off_and_honest_books(
    strike: Callable[[Case], Outcome], points: list[Point], kind: Kind
) -> None:
    outcome = strike((kind, fire(points, kind)))
    assert outcome.problems == [], outcome.told
    assert not outcome.survived, kind.name


@pytest.mark.campaign
def test_every_fault_at_every_distinct_point_and_at_random_ones(
    strike: Callable[[Case], Outcome], points: list[Point], publish: Callable[[str, str, str], None]
) -> None:
    assert len(points) // 2 <= MESSAGES
    began, rng = time.monotonic(), random.Random(SEED)
    once = [(kind, point) for kind in KINDS for point in distinct(points) if kind.strikes(point)]
    drawn = [
        (kind, rng.choice([p for p in points if kind.strikes(p)]))
        for kind in rng.choices(KINDS, k=RANDOM_POINTS)
    ]
    killed = [(kind, rng.choice(points)) for kind in KILLS for _ in range(KILL_POINTS)]
    outcomes = struck([*once, *drawn, *killed], strike)
    wrong = [outcome for outcome in outcomes if outcome.problems]
    text = page(points, outcomes, Counter(kind.name for kind, _ in once), time.monotonic() - began)
    publish("bench-faults", "Faults on a bench", text)
    assert not wrong, "\n".join(f"{o.kind.name} at {o.point}: {o.problems}; told: {o.told}" for o in wrong)


def struck(cases: list[Case], strike: Callable[[Case], Outcome]) -> list[Outcome]:
    """Those on a twin one by one in this thread, those with a process of their own side by side."""
    with ThreadPoolExecutor(WORKERS) as pool:
        served = pool.map(strike, [case for case in cases if case[0].front != "twin"])
        return [*(strike(case) for case in cases if case[0].front == "twin"), *served]


def page(points: list[Point], outcomes: list[Outcome], once: Counter[str], took_s: float) -> str:
    """What was injected, and what came of it."""
    faults = {kind.name: [o for o in outcomes if o.kind == kind] for kind in (*KINDS, *KILLS)}
    at_once = len({(p.address, p.command, p.phase) for p in points})
    rows = [
        f"A measurement on the simulated twin of `examples/benches/slow-matrix.toml`: set-up, a field reset of 16 "
        f"cells, three set pulses with their reads on two cells, a read of all, close: {len(points) // 2} messages, "
        f"{at_once} distinct (instrument, command, phase). Phases: before the instrument has the message, and after "
        f"it was executed but before its reply. Each kind of fault at each distinct point where it can strike (a reply "
        f"can only be lost where there is one), then {RANDOM_POINTS} random pairs of kind and point, then "
        f"{KILL_POINTS} random points for each way of killing; seed {SEED}, {took_s:.0f} s.",
        "",
        "Late replies, closed sockets and signals: over TCP (kills: also over a serial line), the measurement in a "
        "process of its own that drives the served twin as hardware, with its watchdog. After each fault: nothing "
        "energised, no bad practice seen by the world, every pulse that reached a cell booked as delivered, ambiguous "
        "or as an open intent, none twice, every booked read one that the meter made of that cell, the run file opens, "
        "an error names device and step.",
        "",
        f"{len(outcomes)} injected, {sum(not o.problems for o in outcomes)} as they should be.",
        "",
        "| fault | at distinct points | at random points | injected | right afterwards | the measurement was completed "
        "| it ended with an error or by the signal |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [_row(name, found, once[name]) for name, found in faults.items()]
    rows += ["", "What the user was told, one example of each:", "", "| fault | at | told |", "|---|---|---|"]
    rows += [_example(name, found) for name, found in faults.items()]
    wrong = [f"- {o.kind.name}, {_where(o.point)}: {'; '.join(o.problems)}" for o in outcomes if o.problems]
    return "\n".join([*rows, *(["", "Not as it should be:", "", *wrong] if wrong else [])])


def _row(name: str, found: list[Outcome], once: int) -> str:
    right, survived = sum(not o.problems for o in found), sum(o.survived for o in found)
    return f"| {name} | {once} | {len(found) - once} | {len(found)} | {right} | {survived} | {len(found) - survived} |"


def _example(name: str, found: list[Outcome]) -> str:
    one = max(found, key=lambda o: (not o.survived, TRIGGER in o.point.message, -o.point.number))
    told = one.told.replace("|", "\\|")
    return f"| {name} | {_where(one.point)} | {told} |"


def _where(point: Point) -> str:
    return f"{point.phase} message {point.number}, `{point.message}`"
