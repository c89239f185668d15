"""The measurements by name: what `quest-lab measure` offers, and how settings are read from words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from quest_lab.device import Cells
from quest_lab.errors import BadInput
from quest_lab.protocols.disturb import DisturbSettings, disturb
from quest_lab.protocols.endurance import EnduranceSettings, endurance
from quest_lab.protocols.field_loop import FieldLoopSettings, field_loop
from quest_lab.protocols.half_select import HalfSelectSettings, half_select
from quest_lab.protocols.measurement import Measured
from quest_lab.protocols.retention import RetentionSettings, retention
from quest_lab.protocols.width_staircase import WidthSettings, width_staircase
from quest_lab.protocols.yield_map import YieldSettings, yield_map
from quest_lab.session import Session


@dataclass(frozen=True, slots=True)
class Measurement:
    """A protocol, its settings, its title, and how many cells it takes by default (None: all)."""

    title: str
    settings: type[Any]
    measure: Callable[[Session, Cells, Any], Measured]
    usual_cells: int | None = 64


MEASUREMENTS: Mapping[str, Measurement] = {
    "yield": Measurement("Yield map", YieldSettings, yield_map, None),
    "endurance": Measurement("Endurance", EnduranceSettings, endurance),
    "retention": Measurement("Retention", RetentionSettings, retention, 256),
    "field-loop": Measurement("R-H loop", FieldLoopSettings, field_loop),
    "disturb": Measurement("Read noise and read disturb", DisturbSettings, disturb, 256),
    "width": Measurement("Width staircases", WidthSettings, width_staircase),
    "half-select": Measurement("Half-select disturb and sneak paths", HalfSelectSettings, half_select, None),
}


def settings_of(kind: str, words: Sequence[str]) -> Any:
    """The settings of a measurement, `words` like cycles=1000. BadInput names the word and what is known."""
    settings = MEASUREMENTS[kind].settings
    hints, given = get_type_hints(settings), {}
    known = ", ".join(f"{field.name}={_shown(field.default)}" for field in fields(settings))
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in hints:
            raise BadInput(f"--set {word}: want NAME=VALUE; {kind} knows {known}")
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
            if number != int(number):
                raise ValueError
            return int(number)
        return number
    except (ValueError, KeyError, OverflowError):
        wanted = "true or false" if "bool" in kind else "an integer" if "int" in kind else "a number"
        raise BadInput(f"--set {word}: {text!r} is not {wanted}") from None
