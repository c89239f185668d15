"""Our process killed or hanging in the middle of its work: the watchdog switches the served world off."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from quest_lab import open_bench, open_run
from quest_lab.benches import open_file_bench
from quest_lab.benchfile import load_bench
from quest_lab.clock import WallClock
from quest_lab.errors import DeviceError
from quest_lab.instruments import visa
from quest_lab.instruments.connect import Site, connect_all, disconnect
from quest_lab.instruments.guard import OffJob, Watchdog, off_jobs
from quest_lab.schema import Outcome

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP and kill -9 are POSIX's")

PULSES = """
import sys
import numpy as np
from quest_lab import open_bench
from quest_lab.device import FieldPulse, VoltagePulse

with open_bench(sys.argv[1], hardware=True, run="run.h5") as session:
    print("armed", flush=True)
    while True:
        session.device.apply(VoltagePulse(0.6, 1e-6), np.arange(2), then_read=True)
        if sys.argv[2:] == ["field"]:
            session.device.apply(FieldPulse(0.1, 60.0), np.arange(16))
"""
LEFT_OPEN = """
import sys
from pathlib import Path
from quest_lab.benches import open_file_bench
from quest_lab.benchfile import load_bench

device, clock = open_file_bench(load_bench(sys.argv[1]), hardware=True, log=Path("run.h5.watchdog.log"))
print("armed", flush=True)
"""
HANG = LEFT_OPEN + "while True: pass"


def hurry(served):
    """The watchdog waits two seconds, not a minute: for programs alone, a test may have to wait longer."""
    text = served.bench.read_text(encoding="utf-8")
    served.bench.write_text(text.replace('watchdog = "60 s"', 'watchdog = "2 s"'), encoding="utf-8")


def log(tmp_path):
    return tmp_path / "run.h5.watchdog.log"


def wait_for_pulses(served, count=3):
    served.until(lambda: int(served.ask("PULS?")) >= count, "pulses")


@pytest.mark.parametrize("front", ["tcp", "serial"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_killed_or_stopped_among_pulses(served, start, tmp_path, number) -> None:
    if number == signal.SIGSTOP:
        hurry(served)
    program = start(PULSES)
    wait_for_pulses(served)
    program.send_signal(number)
    assert program.wait(30) == -signal.SIGKILL
    served.wait_until_off()
    served.until(log(tmp_path).exists, "the log")
    why = "ended without a goodbye" if number == signal.SIGKILL else "gave no sign for"
    assert f"process {program.pid} {why}" in log(tmp_path).read_text()
    assert "sent off to pulser, meter, switch, magnet\n" in log(tmp_path).read_text()
    with open_run(tmp_path / "run.h5") as run:
        assert run.status == "running"
        assert sum(run.calls["outcome"] == Outcome.INTENT) <= 1


def test_a_magnet_left_on_is_ramped_not_opened(served, start) -> None:
    """A field pulse of a minute: its wait is no hang, being killed in it leaves 5 A in the coil."""
    hurry(served)
    program = start(PULSES, "field")
    wait_for_pulses(served, 2)
    served.until(lambda: not served.outputs_off, "the field")
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(4.0)  # twice what may pass between exchanges
    program.send_signal(signal.SIGKILL)
    served.wait_until_off()


def test_a_program_that_computes_without_end_is_ended(served, start, tmp_path) -> None:
    hurry(served)
    program = start(HANG)
    assert program.stdout.readline() == "armed\n"
    assert program.wait(30) == -signal.SIGKILL
    served.wait_until_off()
    served.until(log(tmp_path).exists, "the log")
    assert "gave no sign for 2 s and was ended" in log(tmp_path).read_text()


def test_an_orderly_end_leaves_no_word_and_no_process(served, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    with open_bench(served.bench, hardware=True, run=tmp_path / "run.h5") as session:
        session.device.read(np.arange(2))
    assert served.outputs_off
    assert not log(tmp_path).exists()
    assert "watchdog" not in capfd.readouterr().err


def test_a_device_left_open_is_closed_at_the_interpreters_end(served, start, tmp_path) -> None:
    program = start(LEFT_OPEN)
    assert program.wait(30) == 0
    assert served.outputs_off
    assert not log(tmp_path).exists()


def test_without_its_watchdog_a_session_ends(served, monkeypatch) -> None:
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    device, _ = open_file_bench(load_bench(served.bench), hardware=True)
    watchdog = device._watchdog._process
    os.kill(watchdog.pid, signal.SIGKILL)
    watchdog.wait(10)
    with pytest.raises(DeviceError, match="watchdog process is gone"):
        device.read(np.arange(16))
    device.close()
    assert served.outputs_off


def test_ctrl_c_and_sigterm_are_not_for_the_watchdog(tmp_path) -> None:
    """It dies of neither, tries all instruments though none is there, and says so."""
    job = OffJob("pulser", "TCPIP::127.0.0.1::9::SOCKET", False, {}, [("OUTP1 0\n", 0.0)])
    watchdog = Watchdog([job], library="@py", idle_s=60.0, log=log(tmp_path))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(watchdog._process.pid, number)
    watchdog.switch_off()
    assert "sent off to nobody; pulser NOT REACHED" in log(tmp_path).read_text()


def test_the_off_bytes_are_those_of_the_device(served, monkeypatch) -> None:
    """What the watchdog is told is what `safe_state` sends, in its order; the magnet has time to ramp."""
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    file, heard = load_bench(served.bench), []
    device, _ = open_file_bench(file, hardware=True, heard=lambda *words: heard.append(words))
    heard.clear()
    device.safe_state()
    sent = [(role, words) for role, _, words in heard]
    device.close()
    instruments = connect_all(file, Site("@py", WallClock(), "chip", lambda: None))
    jobs = off_jobs(file, instruments)
    disconnect(instruments)
    assert [(job.role, data.removesuffix("\n")) for job in jobs for data, _ in job.steps] == sent
    assert [wait_s for _, wait_s in jobs[-1].steps] == pytest.approx([0.5 + 7.5 / 1000 + 0.2, 0.0])


CHECK = """
import sys
from quest_lab.cli import main
main(["bench", "check", sys.argv[1], "--hardware"])
"""


def test_a_check_of_the_instruments_is_watched_too(served, start) -> None:
    program = start(CHECK)
    served.until(lambda: not served.outputs_off, "a closed relay")
    program.send_signal(signal.SIGKILL)
    served.wait_until_off()
    assert "sent off to pulser, meter, switch, magnet" in program.communicate(timeout=30)[1]


def lost_at_the_matrix(served, tmp_path):
    """A bench with a relay closed whose matrix then closed our connection."""
    device, _ = open_file_bench(load_bench(served.bench), hardware=True, log=log(tmp_path))
    device.read(np.array([0]))
    assert not served.outputs_off
    connection = device._device._access._switch._line._instrument.adapter.connection
    connection.visalib.sessions[connection.session].interface.shutdown(socket.SHUT_RDWR)
    return device


def test_a_lost_connection_is_opened_anew_to_switch_off(served, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    lost_at_the_matrix(served, tmp_path).close()
    assert served.outputs_off
    assert not log(tmp_path).exists()


def test_what_we_cannot_switch_off_the_watchdog_does(served, tmp_path, monkeypatch) -> None:
    """No new connection for us either, as where a port has hung in our process."""
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    device = lost_at_the_matrix(served, tmp_path)

    def refused(_connection):
        raise ConnectionRefusedError

    monkeypatch.setattr(visa, "reopen", refused)
    with pytest.raises(DeviceError, match="7001: open all"):
        device.close()
    assert served.outputs_off
    assert (
        "could not switch everything off; sent off to pulser, meter, switch, magnet"
        in log(tmp_path).read_text()
    )
