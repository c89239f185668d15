"""A network that SpikingJelly trained and wrote as NIR: rounded to three levels, written into cells, validated."""

from pathlib import Path

from quest_lab.api import CharacterizeSettings, Reading, characterize, import_network, validate

net = Path(__file__).resolve().parents[1] / "tests" / "imports" / "peers" / "spikingjelly.nir"
quick = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)
characterize(device="scaled", out=Path("chip.h5"), cells=600, sample=48, settings=quick, overwrite=True)

found = import_network(
    file=net, out=Path("weights.h5"), dataset="digits", bits=2, characterization=Path("chip.h5"),
    reading=Reading(time_steps=6, written_by="spikingjelly"), overwrite=True,
)  # fmt: skip
print(f"{found.accuracy:.1%} as found, {found.quantised_accuracy:.1%} with three levels")
for layer in found.quantised.layers:
    print(
        f"{layer.name}: alpha {layer.alpha:.3f}, error {layer.error:.1%} of the weights, {layer.zeros:.0%} zeros"
    )

done = validate(
    device="scaled", weights=Path("weights.h5"), characterization=Path("chip.h5"), out=Path("validation.h5"),
    overwrite=True,
)  # fmt: skip
for row, accuracy in done.accuracy.items():
    print(f"{accuracy:7.1%}  {row}")
