"""The same measurement on five chips of a batch: one table of what varies from chip to chip."""

import numpy as np
import pandas as pd

from quest_lab.api import CharacterizeSettings, open_bench
from quest_lab.protocols.characterize import characterize

quick = CharacterizeSettings(confidence=0.2, repeats=2, max_cycles=5)
rows = []
for seed in range(5):  # on a bench: one bench file and one chip after the other
    with open_bench("scaled", cells=32, seed=seed) as session:
        everyone = np.arange(32)
        found, _ = characterize(session, everyone, everyone, quick)
    rows.append({
        "chip": found.chip_id, "states": found.states, "r0_ohm": found.baseline_ohm.mean(),
        "r0_spread": found.baseline_ohm.std() / found.baseline_ohm.mean(), "set_1_v": found.set_v[0],
        "threshold_spread_mv": 1e3 * found.attempt_step_v, "stuck": found.stuck.size,
    })  # fmt: skip

table = pd.DataFrame(rows).set_index("chip")
print(table.round(4).to_string())
print(f"from chip to chip: {table.set_1_v.std() * 1e3:.2f} mV in the first set amplitude")
