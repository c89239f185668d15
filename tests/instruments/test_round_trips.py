"""A write-verify of no example bench takes more round trips than by hand (benchmarks/write_verify.py)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from quest_lab.examples import example_benches

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TIMES = 12


@pytest.fixture(scope="module")
def contenders() -> Iterator[Any]:
    """The scripts of the benchmark as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("write_verify")


def trips(contenders: Any, file: Any, opened: Any) -> int:
    """Messages of some write-verifies; bad practice is none of them."""
    with opened as one:
        before = one.laboratory.messages
        for cell, volts in islice(contenders.pulses(file), TIMES):
            one.pulse(cell, volts)
        assert one.laboratory.world.violations == []
        delivered = [d.cell for d in one.laboratory.world.delivered]
        assert delivered[-TIMES:] == [i % file.bench.cells for i in range(TIMES)]
        return int(one.laboratory.messages - before)


@pytest.mark.parametrize("name", sorted(example_benches()))
def test_no_bench_takes_more_round_trips_than_by_hand(contenders: Any, name: str) -> None:
    file, by_hand = contenders.example_files()[name], importlib.import_module("sequences").by_hand
    own = trips(contenders, file, contenders.quest_lab_contender(file, "in process"))
    assert own <= trips(contenders, file, contenders.contender(file, "in process", by_hand))
    assert own <= 5 * TIMES


def test_every_example_was_there() -> None:
    assert len(example_benches()) >= 6
