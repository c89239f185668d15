"""NeXus groups: small metadata datasets, and results as NXdata or NXcollection, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.schema import Field, Result

if TYPE_CHECKING:
    import xarray

ERRORS = "_errors"


def make_group(parent: h5py.Group, name: str, nx_class: str, **attrs: Any) -> h5py.Group:
    """A new group with its NX_class."""
    group = parent.create_group(name)
    group.attrs.update({"NX_class": nx_class, **attrs})
    return group


def write_texts(group: h5py.Group, texts: Mapping[str, str]) -> None:
    """One scalar text dataset per entry."""
    for name, text in texts.items():
        group.create_dataset(name, data=text, dtype=h5py.string_dtype())


def read_texts(group: h5py.Group) -> dict[str, str]:
    """The scalar text datasets of a group."""
    datasets = {name: item for name, item in group.items() if isinstance(item, h5py.Dataset)}
    return {name: item.asstr()[()] for name, item in datasets.items() if h5py.check_string_dtype(item.dtype)}


def write_result(parent: h5py.Group, result: Result) -> None:
    """Add `result` as a group of its own. Raises BadInput if there is one of that name."""
    if result.name in parent:
        raise BadInput(f"result {result.name!r}: already in {parent.file.filename}")
    group = make_group(parent, result.name, "NXdata" if result.signal else "NXcollection")
    group.attrs.update(result.attrs)
    if result.title:
        group["title"] = result.title
    for name, field in result.fields.items():
        _write_field(group, name, field)
    if result.signal:
        _write_plot(group, result, result.signal)


def _write_field(group: h5py.Group, name: str, field: Field) -> None:
    dataset = group.create_dataset(name, data=_storable(field.values))
    dataset.attrs.update({"units": field.unit, "long_name": _label(field), "meaning": field.long_name})
    dataset.attrs["dims"] = " ".join(field.dims)
    if field.errors is not None:
        errors = group.create_dataset(name + ERRORS, data=field.errors)
        errors.attrs.update({"units": field.unit, "long_name": f"standard error of {field.long_name}"})


def _label(field: Field) -> str:
    """What viewers print at an axis: they show `long_name` alone, so the unit goes with it."""
    return f"{field.long_name} ({field.unit})" if field.unit else field.long_name


def _storable(values: Any) -> Any:
    array = np.asarray(values)
    return array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array


def _write_plot(group: h5py.Group, result: Result, signal: str) -> None:
    texts = h5py.string_dtype()
    group.attrs["signal"] = signal
    if result.axes:
        group.attrs["axes"] = np.array(result.axes, texts)
    if result.auxiliary:
        group.attrs["auxiliary_signals"] = np.array(result.auxiliary, texts)
    for index, axis in enumerate(result.axes):
        if axis != ".":
            group.attrs[f"{axis}_indices"] = index


def read_result(group: h5py.Group) -> xarray.Dataset:
    """A result as an xarray.Dataset: units and long_name at each variable, axes as coordinates."""
    import xarray

    variables = {name: _read_field(item) for name, item in group.items() if "dims" in item.attrs}
    for name in list(variables):
        if (errors := group.get(name + ERRORS)) is not None and "dims" not in errors.attrs:
            dims = variables[name][0]
            attrs = {"units": errors.attrs["units"], "long_name": errors.attrs["long_name"]}
            variables[name + ERRORS] = (dims, errors[()], attrs)
    dataset = xarray.Dataset(variables, attrs=_read_attrs(group))
    axes = [axis for axis in dataset.attrs.get("axes", ()) if axis in variables]
    return dataset.set_coords(axes)


def _read_field(item: h5py.Dataset) -> tuple[tuple[str, ...], NDArray[Any], dict[str, str]]:
    text = h5py.check_string_dtype(item.dtype) is not None
    values = np.asarray(item.asstr()[()] if text else item[()])
    return (
        tuple(item.attrs["dims"].split()),
        values,
        {"units": item.attrs["units"], "long_name": item.attrs["meaning"]},
    )


def _read_attrs(group: h5py.Group) -> dict[str, Any]:
    attrs = {"title": group["title"].asstr()[()]} if "title" in group else {}
    for name, value in group.attrs.items():
        if name != "NX_class" and not name.endswith("_indices"):
            attrs[name] = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    return attrs
