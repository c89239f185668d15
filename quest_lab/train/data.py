"""Images to train on: scikit-learn's digits, CIFAR-10 in its binary or Python layout, MNIST in its idx files.

Imports no torch. Images are (N, channels, height, width), uint8 or float32 of 0..1.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.network import as_floats
from quest_lab.train.pickles import load_plain

Images = NDArray[Any]
Labels = NDArray[np.int64]

SPLIT_SEED = 0
HOLD_OUT = 0.25
_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_CIFAR_TEST = "test_batch.bin"
_CIFAR_PICKLES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # MINT's, as most papers'
_CIFAR_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR_LAYOUT = "CIFAR-10 binary: records of 1 label byte + 3072 pixel bytes (red, green, blue, 32x32)"
_MNIST_LAYOUT = "MNIST idx files, plain or with .gz: images-idx3-ubyte and labels-idx1-ubyte"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training and held-out images with labels 0..classes-1; `mean`, `std` (channels,) of the training set."""

    name: str
    class_names: tuple[str, ...]
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train_images.shape[1:]
        return int(channels), int(height), int(width)


def load_dataset(name: str, folder: Path | None = None) -> Dataset:
    """The data set `name`; `folder` holds its files (digits need none). Raises BadInput: files missing."""
    if name not in LOADERS:
        raise BadInput(f"dataset={name!r}: want one of {', '.join(LOADERS)}")
    return LOADERS[name](folder)


def _digits(_: Path | None) -> Dataset:
    """1797 handwritten digits, 8x8: a stratified quarter is held out, always the same one."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    scaled = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(
        scaled, labels.astype(np.int64), test_size=HOLD_OUT, random_state=SPLIT_SEED, stratify=labels
    )
    return _dataset("digits", tuple("0123456789"), parts[0], parts[2], parts[1], parts[3])


def _cifar10(folder: Path | None) -> Dataset:
    pickled = folder is not None and _cifar_pickles(folder)
    if pickled:
        parts = [_cifar_pickle(pickled / name) for name in _CIFAR_PICKLES]
    else:
        names = (*_CIFAR_TRAIN, _CIFAR_TEST)
        root = _folder("cifar10", folder, "cifar-10-batches-bin", names, _CIFAR_LAYOUT)
        parts = [_cifar_file(root / name) for name in names]
    images = np.concatenate([part[0] for part in parts[:-1]])
    labels = np.concatenate([part[1] for part in parts[:-1]])
    data = _dataset("cifar10", tuple(_CIFAR_CLASSES.split()), images, labels, *parts[-1])
    return replace(data, mean=np.array(_CIFAR_MEAN, np.float32), std=np.array(_CIFAR_STD, np.float32))


def _cifar_pickles(folder: Path) -> Path | None:
    """The folder, or its usual inner one, that holds CIFAR-10's Python layout."""
    roots = (folder, folder / "cifar-10-batches-py")
    return next((r for r in roots if all((r / name).is_file() for name in _CIFAR_PICKLES)), None)


def _cifar_pickle(path: Path) -> tuple[Images, Labels]:
    """One batch of the Python layout: {data: uint8 (N, 3072), labels: N numbers}."""
    found = load_plain(path)
    if not isinstance(found, dict):
        raise BadInput(f"{path}: holds a {type(found).__name__}, want a dictionary with data and labels")
    data, labels = (found.get(key.encode(), found.get(key)) for key in ("data", "labels"))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        shape = f"{data.dtype}{data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise BadInput(f"{path}: data is {shape}, want uint8 (N, 3072): red, green, blue, 32x32")
    marks = np.asarray(labels)
    if marks.dtype.kind not in "iu" or marks.shape != (len(data),):
        raise BadInput(f"{path}: labels is {marks.dtype}{marks.shape}, want {len(data)} whole numbers")
    if marks.size and marks.min() < 0:
        raise BadInput(f"{path}: label {int(marks.min())}, want 0 to 9")
    return data.reshape(-1, 3, 32, 32), _labels(path, marks)


def _cifar_file(path: Path) -> tuple[Images, Labels]:
    raw = np.fromfile(path, np.uint8)
    if not raw.size or raw.size % _CIFAR_RECORD:
        raise BadInput(f"{path}: {raw.size} bytes, want a multiple of {_CIFAR_RECORD} ({_CIFAR_LAYOUT})")
    records = raw.reshape(-1, _CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), _labels(path, records[:, 0])


def _mnist(folder: Path | None) -> Dataset:
    names = tuple(f"{part}-{kind}" for part in ("train", "t10k") for kind in _IDX)
    root = _folder("mnist", folder, "MNIST/raw", names, _MNIST_LAYOUT, alternative=".gz")
    train_images, train_labels, test_images, test_labels = (_idx_file(root, name) for name in names)
    return _dataset("mnist", tuple("0123456789"), train_images, train_labels, test_images, test_labels)


_IDX = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}


def _idx_file(root: Path, name: str) -> Any:
    """Images (N, 1, height, width) uint8 or labels (N,) int64 of one idx file (big-endian)."""
    path = root / name if (root / name).is_file() else root / f"{name}.gz"
    dims = _IDX[name.split("-", 1)[1]]
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise BadInput(f"{path}: cannot be unpacked ({error})") from error
    start = 4 + 4 * dims
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], ">u4"))
    if raw[:4] != bytes([0, 0, 8, dims]) or len(shape) != dims or len(raw) - start != int(np.prod(shape)):
        raise BadInput(
            f"{path}: not an idx file of {dims} dimensions of bytes, or truncated ({_MNIST_LAYOUT})"
        )
    values = np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
    return values[:, None] if dims == 3 else _labels(path, values)


def _labels(path: Path, values: NDArray[Any]) -> Labels:
    if values.size and values.max() > 9:
        raise BadInput(f"{path}: label {int(values.max())}, want 0 to 9")
    return values.astype(np.int64)


def _folder(
    dataset: str, folder: Path | None, inner: str, names: tuple[str, ...], layout: str, alternative: str = ""
) -> Path:
    """The folder, or its usual inner folder, that holds all `names`. Raises BadInput listing the files."""
    wanted = f"{', '.join(names)} ({layout})"
    if folder is None:
        raise BadInput(f"dataset={dataset!r}: say where its files are (--data DIR): {wanted}")
    for root in (folder, folder / inner):
        if all((root / name).is_file() or (root / (name + alternative)).is_file() for name in names):
            return root
    missing = [n for n in names if not any((folder / (n + end)).is_file() for end in ("", alternative))]
    raise BadInput(f"{folder}: dataset {dataset!r} lacks {', '.join(missing)}; wanted: {wanted}")


def _dataset(
    name: str, classes: tuple[str, ...], images: Images, labels: Labels, test: Images, test_labels: Labels
) -> Dataset:
    for part, these, marks in (("training", images, labels), ("test", test, test_labels)):
        if len(these) != len(marks) or not len(these):
            raise BadInput(f"dataset {name!r}: {len(these)} {part} images but {len(marks)} labels")
        if these.shape[1:] != images.shape[1:]:
            raise BadInput(
                f"dataset {name!r}: {part} images {these.shape[1:]}, training images {images.shape[1:]}"
            )
    mean, std = _statistics(images)
    return Dataset(name, classes, images, labels, test, test_labels, mean, std)


def _statistics(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation per channel of images of 0..1, in float64 image by image."""
    total = np.zeros((2, images.shape[1]))
    for start in range(0, len(images), 4096):
        block = as_floats(images[start : start + 4096]).astype(np.float64)
        total += block.sum((0, 2, 3)), (block**2).sum((0, 2, 3))
    mean, square = total / (images.size / images.shape[1])
    std = np.sqrt(np.maximum(square - mean**2, 1e-12))
    return mean.astype(np.float32), std.astype(np.float32)


LOADERS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": _digits,
    "cifar10": _cifar10,
    "mnist": _mnist,
}
