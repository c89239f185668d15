"""The slow matrix bench: its real drivers on its virtual laboratory, with the world within reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quest_lab.instruments.bench import BenchDevice
from quest_lab.sim.laboratory import Laboratory


@pytest.fixture
def lab(virtual: Callable[..., tuple[object, Laboratory]]) -> Laboratory:
    return virtual("slow-matrix")[1]


@pytest.fixture
def bench(lab: Laboratory, example: Callable[..., object], drive: Callable[..., BenchDevice]) -> BenchDevice:
    return drive(example("slow-matrix"), lab)
