"""Arguments and errors of SCPI messages: numbers with units, booleans, keywords, and how a list is split."""

from __future__ import annotations

import re
from collections.abc import Mapping

STANDARD_ERRORS: Mapping[int, str] = {
    0: "No error",
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -131: "Invalid suffix",
    -151: "Invalid string data",
    -211: "Trigger ignored",
    -221: "Settings conflict",
    -222: "Data out of range",
    -224: "Illegal parameter value",
    -350: "Queue overflow",
    -363: "Input buffer overrun",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
}


class ScpiError(Exception):
    """An error for the instrument's queue: number and text as its manual words them."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = STANDARD_ERRORS[code] if text is None else text


def split(text: str, separator: str) -> list[str]:
    """Split outside quotes and parentheses."""
    if not any(c in text for c in "'\"()"):
        return text.split(separator)
    parts, start, depth, quote = [], 0, 0, ""
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
        else:
            depth += (c == "(") - (c == ")")
    return [*parts, text[start:]]


_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?)\s*([A-Z]*)")
_MULTIPLIERS = {"": 1.0, "G": 1e9, "MA": 1e6, "K": 1e3, "M": 1e-3, "U": 1e-6, "N": 1e-9, "P": 1e-12}


def number(text: str, low: float, high: float, *, unit: str = "", default: float | None = None) -> float:
    """A numeric argument with MIN, MAX, DEF and a unit suffix; raises -222 outside low..high."""
    word = text.upper()
    named = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high, "DEF": default, "DEFAULT": default}
    if (value := named.get(word)) is not None:
        return value
    match = _NUMBER.fullmatch(word)
    if not match:
        raise ScpiError(-104)
    value = float(match[1]) * _multiplier(match[2], unit)
    if not low <= value <= high:
        raise ScpiError(-222)
    return value


def _multiplier(suffix: str, unit: str) -> float:
    if suffix and not (unit and suffix.endswith(unit)):
        raise ScpiError(-131)
    prefix = suffix.removesuffix(unit) if unit else suffix
    if prefix == "M" and unit in ("HZ", "OHM"):
        return 1e6  # IEEE 488.2 §7.7.3: M is mega before these two only
    if prefix not in _MULTIPLIERS:
        raise ScpiError(-131)
    return _MULTIPLIERS[prefix]


def boolean(text: str) -> bool:
    """ON, OFF or a number (0 is off)."""
    return (
        {"ON": True, "OFF": False}[text.upper()]
        if text.upper() in ("ON", "OFF")
        else number(text, -1e9, 1e9) != 0
    )


def keyword(text: str, *forms: str) -> str:
    """One of the words in manual notation (`PULSe`), long or short; answers its short form. Raises -224."""
    word = text.strip("'\"").upper()
    for form in forms:
        short = "".join(c for c in form if not c.islower())
        if word in (short, form.upper()):
            return short
    raise ScpiError(-224)


def scientific(value: float) -> str:
    """A number as instruments answer it (NR3)."""
    return f"{value:+.9E}"


def flag(value: bool) -> str:
    """A state as instruments answer it."""
    return str(int(value))
