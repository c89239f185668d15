"""A driver of your own, tried on the virtual bench: a 2400 read over plain pyvisa, through a 7001's relays.

The virtual instruments take the same SCPI as real ones, so that on the table only the library's name changes. To make
it a part of bench files: docs/write-a-driver.md.
"""

import numpy as np
import pyvisa

from quest_lab.api import example_benches, open_bench
from quest_lab.benchfile import load_bench
from quest_lab.sim.twin import twin_laboratory


class MyMeter:
    """Resistance at 0.1 V; the output is on only while it measures."""

    def __init__(self, resource: pyvisa.resources.MessageBasedResource) -> None:
        self.wire = resource
        self.wire.write("*RST;:SOUR:FUNC VOLT;:SOUR:VOLT 0.1;:SENS:FUNC 'CURR';:SENS:CURR:PROT 1e-4")
        self.wire.write(":SENS:CURR:RANG 1e-4;:SOUR:CLE:AUTO 1")

    def measure(self) -> float:
        volts, ampere, *_ = map(float, self.wire.query(":READ?").split(","))
        return volts / ampere


laboratory = twin_laboratory(load_bench(example_benches()["slow-matrix"]))
visa = pyvisa.ResourceManager(laboratory.library)
meter, matrix = MyMeter(visa.open_resource("GPIB0::24::INSTR")), visa.open_resource("GPIB0::7::INSTR")
mine = []
for column in (1, 2, 3):
    matrix.write(f":OPEN ALL;:CLOS (@1!2!{column})")  # row 2 is the meter's
    mine.append(meter.measure())
matrix.write(":OPEN ALL")
laboratory.close()

with open_bench("slow-matrix") as session:
    theirs = session.device.read(np.arange(3)).resistance_ohm
print(f"mine {np.round(mine, 1)} ohm, quest-lab's {theirs.round(1)} ohm")
