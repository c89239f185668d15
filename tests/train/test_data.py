"""Data sets: the digits' fixed split, CIFAR-10 and MNIST files made here byte by byte."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from quest_lab.errors import BadInput
from quest_lab.train.augment import augment
from quest_lab.train.data import load_dataset


def test_digits_hold_out_a_stratified_quarter() -> None:
    data = load_dataset("digits")
    assert (data.train_images.shape, data.test_images.shape) == ((1347, 1, 8, 8), (450, 1, 8, 8))
    assert np.bincount(data.test_labels).min() >= 43
    assert (data.train_images.min(), data.train_images.max()) == (0.0, 1.0)
    np.testing.assert_allclose(data.mean, data.train_images.mean(), rtol=1e-5)
    np.testing.assert_allclose(data.std, data.train_images.std(), rtol=1e-5)


def _cifar(folder: Path) -> None:
    for i in range(1, 6):
        record = bytes([i]) + bytes([10]) * 1024 + bytes([20]) * 1024 + bytes([i]) * 1024
        (folder / f"data_batch_{i}.bin").write_bytes(record * 2)
    (folder / "test_batch.bin").write_bytes(bytes([9]) + bytes(range(256)) * 12)


def test_cifar10_reads_its_binary_layout(tmp_path: Path) -> None:
    _cifar(tmp_path)
    data = load_dataset("cifar10", tmp_path)
    assert data.train_labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert data.train_images[4, :, 7, 9].tolist() == [10, 20, 3]
    assert data.test_images[0, 0, 1, 2] == 34
    np.testing.assert_allclose(data.mean, (0.4914, 0.4822, 0.4465), rtol=1e-5)  # MINT's numbers
    assert (data.image_shape, data.class_names[9]) == ((3, 32, 32), "truck")


def test_cifar10_is_found_in_its_usual_inner_folder(tmp_path: Path) -> None:
    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    _cifar(inner)
    assert len(load_dataset("cifar10", tmp_path).test_images) == 1


def _cifar_python(folder: Path, **spoilt: object) -> None:
    """The Python layout as Python 2 wrote it: names of the old numpy, texts as bytes."""
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
        batch = {
            b"data": images,
            b"labels": [3, 9],
            b"batch_label": b"one",
            b"filenames": [b"a.png", b"b.png"],
        }
        batch |= {key.encode(): value for key, value in spoilt.items()}
        raw = pickle.dumps(batch, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        (folder / name).write_bytes(raw)


def test_cifar10_reads_its_python_layout(tmp_path: Path) -> None:
    inner = tmp_path / "cifar-10-batches-py"
    inner.mkdir()
    _cifar_python(inner)
    data = load_dataset("cifar10", tmp_path)
    assert (data.train_images.shape, data.train_images.dtype) == ((10, 3, 32, 32), np.uint8)
    assert data.train_images[1, 2, 3, 4] == (3072 + 2048 + 3 * 32 + 4) % 256
    assert data.test_labels.tolist() == [3, 9]


class _Attack:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["in the batch", "as the file", "in an array", "by name"])
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, how: str) -> None:
    harmed = tmp_path / "harmed"
    _cifar_python(tmp_path)
    bad = _Attack(harmed)
    raw = {
        "in the batch": lambda: pickle.dumps({b"data": bad}),
        "as the file": lambda: pickle.dumps(bad),
        "in an array": lambda: pickle.dumps({b"data": np.array([bad, bad], object)}),
        "by name": lambda: b"cos\nsystem\n(S'touch " + str(harmed).encode() + b"'\ntR.",
    }[how]()
    (tmp_path / "data_batch_1").write_bytes(raw)
    with pytest.raises(BadInput, match="data_batch_1: refused"):
        load_dataset("cifar10", tmp_path)
    assert not harmed.exists()


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"data": np.zeros((2, 3071), np.uint8)}, r"data is uint8\(2, 3071\), want uint8 \(N, 3072\)"),
        ({"data": np.zeros((2, 3072))}, r"data is float64\(2, 3072\)"),
        ({"data": b"text"}, "data is bytes"),
        ({"labels": [1, 2, 3]}, "want 2 whole numbers"),
        ({"labels": [1, 12]}, "label 12, want 0 to 9"),
        ({"labels": [1, -1]}, "label -1, want 0 to 9"),
    ],
)
def test_a_python_batch_of_a_wrong_shape_is_refused(
    tmp_path: Path, spoilt: dict[str, object], message: str
) -> None:
    _cifar_python(tmp_path, **spoilt)
    with pytest.raises(BadInput, match=message):
        load_dataset("cifar10", tmp_path)


def test_a_file_that_is_no_pickle_is_refused(tmp_path: Path) -> None:
    _cifar_python(tmp_path)
    for raw in (b"", b"not a pickle", pickle.dumps([1, 2])):
        (tmp_path / "test_batch").write_bytes(raw)
        with pytest.raises(BadInput, match=r"test_batch: (not a readable pickle|holds a list)"):
            load_dataset("cifar10", tmp_path)


def test_missing_files_are_named_with_their_layout(tmp_path: Path) -> None:
    _cifar(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(BadInput, match=r"lacks data_batch_3\.bin; wanted: .*1 label byte \+ 3072"):
        load_dataset("cifar10", tmp_path)


def test_a_folder_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--data DIR.*train-images-idx3-ubyte"):
        load_dataset("mnist")
    with pytest.raises(BadInput, match="want one of digits, cifar10, mnist"):
        load_dataset("faces", tmp_path)


def test_a_cut_cifar_file_is_refused(tmp_path: Path) -> None:
    _cifar(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(BadInput, match="3000 bytes, want a multiple of 3073"):
        load_dataset("cifar10", tmp_path)


def _idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def _mnist(folder: Path, *, packed: bool) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    labels = np.array([3, 1, 4, 1, 5, 9], np.uint8)
    for part in ("train", "t10k"):
        for name, values in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            raw = _idx(values)
            path = folder / f"{part}-{name}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(raw) if packed else raw)
    return images


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_reads_its_idx_files(tmp_path: Path, packed: bool) -> None:
    images = _mnist(tmp_path, packed=packed)
    data = load_dataset("mnist", tmp_path)
    assert np.array_equal(data.train_images[:, 0], images)
    assert data.test_labels.tolist() == [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize("spoil", ["short", "foreign", "gzip"])
def test_a_spoilt_mnist_file_is_refused(tmp_path: Path, spoil: str) -> None:
    _mnist(tmp_path, packed=spoil == "gzip")
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' if spoil == 'gzip' else ''}"
    raw = path.read_bytes()
    path.write_bytes(b"GIF8" + raw[4:] if spoil == "foreign" else raw[:-100])
    with pytest.raises(BadInput, match="train-images-idx3-ubyte"):
        load_dataset("mnist", tmp_path)


def test_shifts_move_whole_images_by_at_most_what_was_said() -> None:
    images = np.zeros((40, 2, 5, 6), np.float32)
    images[:, :, 2, 3] = [1.0, 2.0]
    moved = augment(images, shift_pixels=1, flip=False, rng=np.random.default_rng(0))
    places = [tuple(np.argwhere(image[0])[0]) for image in moved]
    assert {*places} == {(y, x) for y in (1, 2, 3) for x in (2, 3, 4)}
    assert np.array_equal(moved[:, 1], 2 * moved[:, 0])


def test_flips_mirror_about_half() -> None:
    images = np.arange(4.0, dtype=np.float32).reshape(1, 1, 1, 4).repeat(200, 0)
    flipped = augment(images, shift_pixels=0, flip=True, rng=np.random.default_rng(0))
    mirrored = flipped[:, 0, 0, 0] == 3
    assert 60 < mirrored.sum() < 140
    assert np.array_equal(flipped[mirrored][0, 0, 0], [3, 2, 1, 0])
