"""Progress with the time left: a bar on a terminal, plain lines now and then anywhere else.

Both are what `quest_lab.session.Progress` asks for: `progress(what, done, total)`. They write to stderr,
so that a command's results on stdout can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from quest_lab.session import Progress


@contextmanager
def progress(stderr: TextIO | None = None) -> Generator[Progress]:
    """Yield the progress of a session, `report(what, done, total)`, for as long as a command runs."""
    out = sys.stderr if stderr is None else stderr
    if not out.isatty():
        yield Lines(out)
        return
    with _rich_bar(out) as bar:
        yield Bars(bar)


def duration(seconds: float) -> str:
    """`seconds` as people say it: 8 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Lines:
    """A line at the start, at the end and at most every `every_s` seconds between."""

    def __init__(
        self, out: TextIO, *, now: Callable[[], float] = time.monotonic, every_s: float = 3.0
    ) -> None:
        self._out = out
        self._now = now
        self._every_s = every_s
        self._what: str | None = None
        self._began_s = 0.0
        self._began_done = 0
        self._printed_s = 0.0
        self._finished = False

    def __call__(self, what: str, done: int, total: int) -> None:
        now_s = self._now()
        if what != self._what or (self._finished and done < total):
            self._what, self._began_s, self._began_done, self._finished = what, now_s, done, False
        elif self._finished or (done < total and now_s - self._printed_s < self._every_s):
            return
        self._finished = done >= total
        self._printed_s = now_s
        print(f"{what}: {done}/{total}{self._rest(now_s, done, total)}", file=self._out, flush=True)

    def _rest(self, now_s: float, done: int, total: int) -> str:
        elapsed_s = now_s - self._began_s
        if done >= total:
            return f", {duration(elapsed_s)}"
        advanced = done - self._began_done  # a resumed run starts above 0
        if advanced <= 0:
            return ""
        return f" ({100 * done // total} %), {duration(elapsed_s * (total - done) / advanced)} left"


class Bars:
    """A bar for each `what`."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)


def _rich_bar(out: TextIO) -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=out))
