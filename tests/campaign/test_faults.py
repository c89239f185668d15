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
WORKERS, KILLED_TOGETHER = 3, 6  # a kill is mostly waiting
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
    outcomes = struck([*once, *drawn], strike)
    text = page(points, outcomes, Counter(kind.name for kind, _ in once), time.monotonic() - began)
    publish("bench-faults", "Faults on a bench", text)
    assert not wrong(outcomes), "\n".join(wrong(outcomes))


@pytest.mark.campaign
def test_kills_and_hangs_at_random_messages(
    strike: Callable[[Case], Outcome], points: list[Point], publish: Callable[[str, str, str], None]
) -> None:
    began, rng = time.monotonic(), random.Random(SEED)
    outcomes = struck(
        [(kind, rng.choice(points)) for kind in KILLS for _ in range(KILL_POINTS)], strike, KILLED_TOGETHER
    )
    text = kill_page(points, outcomes, time.monotonic() - began)
    publish("bench-faults-kills", "A program killed or hanging at a message", text)
    assert not wrong(outcomes), "\n".join(wrong(outcomes))


def wrong(outcomes: list[Outcome]) -> list[str]:
    """One line for each measurement that left something wrong behind."""
    return [
        f"- {o.kind.name}, {_where(o.point)}: {'; '.join(o.problems)}; told: {o.told}"
        for o in outcomes
        if o.problems
    ]


def struck(cases: list[Case], strike: Callable[[Case], Outcome], workers: int = WORKERS) -> list[Outcome]:
    """Those served to a process of their own side by side, then those on a twin, which would slow the servers down."""
    with ThreadPoolExecutor(workers) as pool:
        served = list(pool.map(strike, [case for case in cases if case[0].front != "twin"]))
    return [*(strike(case) for case in cases if case[0].front == "twin"), *served]


def page(points: list[Point], outcomes: list[Outcome], once: Counter[str], took_s: float) -> str:
    """What was injected, and what came of it."""
    rows = [
        f"{_work(points)} Phases: before the instrument has the message, and after it was executed but before its "
        "reply. Each kind of fault once at each distinct point where it can strike (a reply can only be lost where "
        f"there is one), then {RANDOM_POINTS} random pairs of kind and point; seed {SEED}, {took_s:.0f} s.",
        "",
        "Late replies, closed sockets and signals: over TCP, the measurement in a process of its own that drives the "
        f"served twin as hardware, with its watchdog. {DEMANDS} After a fault that passes (replies, error queue, "
        "compliance) all cells can be read, or the bench was not open yet.",
        "",
        f"{len(outcomes)} injected, {len(outcomes) - len(wrong(outcomes))} as they should be.",
        "",
        "| fault | at distinct points | at random points | as it should be | measurement completed | error or signal |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        found = [o for o in outcomes if o.kind == kind]
        good, completed = sum(not o.problems for o in found), sum(o.survived for o in found)
        first = once[kind.name]
        rows.append(
            f"| {kind.name} | {first} | {len(found) - first} | {good} of {len(found)} | {completed} "
            f"| {len(found) - completed} |"
        )
    rows += ["", "What the user was told, one example of each:", "", "| fault | at | told |", "|---|---|---|"]
    rows += [_example(kind, [o for o in outcomes if o.kind == kind]) for kind in KINDS]
    return "\n".join([*rows, *_listed(outcomes)])


def kill_page(points: list[Point], outcomes: list[Outcome], took_s: float) -> str:
    """The same of kills and hangs."""
    rows = [
        f"{_work(points)} The program drives the served twin as hardware and is struck at a message, before or after "
        f"the instrument executed it; seed {SEED}, {took_s:.0f} s. {DEMANDS}",
        "",
        "| | points | as it should be |",
        "|---|---|---|",
    ]
    for kind in KILLS:
        found = [o for o in outcomes if o.kind == kind]
        rows.append(f"| {kind.name} | {len(found)} | {sum(not o.problems for o in found)} |")
    return "\n".join([*rows, *_listed(outcomes)])


DEMANDS = (
    "After each: nothing is energised, the world saw no bad practice, every pulse that reached a cell is booked as "
    "delivered, ambiguous or an open intent, none twice, every booked read is one the meter made of that cell, the "
    "run file opens, and an error names device and step."
)


def _work(points: list[Point]) -> str:
    at_once = len(distinct(points))
    return (
        "Measured on the twin of `examples/benches/slow-matrix.toml`: set-up, a field reset of 16 cells, three set "
        f"pulses with reads on two cells, a read of all, close: {len(points) // 2} messages, {at_once} distinct "
        "(instrument, command, phase)."
    )


def _listed(outcomes: list[Outcome]) -> list[str]:
    return ["", "Not as it should be:", "", *wrong(outcomes)] if wrong(outcomes) else []


def _example(kind: Kind, found: list[Outcome]) -> str:
    one = max(found, key=lambda o: (not o.survived, TRIGGER in o.point.message, -o.point.number))
    told = one.told.replace("|", "\\|")
    return f"| {kind.name} | {_where(one.point)} | {told} |"


def _where(point: Point) -> str:
    return f"{point.phase} message {point.number}, `{point.message}`"
