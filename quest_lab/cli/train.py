"""`quest-lab train`: train a spiking network; write weights, schedule, checkpoint, log and energies."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization
from quest_lab.cli.common import energy, load_restricted, percent
from quest_lab.cli.dryrun import rehearse
from quest_lab.cli.energy import Asked
from quest_lab.cli.energy import execute as rank_patterns
from quest_lab.cli.intheloop import OnChip, on_chip, refuse_cut_off
from quest_lab.cli.matrices import print_ranking
from quest_lab.cli.progress import progress
from quest_lab.cli.rates import print_comparison, print_rates
from quest_lab.cli.trainoptions import PLAIN, Options, checkpoint_of
from quest_lab.errors import BadInput
from quest_lab.layers import FP32
from quest_lab.mapping import in_chip_states, level_count
from quest_lab.network import Network
from quest_lab.ranking import Prices
from quest_lab.record import RunWriter
from quest_lab.session import Stop, stop_on_signals
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.data import load_dataset
from quest_lab.train.log import TensorBoard, write_csv
from quest_lab.train.results import Energies, compare, energies, first_macs, log_rows, to_results

if TYPE_CHECKING:
    from quest_lab.train.run import Run


def run(
    *, out: Path, config: TrainConfig, data: Path | None, overwrite: bool, options: Options = PLAIN
) -> None:
    if options.on is not None and options.on.bench.dry_run:
        _rehearse(options.on, config, data, options)
        return
    chip = _Chip.of(options, config.bits)
    done = execute(out=out, config=config, data=data, overwrite=overwrite, options=options, chip=chip)
    if int(os.environ.get("RANK", 0)):
        return  # torchrun: the first process tells
    print_training(done)
    if chip is not None and done.schedule is not None:
        ranked = rank_patterns(
            full=chip.full, schedule=done.schedule, out=out / "energy.h5",
            overwrite=overwrite or options.resume, asked=Asked(states=chip.used),
        )  # fmt: skip
        print_ranking(ranked.priced, ranked.ranking)
        print(f"energies: {out / 'energy.h5'}")


@dataclass(frozen=True, slots=True)
class _Chip:
    """The characterised chip of --energy and what it charges."""

    full: Characterization
    used: tuple[int, ...]
    prices: Prices

    @classmethod
    def of(cls, options: Options, bits: int) -> _Chip | None:
        """Raises BadInput, before any training, if the chip cannot hold the levels."""
        if options.energy is None:
            if options.states is not None and options.on is None:
                raise BadInput("--states: say which chip they are of (--energy RUN.h5)")
            return None
        if bits == FP32:
            raise BadInput(f"bits={bits}: an FP32 network has no levels that {options.energy} could hold")
        found, used = load_restricted(options.energy, options.states, level_count(bits))
        full = load_characterization(options.energy)
        return cls(full, used, Prices.of(found, level_count(bits)))


def execute(
    *,
    out: Path,
    config: TrainConfig,
    data: Path | None = None,
    overwrite: bool = False,
    options: Options = PLAIN,
    chip: _Chip | None = None,
) -> TrainResult:
    """Train into the folder `out`: weights, schedule, checkpoint, log. Raises BadInput; in the loop as its device does.

    `chip` adds energies to the log.
    """
    from quest_lab.train.loop import Checkpoints, begin, train

    if options.resume and options.on is None:
        refuse_cut_off(out)
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(checkpoint_of(out), options.checkpoint_steps, options.resume)
    first = not int(os.environ.get("RANK", 0))
    board = TensorBoard(out / "tensorboard") if options.tensorboard and first else None
    weights, schedule = out / "weights.h5", out / "schedule.h5"
    train_with = partial(
        train, config, weights=weights, schedule=schedule, overwrite=overwrite, checkpoints=checkpoints,
        on_epoch=_Epochs(out, chip, board),
    )  # fmt: skip
    if options.on is None:
        stop = Stop()
        with progress() as report, stop_on_signals(stop):
            return train_with(data_dir=data, progress=report, stop=stop)
    images, again = load_dataset(config.dataset, data), {"overwrite": overwrite, "resume": options.resume}
    begin(config, images, (weights, schedule), checkpoints, overwrite=overwrite)  # before the chip is opened
    with on_chip(options.on, config, images, out, states=options.states, **again) as (session, cells):
        return train_with(dataset=images, progress=session.progress, stop=session.stop, cells=cells)


def _rehearse(on: OnChip, config: TrainConfig, data: Path | None, options: Options) -> None:
    """The whole training on the twin of its bench file, in a temporary folder."""

    def once(*, out: Path, chip: Path, overwrite: bool, resume: bool) -> None:
        temporary = replace(options, on=replace(on, chip=chip, name=out.name), resume=resume)
        execute(out=out.parent, config=config, data=data, overwrite=overwrite, options=temporary)

    rehearse(on.device, once)


@dataclass(frozen=True, slots=True)
class _Epochs:
    """Tells, logs and keeps what every epoch did."""

    out: Path
    chip: _Chip | None
    board: TensorBoard | None

    def __call__(self, run: Run) -> None:
        found = None if self.chip is None else energies(self.chip.prices, run.history)
        rows = log_rows(run.history, run.layers, found)
        write_csv(self.out / "log.csv", rows)
        if self.board is not None:
            self.board.write(rows[-1])
        print(self._line(run, found), flush=True)
        self._keep(run, found)

    def _line(self, run: Run, found: Energies | None) -> str:
        epoch, layers = run.history[-1], run.layers
        rates = (
            ("R_in", epoch.rate_in(layers)), ("R_out", epoch.rate_out(layers)), ("sparsity", epoch.sparsity),
            ("AOR", epoch.aor(layers)),
        )  # fmt: skip
        words = [f"epoch {run.epoch}/{run.config.epochs}: loss {epoch.loss:.3f}",
                 f"accuracy {percent(epoch.accuracy)}", f"changed {percent(epoch.changed)} a step",
                 *(f"{name} {v.min():.3f}-{v.max():.3f}" for name, v in rates)]  # fmt: skip
        if found is not None and self.chip is not None:
            update, gated, row, neuron = (
                values[-1].sum() for values in (found.update_j, found.gated_j, found.row_j, found.neuron_j)
            )
            words.append(
                f"{in_chip_states(found.pattern, self.chip.used)}: E_w {energy(update / epoch.steps)} a batch, "
                f"{energy(update / epoch.samples)} a sample, E_a {energy(gated / epoch.samples)} gated, "
                f"{energy(row / epoch.samples)} row-activated, E_n {energy(neuron / epoch.samples)} a sample"
            )
        return ", ".join(words)

    def _keep(self, run: Run, found: Energies | None) -> None:
        """training.h5, written anew: it is small, and whole after every epoch."""
        c, topology = run.config, run.model.topology
        settings: dict[str, Any] = {
            "dataset": c.dataset, "network": c.network, "neuron": c.neuron, "bits": c.bits, "time_steps": c.time_steps,
            "epochs": c.epochs,
        }  # fmt: skip
        if self.chip is not None:
            settings |= {"chip_id": self.chip.full.chip_id, "states": list(self.chip.used)}
        with RunWriter.create(
            self.out / "training.h5", kind="training", title="Training of a spiking network", seed=c.seed,
            settings=settings, overwrite=True,
        ) as writer:  # fmt: skip
            writer.add_results(to_results(run.history, run.layers, first_macs(topology), found))


def print_training(done: TrainResult) -> None:
    """Accuracies, rates and the files."""
    print(
        f"accuracy: {percent(done.test_accuracy)} held out, {percent(done.train_accuracy)} on the training images"
    )
    print(done.agreement)
    network = Network.load(done.weights)
    print(f"encoding: {encoded(network.encoding, done.encoding_spikes)}; memory: {remembered(network)}")
    if done.schedule is not None:
        print_rates(done.schedule)
    macs = first_macs(network.topology)
    print_comparison(compare(done.history[-1], network.infos, macs))
    print(f"training took {done.seconds:.0f} s\nweights:  {done.weights}")
    print(f"schedule: {done.schedule or 'none, an FP32 network writes no levels'}")


def encoded(encoding: str, spikes: float) -> str:
    return (
        f"{encoding}, {spikes:.1f} spikes an image" if spikes else f"{encoding}, no spikes before the encoder"
    )


def remembered(network: Network) -> str:
    """What the neurons after the encoder store from step to step."""
    bits = sum(network.neuron.memory_bits(info, network.bits) for info in network.infos)
    neurons = sum(info.neurons for info in network.infos)
    what = "spike bits of their inputs" if network.neuron.history else "membranes"
    return f"{bits / neurons:.2f} bits a neuron ({what}, {neurons} neurons {network.neuron})"
