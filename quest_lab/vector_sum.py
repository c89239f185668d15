"""Sums in vector registers, written in LLVM's words (numba has none for vectors): of rows of bytes, and of bits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # columns summed at once
PLACES = 2  # places whose bits are counted at once: the weights' bits are loaded once for both

_WORDS = 8  # 64-bit words in a vector register


def _sum_lanes(_: Any, rows: Any, met: Any, start: Any, stop: Any, column: Any, out: Any) -> Any:  # noqa: ARG001 - types
    """Sum int8 columns column..column + LANES of the rows met[start:stop] into `out` (LANES,), in registers.

    Written in LLVM's vectors: a loop over arrays would check for each row whether it overlaps with the sums.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, places, sums = _arrays(context, builder, signature, arguments)
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


def _count_lanes(_: Any, planes: Any, words: Any, out: Any) -> Any:
    """Sum over k of `levels[k, lane]` where bit k of `words` is 1, for each of PLACES x LANES, into `out`, int64.

    `planes` uint64 (bits, K, LANES), contiguous: the bits of the levels in two's complement, the sign's first, 64
    levels a word. `words` uint64 (PLACES, K). A plane's bits that meet ones are counted: sum = 2 sum + count.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, bits, sums = _arrays(context, builder, signature, arguments)
        n_planes, n_words = (builder.extract_value(table.shape, i) for i in (0, 1))
        whole = n_words.type
        vector = ir.VectorType(ir.IntType(64), _WORDS)
        zero = ir.Constant(vector, [0] * _WORDS)
        cells = [(place, group) for place in range(PLACES) for group in range(LANES // _WORDS)]
        counts = {cell: cgutils.alloca_once_value(builder, zero) for cell in cells}  # type: ignore[no-untyped-call]
        totals = {cell: cgutils.alloca_once_value(builder, zero) for cell in cells}  # type: ignore[no-untyped-call]
        ctpop = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(vector, [vector]), f"llvm.ctpop.v{_WORDS}i64"
        )

        def vector_at(data: Any, place: Any) -> Any:
            return builder.bitcast(builder.gep(data, [place]), vector.as_pointer())

        with cgutils.for_range(builder, n_planes) as planes_loop:  # type: ignore[no-untyped-call]
            for cell in cells:
                builder.store(zero, counts[cell])
            first = builder.mul(planes_loop.index, n_words)
            with cgutils.for_range(builder, n_words) as words_loop:  # type: ignore[no-untyped-call]
                k = words_loop.index
                row = builder.mul(builder.add(first, k), whole(LANES))
                lanes = [
                    builder.load(vector_at(table.data, builder.add(row, whole(g * _WORDS))), align=8)
                    for g in range(LANES // _WORDS)
                ]
                for place in range(PLACES):
                    word = builder.load(
                        builder.gep(bits.data, [builder.add(builder.mul(whole(place), n_words), k)])
                    )
                    every = _broadcast(builder, word, vector)
                    for group, own in enumerate(lanes):
                        met = builder.call(ctpop, [builder.and_(every, own)])
                        builder.store(
                            builder.add(builder.load(counts[place, group]), met), counts[place, group]
                        )
            sign = builder.icmp_signed("==", planes_loop.index, whole(0))
            for cell in cells:
                count = builder.load(counts[cell])
                count = builder.select(sign, builder.sub(zero, count), count)
                total = builder.load(totals[cell])
                builder.store(builder.add(builder.add(total, total), count), totals[cell])
        for place, group in cells:
            target = vector_at(sums.data, whole(place * LANES + group * _WORDS))
            builder.store(builder.load(totals[place, group]), target, align=8)
        return context.get_dummy_value()

    return types.void(planes, words, out), build


def _pack_lanes(_: Any, flags: Any) -> Any:
    """The 64 bytes of `flags`, each 0 or 1, as the bits of a word, the first one lowest."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (source,) = _arrays(context, builder, signature, arguments)
        vector = ir.VectorType(ir.IntType(8), LANES)
        own = builder.load(builder.bitcast(source.data, vector.as_pointer()), align=1)
        return builder.bitcast(
            builder.icmp_unsigned("!=", own, ir.Constant(vector, [0] * LANES)), ir.IntType(64)
        )

    return types.uint64(flags), build


def _arrays(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments that are arrays."""
    return [
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args, arguments, strict=True)
        if isinstance(kind, types.Array)
    ]


def _broadcast(builder: Any, word: Any, vector: Any) -> Any:
    """A vector of `word` in each place."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), word, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), mask)


sum_lanes: Any = intrinsic(_sum_lanes)
count_lanes: Any = intrinsic(_count_lanes)
pack_lanes: Any = intrinsic(_pack_lanes)
