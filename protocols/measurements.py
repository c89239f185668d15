"""The measurements by name: what `quest-lab measure` offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quest_lab.device import Cells
from quest_lab.protocols.disturb import DisturbSettings, disturb
from quest_lab.protocols.endurance import EnduranceSettings, endurance
from quest_lab.protocols.field_loop import FieldLoopSettings, field_loop
from quest_lab.protocols.half_select import HalfSelectSettings, half_select
from quest_lab.protocols.measurement import Measured
from quest_lab.protocols.retention import RetentionSettings, retention
from quest_lab.protocols.settings import read_settings
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
    return read_settings(MEASUREMENTS[kind].settings, kind, words)
