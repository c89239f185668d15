"""Settings of a protocol as people write them: words like cycles=1e4 into a dataclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from quest_lab.errors import BadInput

T = TypeVar("T")
_MOST = 10**12  # of anything that is counted


def read_settings(settings: type[T], what: str, words: Sequence[str]) -> T:
    """A dataclass with its defaults but for `words`. BadInput names the word and what the protocol `what` knows."""
    hints, given = get_type_hints(settings), {}
    known = ", ".join(f"{field.name}={_shown(field.default)}" for field in fields(settings))  # type: ignore[arg-type]
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in hints:
            raise BadInput(f"--set {word}: want NAME=VALUE; {what} knows {known}")
        given[name] = _value(str(hints[name]), text, word)
    return settings(**given)


def _shown(default: Any) -> str:
    return "" if default is None or default == () else str(default).lower()


def _value(kind: str, text: str, word: str) -> Any:
    """`text` as the type of a field: a truth, an integer (1e4 too), a number, numbers separated by commas."""
    try:
        if "bool" in kind:
            return {"true": True, "false": False}[text.lower()]
        if "tuple" in kind:
            return tuple(float(part) for part in text.split(","))
        number = float(text)
        if "int" in kind:
            if number != int(number) or abs(number) > _MOST:
                raise ValueError
            return int(number)
        return number
    except (ValueError, KeyError, OverflowError):
        integer = f"an integer of at most {_MOST:g}"
        wanted = "true or false" if "bool" in kind else integer if "int" in kind else "a number"
        raise BadInput(f"--set {word}: {text!r} is not {wanted}") from None
