"""One cell's amplitude staircase on a bench: reset, then ever higher pulses, a read after each; as a pandas table.

Here the bench is a file's simulated twin; with the instruments on the table: open_bench("bench.toml", hardware=True).
"""

import numpy as np
import pandas as pd

from quest_lab.api import open_bench
from quest_lab.device import VoltagePulse

rows = []
with open_bench("slow-matrix", run="staircase.h5", kind="bench", overwrite=True) as session:
    device = session.device
    can, cell = device.capabilities, np.array([3])
    device.apply(can.reset, np.arange(can.cells))  # the magnet reaches every cell
    for amplitude_v in np.arange(0.30, 0.90, 0.02):
        done = device.apply(VoltagePulse(float(amplitude_v), can.set_width_s), cell, then_read=True)
        rows.append((amplitude_v, done.reading.resistance_ohm[0], done.energy_j[0]))

table = pd.DataFrame(rows, columns=["amplitude_v", "resistance_ohm", "energy_j"])
steps = table[table.resistance_ohm.diff() > 30]
print(table.round(3).to_string())
print(f"{len(steps)} steps, at {', '.join(f'{v:.2f} V' for v in steps.amplitude_v)}")
