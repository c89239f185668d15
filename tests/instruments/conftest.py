"""A bench of real drivers on a virtual laboratory, with its world within reach."""

import pytest
from quest_lab.sim.virtual import virtual_laboratory
from quest_lab.virtual_bench import control

from quest_lab.fixture import SignalPath


@pytest.fixture
def lab():
    laboratory = virtual_laboratory(seed=1, path=SignalPath(), meter_noise=False)
    yield laboratory
    laboratory.close()


@pytest.fixture
def bench(lab):
    return control(lab, SignalPath())
