"""The ledger on the way of hardware: whatever reached the served cells is in it."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest

from quest_lab import open_bench
from quest_lab.budget import read_ledger
from quest_lab.cli import main
from quest_lab.device import VoltagePulse
from quest_lab.errors import LimitExceeded

PULSES = """
import sys
import numpy as np
from quest_lab import open_bench
from quest_lab.device import VoltagePulse

with open_bench(sys.argv[1], hardware=True) as session:
    while True:
        session.device.apply(VoltagePulse(0.6, 1e-6), np.arange(3))
"""


@pytest.fixture
def counted(served):
    """The served bench with a ledger and 40 pulses a cell."""
    text = served.bench.read_text(encoding="utf-8")
    text = text.replace("[limits]", "[limits]\npulses_per_cell = 40")
    served.bench.write_text(text.replace("[chip]", '[chip]\nledger = "die-7.ledger"'), encoding="utf-8")
    return served


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on this system")
def test_a_killed_program_has_counted_what_reached_the_cells(counted, start) -> None:
    program = start(PULSES)
    counted.until(lambda: int(counted.ask("PULS?")) > 10, "pulses")
    program.send_signal(signal.SIGKILL)
    counted.wait_until_off()
    given, found = int(counted.ask("PULS?")), read_ledger(counted.bench.parent / "die-7.ledger")
    assert found.chip_id == "skmtj-die-7"
    assert given <= found.pulses.sum() <= given + 3  # the call in hand was debited whole


def test_the_life_of_a_cell_ends_and_the_table_says_so(counted, monkeypatch, capsys) -> None:
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    with open_bench(counted.bench, hardware=True) as session:
        for _ in range(40):
            session.device.apply(VoltagePulse(0.3, 1e-6), np.array([2]))
        with pytest.raises(LimitExceeded, match="cell 2: 40 pulses given"):
            session.device.apply(VoltagePulse(0.3, 1e-6), np.array([2]))
    assert counted.ask("PULS?") == "40"
    with pytest.raises(SystemExit) as end:
        main(["bench", "ledger", str(counted.bench), "--top", "1"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "Ledger of skmtj-die-7" in out
    assert [word.strip() for word in out.splitlines()[4].split("│")][1:3] == ["2", "40"]
