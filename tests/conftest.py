"""What many tests share: simulated chips, sessions and characterisations of them, and real processes: a twin
served by one, and programs that drive it as hardware in others."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from quest_lab.benches import control, site_of
from quest_lab.benchfile import BenchFile, parse_bench
from quest_lab.characterization import Characterization
from quest_lab.clock import Clock, VirtualClock
from quest_lab.examples import example_benches
from quest_lab.instruments.bench import BenchDevice
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.twin import twin_laboratory

CELLS = 240
MOST_WORKERS = 8
QUICK = CharacterizeSettings(confidence=0.053, repeats=2, max_cycles=60)
NOISE_FREE = {
    "d_cell": 0.0,
    "xi_pulse": 0.0,
    "r0_spread": 0.0,
    "tmr_spread": 0.0,
    "residual_states": 0.0,
    "read_noise": 0.0,
}


# Programs that tests start, signal and wait for inherit what is ignored or blocked: SIGINT in a shell's background,
# SIGHUP below nohup, any under a service.
for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGCHLD"):
    if (number := getattr(signal, name, None)) and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
for name in ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):  # commands print to no terminal here
    os.environ.pop(name, None)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than processors: some tests wait for other programs, and another test runs meanwhile. At most
    MOST_WORKERS: each takes up to 1 GiB, and a container may have less of a big machine than it sees."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min((usable or 1) + 1, MOST_WORKERS)


@pytest.fixture(scope="session")
def session_on() -> Iterator[Callable[..., Session]]:
    """session_on(model, cells, seed): a session on a fresh simulated chip, closed at the end."""
    opened: list[CellArray] = []

    def make(model: SkMTJ, cells: int = CELLS, seed: int = 5) -> Session:
        clock = VirtualClock()
        opened.append(CellArray(model, cells, seed=seed))
        return Session(SimulatedChip(opened[-1], clock), clock, seed=seed)

    yield make
    for array in opened:
        array.close()


@pytest.fixture(scope="session")
def noise_free() -> Callable[[str], SkMTJ]:
    """noise_free(preset): the law without any spread."""
    return lambda preset: SkMTJ.preset(preset, **NOISE_FREE)


@pytest.fixture(scope="session")
def characterized(
    session_on: Callable[..., Session], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[SkMTJ], Characterization]:
    """characterized(model): of the chip that session_on(model) makes; each model once for all workers."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    @cache
    def measure(model: SkMTJ) -> Characterization:
        kept = folder / f"{sha256(repr(model).encode()).hexdigest()}.pickle"
        with FileLock(f"{kept}.lock"):
            if not kept.exists():
                everyone = np.arange(CELLS)
                kept.write_bytes(pickle.dumps(characterize(session_on(model), everyone, everyone, QUICK)[0]))
        found: Characterization = pickle.loads(kept.read_bytes())
        return found

    return measure


def of_few_cells(found: Characterization, cells: int) -> Characterization:
    """As if only the first so many cells of the chip had been characterised; transitions are counted as they were."""
    kept = {n: getattr(found, n)[:cells] for n in ("cells", "baseline_ohm", "top_ohm")}
    sampled = np.flatnonzero(np.isin(found.sample, found.cells[:cells]))
    each = None if found.by_cell is None else found.by_cell.of_cells(sampled)
    return replace(
        found, **kept, sample=found.sample[sampled], threshold_v=found.threshold_v[sampled], by_cell=each
    )


@pytest.fixture(scope="session")
def few() -> Callable[[Characterization, int], Characterization]:
    """few(found, cells): as if only the first so many cells of the chip had been characterised."""
    return of_few_cells


@pytest.fixture(scope="session")
def restricted(characterized: Callable[[SkMTJ], Characterization]) -> Callable[..., Characterization]:
    """restricted(model, baselines): states (0, 3, 6) of it; with fewer baselines if asked."""

    def make(model: SkMTJ, baselines: int = CELLS) -> Characterization:
        found = characterized(model)
        return (found if baselines == CELLS else of_few_cells(found, baselines)).restrict((0, 3, 6))

    return make


def example_file(name: str, *changes: tuple[str, str], cells: int | None = None, seed: int = 1) -> BenchFile:
    """An example bench with other words (each must be there), fewer cells, another seed."""
    path = example_benches()[name]
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return parse_bench(text, path).with_twin(cells=cells, seed=seed)


@pytest.fixture(scope="session")
def example() -> Callable[..., BenchFile]:
    """example(name, *changes, cells=, seed=): an example bench with other words."""
    return example_file


@pytest.fixture
def virtual() -> Iterator[Callable[..., tuple[BenchFile, Laboratory]]]:
    """virtual(name, *changes, cells=, seed=, ...): an example's file and its twin, closed at the end."""
    made: list[Laboratory] = []

    def make(
        name: str = "slow-matrix",
        *changes: tuple[str, str],
        cells: int | None = None,
        seed: int = 1,
        meter_noise: bool = False,
        clock: Clock | None = None,
    ) -> tuple[BenchFile, Laboratory]:
        file = example_file(name, *changes, cells=cells, seed=seed)
        made.append(twin_laboratory(file, meter_noise=meter_noise, clock=clock))
        return file, made[-1]

    yield make
    for laboratory in made:
        laboratory.close()


@pytest.fixture(scope="session")
def drive() -> Callable[..., BenchDevice]:
    """drive(file, laboratory, front): the drivers of this file on that laboratory, set up."""
    return lambda file, lab, front="in process": control(file, site_of(file, lab, front))[0]


SLOW = Path(__file__).parents[1] / "examples" / "benches" / "slow-matrix.toml"
SERVE = """
import json, os, signal, sys
from quest_lab.benchfile import load_bench
from quest_lab.clock import RunningClock
from quest_lab.sim.server import Server
from quest_lab.sim.twin import twin_laboratory

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
loaded = os.getpid()
for bench in sys.stdin:
    if os.fork():
        continue
    laboratory = twin_laboratory(load_bench(bench.strip()), clock=RunningClock())
    server = Server(laboratory, port=0, terminals=False)
    places = {address: [place.tcp, place.serial] for address, place in server.places.items()}
    print(json.dumps([os.getpid(), places, server.clock.port]), flush=True)
    server.serve(lambda: os.getppid() == loaded or os._exit(1))  # the tests were killed
"""
Start = Callable[..., "subprocess.Popen[str]"]
WITHIN_S = 30.0


@dataclass
class Served:
    """A bench file whose addresses are those of a twin in another process."""

    bench: Path
    clock_port: int

    def ask(self, question: str) -> str:
        """What the world over there says."""
        with socket.create_connection(("127.0.0.1", self.clock_port), timeout=10) as line:
            line.sendall(f"{question}\n".encode())
            with line.makefile() as file:
                return file.readline().strip()

    @property
    def outputs_off(self) -> bool:
        return self.ask("OUTP?") == "0"

    def wait_until_off(self) -> None:
        """Returns once nothing is energised, and nothing was done badly on the way there."""
        self.until(lambda: self.outputs_off, "outputs off")
        assert self.ask("VIOL?") == "0"

    @staticmethod
    def until(what: Callable[[], bool], name: str) -> None:
        """Wait for something that other processes do."""
        end = time.monotonic() + WITHIN_S
        while not what():
            assert time.monotonic() < end, f"not within {WITHIN_S} s: {name}"
            time.sleep(0.02)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "QUEST_LAB_NO_HARDWARE"}


@pytest.fixture
def front() -> str:
    """Over what the programs reach the instruments; tests of both say so."""
    return "tcp"


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], tuple[int, dict[str, list[str]], int]]]:
    """serve(bench): process, addresses over TCP and serial line, and clock port of a twin. All are forked from a
    process that has everything loaded (POSIX's)."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as loaded:
        assert loaded.stdin is not None
        assert loaded.stdout is not None
        ask, answers = loaded.stdin, loaded.stdout

        def begin(bench: Path) -> tuple[int, dict[str, list[str]], int]:
            print(bench, file=ask, flush=True)
            process, places, clock_port = json.loads(answers.readline())
            return process, places, clock_port

        yield begin


@pytest.fixture
def served(
    tmp_path: Path, front: str, serve: Callable[[Path], tuple[int, dict[str, list[str]], int]]
) -> Iterator[Served]:
    process, places, clock_port = serve(SLOW)
    text = SLOW.read_text(encoding="utf-8") + '\n[safety]\nwatchdog = "60 s"\n'  # it may guard a test
    text = text.replace('settle = "0.2 ms"', 'settle = "0.2 s"')  # over there messages may be handled late
    for address, fronts in places.items():
        text = text.replace(address, fronts[front == "serial"])
    bench = tmp_path / "bench.toml"
    bench.write_text(text, encoding="utf-8")
    try:
        yield Served(bench, clock_port)
    finally:
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def start(served: Served, tmp_path: Path) -> Iterator[Start]:
    """start(program, *arguments): a program with the bench file as its first argument; ended at the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(program: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, str(served.bench), *arguments]
        pipe = subprocess.PIPE
        running.append(
            subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path, env=environment())
        )
        return running[-1]

    yield begin
    for one in running:
        if one.poll() is None:
            one.kill()
        one.communicate(timeout=WITHIN_S)
