"""Our side of the watchdog: what it is to send, the beats of every exchange, and the goodbye."""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

from pyvisa.resources import SerialInstrument

from quest_lab.benchfile import BenchFile
from quest_lab.clock import Clock
from quest_lab.device import Applied, Capabilities, Cells, Operation, Reading, ReadPulse
from quest_lab.errors import DeviceError
from quest_lab.instruments import watchdog
from quest_lab.instruments.assemble import assemble
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.connect import Instruments, Site
from quest_lab.instruments.magnet import FieldMagnet

MARGIN_S = 1.0  # beyond an exchange's own timeout
ENDS_WITHIN_S = 30.0
RAMPED_AFTER_S = 0.5  # a supply may take its time over a command; nobody is in a hurry any more
_VISA_SERIAL = ("baud_rate", "data_bits", "parity", "stop_bits")
_PORT = ("baudrate", "bytesize", "parity", "stopbits")  # pyserial's names
_EXCHANGES = (
    "write",
    "read",
    "write_bytes",
    "read_bytes",
)  # of a pymeasure adapter; a port has the first two


@dataclass(frozen=True)
class OffJob:
    """What switches one instrument off: bytes (as latin-1 text) and how long to wait after each.

    `serial`: `address` is a port's name, not VISA's.
    """

    role: str
    address: str
    serial: bool
    settings: dict[str, Any]
    steps: list[tuple[str, float]] = field(default_factory=list)


class _Recorder:
    """Stands for instruments and clock while the device's own `safe_state` is taken down."""

    def __init__(self) -> None:
        self.jobs: list[OffJob] = []

    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        if self.jobs and self.jobs[-1].steps:
            data, wait_s = self.jobs[-1].steps[-1]
            self.jobs[-1].steps[-1] = (data, wait_s + seconds)

    def wrote(self, job: OffJob, data: bytes) -> None:
        if job not in self.jobs:
            self.jobs.append(job)
        job.steps.append((data.decode("latin-1"), 0.0))


class _StandIn:
    """An instrument (or port) that only takes down what is written to it."""

    def __init__(self, recorder: _Recorder, job: OffJob, termination: str) -> None:
        self._recorder, self._job, self._termination = recorder, job, termination
        self.adapter = SimpleNamespace(connection=SimpleNamespace(visalib=None, session=None))

    def write(self, data: str | bytes) -> None:
        self._recorder.wrote(self._job, data if isinstance(data, bytes) else self._ended(data))

    def _ended(self, text: str) -> bytes:
        return (text + self._termination).encode("latin-1")


def off_jobs(file: BenchFile, instruments: Instruments) -> list[OffJob]:
    """The bytes of the bench's own `safe_state`, in its order: pulser, source, matrix, magnet.

    Nothing is sent. The magnet's current may be anything when the watchdog comes: it gets 0 A, the time of the
    longest ramp and half a second before its output opens.
    """
    recorder = _Recorder()
    stand_ins = {role: _stand_in(recorder, file, role, found) for role, found in instruments.items()}
    made = assemble(
        file, stand_ins, Site("", recorder, file.bench.chip.id, lambda: None, move=lambda _: None)
    )
    made.device.safe_state()
    for role, instrument in made.roles.items():
        if isinstance(instrument, FieldMagnet):
            longest_s = instrument.calibration.limit_a / instrument.calibration.slew_a_per_s
            _wait_longer(next(job for job in recorder.jobs if job.role == role), longest_s + RAMPED_AFTER_S)
    return recorder.jobs


def _stand_in(recorder: _Recorder, file: BenchFile, role: str, instrument: Any) -> _StandIn:
    address = file.bench.devices.named()[role].address
    if not hasattr(instrument, "adapter"):
        return _StandIn(recorder, OffJob(role, address, True, _settings(instrument, _PORT)), "")
    connection = instrument.adapter.connection
    settings = _settings(connection, _VISA_SERIAL) if isinstance(connection, SerialInstrument) else {}
    return _StandIn(recorder, OffJob(role, address, False, settings), connection.write_termination or "")


def _settings(line: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(line, name) for name in names}


def _wait_longer(job: OffJob, seconds: float) -> None:
    data, wait_s = job.steps[0]
    job.steps[0] = (data, wait_s + seconds)


class Watchdog:
    """The running watchdog. `idle_s`: how long nothing may be exchanged. Raises DeviceError if it cannot start.

    No thread beats by itself: that would hide a hang.
    """

    def __init__(self, jobs: list[OffJob], *, library: str, idle_s: float, log: Path | None = None) -> None:
        self._idle_s, self._lock = (
            idle_s,
            threading.RLock(),
        )  # a signal handler may beat in the middle of a beat
        self._lost = self._told = False
        self._pipe: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", watchdog.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C, and a kill of the whole group, are not for it
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        told = {"pid": os.getpid(), "library": library, "log": None if log is None else str(log.absolute()),
                "jobs": [asdict(job) for job in jobs]}  # fmt: skip
        self._start(json.dumps(told).encode())

    def _start(self, told: bytes) -> None:
        pipe, answer = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        with suppress(BrokenPipeError):
            pipe.write(watchdog.LENGTH.pack(len(told)) + told)
        with answer:
            if answer.read(len(watchdog.READY)) != watchdog.READY:
                pipe.close()
                self._process.wait()
                raise DeviceError("the watchdog process does not start: nothing is switched on without it")
        self._pipe = pipe.fileno()
        if os.name == "posix":
            os.set_blocking(self._pipe, False)  # a watchdog that hangs must not hang us
        self.beat(self._idle_s)

    def beat(self, seconds: float) -> None:
        """The next beat comes within `seconds`. Never raises: what is on its way may be an `off`."""
        with self._lock:
            if self._pipe is None:  # we have parted
                return
            try:
                os.write(self._pipe, watchdog.BEAT.pack(seconds))
            except OSError:
                self._lost = True

    def during(self, act: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        """`act` between two beats: it may take `seconds`."""

        def exchange(*args: Any, **kwargs: Any) -> Any:
            self.beat(seconds)
            try:
                found = act(*args, **kwargs)
            finally:
                self.beat(self._idle_s)
            self._tell_if_lost()
            return found

        return exchange

    def watch(self, instrument: Any) -> None:
        """Beat at each exchange of a pymeasure instrument or a serial port."""
        line = getattr(instrument, "adapter", instrument)
        seconds = min(_timeout_s(instrument), self._idle_s) + MARGIN_S
        for name in _EXCHANGES:
            if hasattr(line, name):
                setattr(line, name, self.during(getattr(line, name), seconds))

    def clock(self, clock: Clock) -> Clock:
        """`clock`, its waits known to the watchdog."""
        return _WatchedClock(clock, self, self._idle_s)

    def goodbye(self) -> None:
        """Everything is off: the watchdog ends quietly."""
        self._part(watchdog.GOODBYE)

    def switch_off(self) -> None:
        """We could not: it sends the off bytes over connections of its own, and ends."""
        self._part(watchdog.SWITCH_OFF)

    def _part(self, word: float) -> None:
        with self._lock:
            if self._pipe is None:
                return
            self.beat(word)
            self._pipe = None
            cast(IO[bytes], self._process.stdin).close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_WITHIN_S)

    def _tell_if_lost(self) -> None:
        """Raise once: the session ends by it, and the offs that follow are let through."""
        if self._lost and not self._told:
            self._told = True
            raise DeviceError("the watchdog process is gone: nothing more is done without it")


class _WatchedClock:
    def __init__(self, clock: Clock, watchdog: Watchdog, idle_s: float) -> None:
        self._clock, self._watchdog, self._idle_s = clock, watchdog, idle_s

    def now(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        self._watchdog.during(self._clock.sleep, seconds + self._idle_s)(seconds)


class Guarded:
    """A Device under a watchdog. Left open, it is closed at the interpreter's end.

    `release` is called last, after the watchdog has ended.
    """

    def __init__(self, device: BenchDevice, watchdog: Watchdog, release: Callable[[], None]) -> None:
        self._device, self._watchdog, self._release = device, watchdog, release
        atexit.register(self.close)

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        return self._device.apply(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self._device.read(cells, at)

    def set_up(self) -> None:
        self._device.set_up()

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        """Close the device; where that fails the watchdog tries it over connections of its own."""
        atexit.unregister(self.close)
        try:
            self._device.close()
        except BaseException:
            self._watchdog.switch_off()
            raise
        finally:
            self._watchdog.goodbye()
            self._release()


def guard(file: BenchFile, instruments: Instruments, library: str, log: Path | None) -> Watchdog:
    """Start the watchdog of a bench over its open instruments; from now on their exchanges beat."""
    jobs = off_jobs(file, instruments)
    started = Watchdog(jobs, library=library, idle_s=file.bench.safety.watchdog_s, log=log)
    for instrument in instruments.values():
        started.watch(instrument)
    return started


def _timeout_s(instrument: Any) -> float:
    """How long one exchange may take, seconds."""
    if not hasattr(instrument, "adapter"):
        return max(instrument.timeout or math.inf, instrument.write_timeout or math.inf)
    milliseconds = instrument.adapter.connection.timeout
    return math.inf if milliseconds is None else float(milliseconds) / 1e3
