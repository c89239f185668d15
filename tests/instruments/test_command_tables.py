"""docs/instruments.md against what goes over the wire."""

import re
from pathlib import Path

import numpy as np
import pytest
from quest_lab.sim.laboratories import FAST_GENERATOR, GAUSSMETER, MATRIX_2700, SOURCE_METER
from quest_lab.sim.virtual import GENERATOR, MAGNET, MATRIX, METER
from quest_lab.virtual_benches import VIRTUAL_BENCHES

from quest_lab.device import VoltagePulse

PAGE = Path(__file__).parents[2] / "docs" / "instruments.md"
SECTIONS = {
    GENERATOR: "Agilent/Keysight 33500 series",
    FAST_GENERATOR: "Keysight 81160A",
    METER: "Keithley 2400",
    SOURCE_METER: "Keithley 2450",
    MATRIX: "Keithley 7001",
    MATRIX_2700: "Keithley 2700",
    MAGNET: "Kepco BOP with BIT 4886",
    GAUSSMETER: "Lake Shore 425",
}
COMMON = {"*IDN?", "*RST", "*CLS", ":*CLS", "*ESR?", "*OPT?", "*TRG", "*WAI", ":SYST:ERR?", ""}


def documented(section):
    """The commands in the first column of a section's table."""
    text = PAGE.read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {command.lstrip(":") for row in rows for command in re.findall(r"`([^`]+)`", row)}


def headers(message):
    """The headers of a message, each in full from the root, as SCPI's `;` means them."""
    path = ""
    for unit in message.split(";"):
        header = unit.partition(" ")[0]
        if header in COMMON:
            continue
        full = header.lstrip(":") if header.startswith(":") or not path else path + header
        path = full.rpartition(":")[0] + ":" if ":" in full else ""
        yield full


def sent(name):
    """Address and message of everything that this bench sends in its life."""
    options = {} if name in ("virtual", "virtual-2700") else {"gaussmeter": True}
    device, _ = VIRTUAL_BENCHES[name](cells=4, seed=1, **options)
    cells, wires = np.arange(4), device._release.__self__.wires
    device.apply(device.capabilities.reset, cells, then_read=True)
    device.apply(VoltagePulse(0.6, device.capabilities.set_width_s), cells, then_read=True)
    device.close()
    return [(address, message) for address, wire in wires.items() for message in wire.sent]


@pytest.mark.parametrize("name", sorted(VIRTUAL_BENCHES))
def test_every_command_on_the_wire_is_in_its_table(name):
    tables = {address: documented(section) for address, section in SECTIONS.items()}
    missing = {
        (SECTIONS[address], header)
        for address, message in sent(name)
        for header in headers(message)
        if header not in tables[address] and header.removeprefix("ROUT:") not in tables[address]
    }
    assert missing == set()
