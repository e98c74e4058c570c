"""The best columns of rows, lane by lane of vector registers.

LLVM vectorizes the search for a maximum, but not for the two largest at once. What it
makes of several searches ends each in a reduction over lanes, which takes longer than
the search of a row of some hundred entries. So this one loop is written in LLVM's own
terms, for rows that are looked at together: none waits for another's reduction. It also
fetches the rows that are next, as processors do not know which these are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy import ndarray

from semrsm_jax.matching._augment import inner_jit

BLOCK = 64  # rows are padded to a multiple of so many columns
VECTOR_BYTES = 64  # of a cache line; LLVM splits vectors where registers are narrower
INDEX, BYTE, FLAG = ir.IntType(64), ir.IntType(8), ir.IntType(32)
code_of: Any = intrinsic  # type checkers read its result as the function itself


@inner_jit
def floor_of(a: ndarray) -> int:
    """Entries further than this below their row's best are cut off."""
    return np.iinfo(a.dtype).min // (4 if a.itemsize == 4 else 2)


@inner_jit
def below(a: ndarray) -> Any:
    """A number below every profit that can occur, in the dtype of the array."""
    return a.dtype.type(np.iinfo(a.dtype).min + 1)


@inner_jit
def scan(a: ndarray, p: ndarray) -> tuple[np.int64, Any, Any]:
    """`best_columns` of one row."""
    return best_columns((a,), p, ())[0]


@code_of
def best_columns(
    _: Any, rows: types.UniTuple, p: types.Array, following: Any
) -> tuple[Any, Callable[..., Any]]:
    """The best column of each row, its profit, and the second best profit.

    Profits are entries less prices. Of equally good columns the first is the best.

    Args:
      rows: a tuple of arrays (m,) of signed integers, contiguous; m is at least 1, a
        multiple of VECTOR_BYTES / itemsize, and within their dtype.
      p: the prices, an array of the same shape and dtype.
      following: a tuple of arrays of the same shape and dtype, perhaps empty, which
        are fetched into the cache meanwhile.

    Returns:
      For each row the column, int64, and the two profits, in the dtype of rows; they
      are equal where two columns are as good.
    """
    result = types.Tuple((types.int64, p.dtype, p.dtype))
    signature = types.UniTuple(result, len(rows))(rows, p, following)
    return signature, _best_columns


def _best_columns(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The code of `best_columns`."""

    def pointers(kinds: Sequence[types.Array], arrays: Any) -> list[Any]:
        each = cgutils.unpack_tuple(builder, arrays, len(kinds))
        return [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(kinds, each, strict=True)
        ]

    kinds, prices, next_kinds = signature.args
    rows = pointers(kinds, arguments[0])
    next_rows = pointers(next_kinds, arguments[2])
    p = context.make_array(prices)(context, builder, arguments[1])
    (length,) = cgutils.unpack_tuple(builder, p.shape, 1)
    lanes = _Lanes(builder, prices.dtype.bitwidth)
    before = builder.block
    loop = builder.append_basic_block("best_columns")
    after = builder.append_basic_block("best_columns.end")
    builder.branch(loop)
    builder.position_at_end(loop)

    # Each lane keeps its best profit, its second best, and the column of the best.
    start, columns = builder.phi(INDEX), builder.phi(lanes.vector)
    states = [[builder.phi(lanes.vector) for _ in range(3)] for _ in rows]
    for row in next_rows:
        lanes.fetch(row, start)
    price = lanes.load(p.data, start)
    end = builder.add(start, INDEX(lanes.count))
    following_columns = builder.add(columns, lanes.everywhere(lanes.count))
    carried = [(start, INDEX(0), end), (columns, lanes.numbers, following_columns)]
    kept = []
    for row, state in zip(rows, states, strict=True):
        best, second, column = state
        profit = builder.sub(lanes.load(row, start), price)
        better = builder.icmp_signed(">", profit, best)
        kept.append(
            (
                builder.select(better, profit, best),
                lanes.choose(">", second, lanes.choose("<", best, profit)),
                builder.select(better, columns, column),
            )
        )
        begins = (lanes.everywhere(lanes.lowest),) * 2 + (lanes.numbers,)
        carried += zip(state, begins, kept[-1], strict=True)
    for phi, begin, goes_on in carried:
        phi.add_incoming(begin, before)
        phi.add_incoming(goes_on, loop)
    builder.cbranch(builder.icmp_signed("<", end, length), loop, after)

    builder.position_at_end(after)
    results = []
    for best, second, column in kept:
        first = lanes.reduce("smax", best)
        winners = builder.icmp_signed("==", best, lanes.spread(first))
        others = lanes.everywhere(lanes.largest)
        j = lanes.reduce("smin", builder.select(winners, column, others))
        # The second best is that of the winner's lane, or the best of another.
        own = builder.icmp_signed("==", column, lanes.spread(j))
        runner_up = lanes.reduce("smax", builder.select(own, second, best))
        fields = (builder.sext(j, INDEX), first, runner_up)
        kind = signature.return_type.dtype
        results.append(context.make_tuple(builder, kind, fields))
    return context.make_tuple(builder, signature.return_type, results)


class _Lanes:
    """Vectors of signed integers, and what is done with them."""

    def __init__(self, builder: Any, bits: int) -> None:
        self.builder = builder
        self.bits = bits
        self.count = VECTOR_BYTES * 8 // bits
        self.entry = ir.IntType(bits)
        self.vector = ir.VectorType(self.entry, self.count)
        self.lowest, self.largest = 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1
        self.numbers = ir.Constant(self.vector, list(range(self.count)))

    def everywhere(self, value: int) -> ir.Constant:
        return ir.Constant(self.vector, [value] * self.count)

    def spread(self, value: Any) -> Any:
        """A vector of which each lane is the value."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = self.builder.insert_element(undefined, value, FLAG(0))
        zeros = ir.Constant(ir.VectorType(FLAG, self.count), [0] * self.count)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def choose(self, sign: str, x: Any, y: Any) -> Any:
        """In each lane x where the comparison with y holds, else y."""
        return self.builder.select(self.builder.icmp_signed(sign, x, y), x, y)

    def reduce(self, name: str, x: Any) -> Any:
        """Over lanes."""
        name = f"llvm.vector.reduce.{name}.v{self.count}i{self.bits}"
        kind = ir.FunctionType(self.entry, [self.vector])
        function = self.builder.module.declare_intrinsic(name, fnty=kind)
        return self.builder.call(function, [x])

    def load(self, array: Any, start: Any) -> Any:
        place = self.builder.gep(array, [start])
        place = self.builder.bitcast(place, self.vector.as_pointer())
        return self.builder.load(place, align=self.bits // 8)

    def fetch(self, array: Any, start: Any) -> None:
        """Into all caches, to be read."""
        place = self.builder.gep(array, [start])
        place = self.builder.bitcast(place, BYTE.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, FLAG, FLAG, FLAG])
        name = "llvm.prefetch"
        function = self.builder.module.declare_intrinsic(name, [place.type], kind)
        self.builder.call(function, [place, FLAG(0), FLAG(3), FLAG(1)])
