"""docs/instruments.md against what goes over the wire."""

import re
from pathlib import Path

import numpy as np
import pytest

from quest_lab.benches import site_of
from quest_lab.device import VoltagePulse
from quest_lab.examples import example_benches
from quest_lab.instruments.assemble import assemble
from quest_lab.instruments.connect import connect_all

GENERATOR, METER, MATRIX, MAGNET = (f"GPIB0::{n}::INSTR" for n in (10, 24, 7, 6))  # of slow-matrix.toml
FAST_GENERATOR, SOURCE_METER, MATRIX_2700 = (
    f"GPIB0::{n}::INSTR" for n in (11, 18, 16)
)  # of the other examples
SMALL_MAGNET, GAUSSMETER = "GPIB0::1::INSTR", "ASRL3::INSTR"
PAGE = Path(__file__).parents[2] / "docs" / "instruments.md"
SECTIONS = {
    GENERATOR: "Agilent/Keysight 33500 series",
    FAST_GENERATOR: "Keysight 81160A",
    METER: "Keithley 2400",
    SOURCE_METER: "Keithley 2450",
    MATRIX: "Keithley 7001",
    MATRIX_2700: "Keithley 2700",
    MAGNET: "Kepco BOP with BIT 4886",
    SMALL_MAGNET: "Yokogawa GS200 series",
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


def sent(file, lab, device):
    """Address and message of everything that this bench sends in its life."""
    cells, can = np.arange(4), device.capabilities
    device.apply(can.reset, cells, then_read=True)
    device.apply(VoltagePulse(0.6, can.set_width_s), cells, then_read=True)
    for role in assemble(file, connect_all(file, site_of(file, lab)), site_of(file, lab)).roles.values():
        role.read_back()
    device.close()
    return [(address, message) for address, wire in lab.wires.items() for message in wire.sent]


@pytest.mark.parametrize("name", [name for name in example_benches() if name != "arc-one"])
def test_every_command_on_the_wire_is_in_its_table(virtual, drive, name):
    file, lab = virtual(name, cells=4)
    words = sent(file, lab, drive(file, lab))
    tables = {address: documented(section) for address, section in SECTIONS.items()}
    missing = {
        (SECTIONS[address], header)
        for address, message in words
        for header in headers(message)
        if header not in tables[address] and header.removeprefix("ROUT:") not in tables[address]
    }
    assert missing == set()
