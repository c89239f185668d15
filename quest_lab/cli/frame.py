"""What every command shares: exit codes, one clear message per failure, and a console that prints anything.

Exit codes: 0 done, 1 failure, 2 bad input (usage errors included), 130 interrupted. What Ctrl-C stops,
and when: `quest_lab.session.stop_on_signals`.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TextIO

from quest_lab.errors import BadInput, Interrupted, QuestLabError

FAILURE = 1
BAD_INPUT = 2
INTERRUPTED = 130

# A path that is missing, occupied or closed to us is the user's to mend, wherever it surfaced.
_BAD_PATHS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_TRAINING_PACKAGES = ("torch", "sklearn")


def exit_code(error: BaseException) -> int:
    """The exit code that `error` ends the program with."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, (BadInput, *_BAD_PATHS)):
        return BAD_INPUT
    return FAILURE


def message(error: BaseException) -> str:
    """One clear message for `error`, without a traceback."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return ": ".join(filter(None, ("interrupted", str(error))))
    if isinstance(error, QuestLabError):
        return f"error: {error}"
    if isinstance(error, MemoryError):
        return f"error: not enough memory ({error})" if str(error) else "error: not enough memory"
    if isinstance(error, OSError):
        return f"error: {_os_message(error)}"
    if isinstance(error, ModuleNotFoundError) and error.name in _TRAINING_PACKAGES:
        return f"error: {error.name} is not installed; training needs: pip install 'quest-lab[train]'"
    return f"error: unexpected {type(error).__name__}: {error} (a defect; --debug shows where)"


def _os_message(error: OSError) -> str:
    reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


@contextmanager
def exit_on_failure(*, debug: bool, stderr: TextIO | None = None) -> Generator[None]:
    """Turn any failure of the body into its message on stderr and SystemExit with its exit code."""
    out = sys.stderr if stderr is None else stderr
    try:
        yield
    except SystemExit as end:  # typer ends a KeyboardInterrupt this way, without a word
        if end.code == INTERRUPTED:
            print("interrupted", file=out)
        raise
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error, file=out)
        print(message(error), file=out)
        raise SystemExit(exit_code(error)) from None


def debug_first(arguments: Sequence[str]) -> list[str]:
    """`arguments` with --debug in front, where a global option belongs: people add it at the end."""
    if "--debug" not in arguments:
        return list(arguments)
    return ["--debug", *(a for a in arguments if a != "--debug")]


def printable_everywhere() -> None:
    """Print '?' instead of failing where a console's encoding (cp1252 on Windows) lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
