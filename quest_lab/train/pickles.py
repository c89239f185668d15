"""Reading a pickled batch of CIFAR-10 without running anything: arrays and plain values come out, or BadInput.

A pickle is a program. This one may name three things of numpy that rebuild an array, and nothing else.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from quest_lab.errors import BadInput

_ARRAY = object()  # stands for numpy.ndarray, which a pickle could call
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


def load_plain(path: Path) -> Any:
    """What the pickle at `path` holds; texts of Python 2 come out as bytes. Raises BadInput."""
    try:
        return _Plain(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except Exception as error:  # a foreign pickle can fail in any way; none of it is ours
        raise BadInput(f"{path}: not a readable pickle ({type(error).__name__}: {error})") from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("numpy", "ndarray"):
            return _ARRAY
        if (module, name) == ("numpy", "dtype"):
            return _number_type
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise BadInput(
            f"refused: the pickle asks for {module}.{name}; only numpy arrays and plain values may be in it"
        )


def _empty_array(kind: Any, _shape: Any, _dtype: Any) -> np.ndarray[Any, Any]:
    """What numpy's own `_reconstruct` makes before the array's state is set; no subclass of it."""
    if kind is not _ARRAY:
        raise BadInput(f"refused: an array of class {kind!r}")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _number_type(name: Any, *_: Any) -> np.dtype[Any]:
    """A numpy dtype of numbers; objects and records are refused."""
    found = np.dtype(name.decode("ascii") if isinstance(name, bytes) else name)
    if found.kind not in "buif":
        raise BadInput(f"refused: an array of dtype {found}")
    return found


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise BadInput(f"refused: text in {encoding!r}")
    return text.encode("latin1")
