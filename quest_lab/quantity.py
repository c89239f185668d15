"""Quantities as people write them, "50 ns" or "0.1 T", into SI floats, and the prefix to show them with."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))
ROUNDS_UP = 0.9995  # of a power of ten, in three digits
_NUMBER_AND_UNIT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s.+-].*)")


@functools.cache
def _registry() -> Any:
    import pint  # half a second: only who reads a bench file pays for it

    return pint.UnitRegistry()


def si(text: object, unit: str) -> float:
    """The number of `unit` (an SI unit) that `text` says. ValueError says what is wrong and what is wanted."""
    want = f'want {unit}, like "1 {unit}"'
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise ValueError(f"is no quantity; {want}")
    if isinstance(text, int | float) or _is_number(text):
        raise ValueError(f"has no unit; {want}")
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"is no number with a unit; {want}")
    return _converted(float(match[1]), match[2], unit, want)


def prefix_for(values: ArrayLike, unit: str = "J") -> tuple[float, str]:
    """One factor and unit for a whole axis: the prefix that fits its largest finite value."""
    finite = np.abs(np.asarray(values, np.float64))
    finite = finite[np.isfinite(finite)]
    largest = float(finite.max()) if finite.size else 0.0
    for factor, prefix in _PREFIXES:
        if largest >= ROUNDS_UP * factor:
            return factor, prefix + unit
    return (1.0, unit) if largest == 0.0 else (_PREFIXES[-1][0], _PREFIXES[-1][1] + unit)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@functools.lru_cache(1024)  # a millisecond each, and bench files say the same ones again and again
def _converted(number: float, written: str, unit: str, want: str) -> float:
    import pint

    try:
        value = float(f"{_registry().Quantity(number, written).to(unit).magnitude:.15g}")  # 100 ns is 1e-7 s
    except pint.DimensionalityError:
        raise ValueError(f"is in {written}, which cannot be {unit}; {want}") from None
    except Exception:  # pint's parser raises whatever Python's tokeniser does
        raise ValueError(f"has the unknown unit {written!r}; {want}") from None
    if not math.isfinite(value):
        raise ValueError(f"is not finite; {want}")
    return value


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks a float of a pydantic model as a quantity of this SI unit, low <= value <= high, or above `above`.

    With `pair` the file has a list of two, lower and upper end, and the model a tuple of two floats; with
    `several` a list of any length.
    """

    unit: str
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    pair: bool = False
    several: bool = False

    def read(self, value: object) -> float | tuple[float, ...]:
        """The SI value; ValueError with value and unit."""
        if self.several:
            if not isinstance(value, list | tuple):
                raise ValueError(f'{value!r}: want a list like ["1 {self.unit}", "2 {self.unit}"]')
            return tuple(self._one(one) for one in value)
        if not self.pair:
            return self._one(value)
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(
                f'{value!r}: want a list of two, lower and upper end, like ["1 {self.unit}", "2 {self.unit}"]'
            )
        low, high = self._one(value[0]), self._one(value[1])
        if not low <= high:
            raise ValueError(f"{value!r}: the lower end {low:g} {self.unit} is above {high:g} {self.unit}")
        return low, high

    def _one(self, value: object) -> float:
        try:
            number = si(value, self.unit)
        except ValueError as error:
            raise ValueError(f"{value!r}: {error}") from None
        if not (self.low <= number <= self.high and number > self.above):
            raise ValueError(f"{value!r}: outside its range, {self.range()}")
        return number

    def range(self) -> str:
        """The range in words."""
        ends = (
            (f"above {self.above:g}", self.above),
            (f"at least {self.low:g}", self.low),
            (f"at most {self.high:g}", self.high),
        )
        return " and ".join(f"{text} {self.unit}" for text, end in ends if math.isfinite(end))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        one = {
            "type": "string",
            "pattern": _JSON_PATTERN,
            "description": ", ".join(filter(None, (f"a quantity in {self.unit}", self.range()))),
        }
        if self.several:
            return {"type": "array", "items": one}
        return {"type": "array", "items": one, "minItems": 2, "maxItems": 2} if self.pair else one


_JSON_PATTERN = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*[^\d\s.+-].*$"
