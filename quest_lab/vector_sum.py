"""Sums in vector registers, written in LLVM's words (numba has none for vectors): of rows of bytes, and of bits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # columns summed at once
PLACES = 2  # places whose bits are counted at once: the weights' bits are loaded once for both

_VECTOR = ir.VectorType(ir.IntType(64), 8)
_GROUPS = LANES // 8  # vectors in a row of words


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
        cells = [(place, group) for place in range(PLACES) for group in range(_GROUPS)]
        counts = {cell: _register(builder) for cell in cells}
        totals = {cell: _register(builder) for cell in cells}
        with cgutils.for_range(builder, n_planes) as planes_loop:
            for count in counts.values():
                builder.store(_zeros(), count)
            with cgutils.for_range(builder, n_words) as words_loop:
                k = words_loop.index
                row = builder.add(builder.mul(planes_loop.index, n_words), k)
                _count_word(builder, _row(builder, table, row), _words(builder, bits, n_words, k), counts)
            _add_doubled(builder, planes_loop.index, counts, totals)
        for (place, group), total in totals.items():
            target = _vector_at(builder, sums, n_words.type(place * _GROUPS + group))
            builder.store(builder.load(total), target, align=8)
        return context.get_dummy_value()

    return types.void(planes, words, out), build


def _row(builder: Any, table: Any, row: Any) -> list[Any]:
    """The vectors of a row of LANES words."""
    first = builder.mul(row, row.type(_GROUPS))
    places = [builder.add(first, row.type(group)) for group in range(_GROUPS)]
    return [builder.load(_vector_at(builder, table, place), align=8) for place in places]


def _words(builder: Any, bits: Any, n_words: Any, k: Any) -> list[Any]:
    """Word `k` of every place, in all lanes of a vector."""
    places = [builder.add(builder.mul(k.type(place), n_words), k) for place in range(PLACES)]
    return [_broadcast(builder, builder.load(builder.gep(bits.data, [place]))) for place in places]


def _count_word(builder: Any, row: list[Any], words: list[Any], counts: dict[tuple[int, int], Any]) -> None:
    """Add to `counts` the bits that each place's word and each vector of the row have in common."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    ctpop = cgutils.get_or_insert_function(builder.module, kind, f"llvm.ctpop.v{_VECTOR.count}i64")  # type: ignore[no-untyped-call]
    for (place, group), count in counts.items():
        met = builder.call(ctpop, [builder.and_(words[place], row[group])])
        builder.store(builder.add(builder.load(count), met), count)


def _add_doubled(builder: Any, plane: Any, counts: dict[Any, Any], totals: dict[Any, Any]) -> None:
    """total = 2 total + count; the first plane holds the signs, which count negative."""
    sign = builder.icmp_signed("==", plane, plane.type(0))
    for cell, kept in totals.items():
        count, total = builder.load(counts[cell]), builder.load(kept)
        signed = builder.select(sign, builder.sub(_zeros(), count), count)
        builder.store(builder.add(builder.add(total, total), signed), kept)


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


def _vector_at(builder: Any, array: Any, number: Any) -> Any:
    """Where vector `number` of a contiguous array of words begins."""
    first = builder.mul(number, number.type(_VECTOR.count))
    return builder.bitcast(builder.gep(array.data, [first]), _VECTOR.as_pointer())


def _broadcast(builder: Any, word: Any) -> Any:
    """A vector of `word` in each lane."""
    none = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(none, word, ir.IntType(32)(0))
    first = ir.Constant(ir.VectorType(ir.IntType(32), _VECTOR.count), [0] * _VECTOR.count)
    return builder.shuffle_vector(one, none, first)


def _register(builder: Any) -> Any:
    """A vector of zeros that can be stored to."""
    return cgutils.alloca_once_value(builder, _zeros())  # type: ignore[no-untyped-call]


def _zeros() -> Any:
    return ir.Constant(_VECTOR, [0] * _VECTOR.count)


sum_lanes: Any = intrinsic(_sum_lanes)
count_lanes: Any = intrinsic(_count_lanes)
pack_lanes: Any = intrinsic(_pack_lanes)
