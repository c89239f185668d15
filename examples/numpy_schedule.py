"""Write a schedule.h5 with numpy alone: what any trainer says of each step, here of invented levels and spikes."""

from pathlib import Path

import numpy as np

from quest_lab.api import Schedule
from quest_lab.energy import count
from quest_lab.layers import layer_table, tap_counts
from quest_lab.schedule import Header, ScheduleWriter, stage_of

STEPS, BATCH = 24, 32
layers = layer_table([("conv2", (8, 4, 3, 3), (8, 8)), ("fc3", (16, 512, 1, 1), (1, 1))])
rng = np.random.default_rng(0)
levels = rng.integers(-1, 2, sum(layer.size for layer in layers)).astype(np.int8)  # 2 bits: -1, 0, 1

header = Header(bits=2, time_steps=4, batch_size=BATCH, dataset="invented", seed=0, network="4-8-F-L16")
with ScheduleWriter(Path("schedule.h5"), header, layers, levels, overwrite=True) as schedule:
    for step in range(STEPS):
        changed = rng.random(levels.size) < 0.02
        levels[changed] = rng.integers(-1, 2, changed.sum())
        conv = rng.poisson(5.0, (4, 8, 8))  # spikes that entered each input place, summed over batch and time
        fc = rng.poisson(3.0, (512, 1, 1))
        schedule.append(
            levels, epoch=0, batch=step, samples=BATCH, stage=stage_of(0, step, STEPS), loss=float("nan"),
            taps=np.concatenate([tap_counts(conv, (3, 3)).ravel(), fc.ravel()]),
            spikes_in=np.array([conv.sum(), fc.sum()]), spikes_out=np.array([600, 40]),
        )  # fmt: skip

with Schedule.open("schedule.h5") as written:
    totals = count(written)
    print(f"{written.steps} steps, {written.writes} writes of {written.weights} weights")
    print(f"reads by level -1, 0, 1 in each layer:\n{totals.reads.sum(axis=0)}")
