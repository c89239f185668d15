"""`quest-lab sim serve` as another program sees it: the table, the instruments, the bench, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from quest_lab import open_bench
from quest_lab.benches import open_file_bench, open_served
from quest_lab.benchfile import load_bench, parse_bench
from quest_lab.cli import main, sim
from quest_lab.device import Device, VoltagePulse
from quest_lab.errors import BadInput, DeviceError
from quest_lab.examples import example_benches

SERVE = [sys.executable, "-c", "from quest_lab.cli import main; main()", "sim", "serve", "--port", "0"]
CELLS = np.arange(3)
SLOW = load_bench(example_benches()["slow-matrix"])
THREE = SLOW.with_twin(cells=3)
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals to one process are POSIX's")


class Served:
    """The command in a process of its own; `ports` of the table it prints."""

    def __init__(self, *options: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*SERVE, *options], stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout
        self.table = [self.process.stdout.readline()]
        while not self.table[-1].startswith("Timekeeper"):
            self.table.append(self.process.stdout.readline())
            assert self.table[-1], self.process.communicate()
        self.ports = [
            int(port) for line in self.table for port in re.findall(r" \S+?:+(\d+)(?:::SOCKET)? ", line)[:1]
        ]

    def ask(self, instrument: int, text: str) -> str:
        with socket.create_connection(("127.0.0.1", self.ports[instrument]), timeout=10) as line:
            line.sendall(text.encode() + b"\n")
            with line.makefile() as file:
                return file.readline()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@contextmanager
def serving(*options: str) -> Iterator[Served]:
    running = Served(*options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving("--cells=3") as running:
        yield running


def test_the_table_names_every_instrument_and_its_resources(served: Served) -> None:
    names = ["Agilent33500", "Keithley2400", "Keithley7001", "Kepco", "Timekeeper"]
    assert [line.split()[0] for line in served.table[1:]] == names
    assert served.ports == list(range(served.ports[0], served.ports[0] + 5))
    for line, port in zip(served.table[1:], served.ports, strict=True):
        assert f"ASRLsocket://127.0.0.1:{port}::INSTR" in line
        assert ("ASRL/dev/" in line) == hasattr(os, "openpty")


@posix
def test_ctrl_c_ends_it_as_an_interruption() -> None:
    with serving() as running:
        assert running.ask(0, "*IDN?").startswith("Agilent")
        stopped = "interrupted: the virtual instruments are closed\n"
        assert running.end(signal.SIGINT) == (130, "served 1 messages\n", stopped)


@posix
def test_bad_practice_is_told_and_sigterm_is_a_plain_end() -> None:
    with serving() as running:
        running.ask(0, "OUTP1 1;*OPC?")
        code, _, err = running.end(signal.SIGTERM)
    assert code == 0
    assert err.startswith("bad practice at ")
    assert "33500 output on" in err


def same_ohms(there: Device) -> None:
    """A short sequence over the served instruments reads what it reads in process, to the last bit."""
    here, _ = open_file_bench(THREE)
    ohms = []
    for device in (here, there):
        reset = device.capabilities.reset
        assert reset is not None
        device.apply(reset, CELLS)
        done = device.apply(VoltagePulse(0.6, 1e-6), CELLS, then_read=True)
        ohms.append(done.expect_reading().resistance_ohm)
        device.close()
    np.testing.assert_array_equal(*ohms)
    assert here.capabilities == there.capabilities


def test_the_bench_over_another_process_reads_what_it_reads_in_process(served: Served) -> None:
    """Though that laboratory's clock runs: nothing that a cell does depends on how long the programs take."""
    device, clock = open_served(THREE, "tcp", port=served.ports[0])
    assert clock.now() > 0.0
    same_ohms(device)


@posix
def test_a_chip_file_survives_the_server(tmp_path: Path) -> None:
    ohms = []
    for volts in (0.8, 0.1):  # the second does nothing
        with serving("--cells=3", "--clock=virtual", f"--chip={tmp_path / 'chip.h5'}") as running:
            assert running.ask(4, "TIME?") == "0.0\n"
            device, _ = open_served(THREE, "serial", port=running.ports[0])
            ohms.append(device.read(CELLS).resistance_ohm)
            done = device.apply(VoltagePulse(volts, 1e-6), CELLS, then_read=True)
            ohms.append(done.expect_reading().resistance_ohm)
            device.close()
            running.end(signal.SIGTERM)
    assert np.all(ohms[1] > 1.1 * ohms[0])
    np.testing.assert_allclose(ohms[2], ohms[1], rtol=0.03)


def test_ports_in_use_are_bad_input(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["sim", "serve", "--port", str(served.ports[0])])
    assert end.value.code == 2
    assert f"cannot listen on ports {served.ports[0]} to {served.ports[4]}" in capsys.readouterr().err


def test_without_a_server_the_bench_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="cannot be opened"):
        open_served(THREE, port=1)


def test_the_examples_of_the_page_run_as_printed() -> None:
    """The Python of docs/virtual-bench.md, against a server on other ports."""
    page = (Path(__file__).parents[2] / "docs" / "virtual-bench.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    with serving() as running:
        for example in examples[:3]:
            for i in range(5):
                example = example.replace(str(5025 + i), str(running.ports[i]))
            code = example.replace('open_served(file, "tcp")', f"open_served(file, port={running.ports[0]})")
            ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
            assert ran.returncode == 0, ran.stderr
            assert re.search(r"^cell 0: [12]\d{3} ohm$|^2\.0$|^\[[12]\d{3}\.", ran.stdout), ran.stdout
        running.process.terminate()
        assert "bad practice" not in running.process.communicate(timeout=20)[1]
    root = Path(__file__).parents[2]  # the last one breaks cells of a laboratory of its own
    alone = subprocess.run(
        [sys.executable, "-c", examples[3]], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert alone.returncode == 0, alone.stderr


def test_the_example_of_the_help_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(sim, "run", lambda _lab, *, host, port, ready: called.append(port))  # noqa: ARG005
    with pytest.raises(SystemExit) as end:
        main(sim.SERVE_EXAMPLE.removeprefix("quest-lab ").split())
    assert (end.value.code, called) == (0, [5025])


@posix
@pytest.mark.parametrize("front", ["tcp", "serial"])
def test_a_written_bench_file_is_driven_as_if_it_were_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: str
) -> None:
    monkeypatch.delenv("QUEST_LAB_NO_HARDWARE", raising=False)
    written = tmp_path / "served.toml"
    with serving("arc-one-magnet", f"--write={written}", f"--front={front}"):
        with open_bench(written, hardware=True) as session:
            device = session.device
            low = device.apply(device.capabilities.reset, np.arange(16), then_read=True).expect_reading()
            done = device.apply(VoltagePulse(0.8, 1e-6), CELLS, then_read=True).expect_reading()
        assert device.capabilities.chip_id == "skmtj-array-3"
    assert (done.resistance_ohm > 1.1 * low.resistance_ohm[:3]).all()


def test_fewer_cells_are_not_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["sim", "serve", "--cells", "3", "--write", str(tmp_path / "b.toml")])
    assert end.value.code == 2
    assert "--write writes the whole bench file" in capsys.readouterr().err


def test_addresses_that_are_not_in_plain_quotes_are_told() -> None:
    text = SLOW.text.replace('"GPIB0::10::INSTR"', r'"\u0047PIB0::10::INSTR"')
    with pytest.raises(BadInput, match=r"devices\.pulser\.address"):
        parse_bench(text, SLOW.path).at_addresses({"GPIB0::10::INSTR": "x"})


@posix
@pytest.mark.parametrize(("name", "front"), [("fast-pulse", "tcp"), ("arc-one", "serial")])
def test_a_served_probe_and_a_served_board_are_driven_from_here(
    name: str, front: Literal["tcp", "serial"]
) -> None:
    file = load_bench(example_benches()[name]).with_twin(cells=3)
    with serving(name, "--cells=3") as running:
        device, _ = open_served(file, front, port=running.ports[0])
        can = device.capabilities
        assert can.reset is not None
        low = device.apply(can.reset, CELLS, then_read=True).expect_reading().resistance_ohm
        done = device.apply(VoltagePulse(0.8, can.set_width_s), CELLS, then_read=True).expect_reading()
        device.close()
        assert "bad practice" not in running.end(signal.SIGTERM)[2]
    assert (abs(done.resistance_ohm / low - 1.0) > 0.1).all()
