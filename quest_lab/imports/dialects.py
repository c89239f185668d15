"""How a library's neurons step through time, and how that stands in the NIR files it writes.

NIR has equations without a time step (LIF: tau dv/dt = (v_leak - v) + R i; IF: dv/dt = R i), and each library fills
tau and R in its own units. A step of ours is H = leak U + gain I, so that of a LIF is, with x = dt / tau:
leak = 1 - x (Euler) or exp(-x) (exponential), gain = R (1 - leak); of an IF leak = 1, gain = R dt.

snnTorch (export_nir.py): tau = 1e-4 / (1 - beta), R = tau / 1e-4. Norse (to_nir): tau = dt / tau_mem_inv with dt =
1e-3, where Euler's step is dt tau_mem_inv, hence x = dt^2 / tau; R = 1, and an IF adds its current whole.
SpikingJelly (nir_exchange): tau = tau dt with dt = 1e-4; R = 1 (decay_input) or tau; an IF has R = 1 / dt. Sinabs
(nir.py): tau in time steps, exponential, R = 1 (norm_input); an IF adds its current whole.

A CubaLIF has a synapse, tau_syn dI/dt = -I + w_in S, whose current of the same step enters the membrane. snnTorch and
SpikingJelly write w_in = tau_syn / dt, Norse 1; all three add a current whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import Floats


@dataclass(frozen=True, slots=True)
class Dialect:
    """The time step that the file's tau of a LIF and R of an IF are meant for, and how the leak follows from tau.

    `soft`: what kind of quest_lab.neurons the library's soft reset is; `hard`: whether it resets to zero by default.
    `whole`: a synapse adds a current whole, whatever the file's w_in; else w_in (1 - leak) of it.
    """

    lif_dt: float
    if_dt: float
    exponential: bool = False
    soft: str = "soft"
    hard: bool = True
    whole: bool = False

    def with_dt(self, dt: float | None) -> Dialect:
        """The same with another time step. Raises BadInput."""
        if dt is None:
            return self
        if not (np.isfinite(dt) and dt > 0):
            raise BadInput(f"dt={dt}: want a finite time step above 0")
        return replace(self, lif_dt=dt, if_dt=dt)

    def leak(self, tau: NDArray[Any]) -> Floats:
        """What is left of a membrane after a step."""
        x = self.lif_dt / np.asarray(tau, np.float64)
        return np.asarray(np.exp(-x) if self.exponential else 1.0 - x)

    def lif_gain(self, tau: NDArray[Any], r: NDArray[Any]) -> Floats:
        """What a step adds of a current. snnTorch's beta = 1 makes tau and R infinite; they cancel."""
        endless = np.isinf(tau) & np.isinf(r)
        return np.where(endless, 1.0, np.where(endless, 1.0, r) * (1.0 - self.leak(tau)))

    def synapse_gain(self, tau: NDArray[Any], w_in: NDArray[Any]) -> Floats:
        """What a step adds of a current to a synapse."""
        return np.ones_like(tau, np.float64) if self.whole else self.lif_gain(tau, w_in)

    def if_gain(self, r: NDArray[Any]) -> Floats:
        """What a step adds of a current to an IF."""
        return np.asarray(r, np.float64) * self.if_dt


DIALECTS = {
    "nir": Dialect(1e-4, 1e-4),
    "snntorch": Dialect(1e-4, 1e-4, soft="delayed", hard=False),
    "norse": Dialect(1e-6, 1.0, whole=True),
    "spikingjelly": Dialect(1e-4, 1e-4),
    "sinabs": Dialect(1.0, 1.0, exponential=True, hard=False),
}
