"""A sum of rows of bytes in vector registers, written in LLVM's words (numba has none for vectors)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # columns summed at once


def _sum_lanes(_: Any, rows: Any, met: Any, start: Any, stop: Any, column: Any, out: Any) -> Any:  # noqa: ARG001 - types
    """Sum int8 columns column..column + LANES of the rows met[start:stop] into `out` (LANES,), in registers.

    Written in LLVM's vectors: a loop over arrays would check for each row whether it overlaps with the sums.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
            if isinstance(kind, types.Array)
        ]
        table, places, sums = arrays
        start, stop, column = arguments[2:5]
        vector = ir.VectorType(ir.IntType(8), LANES)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0] * LANES))  # type: ignore[no-untyped-call]
        stride = builder.extract_value(table.strides, 0)
        with cgutils.for_range_slice(builder, start, stop, stop.type(1)) as (place, _):
            row = builder.sext(builder.load(builder.gep(places.data, [place])), stride.type)
            first = builder.gep(table.data, [builder.add(builder.mul(row, stride), column)])
            lanes = builder.load(builder.bitcast(first, vector.as_pointer()), align=1)
            builder.store(builder.add(builder.load(total), lanes), total)
        builder.store(builder.load(total), builder.bitcast(sums.data, vector.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(rows, met, types.intp, types.intp, types.intp, out), build


sum_lanes: Any = intrinsic(_sum_lanes)
