"""A program killed in a pulse, and the next one: it reads the cells in doubt before it does anything."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest

from quest_lab import open_bench, open_run
from quest_lab.cli import main
from quest_lab.schema import Kind

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on this system")

FIELD = """
import sys
import numpy as np
from quest_lab import open_bench
from quest_lab.device import FieldPulse

with open_bench(sys.argv[1], hardware=True, run="run.h5") as session:
    session.device.apply(FieldPulse(0.1, 60.0), np.arange(16))
"""


@pytest.fixture
def killed(served, start, monkeypatch):
    """The served bench after a program was killed while it held the field."""
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    program = start(FIELD)
    served.until(lambda: float(served.ask("AMP?")) == 5.0, "5 A")
    program.send_signal(signal.SIGKILL)
    served.wait_until_off()
    return served


def test_the_next_run_reads_first(killed, tmp_path) -> None:
    with open_bench(killed.bench, hardware=True, run=tmp_path / "run.h5", recover=True):
        pass
    with open_run(tmp_path / "run.h5") as run:
        assert run.calls["kind"].tolist() == [Kind.READ]
        assert run.reads["cell"].tolist() == list(range(16))
        assert np.all(run.reads["resistance_ohm"] > 1000)
        assert (
            "run.cut-off-1.h5, call 0: 0.1 T, 60 s may or may not have reached 0: 1" in run.marks["text"][0]
        )
    assert killed.ask("PULS?") == "0"


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_command_without_recover_is_refused_and_says_what_to_do(killed, tmp_path, capsys, options) -> None:
    command = ["characterize", str(killed.bench), "--hardware", "--out", str(tmp_path / "run.h5"), *options]
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 2
    assert "(0.1 T, 60 s) may or may not have reached cells 0, 1, 2, 3, 4, 5, 6, 7, ...: --recover" in (
        capsys.readouterr().err
    )
