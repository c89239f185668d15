"""The watchdog: a process of its own that switches the instruments off when the program hangs or dies.

It is started with the bytes that switch each instrument off (see `guard`) and then hears beats through a pipe:
the seconds within which the next one will come. None in time: it ends the program, whose open connection may
block an exclusive port, opens connections of its own and sends the bytes. The pipe's end without a goodbye
(a crash, kill -9): the same without the kill. It runs as a plain script, so that it loads nothing of quest-lab.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

BEAT = struct.Struct("<d")  # seconds to the next beat, or one of the next two
GOODBYE, SWITCH_OFF = -1.0, -2.0
LENGTH = struct.Struct("<q")  # of the JSON text that comes first
READY = b"ready\n"
TICK_S = 0.05
KILLED_WITHIN_S = 10.0
TRIES, PAUSE_S = 3, 0.3  # a port may take a moment to be free


class Beats:
    """What the pipe says, read by a thread; only the newest beat counts."""

    def __init__(self, fd: int) -> None:
        self.last = math.inf
        self.due = math.inf
        self.ended = threading.Event()
        self._fd = fd
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        rest = b""
        while chunk := os.read(self._fd, 1 << 16):
            whole, rest = _split(rest + chunk)
            if whole:
                (self.last,) = BEAT.unpack(whole[-BEAT.size :])
                self.due = time.monotonic() + self.last if self.last >= 0 else math.inf
        self.ended.set()

    def wait(self) -> str:
        """Until something is wrong; says what, "" after a goodbye."""
        late = 0
        while not self.ended.wait(TICK_S):
            late = late + 1 if time.monotonic() > self.due else 0
            if late > 1:  # twice: if the whole computer stood still, the beat lies in the pipe
                return f"gave no sign for {self.last:.3g} s and was ended"
        return {GOODBYE: "", SWITCH_OFF: "could not switch everything off"}.get(
            self.last, "ended without a goodbye"
        )


def _split(data: bytes) -> tuple[bytes, bytes]:
    whole = len(data) // BEAT.size * BEAT.size
    return data[:whole], data[whole:]


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):  # meant for the program, which may need us then
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    told = json.loads(_read(LENGTH.unpack(_read(LENGTH.size))[0]))
    sys.stdout.buffer.write(READY)
    sys.stdout.close()
    beats = Beats(sys.stdin.fileno())
    _load(told["jobs"])
    why = beats.wait()
    if not why:
        return
    if not beats.ended.is_set():
        end(told["pid"], beats)
    failed = switch_off(told["jobs"], told["library"])
    _tell(told, why, failed)


def end(pid: int, beats: Beats) -> None:
    """Kill the program and wait until it is gone."""
    try:
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows: TerminateProcess
    except ProcessLookupError:  # what is left of it is a child that inherited the pipe
        return
    beats.ended.wait(KILLED_WITHIN_S)


def switch_off(jobs: list[dict[str, Any]], library: str) -> dict[str, str]:
    """Send every instrument its bytes, in order; returns what went wrong, by role."""
    failed: dict[str, str] = {}
    for job in jobs:
        for attempt in range(TRIES):
            try:
                _send(job, library)
                failed.pop(job["role"], None)
                break
            except Exception as error:  # the next instrument's turn comes, whatever this one says
                failed[job["role"]] = " ".join(str(error).split()) or type(error).__name__
                time.sleep(PAUSE_S if attempt < TRIES - 1 else 0.0)
    return failed


def _send(job: dict[str, Any], library: str) -> None:
    with _opened(job, library) as line:
        for data, wait_s in job["steps"]:
            line(data.encode("latin-1"))
            time.sleep(wait_s)


@contextmanager
def _opened(job: dict[str, Any], library: str) -> Iterator[Any]:
    """A connection of our own; yields what sends bytes over it."""
    if job["serial"]:
        import serial

        with serial.Serial(job["address"], timeout=2.0, write_timeout=2.0, **job["settings"]) as port:
            yield port.write
        return
    import pyvisa

    with closing(pyvisa.ResourceManager(library).open_resource(job["address"])) as line:
        line.timeout = 2000
        for name, value in job["settings"].items():
            setattr(line, name, value)
        yield line.write_raw  # type: ignore[attr-defined]  # every resource that carries messages has it


def _load(jobs: list[dict[str, Any]]) -> None:
    """Import what will be needed now: later there may be no time, memory or disk."""
    import pyvisa  # noqa: F401

    if any(job["serial"] for job in jobs):
        import serial  # noqa: F401


def _tell(told: dict[str, Any], why: str, failed: dict[str, str]) -> None:
    roles = [job["role"] for job in told["jobs"]]
    sent = ", ".join(role for role in roles if role not in failed) or "nobody"
    missed = "".join(f"; {role} NOT REACHED: {text}" for role, text in failed.items())
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = f"{when} watchdog: process {told['pid']} {why}; sent off to {sent}{missed}\n"
    with suppress(OSError):  # whoever read it may be gone
        os.write(2, line.encode())
    if told["log"]:
        with Path(told["log"]).open("a", encoding="utf-8") as log:
            log.write(line)


def _read(count: int) -> bytes:
    """Exactly `count` bytes of the pipe. EOFError: nobody there any more, and nothing was armed."""
    data = b""
    while len(data) < count:
        chunk = os.read(sys.stdin.fileno(), count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


if __name__ == "__main__":
    main()
