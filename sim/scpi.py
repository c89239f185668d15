"""SCPI as an instrument understands it: header tree, `;` chains, common commands, status and error queue.

Headers are written as in programming manuals: `[SOURce#:]VOLTage[:LEVel]` takes long and short forms in any
case, optional nodes in brackets, `#` a numeric suffix (1 if absent). After `;` a header without leading
colon continues at the last one's branch (SCPI-99 §6.2.4). A command error (-1xx) ends the message, an
execution error does not. Status model: IEEE 488.2 §11.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from quest_lab.sim.scpi_arguments import STANDARD_ERRORS, ScpiError, number, scientific, split

OPERATION_COMPLETE, QUERY, DEVICE, EXECUTION, COMMAND, POWER_ON = 1, 4, 8, 16, 32, 128
ERROR_AVAILABLE, MESSAGE_AVAILABLE, EVENT_SUMMARY, MASTER_SUMMARY = 4, 16, 32, 64


@dataclass(frozen=True, slots=True)
class Call:
    """One command as received: its arguments and the first numeric suffix of its header."""

    arguments: tuple[str, ...]
    suffix: int = 1

    def one(self) -> str:
        """The only argument. Raises -109 and -108 as instruments do."""
        if not self.arguments:
            raise ScpiError(-109)
        if len(self.arguments) > 1:
            raise ScpiError(-108)
        return self.arguments[0]


Write: TypeAlias = Callable[[Call], None]
Query: TypeAlias = Callable[[Call], str]


@dataclass(frozen=True, slots=True)
class Command:
    """A header of the manual with what it does (`write`) and what its `?` form answers (`query`)."""

    header: str
    write: Write | None = None
    query: Query | None = None
    suffixes: int = 1  # highest numeric suffix

    def pattern(self) -> re.Pattern[str]:
        """The header as a regular expression over upper case text."""

        def mnemonic(found: re.Match[str]) -> str:
            short, rest = found[1], found[2].upper()
            return f"{short}(?:{rest})?" if rest else short

        text = self.header.replace("[", "(?:").replace("]", ")?").replace("*", r"\*")
        text = re.sub(r"([A-Z]+)([a-z]*)", mnemonic, text)
        return re.compile(text.replace("#", r"(\d*)"))


class Scpi:
    """One instrument's parser, status registers, error queue and output queue."""

    def __init__(
        self,
        identity: str,
        commands: Iterable[Command],
        *,
        reset: Callable[[], None],
        no_error: str = "0",
        queue: int = 20,
    ) -> None:
        self.identity = identity
        self._no_error = no_error
        self._reset = reset
        self._errors: deque[tuple[int, str]] = deque()
        self._queue = queue
        self._output: list[str] = []
        self._events, self._event_enable, self._service_enable = POWER_ON, 0, 0
        self._table = [(c.pattern(), c) for c in (*self._common(), *commands)]
        self._known: dict[str, tuple[Command, int]] = {}

    def receive(self, message: str) -> None:
        """Execute one program message. Replies wait in the output queue."""
        if self._output:
            self._output.clear()
            self.error(-410)
        path = ""
        for unit in split(message, ";"):
            try:
                path = self._execute(unit.strip(), path)
            except ScpiError as error:
                self.error(error.code, error.text)
                if -200 < error.code <= -100:
                    break

    def answer(self) -> str | None:
        """Take the reply to the last message; None (and -420) if there is none to send."""
        if not self._output:
            self.error(-420)
            return None
        reply, self._output = ";".join(self._output), []
        return reply

    @property
    def reply_waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._output)

    def clear(self) -> None:
        """Device clear: empties the output queue, leaves settings and errors alone."""
        self._output.clear()

    def error(self, code: int, text: str | None = None) -> None:
        """Put an error in the queue and its class in the event register."""
        self._events |= _error_class(code)
        if len(self._errors) == self._queue:
            self._errors[-1] = (-350, STANDARD_ERRORS[-350])
        else:
            self._errors.append((code, STANDARD_ERRORS[code] if text is None else text))

    @property
    def status_byte(self) -> int:
        """IEEE 488.2 status byte, with the error queue in bit 2 and the master summary in bit 6."""
        byte = ERROR_AVAILABLE if self._errors else 0
        byte |= MESSAGE_AVAILABLE if self._output else 0
        byte |= EVENT_SUMMARY if self._events & self._event_enable else 0
        return byte | (MASTER_SUMMARY if byte & self._service_enable else 0)

    def _execute(self, unit: str, path: str) -> str:
        if not unit:
            return path
        header, _, rest = unit.partition(" ")
        query = header.endswith("?")
        name = header.rstrip("?").upper()
        if not name.startswith((":", "*")):
            name = path + name
        command, suffix = self._find(name.lstrip(":"))
        call = Call(tuple(a.strip() for a in split(rest, ",")) if rest.strip() else (), suffix)
        self._call(command, call, query=query)
        return path if name.startswith("*") else name.lstrip(":").rpartition(":")[0] + ":"

    def _call(self, command: Command, call: Call, *, query: bool) -> None:
        if query and command.query:
            self._output.append(command.query(call))
        elif not query and command.write:
            command.write(call)
        else:
            raise ScpiError(-113)

    def _find(self, name: str) -> tuple[Command, int]:
        name = name.removeprefix(":")
        if name not in self._known:
            self._known[name] = self._search(name)
        return self._known[name]

    def _search(self, name: str) -> tuple[Command, int]:
        for pattern, command in self._table:
            if match := pattern.fullmatch(name):
                given = [int(g) for g in match.groups() if g]
                if any(not 1 <= suffix <= command.suffixes for suffix in given):
                    raise ScpiError(-114)
                return command, (given or [1])[0]
        raise ScpiError(-113)

    def _common(self) -> tuple[Command, ...]:
        return (
            Command("*IDN", query=lambda _: self.identity),
            Command("*RST", write=lambda _: self._reset()),
            Command("*CLS", write=lambda _: self._clear_status()),
            Command("*OPC", write=lambda _: self._set_event(OPERATION_COMPLETE), query=lambda _: "1"),
            Command("*WAI", write=lambda _: None),  # every operation ends before the next command
            Command("*TST", query=lambda _: "0"),
            Command("*ESR", query=lambda _: str(self._take_events())),
            Command("*ESE", write=self._set_event_enable, query=lambda _: str(self._event_enable)),
            Command("*SRE", write=self._set_service_enable, query=lambda _: str(self._service_enable)),
            Command("*STB", query=lambda _: str(self.status_byte)),
            Command("SYSTem:ERRor[:NEXT]", query=lambda _: self._take_error()),
            Command("SYSTem:VERSion", query=lambda _: "1999.0"),
        )

    def _take_error(self) -> str:
        if not self._errors:
            return f'{self._no_error},"{STANDARD_ERRORS[0]}"'
        code, text = self._errors.popleft()
        return f'{code:+d},"{text}"'

    def _take_events(self) -> int:
        events, self._events = self._events, 0
        return events

    def _set_event(self, bit: int) -> None:
        self._events |= bit

    def _set_event_enable(self, call: Call) -> None:
        self._event_enable = int(number(call.one(), 0, 255))

    def _set_service_enable(self, call: Call) -> None:
        self._service_enable = int(number(call.one(), 0, 255)) & ~MASTER_SUMMARY

    def _clear_status(self) -> None:
        self._errors.clear()
        self._events = 0


def _error_class(code: int) -> int:
    for low, bit in ((-199, COMMAND), (-299, EXECUTION), (-399, DEVICE), (-499, QUERY)):
        if low <= code <= low + 99:
            return bit
    return DEVICE


def setting(
    values: dict[str, Any], header: str, key: str, parse: Callable[[str], Any], show: Callable[[Any], str]
) -> Command:
    """A command that only stores its argument in `values[key]` and answers it."""

    def write(call: Call) -> None:
        values[key] = parse(call.one())

    return Command(header, write, lambda _: show(values[key]))


def number_setting(
    values: dict[str, Any], header: str, key: str, low: float, high: float, *, off: str = ""
) -> Command:
    """As `setting`, of a number within its range; setting it turns the automatic choice `off` off."""

    def write(call: Call) -> None:
        values[key] = number(call.one(), low, high)
        if off:
            values[off] = False

    return Command(header, write, lambda _: scientific(values[key]))
